"""What happens next? One heap of events, one seeded source of chance, one story; and processes that can be frozen."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from typing import Any


class Engine:
    """Simulated time in seconds. Two runs of one seed are the same, event by event."""

    def __init__(self, seed: int) -> None:
        self.seed, self.now, self.events = seed, 100.0, 0
        self.rng = random.Random(seed)
        self.story: list[tuple[float, str, str]] = []
        self._heap: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._order = itertools.count()

    def at(self, delay_s: float, act: Callable[..., None], *args: Any) -> None:
        """`act(*args)`, `delay_s` from now; of two at one moment the one that was asked for first comes first."""
        heapq.heappush(self._heap, (self.now + max(0.0, delay_s), next(self._order), act, args))

    def run(self, until_s: float, done: Callable[[], bool] | None = None) -> None:
        """Until `until_s`, or until `done` says so, asked every simulated tenth of a second."""
        ask_s = self.now
        while self._heap and self._heap[0][0] <= until_s:
            if done is not None and self.now >= ask_s:
                ask_s = self.now + 0.1
                if done():
                    return
            self.now, _, act, args = heapq.heappop(self._heap)
            self.events += 1
            act(*args)
        self.now = max(self.now, until_s)

    def tell(self, who: str, text: str) -> None:
        self.story.append((self.now, who, text))

    def between(self, low: float, high: float) -> float:
        return self.rng.uniform(low, high)

    def chance(self, share: float) -> bool:
        return self.rng.random() < share


class Process:
    """Something that runs code: it can be stopped and continued, its host can be paused, and it can end.

    What comes due while it is frozen is done, in order, when it runs again; when it ended, never.
    """

    def __init__(self, engine: Engine, host: Any) -> None:
        self.engine, self.host = engine, host
        self.alive, self.stopped = True, False
        self._late: list[tuple[Callable[..., None], tuple[Any, ...]]] = []

    @property
    def frozen(self) -> bool:
        return self.stopped or self.host.paused

    @property
    def running(self) -> bool:
        return self.alive and not self.frozen

    def at(self, delay_s: float, act: Callable[..., None], *args: Any) -> None:
        self.engine.at(delay_s, self._fire, act, args)

    def _fire(self, act: Callable[..., None], args: tuple[Any, ...]) -> None:
        if not self.alive:
            return
        if self.frozen or (self._late and act is not self._thaw_one):
            self._late.append((act, args))
            return
        act(*args)

    def thaw(self) -> None:
        """To be called when the process, or its host, goes on."""
        if self.alive and not self.frozen and self._late:
            self.engine.at(0.0, self._thaw_one)

    def _thaw_one(self) -> None:
        if not self.alive or self.frozen or not self._late:
            return
        act, args = self._late.pop(0)
        act(*args)
        if self._late:
            self.engine.at(0.00002, self._thaw_one)

    def stop(self) -> None:
        self.stopped = True

    def cont(self) -> None:
        self.stopped = False
        self.thaw()

    def end(self) -> None:
        self.alive = False
        self._late.clear()
