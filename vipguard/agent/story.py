"""What happened lately? Each note goes to the log once, and stays in a short memory for `status`."""

from __future__ import annotations

import collections
import time
from collections.abc import Callable
from typing import Any

from ..log import get_logger
from ..model.effect import Note

KEPT = 60
_log = get_logger("agent")


class Story:
    """The last notes, oldest first; times are CLOCK_BOOTTIME seconds."""

    def __init__(self, record: Callable[[dict[str, Any]], None] | None = None) -> None:
        """`record` takes each entry of the journal as well."""
        self._record = record
        self._notes: collections.deque[tuple[float, float, Note]] = collections.deque(maxlen=KEPT)

    def tell(self, note: Note, now_s: float) -> None:
        numbers = {key: value for key, value in note.numbers if value not in ("", None)}
        getattr(_log, note.level)(note.what, rule=note.rule, **numbers)
        if note.level == "debug":
            return
        wall_s = time.time()
        self._notes.append((now_s, wall_s, note))
        if self._record is not None:
            self._record(_entry(note, wall_s, {"boottime_s": round(now_s, 4)}))

    def recent(self, now_s: float) -> list[dict[str, Any]]:
        """Each note as plain data: `at` is Unix time in seconds, `ago_s` how long ago."""
        return [_entry(note, wall_s, {"ago_s": round(now_s - at_s, 4)}) for at_s, wall_s, note in self._notes]


def _entry(note: Note, wall_s: float, when: dict[str, Any]) -> dict[str, Any]:
    numbers = {key: _plain(value) for key, value in note.numbers}
    return {
        "at": round(wall_s, 6),
        **when,
        "what": note.what,
        "rule": note.rule,
        "level": note.level,
        **numbers,
    }


def _plain(value: object) -> object:
    return value if isinstance(value, int | float | str | bool) or value is None else str(value)
