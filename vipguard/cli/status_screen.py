"""How does the status look on a terminal? A column for each node, what is wrong in red."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from vipguard.render.status_text import BAD, HEADINGS, STORY_LINES, head, is_loud, rows, tail


def show(status: Mapping[str, Any]) -> None:
    """Print it once."""
    console = Console(highlight=False)
    for part in rich_parts(status):
        console.print(part)


def rich_parts(status: Mapping[str, Any], story_lines: int = STORY_LINES) -> list[Any]:
    """What a terminal shows, top down; at most `story_lines` of the recent story."""
    first, *alarms = head(status)
    parts: list[Any] = [Text(first, style="bold"), *(Text(alarm, style=BAD) for alarm in alarms)]
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0))
    by_node = rows(status)
    table.add_column("")
    for row in by_node:
        table.add_column(Text(row[0][0]))  # a column for each node: a pair fits into 80 characters
    for index, heading in enumerate(HEADINGS[1:], 1):
        table.add_row(Text(heading, style="dim"), *(Text(*row[index]) for row in by_node))
    lines = tail(status, story_lines)
    notes = [line for line in lines if line.startswith("  ")]
    parts += [table, *(Text(line, style=BAD if is_loud(line) else "") for line in lines if line not in notes)]
    return [*parts, _story(notes)] if notes else parts


def _story(notes: Sequence[str]) -> Table:
    """When and what side by side, so that a long note goes on below itself."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    for note in notes:
        when, _, what = note.strip().partition("  ")
        grid.add_row(Text(f"  {when}", no_wrap=True), Text(what))
    return grid
