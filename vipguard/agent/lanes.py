"""Who carries out an effect? The worker of its lane: one thread with its own queue.

So a call that hangs until its deadline delays nothing but its own kind. A worker never decides: it does, looks, and
reports a value or that it failed.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

from ..errors import CouldNotDo, VipguardError
from ..log import get_logger
from ..model.effect import Effect
from .event import Did, Failed
from .world import Flight

_log = get_logger("agent")
TOO_LATE = "its worker came to it too late"


class Lanes:
    """All workers of one agent, each begun with its first flight. `carry_out` does an effect; `post` takes the reports,
    from any thread.
    """

    def __init__(
        self, carry_out: Callable[[Effect], object], post: Callable[[Did], None], now: Callable[[], float]
    ) -> None:
        self._carry_out, self._post, self._now = carry_out, post, now
        self._workers: dict[str, _Worker] = {}

    def start(self, flight: Flight) -> None:
        lane = flight.effect.worker
        if lane not in self._workers:
            self._workers[lane] = _Worker(f"vipguard-{lane}", self._carry_out, self._post, self._now)
            self._workers[lane].start()
        self._workers[lane].put(flight)

    def close(self) -> None:
        for worker in self._workers.values():
            worker.put(None)


class _Worker(threading.Thread):
    """One lane: carries out its flights in order and reports each."""

    def __init__(
        self,
        name: str,
        carry_out: Callable[[Effect], object],
        post: Callable[[Did], None],
        now: Callable[[], float],
    ) -> None:
        super().__init__(name=name, daemon=True)
        self._queue: queue.SimpleQueue[Flight | None] = queue.SimpleQueue()
        self._carry_out, self._post, self._now = carry_out, post, now

    def put(self, flight: Flight | None) -> None:
        self._queue.put(flight)

    def run(self) -> None:
        while (flight := self._queue.get()) is not None:
            late = flight.effect.perishes and self._now() > flight.until_s
            result = Failed(TOO_LATE, refused=True) if late else self._result(flight.effect)
            self._post(Did(flight.number, flight.effect, result))

    def _result(self, effect: Effect) -> object:
        try:
            return self._carry_out(effect)
        except CouldNotDo as exc:
            return Failed(str(exc), exc.refused)
        except VipguardError as exc:
            return Failed(str(exc))
        except Exception as exc:  # a defect of ours must not kill the lane: the step failed, the node stays closed
            _log.error("defect", rule="unexpected-error", effect=type(effect).__name__, error=repr(exc))
            return Failed(f"unexpected error: {exc!r}")
