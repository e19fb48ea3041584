"""Has this server transactions that the writer lacks?

The own set is read first, the writer's second, so that a busy writer can't make a healthy standby look errant.
"""

from __future__ import annotations

from ..model.finding import NO_THRESHOLDS, Finding, Outcome, Perf, Thresholds
from ..model.ranges import Range
from ..model.sight import Sight


def check(sight: Sight, thresholds: Thresholds = NO_THRESHOLDS) -> Finding:
    """CRITICAL when any is errant, unless ranges are given; the number counts them. UNKNOWN: nothing was compared."""
    if thresholds.critical is None and thresholds.warning is None:
        thresholds = Thresholds(critical=Range(0, 0))
    if sight.errant is None:
        perf = (Perf("errant", None, "", thresholds.warning, thresholds.critical),)
        return Finding(
            "errant", Outcome.UNKNOWN, "errant-not-compared", "no writer's set was seen to compare", perf
        )
    count = sight.errant.count()
    perf = (Perf("errant", count, "", thresholds.warning, thresholds.critical),)
    if count:
        text = f"{count} transactions that the writer lacks: {sight.errant}"
        return Finding("errant", thresholds.outcome(count), "errant-transactions", text, perf)
    return Finding(
        "errant", thresholds.outcome(0), "nothing-errant", "the writer has everything that is here", perf
    )
