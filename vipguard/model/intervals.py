"""Which whole numbers are in a list of intervals? Both ends included; sorted, disjoint, never adjacent."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

Interval = tuple[int, int]
Intervals = tuple[Interval, ...]


def merge(intervals: Iterable[Interval]) -> Intervals:
    """Intervals in any order, overlapping or not, as a proper list."""
    merged: list[Interval] = []
    for first, last in sorted(intervals):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return tuple(merged)


def covers(have: Intervals, wanted: Intervals) -> bool:
    for first, last in wanted:
        at = bisect_right(have, first, key=lambda interval: interval[0]) - 1
        if at < 0 or have[at][1] < last:
            return False
    return True


def subtract(intervals: Intervals, gone: Intervals) -> Intervals:
    rest: list[Interval] = []
    at = 0
    for first, last in intervals:
        while at < len(gone) and gone[at][1] < first:
            at += 1
        ahead = at
        while ahead < len(gone) and gone[ahead][0] <= last:
            if gone[ahead][0] > first:
                rest.append((first, gone[ahead][0] - 1))
            first = gone[ahead][1] + 1
            ahead += 1
        if first <= last:
            rest.append((first, last))
    return tuple(rest)
