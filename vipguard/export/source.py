"""What does the agent say now? Its status and its stories, asked once for many that want it at the same time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .. import client
from ..errors import VipguardError
from ..log import get_logger

ASK_S = 0.3
FRESH_S = 0.5
_log = get_logger("exporter")


@dataclass(frozen=True, slots=True)
class Seen:
    """`status` None: the agent is silent, by `reason`. `answered_at`: when it answered last, in Unix seconds."""

    status: dict[str, Any] | None
    reason: str
    answered_at: float | None


class Source:
    """What the agent at `socket` says, at most `FRESH_S` seconds old.

    Threads that ask at the same time share one question, so that a hundred scrapers cost the agent two questions a
    second.
    """

    def __init__(self, socket: str, ask: Callable[[str, float], dict[str, Any]] = client.status) -> None:
        self._socket, self._ask = socket, ask
        self._lock, self._stories_lock = threading.Lock(), threading.Lock()
        self._at_s = self._stories_at_s = float("-inf")
        self._seen, self._silent = Seen(None, "not asked yet", None), False
        self._stories: list[Any] | str = "not asked yet"

    def get(self) -> dict[str, Any] | None:
        """The status; None while the agent is silent."""
        return self.look().status

    def look(self) -> Seen:
        with self._lock:
            if time.monotonic() - self._at_s >= FRESH_S:
                try:
                    self._seen = Seen(self._ask(self._socket, ASK_S), "", time.time())
                except VipguardError as exc:
                    self._seen = Seen(None, str(exc), self._seen.answered_at)
                self._say()
                self._at_s = time.monotonic()
            return self._seen

    def _say(self) -> None:
        """One line for each change."""
        silent = self._seen.status is None
        if silent and not self._silent:
            _log.warning("agent", rule="agent-silent", reason=self._seen.reason)
        elif not silent and self._silent:
            _log.info("agent", rule="agent-answers")
        self._silent = silent

    def stories(self) -> list[Any] | str:
        """The last stories, or why there are none."""
        with self._stories_lock:
            if time.monotonic() - self._stories_at_s >= FRESH_S:
                try:
                    self._stories = client.stories(self._socket, ASK_S)
                except VipguardError as exc:
                    self._stories = str(exc)
                self._stories_at_s = time.monotonic()
            return self._stories
