"""How often has what happened, since this agent began? Counted from its notes, for the metrics.

Pure: notes in, plain data out. A counter begins at 0 with the agent, as Prometheus expects of a process.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from ..model.effect import Note

#: seconds, upper bounds of the histograms' buckets; what a client waits for lies in their middle
BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Histogram:
    """Counts of seconds by bucket, not cumulated; the last bucket has no bound."""

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS_S) + 1)
        self.sum_s = 0.0

    def add(self, seconds: float) -> None:
        self.counts[sum(bound < seconds for bound in BUCKETS_S)] += 1
        self.sum_s += seconds

    def told(self) -> dict[str, Any]:
        return {"counts": self.counts, "sum_s": round(self.sum_s, 6)}


class Tally:
    """Fed with every note of one agent; `told` is what `status` says of it."""

    def __init__(self) -> None:
        self._standing: str | None = None
        self._step: tuple[str, float] | None = None  # the takeover's present step, and when it began, in ms
        self._transitions: Counter[tuple[str, str]] = Counter()
        self._notes: Counter[tuple[str, str]] = Counter()
        self._steps: dict[str, Histogram] = {}
        self._takeovers = Histogram()
        self._stall_s: float | None = None

    def tell(self, note: Note) -> None:
        numbers = dict(note.numbers)
        if note.level in ("warning", "error"):
            self._notes[note.level, note.what] += 1
        match note.what:
            case "verdict":
                self._stand(str(numbers.get("standing", "")))
            case "takeover-begins":
                self._step = None
            case "takeover-step":
                self._next(note.rule, _number(numbers.get("at_ms")))
            case "takeover-complete":
                took_ms = _number(numbers.get("took_ms"))
                self._next("", took_ms)
                self._step = None
                self._takeovers.add(took_ms / 1000)
            case "takeover-abandoned":
                self._step = None
            case "may-be-lost":
                unseen_ms = numbers.get("unseen_ms")
                self._stall_s = _number(unseen_ms) / 1000 if unseen_ms is not None else None
            case _:
                pass

    def _stand(self, standing: str) -> None:
        if standing and self._standing is not None and standing != self._standing:
            self._transitions[self._standing, standing] += 1
        self._standing = standing or self._standing

    def _next(self, step: str, at_ms: float) -> None:
        if self._step is not None:
            before, since_ms = self._step
            self._steps.setdefault(before, Histogram()).add(max(0.0, at_ms - since_ms) / 1000)
        self._step = (step, at_ms)

    def told(self) -> dict[str, Any]:
        return {
            "buckets_s": list(BUCKETS_S),
            "transitions": [[*pair, count] for pair, count in sorted(self._transitions.items())],
            "alerts": [[*pair, count] for pair, count in sorted(self._notes.items())],
            "takeover": self._takeovers.told(),
            "takeover_steps": {step: found.told() for step, found in sorted(self._steps.items())},
            "stall_s": self._stall_s,
        }


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
