"""How far is a long step? A bar on a terminal, lines in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ..act.copy import Tell


@contextmanager
def telling() -> Iterator[Tell]:
    if not sys.stdout.isatty():
        yield _Lines()
        return
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn()) as bar:
        yield _Bar(bar)


class _Bar:
    """On a terminal."""

    def __init__(self, bar: Any) -> None:
        self._bar = bar
        self._task: Any = None

    def step(self, text: str) -> None:
        if self._task is not None:
            task = self._bar.tasks[self._task]
            self._bar.update(self._task, total=task.completed or 1, completed=task.completed or 1)
        self._task = self._bar.add_task(text, total=None)

    def progress(self, done: int, total: int) -> None:
        if self._task is not None:
            self._bar.update(self._task, completed=done, total=total)

    def warn(self, text: str) -> None:
        self._bar.console.print(f"vipguard: {text}", style="yellow", highlight=False, markup=False)


class _Lines:
    """In a pipe: a line for each step, and for each tenth of it."""

    def __init__(self) -> None:
        self._tenth = 0

    def step(self, text: str) -> None:
        self._tenth = 0
        click.echo(text)

    def progress(self, done: int, total: int) -> None:
        tenth = 10 * done // total if total else 0
        if tenth > self._tenth:
            self._tenth = tenth
            click.echo(f"  {done / 1e6:.1f} MB of about {total / 1e6:.1f}")

    def warn(self, text: str) -> None:
        click.echo(f"vipguard: {text}", err=True)
