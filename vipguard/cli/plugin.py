"""How does a finding read to Nagios? One line and performance data, by the Monitoring Plugins guidelines.

`CHECK STATUS - text | 'label'=value[UOM];[warn];[crit];[min];[max]`, where U stands for a value that could not be
observed, and a label with a space, `=` or a quote stands in single quotes.
"""

from __future__ import annotations

import math
from typing import Any

from vipguard.model.finding import Finding, Outcome, Perf
from vipguard.model.ranges import Range, number


def line(finding: Finding) -> str:
    """The finding as a plugin prints it, without the line's end."""
    said = unknown(finding.check, finding.text) if finding.outcome is Outcome.UNKNOWN else None
    said = said or f"{finding.check.upper()} {finding.outcome.name} - {plain(finding.text)}"
    return f"{said} | {' '.join(map(perfdata, finding.perf))}" if finding.perf else said


def unknown(check: str, why: str) -> str:
    """The line of a check that could not be made at all, usage errors included."""
    return f"{check.upper()} {Outcome.UNKNOWN.name} - {plain(why)}"


def perfdata(perf: Perf) -> str:
    """One number, with the semicolons that nothing follows left out."""
    known = perf.value is not None and math.isfinite(perf.value)
    value = f"{number(perf.value)}{perf.unit}" if known and perf.value is not None else "U"
    return ";".join((f"{_label(perf.label)}={value}", _range(perf.warning), _range(perf.critical))).rstrip(
        ";"
    )


def as_json(finding: Finding) -> dict[str, Any]:
    """The finding as plain data; a range as it is written, null for what was not observed."""
    return {
        "check": finding.check,
        "outcome": finding.outcome.name,
        "code": int(finding.outcome),
        "rule": finding.rule,
        "text": finding.text,
        "perf": [
            {
                "label": perf.label,
                "value": perf.value,
                "unit": perf.unit,
                "warning": _range(perf.warning) or None,
                "critical": _range(perf.critical) or None,
            }
            for perf in finding.perf
        ],
    }


def plain(text: str) -> str:
    """One line, without the bar that begins performance data."""
    return " ".join(text.replace("|", "/").split())


def _label(label: str) -> str:
    quoted = label.replace("'", "''")
    return f"'{quoted}'" if any(char in label for char in " ='") else label


def _range(given: Range | None) -> str:
    return "" if given is None else str(given)
