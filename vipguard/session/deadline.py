"""How long may this take altogether? A total deadline that every call of one piece of work shares."""

from __future__ import annotations

import time


def boottime_s() -> float:
    """CLOCK_BOOTTIME: unlike the monotonic clock it also counts while the machine is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Deadline:
    """A moment on CLOCK_BOOTTIME. `Deadline(0.5)` is half a second from now."""

    __slots__ = ("at_s",)

    def __init__(self, seconds: float) -> None:
        self.at_s = boottime_s() + seconds

    def remaining(self) -> float:
        """Seconds left, never below zero."""
        return max(0.0, self.at_s - boottime_s())

    def overdue_s(self) -> float:
        """Seconds since it passed, never below zero."""
        return max(0.0, boottime_s() - self.at_s)

    @property
    def expired(self) -> bool:
        return boottime_s() >= self.at_s

    def at_most(self, seconds: float) -> Deadline:
        """This one, or one that many seconds from now if that comes first."""
        return Deadline(min(self.remaining(), seconds))

    def before(self, seconds: float) -> Deadline:
        """The moment that many seconds before this one: what comes after keeps that reserve."""
        return Deadline(self.at_s - seconds - boottime_s())
