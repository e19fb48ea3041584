"""What does the agent say now? Its status, asked once for many that want it at the same time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from ..client import status
from ..errors import VipguardError

ASK_S = 0.3
FRESH_S = 0.5


class Source:
    """The status at `socket`, at most `FRESH_S` seconds old; None, with `reason`, while the agent is silent.

    Threads that ask at the same time share one question, so that a hundred scrapers cost the agent two questions a
    second.
    """

    def __init__(self, socket: str, ask: Callable[[str, float], dict[str, Any]] = status) -> None:
        self._socket, self._ask = socket, ask
        self._lock = threading.Lock()
        self._known: dict[str, Any] | None = None
        self._at_s = float("-inf")
        self.reason = "not asked yet"

    def get(self) -> dict[str, Any] | None:
        with self._lock:
            if time.monotonic() - self._at_s >= FRESH_S:
                try:
                    self._known, self.reason = self._ask(self._socket, ASK_S), ""
                except VipguardError as exc:
                    self._known, self.reason = None, str(exc)
                self._at_s = time.monotonic()
            return self._known
