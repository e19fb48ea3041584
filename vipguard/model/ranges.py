"""Which numbers are out of bounds? Threshold ranges as the Monitoring Plugins guidelines write them.

`10` alerts outside 0..10, `10:` below 10, `~:10` above 10, `10:20` outside, `@10:20` inside.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

_RANGE = re.compile(r"(?P<inside>@)?(?:(?P<low>~|-?\d+(?:\.\d+)?)?:)?(?P<high>-?\d+(?:\.\d+)?)?")


@dataclass(frozen=True, slots=True)
class Range:
    """A closed interval; a number outside alerts, or inside if `inside` is set."""

    low: float = 0.0
    high: float = math.inf
    inside: bool = False

    @classmethod
    def parse(cls, text: str) -> Range:
        """The range that `text` writes; ValueError says what is wrong with it."""
        match = _RANGE.fullmatch(text.strip())
        if match is None or (match["low"] is None and match["high"] is None):
            raise ValueError(f"{text!r} is no threshold range; write for example 10, 10:, ~:10, 10:20 or @10:20")
        low = -math.inf if match["low"] == "~" else float(match["low"] or 0)
        high = math.inf if match["high"] is None else float(match["high"])
        if low > high:
            raise ValueError(f"{text!r} is no threshold range; its start is above its end")
        return cls(low, high, match["inside"] is not None)

    def alerts(self, value: float) -> bool:
        within = self.low <= value <= self.high
        return within if self.inside else not within

    def __str__(self) -> str:
        low = "" if self.low == 0 else "~:" if self.low == -math.inf else f"{self.low:g}:"
        high = "" if self.high == math.inf else f"{self.high:g}"
        if self.low == 0 and self.high == math.inf:
            low = "0:"
        return f"{'@' if self.inside else ''}{low}{high}"
