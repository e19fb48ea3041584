"""What did the doctor find? One value for each thing that is wrong, or that could not be looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Severity = Literal["error", "warning"]
Area = Literal["configuration", "agent", "accounts", "server", "keepalived", "host", "network"]


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """`rule` is a permanent kebab-case name, `seen` the evidence, `remedy` what to do; `node` "" for none."""

    severity: Severity
    area: Area
    rule: str
    seen: str
    remedy: str
    node: str = ""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def error(area: Area, rule: str, seen: str, remedy: str, node: str = "") -> Diagnosis:
    return Diagnosis("error", area, rule, seen, remedy, node)


def warning(area: Area, rule: str, seen: str, remedy: str, node: str = "") -> Diagnosis:
    return Diagnosis("warning", area, rule, seen, remedy, node)


def exit_code(found: Sequence[Diagnosis]) -> int:
    """0 nothing found, 1 warnings, 2 errors."""
    severities = {diagnosis.severity for diagnosis in found}
    return 2 if "error" in severities else 1 if severities else 0
