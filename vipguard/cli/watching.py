"""`vipguard status --watch`: how does the cluster stand now, and now? A live screen; blocks of text in a pipe."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from ..errors import VipguardError
from ..render.status_text import STORY_LINES, judge, stamp
from .status import ask, plain

if TYPE_CHECKING:
    from rich.console import Console, Group

    from .app import App

Seen = dict[str, Any]


def watching(app: App, interval_s: float, as_json: bool) -> int:
    """Until Ctrl-C, which is how it ends well: 0. Raises ConfigError when nothing can be watched at all."""
    app.policy(secrets=False)  # a mistake in the configuration is said at once; one made later is shown and survived
    try:
        if sys.stdout.isatty() and not as_json:
            _live(app, interval_s)
        else:
            _blocks(app, interval_s, as_json)
    except KeyboardInterrupt:
        return 0
    return 0


def _look(app: App) -> tuple[Seen | None, str]:
    """The status, and what is to be said loudly of it; None where even one look was impossible."""
    try:
        status = ask(app)
    except VipguardError as exc:
        return None, f"CANNOT LOOK: {exc}"
    return status, judge(status)[1]


def _wait(began_s: float, interval_s: float) -> None:
    time.sleep(max(0.05, interval_s - (time.monotonic() - began_s)))


def _blocks(app: App, interval_s: float, as_json: bool) -> None:
    while True:
        began_s = time.monotonic()
        status, complaint = _look(app)
        if as_json:
            click.echo(json.dumps({"at": round(time.time(), 3), "complaint": complaint or None, "status": status}))
        else:
            said = [f"=== {stamp(time.time())}", complaint, plain(status) if status is not None else ""]
            click.echo("\n".join(filter(None, said)) + "\n")
        sys.stdout.flush()
        _wait(began_s, interval_s)


def _live(app: App, interval_s: float) -> None:
    """What was seen last stays on the terminal at the end."""
    from rich.console import Console
    from rich.live import Live

    console = Console(highlight=False)
    last: tuple[Seen | None, str] | None = None
    try:
        with Live(console=console, screen=True, auto_refresh=False) as live:
            while True:
                began_s = time.monotonic()
                last = _look(app)
                live.update(_fitted(console, *last, interval_s), refresh=True)
                _wait(began_s, interval_s)
    finally:
        if last is not None:
            console.print(_group(*last, interval_s, STORY_LINES))


def _fitted(console: Console, status: Seen | None, complaint: str, interval_s: float) -> Group:
    """As much of the recent story as the screen has lines for: the table is what must be seen."""
    for lines in range(STORY_LINES, -1, -1):
        group = _group(status, complaint, interval_s, lines)
        if len(console.render_lines(group)) <= console.height:
            break
    return group


def _group(status: Mapping[str, Any] | None, complaint: str, interval_s: float, story_lines: int) -> Group:
    from rich.console import Group
    from rich.text import Text

    from .status_screen import rich_parts

    parts: list[Any] = [Text(f"{stamp(time.time())}, every {interval_s:g} s; Ctrl-C ends", style="dim")]
    if complaint:
        parts.append(Text(complaint, style="bold red"))
    return Group(*parts, *(rich_parts(status, story_lines) if status is not None else []))
