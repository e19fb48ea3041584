"""Which numbers are out of bounds? Threshold ranges as the Monitoring Plugins guidelines write them.

`10` alerts outside 0..10, `10:` below 10, `~:10` above 10, `10:20` outside, `@10:20` inside.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from decimal import Decimal

_NUMBER = r"-?\d{1,300}(?:\.\d{1,400})?"
_RANGE = re.compile(rf"(?P<inside>@)?(?:(?P<low>~|{_NUMBER})?:)?(?P<high>{_NUMBER})?", re.ASCII)


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
            raise ValueError(
                f"{text!r} is no threshold range; write for example 10, 10:, ~:10, 10:20 or @10:20"
            )
        low = -math.inf if match["low"] == "~" else float(match["low"] or 0)
        high = math.inf if match["high"] is None else float(match["high"])
        if low > high:
            raise ValueError(f"{text!r} is no threshold range; its start is above its end")
        return cls(low, high, match["inside"] is not None)

    def alerts(self, value: float) -> bool:
        within = self.low <= value <= self.high
        return within if self.inside else not within

    def __str__(self) -> str:
        low = "" if self.low == 0 else "~:" if self.low == -math.inf else f"{number(self.low)}:"
        high = "" if self.high == math.inf else number(self.high)
        if self.low == 0 and self.high == math.inf:
            low = "0:"
        return f"{'@' if self.inside else ''}{low}{high}"


def number(value: float) -> str:
    """A number as the guidelines write one: digits, a point and a minus only, never an exponent."""
    text = format(Decimal(repr(float(value))), "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text
