"""Has the file system of the data directory room, and can it be written?"""

from __future__ import annotations

import os
from collections.abc import Callable

from ..model.evidence import DiskEvidence


def look(path: str, now: Callable[[], float]) -> DiskEvidence:
    """Free bytes (those that a process without privileges may use), total bytes, and whether it is mounted writable.

    All None when statvfs fails. Raises nothing, but blocks for as long as a dead network file system does: call it
    where that is harmless. `now`: seconds of CLOCK_BOOTTIME. A file system that the kernel turned read-only after
    errors shows in ST_RDONLY; nothing is written to find out.
    """
    seen_at_s = now()
    try:
        found = os.statvfs(path)
    except OSError:
        return DiskEvidence(seen_at_s, free_bytes=None, total_bytes=None, writable=None)
    return DiskEvidence(
        seen_at_s,
        free_bytes=found.f_bavail * found.f_frsize,
        total_bytes=found.f_blocks * found.f_frsize,
        writable=not found.f_flag & os.ST_RDONLY,
        took_s=now() - seen_at_s,
    )
