"""How busy was the machine? By the kernel's own measure: pressure stall information, `/proc/pressure/cpu`.

Three streams of tests share two processors. Where processes that could run wait for one most of the time, agents,
servers and keepalived are late, and what a test says of their order at a moment says nothing of them.
"""

from __future__ import annotations

import contextlib
import re
import time
from pathlib import Path

PRESSURE = Path("/proc/pressure/cpu")
BUSY = 0.4


class Machine:
    """`waited` is asked at the end of what `begin` began."""

    def __init__(self, place: Path = PRESSURE) -> None:
        self._place = place
        self.begin()

    def begin(self) -> None:
        self._began = time.monotonic(), self._total_s()

    def waited(self) -> float:
        """The share of the time since then in which some process waited for a processor, 0 to 1. 0: the kernel does
        not count it."""
        began_s, before_s = self._began
        return (self._total_s() - before_s) / max(1e-6, time.monotonic() - began_s)

    def _total_s(self) -> float:
        with contextlib.suppress(OSError):
            if found := re.search(r"^some .*total=(\d+)", self._place.read_text(), re.M):
                return int(found[1]) / 1e6
        return 0.0


machine = Machine()
