"""What do the operator's executables for an event do? They are run in order of name, and what they say is logged.

`DIRECTORY/EVENT/` holds them: regular files that are executable, that root alone can change, in directories that root
alone can change. Hidden files and those that packages and editors leave are passed over, as run-parts(8) does.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass

from ..config.host import why_unsafe
from ..errors import CouldNotDo
from ..log import get_logger
from . import program

LINES_MAX = 20
_LEFT_OVER = re.compile(r"^\.|~$|\.(dpkg-.*|rpm(save|new|orig)|bak|orig|swp|disabled)$")
_log = get_logger("hooks")


@dataclass(frozen=True, slots=True)
class Found:
    """The executables of an event, in order, and why others in its directory are not run."""

    programs: tuple[str, ...]
    refused: tuple[str, ...]


def find(directory: str, event: str) -> Found:
    """What would be run. Raises nothing: a directory that is not there has none."""
    folder = os.path.join(directory, event)
    try:
        names = sorted(os.listdir(folder))
    except FileNotFoundError:
        return Found((), ())
    except OSError as exc:
        return Found((), (f"{folder} cannot be read: {exc.strerror}",))
    programs, refused = [], []
    for path in (os.path.join(folder, name) for name in names if not _LEFT_OVER.search(name)):
        if os.path.isdir(path):
            continue
        problem = why_unsafe(path)
        if problem is None:
            programs.append(path)
        elif problem != "is not executable":  # chmod -x is how one is switched off
            refused.append(f"{path} {problem}")
    return Found(tuple(programs), tuple(refused))


def run(directory: str, event: str, env: Mapping[str, str], deadline_s: float) -> int:
    """Run all of the event's within `deadline_s` seconds together; how many there were.

    Every one is run, also after one that failed, as long as there is time. Raises CouldNotDo when one failed, was
    late or was refused; its text names the first.
    """
    found, until_s = find(directory, event), time.monotonic() + deadline_s
    failures = list(found.refused)
    for path in found.programs:
        begun_s = time.monotonic()
        if begun_s >= until_s:
            failures.append(f"{path} was not run: the time was up")
            continue
        try:
            ran = program.run([path], until_s - begun_s, env=env)
        except CouldNotDo as exc:
            failures.append(str(exc))
            continue
        for line in ran.output.splitlines()[-LINES_MAX:]:
            _log.info("hook", rule="hook-output", hook=path, text=line[:500])
        took_ms = round((time.monotonic() - begun_s) * 1000, 1)
        _log.info(
            "hook", rule="hook-ran" if ran.ok else "hook-failed", hook=path, how=ran.how, took_ms=took_ms
        )
        if not ran.ok:
            failures.append(f"{path} {ran.how}")
    for text in found.refused:
        _log.error("hook", rule="hook-refused", reason=text)
    if failures:
        more = f", and {len(failures) - 1} more" if len(failures) > 1 else ""
        raise CouldNotDo(f"{failures[0]}{more}")
    return len(found.programs)
