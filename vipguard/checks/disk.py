"""Can the data directory still be written?"""

from __future__ import annotations

from ..model.finding import NO_THRESHOLDS, Finding, Outcome, Perf, Thresholds
from ..model.ranges import Range
from ..model.sight import Sight


def check(sight: Sight, thresholds: Thresholds = NO_THRESHOLDS) -> Finding:
    """CRITICAL below `disk.free_mb_min` or mounted read-only, unless ranges are given; the number is free MB."""
    disk = sight.disk
    if thresholds.critical is None and thresholds.warning is None:
        thresholds = Thresholds(critical=Range(low=sight.policy.disk.free_mb_min))
    if disk is None or disk.free_bytes is None or disk.writable is None:
        perf = (Perf("free", None, "MB", thresholds.warning, thresholds.critical),)
        return Finding(
            "disk", Outcome.UNKNOWN, "disk-not-seen", "the data directory could not be looked at", perf
        )
    free_mb = disk.free_bytes / 1e6
    perf = (Perf("free", round(free_mb, 1), "MB", thresholds.warning, thresholds.critical),)
    if not disk.writable:
        return Finding(
            "disk", Outcome.CRITICAL, "disk-read-only", "the data directory is mounted read-only", perf
        )
    outcome = thresholds.outcome(free_mb)
    if outcome is not Outcome.OK:
        return Finding("disk", outcome, "disk-full", f"only {free_mb:.0f} MB are free", perf)
    return Finding("disk", outcome, "disk-free", f"{free_mb:.0f} MB are free", perf)
