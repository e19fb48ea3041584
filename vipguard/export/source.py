"""What does the agent say now? Its status and its stories, asked once for many that want it at the same time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from .. import client
from ..errors import VipguardError
from ..log import get_logger

ASK_S = 0.3
FRESH_S = 0.5
T = TypeVar("T")
_log = get_logger("exporter")


@dataclass(frozen=True, slots=True)
class Seen:
    """`status` None: the agent is silent, by `reason`. `answered_at`: when it answered last, in Unix seconds."""

    status: dict[str, Any] | None
    reason: str
    answered_at: float | None


class _Fresh(Generic[T]):
    """An answer that is at most `FRESH_S` seconds old. Threads that want it at the same time share one question."""

    def __init__(self, ask: Callable[[], T]) -> None:
        self._ask, self._lock = ask, threading.Lock()
        self._kept: tuple[T, float] | None = None

    def get(self) -> T:
        with self._lock:
            if self._kept is None or time.monotonic() - self._kept[1] >= FRESH_S:
                self._kept = self._ask(), time.monotonic()
            return self._kept[0]


class Source:
    """What the agent at `socket` says: a hundred scrapers cost it two questions of each kind a second."""

    def __init__(self, socket: str, ask: Callable[[str, float], dict[str, Any]] = client.status) -> None:
        self._socket, self._ask = socket, ask
        self._seen = Seen(None, "", None)
        self._status, self._told = _Fresh(self._look), _Fresh(self._tell)

    def get(self) -> dict[str, Any] | None:
        """The status; None while the agent is silent."""
        return self.look().status

    def look(self) -> Seen:
        return self._status.get()

    def stories(self) -> list[Any] | str:
        """The last stories, or why there are none."""
        return self._told.get()

    def _look(self) -> Seen:
        """A look, and one line in the log for each change between silence and answers."""
        before = self._seen
        try:
            self._seen = Seen(self._ask(self._socket, ASK_S), "", time.time())
        except VipguardError as exc:
            self._seen = Seen(None, str(exc), before.answered_at)
        if self._seen.reason and not before.reason:
            _log.warning("agent", rule="agent-silent", reason=self._seen.reason)
        elif before.reason and not self._seen.reason:
            _log.info("agent", rule="agent-answers")
        return self._seen

    def _tell(self) -> list[Any] | str:
        try:
            return client.stories(self._socket, ASK_S)
        except VipguardError as exc:
            return str(exc)
