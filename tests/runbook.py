"""What does docs/runbook.md tell people to do? Its commands and SQL, taken from the page, and run as they stand there.

`do` runs one of a section's Do in a lab. tests/unit/test_runbook_page.py fails for each that no test gives to `do`.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vipguard.lab import Node

PAGE = Path(__file__).parents[1] / "docs" / "runbook.md"
UNITS = Path(__file__).parents[1] / "systemd"
SQL = re.compile(r"(SET|FLUSH|ALTER|PURGE|START|STOP|RESET|SHOW|CHANGE|REVOKE|GRANT|KILL|DROP|CREATE) [A-Za-z@']")
#: A span of code, and the flavour for which alone it stands there, if one is said.
SPAN = re.compile(r"`([^`]+)`(?: \((MariaDB|MySQL)\))?")


@dataclass(frozen=True)
class Command:
    """`flavor` "": of both."""

    alert: str
    text: str
    flavor: str = ""

    @property
    def is_sql(self) -> bool:
        return SQL.match(self.text) is not None


def sections(page: str) -> dict[str, str]:
    """The text of each alert's Do."""
    found = {}
    for title, body in re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL):
        found[title] = re.split(r"^\*\*Do:\*\*", body, maxsplit=1, flags=re.MULTILINE)[1].strip()
    return found


def commands(page: str) -> list[Command]:
    """What is to be typed, in order. Raises ValueError for what cannot be typed as it stands there."""
    found = []
    for alert, text in sections(page).items():
        for span, flavor in SPAN.findall(text):
            if span.startswith(("vipguard ", "systemctl ")) or SQL.match(span):
                found.append(Command(alert, span, flavor.lower()))
            elif re.search(r"(^| )--?\w", span) or span.split()[0].isupper():
                raise ValueError(f"{alert}: `{span}` is half a command: write all that is to be typed")
    return found


def do(
    node: Node, alert: str, text: str, *more: str, fill: Mapping[str, str] | None = None, code: int = 0,
    answer: str | None = None, timeout_s: float = 120.0,
) -> str:  # fmt: skip
    """Type on the node what the page says there, word for word, and return what was printed.

    `more`: options after it; `fill`: what stands for the page's placeholders; `answer`: typed when it asks; `code`: how
    a command of vipguard's ends.
    """
    wanted = [c for c in commands(PAGE.read_text(encoding="utf-8")) if (c.alert, c.text) == (alert, text)]
    assert wanted, f"docs/runbook.md does not say `{text}` under {alert}"
    assert wanted[0].flavor in ("", node.spec.flavor), f"`{text}` is not for {node.spec.flavor}"
    for placeholder, value in (fill or {}).items():
        assert placeholder in text
        text = text.replace(placeholder, value)
    if wanted[0].is_sql:
        return str(node.mysqld.sql(text, timeout_s=30))
    words = shlex.split(text)
    if words[0] == "systemctl":
        return _systemctl(node, words[1:])
    done: subprocess.CompletedProcess[str] = node.vipguard(
        *words[1:], *more, check=False, input=answer, timeout_s=timeout_s
    )
    assert done.returncode == code, f"{text}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def _systemctl(node: Node, words: list[str]) -> str:
    """What systemd would do; a lab's nodes have none. tests/packaging runs the units themselves."""
    match words:
        case ["start", "vipguard-agent"]:
            node.start_agent()
        case ["restart", "vipguard-agent"]:
            if node.agent.alive:
                node.agent.terminate()
            node.start_agent()
        case ["start", "keepalived"]:
            node.start_keepalived()
        case ["enable", "--now", timer] if timer.endswith(".timer"):
            assert (UNITS / timer).exists()
            service = (UNITS / timer.replace(".timer", ".service")).read_text(encoding="utf-8")
            line = re.search(r"^ExecStart=\S*vipguard (.*)$", service, re.MULTILINE)
            assert line is not None
            return node.vipguard(*shlex.split(line[1])).stdout
        case _:
            raise AssertionError(f"nothing here stands for systemctl {' '.join(words)}")
    return ""
