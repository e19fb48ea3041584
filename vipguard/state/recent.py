"""Which were the last stories of the journal? Kept ready, for who may ask the agent but not read its files.

Fed by the journal's own thread; the agent's loop only hands out the text that was made there.
"""

from __future__ import annotations

import collections
import json
import os
from collections.abc import Mapping
from typing import Any

from ..model.story import REJOIN, Stories, Story, as_plain

KEPT = 5
STEPS_MAX = 60  # of one story: what goes on for ever must not grow for ever here
TEXT_MAX = 400
OLD_BYTES_MAX = 500_000  # of an existing journal: some milliseconds


class Recent:
    """The last `KEPT` stories; `text` is them as a JSON list, oldest first, the ones under way included."""

    def __init__(self, path: str, node: str) -> None:
        self._path, self._node = path, node
        self._teller = Stories()
        self._ended: collections.deque[Story] = collections.deque(maxlen=KEPT)
        self._rejoins: collections.deque[Story] = collections.deque(maxlen=KEPT)
        self.text = "[]"

    def begin(self) -> None:
        """Take up the end of the journal that is there. What cannot be read was never told."""
        data = _end_of(self._path, OLD_BYTES_MAX)
        data = _end_of(f"{self._path}.1", OLD_BYTES_MAX - len(data)) + b"\n" + data
        for line in data.split(b"\n"):
            try:
                entry = json.loads(line)
            except ValueError:  # torn, or cut by the beginning
                continue
            if isinstance(entry, dict):
                self._take(entry)
        self._write()

    def feed(self, entry: Mapping[str, Any]) -> None:
        if self._take(entry):
            self._write()

    def _take(self, entry: Mapping[str, Any]) -> bool:
        """Whether anything that is told has changed."""
        if not isinstance(entry.get("what"), str) or not isinstance(entry.get("at"), int | float):
            return False
        before = self._teller.open
        ended = self._teller.feed(entry)
        self._teller.trim(STEPS_MAX)
        for story in ended:
            (self._rejoins if story.kind == REJOIN else self._ended).append(story)
        return bool(ended) or self._teller.open != before

    def _write(self) -> None:
        # a rejoin goes on beside what matters more: it takes no room from that
        under_way = self._teller.open
        last = [*self._ended, *(story for story in under_way if story.kind != REJOIN)][-KEPT:]
        rejoins = [*self._rejoins, *(story for story in under_way if story.kind == REJOIN)]
        told = sorted([*last, *rejoins[-max(1, KEPT - len(last)) :]], key=lambda story: story.at)
        self.text = json.dumps([_short(as_plain(story, self._node)) for story in told], default=str)


def _end_of(path: str, most: int) -> bytes:
    """At most so many bytes; b"" of a file that cannot be read."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - most))
            return file.read(most)
    except OSError:
        return b""


def _short(value: Any) -> Any:
    """Without the end of long texts, for which no picture has room."""
    if isinstance(value, str):
        return value if len(value) <= TEXT_MAX else value[: TEXT_MAX - 1] + "\u2026"
    if isinstance(value, Mapping):
        return {key: _short(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_short(one) for one in value]
    return value
