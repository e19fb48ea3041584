"""Who else is told of a warning? The operator's on-alert hooks, at a bounded rate and on a thread of their own."""

from __future__ import annotations

import collections
import contextlib
import queue
import threading
from collections.abc import Callable, Mapping

from ..act import hooks
from ..errors import CouldNotDo
from ..log import get_logger
from ..model.effect import Note
from ..model.policy import Policy

EVENT = "on-alert"
PER_MINUTE_MAX = 20
QUEUED_MAX = 20
_LEVELS = ("warning", "error", "critical")
_log = get_logger("hooks")


def environment(policy: Policy, event: str, facts: Mapping[str, str]) -> dict[str, str]:
    """What a hook finds in its environment: the node's names, and what happened; without control characters."""
    found = {
        "EVENT": event,
        "CLUSTER": policy.cluster,
        "NODE": policy.node,
        "VIP": policy.vip.ip,
        "INTERFACE": policy.vip.interface,
        **facts,
    }
    return {
        f"VIPGUARD_{key}": "".join(c if c.isprintable() else " " for c in text)[:4000]
        for key, text in found.items()
    }


class Alerts:
    """`policy` gives the one in force now. Times are seconds of one clock, CLOCK_BOOTTIME."""

    def __init__(self, policy: Callable[[], Policy]) -> None:
        self._policy = policy
        self._queue: queue.Queue[tuple[float, dict[str, str]] | None] = queue.Queue(QUEUED_MAX)
        self._times: collections.deque[float] = collections.deque(maxlen=PER_MINUTE_MAX)
        self._dropped = 0
        self._thread: threading.Thread | None = None

    def tell(self, note: Note, now_s: float, epoch: int) -> None:
        """Queue a note of level warning or worse; never blocks. What is too much is counted and told with the next."""
        if note.level not in _LEVELS:
            return
        numbers = {key: str(value) for key, value in note.numbers if value not in ("", None)}
        facts = {
            "WHAT": note.what,
            "RULE": note.rule,
            "LEVEL": note.level,
            "EPOCH": str(epoch),
            "TEXT": numbers.pop("text", numbers.pop("reason", "")),
            "NUMBERS": " ".join(f"{key}={value}" for key, value in numbers.items()),
        }
        try:
            self._queue.put_nowait((now_s, facts))
        except queue.Full:
            self._dropped += 1
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="vipguard-alerts", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while (alert := self._queue.get()) is not None:
            try:
                self._run_hooks(*alert)
            except CouldNotDo as exc:  # a log line only: an alert about an alert would never end
                _log.warning("hook", rule="hook-failed", hooks=EVENT, reason=str(exc))
            except Exception as exc:
                _log.error("defect", rule="unexpected-error", effect=EVENT, error=repr(exc))

    def _run_hooks(self, now_s: float, facts: dict[str, str]) -> None:
        policy = self._policy()
        if hooks.find(policy.hooks.directory, EVENT) == hooks.Found((), ()):
            return
        if len(self._times) == PER_MINUTE_MAX and now_s - self._times[0] < 60:
            self._dropped += 1
            return
        self._times.append(now_s)
        env = environment(policy, EVENT, {**facts, "DROPPED": str(self._dropped)})
        self._dropped = 0
        hooks.run(policy.hooks.directory, EVENT, env, policy.hooks.deadline_s)

    def close(self, within_s: float) -> None:
        """Let what is queued be told, for `within_s` seconds at most."""
        if self._thread is not None:
            with contextlib.suppress(queue.Full):
                self._queue.put(None, timeout=within_s)
                self._thread.join(within_s)
