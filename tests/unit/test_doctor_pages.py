"""docs/doctor.md tells every rule of the doctor with its severity, and no other."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FILES = [*(ROOT / "vipguard/doctor").glob("*.py"), ROOT / "vipguard/cli/doctor.py"]
RULE = re.compile(r"[a-z]+(-[a-z]+)*")
#: rules that the code puts together: the kind of failure, and what is wrong with a run-time file
MADE = {
    *(f"server-{kind}" for kind in ("absent", "silent", "denied")),
    *(f"{file}-{what}" for file in ("track-file", "fifo") for what in ("missing", "kind", "open")),
}
#: said as an error in one case that the page tells of
EITHER = {"hook-refused", "epoch-table", "foreign-cluster", "gtid-domain-differs"}
SAYS = {"error": 1, "warning": 1, "say": 1, "_wrong": 0, "_odd": 0}
SEVERITY = {"error": "E", "_wrong": "E", "warning": "W", "_odd": "W"}


def said() -> dict[str, str]:
    """Each rule that stands in the code, with its severity where it stands beside."""
    found: dict[str, str] = {}
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in SAYS:
                at = SAYS[node.func.id]
                rule = node.args[at] if len(node.args) > at else None
                if isinstance(rule, ast.Constant):
                    found[str(rule.value)] = SEVERITY.get(node.func.id, "")
            elif isinstance(node, ast.Tuple | ast.Call | ast.Assign | ast.Compare | ast.IfExp):
                parts = node.elts if isinstance(node, ast.Tuple) else []
                texts = [str(part.value) for part in parts if isinstance(part, ast.Constant)]
                for severity in {"error", "warning"} & set(texts):
                    rules = [text for text in texts if "-" in text and RULE.fullmatch(text)]
                    found.update(dict.fromkeys(rules, SEVERITY[severity]))
    # tables whose severity is the caller's
    found |= {"interface-differs": "E", "router-id-differs": "E", "priority-differs": "E", "boots-writable": "E"}
    found |= {"epoch-table": "E", "foreign-cluster": "E"}
    return found | dict.fromkeys(MADE, "E")


def told() -> dict[str, str]:
    rows = re.findall(r"^\| (`[^|]+) \| ([EW]) \|", (ROOT / "docs/doctor.md").read_text(), flags=re.MULTILINE)
    return {rule: severity for cells, severity in rows for rule in re.findall(r"`([^`]+)`", cells)}


def test_every_rule_of_the_doctor_is_in_the_manual_and_no_other() -> None:
    assert set(told()) == set(said())


def test_the_manual_gives_each_rule_the_severity_that_it_has() -> None:
    page = told()
    assert {rule: page[rule] for rule, severity in said().items() if severity and rule not in EITHER} == {
        rule: severity for rule, severity in said().items() if severity and rule not in EITHER
    }
