"""What did this node decide, and why? Every note as a line of JSON, kept over restarts.

Appended by a thread of its own, so that a full or slow disk delays no decision. Warnings and completed takeovers are
fsynced. A line that a crash tore stays a line of its own: reading skips it and says so.
"""

from __future__ import annotations

import json
import os
import queue
import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from ..log import get_logger
from .pen import BYTES_MAX, Pen, append
from .recent import Recent

QUEUED_MAX = 2000
_SYNCED = frozenset({"takeover-complete", "closed", "may-be-lost", "adopted"})
_log = get_logger("journal")
__all__ = ["BYTES_MAX", "Journal", "read"]


class Journal:
    """The journal at `path`; the file before the present one is kept as `PATH.1`."""

    def __init__(self, path: str, recent: Recent | None = None, pen: Pen | None = None) -> None:
        """`recent` is fed with every entry, by this thread; `pen` writes them, where there is one."""
        self._path, self._recent, self._pen = path, recent, pen
        self._queue: queue.Queue[dict[str, Any] | None] = queue.Queue(QUEUED_MAX)
        self._failing = False
        self._dropped = 0
        self._thread = threading.Thread(target=self._run, name="vipguard-journal", daemon=True)
        self._thread.start()

    def put(self, entry: Mapping[str, Any]) -> None:
        """Queue one entry; never blocks. What a stuck disk can't take is dropped and counted."""
        try:
            self._queue.put_nowait({**entry, "dropped_before": self._dropped} if self._dropped else dict(entry))
            self._dropped = 0
        except queue.Full:
            self._dropped += 1

    def close(self, within_s: float = 1.0) -> None:
        """Write what is queued, for `within_s` seconds at most."""
        try:
            self._queue.put(None, timeout=within_s)
        except queue.Full:
            return
        self._thread.join(within_s)

    def _run(self) -> None:
        if self._recent is not None:
            self._tell(self._recent.begin)
        while (entry := self._queue.get()) is not None:
            try:
                self._append(entry)
                self._failing = False
            except OSError as exc:
                if not self._failing:
                    self._failing = True
                    _log.error("journal", rule="journal-unwritable", path=self._path, reason=exc.strerror)
            if self._recent is not None:
                self._tell(partial(self._recent.feed, entry))

    def _tell(self, what: Callable[[], None]) -> None:
        """A mistake in the telling must cost no entry."""
        try:
            what()
        except Exception as exc:
            self._recent = None
            _log.error("defect", rule="unexpected-error", effect="stories", error=repr(exc))

    def _append(self, entry: dict[str, Any]) -> None:
        text = json.dumps(entry, default=str)
        sync = entry.get("level") in ("warning", "error") or entry.get("what") in _SYNCED
        if self._pen is None:
            append(self._path, text, sync)
        else:
            self._pen.append(self._path, text, sync)


def read(path: str) -> tuple[list[dict[str, Any]], int]:
    """Every entry, oldest first, and how many lines could not be read (torn, or not a journal's). Raises OSError."""
    entries: list[dict[str, Any]] = []
    unread = 0
    for name in (f"{path}.1", path):
        if not os.path.exists(name):
            continue
        for line in Path(name).read_bytes().split(b"\n"):
            if not line.strip():
                continue
            try:
                entry = json.loads(line)
            except ValueError:
                unread += 1
                continue
            if isinstance(entry, dict) and "what" in entry:
                entries.append(entry)
            else:
                unread += 1
    return entries, unread
