"""Is each command of the runbook's Dos run by a test on real servers?"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from runbook import PAGE, Command, commands, sections

LAB = Path(__file__).parents[1] / "lab"
TEXT = PAGE.read_text(encoding="utf-8")


def run_by_tests() -> set[tuple[str, str]]:
    """The alert and the command of each call of `do` in tests/lab."""
    found = set()
    for path in LAB.glob("test_*.py"):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "do":
                alert, text = (ast.literal_eval(argument) for argument in call.args[1:3])
                found.add((str(alert), str(text)))
    return found


@pytest.mark.parametrize("command", commands(TEXT), ids=lambda command: f"{command.alert}: {command.text}")
def test_what_the_runbook_tells_people_to_type_is_run_on_real_servers(command: Command) -> None:
    assert (command.alert, command.text) in run_by_tests(), "no test in tests/lab gives it to `runbook.do`"


def test_nothing_is_run_that_the_page_does_not_say() -> None:
    assert run_by_tests() <= {(command.alert, command.text) for command in commands(TEXT)}


def test_the_page_has_a_do_for_each_alert_and_commands_in_most() -> None:
    assert len(sections(TEXT)) == TEXT.count("\n## ") and all(sections(TEXT).values())
    assert len({command.alert for command in commands(TEXT)}) > len(sections(TEXT)) / 2


@pytest.mark.parametrize("span", ["--accept", "promote --force", "PURGE", "START"])
def test_half_a_command_is_refused(span: str) -> None:
    with pytest.raises(ValueError, match="half a command"):
        commands(f"## VipguardX\n\n**Means:** x\n\n**Do:** Say `{span}`.\n")


def test_commands_and_statements_are_told_from_other_words() -> None:
    page = (
        "## VipguardX\n\n**Look:** `vipguard status`\n\n**Do:** `FLUSH SSL` (MariaDB) or `ALTER INSTANCE RELOAD TLS`"
        " (MySQL), then `vipguard solo`; see `drain_s_max` and `VipguardY`.\n"
    )
    assert commands(page) == [
        Command("VipguardX", "FLUSH SSL", "mariadb"),
        Command("VipguardX", "ALTER INSTANCE RELOAD TLS", "mysql"),
        Command("VipguardX", "vipguard solo"),
    ]
