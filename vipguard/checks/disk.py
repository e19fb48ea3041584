"""Can the data directory still be written? Has it room, and do writes come back?"""

from __future__ import annotations

from functools import lru_cache

from ..model.evidence import DiskEvidence
from ..model.finding import NO_THRESHOLDS, Finding, Outcome, Perf, Thresholds
from ..model.ranges import Range
from ..model.sight import Sight
from . import stall


def check(sight: Sight, thresholds: Thresholds = NO_THRESHOLDS) -> Finding:
    """CRITICAL below `disk.free_mb_min`, mounted read-only, or while writes do not come back; the number is free MB."""
    found = room(sight, thresholds)
    if sight.disk is None:
        return found
    if stall.suspect(sight):
        return Finding("disk", Outcome.CRITICAL, "disk-stalled", stall.text(sight), found.perf)
    if found.outcome is not Outcome.OK:
        return found
    if stall.slow(sight):
        return Finding("disk", Outcome.WARNING, "disk-slow", stall.text(sight), found.perf)
    if sight.disk.sync_error:
        return Finding("disk", Outcome.UNKNOWN, "disk-unsynced", unsynced(sight), found.perf)
    return found


def unsynced(sight: Sight) -> str:
    """Why it cannot be told whether writes come back; empty where it can."""
    disk = sight.disk
    if disk is None or not disk.sync_error:
        return ""
    place = disk.place or "the data directory"
    return f"no file of vipguard's own can be written and synced in {place}: {disk.sync_error}"


def room(sight: Sight, thresholds: Thresholds = NO_THRESHOLDS) -> Finding:
    """CRITICAL below `disk.free_mb_min` or mounted read-only, unless ranges are given."""
    if thresholds.critical is None and thresholds.warning is None:
        thresholds = _least(sight.policy.disk.free_mb_min)
    return _room(sight.disk, thresholds)


@lru_cache(maxsize=4)
def _least(free_mb: float) -> Thresholds:
    return Thresholds(critical=Range(low=free_mb))


@lru_cache(maxsize=32)  # one look at the disk is judged many times
def _room(disk: DiskEvidence | None, thresholds: Thresholds) -> Finding:
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
