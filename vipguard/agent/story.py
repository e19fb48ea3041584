"""What happened lately? Each note goes to the log once, and stays in a short memory for `status`."""

from __future__ import annotations

import collections
import time
from typing import Any

from ..log import get_logger
from ..model.effect import Note

KEPT = 60
_log = get_logger("agent")


class Story:
    """The last notes, oldest first; times are CLOCK_BOOTTIME seconds."""

    def __init__(self) -> None:
        self._notes: collections.deque[tuple[float, float, Note]] = collections.deque(maxlen=KEPT)

    def tell(self, note: Note, now_s: float) -> None:
        numbers = {key: value for key, value in note.numbers if value not in ("", None)}
        getattr(_log, note.level)(note.what, rule=note.rule, **numbers)
        if note.level != "debug":
            self._notes.append((now_s, time.time(), note))

    def recent(self, now_s: float) -> list[dict[str, Any]]:
        """Each note as plain data: `at` is Unix time in seconds, `ago_s` how long ago."""
        return [
            {
                "at": round(wall_s, 6),
                "ago_s": round(now_s - at_s, 4),
                "what": note.what,
                "rule": note.rule,
                "level": note.level,
                **{key: _plain(value) for key, value in note.numbers},
            }
            for at_s, wall_s, note in self._notes
        ]


def _plain(value: object) -> object:
    return value if isinstance(value, int | float | str | bool) or value is None else str(value)
