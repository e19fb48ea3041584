"""What did one check find? An outcome, the rule that made it, and the numbers.

Outcomes and exit codes are those of the Monitoring Plugins guidelines (section "Plugin Return Codes"), so that a check
run by hand, by Nagios or by the agent says the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from .ranges import Range


class Outcome(IntEnum):
    """A check's result; the value is the exit code."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


@dataclass(frozen=True, slots=True)
class Perf:
    """One number of performance data. `value` None prints as `U`: it could not be observed."""

    label: str
    value: float | None
    unit: str = ""
    warning: Range | None = None
    critical: Range | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """One check's answer: `rule` is a permanent kebab-case name, `text` one line for a person."""

    check: str
    outcome: Outcome
    rule: str
    text: str
    perf: tuple[Perf, ...] = ()


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The operator's ranges for a check's number; None where the check's own rule decides."""

    warning: Range | None = None
    critical: Range | None = None

    def outcome(self, value: float) -> Outcome:
        if self.critical is not None and self.critical.alerts(value):
            return Outcome.CRITICAL
        if self.warning is not None and self.warning.alerts(value):
            return Outcome.WARNING
        return Outcome.OK


NO_THRESHOLDS = Thresholds()
