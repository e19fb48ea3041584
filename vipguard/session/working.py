"""Is a server that says nothing at work? Its threads run, or they want a processor and get none.

Read from /proc. A server that was stopped, or whose threads wait for each other for ever, does neither.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from ..model.evidence import ProcessId
from .process import stat_fields

BUSY_SHARE = 0.2  # of one processor: what the background threads of an idle server need is a tenth of that
_THREADS_MAX = 2000  # looked at; a look is not to cost more than some milliseconds


@dataclass(frozen=True, slots=True)
class Work:
    """`ran_ns`: how long its threads have run and waited for a processor, in all. `runnable`: who does just now."""

    ran_ns: int
    runnable: frozenset[int]


def sample(process: ProcessId) -> Work | None:
    """What it has done up to now; None where it is gone, or the kernel does not tell.

    Documentation/scheduler/sched-stats.rst: /proc/PID/task/TID/schedstat.
    """
    fields = stat_fields(process.pid)
    if fields is None or int(fields[19]) != process.start_ticks:
        return None
    try:
        threads = os.listdir(f"/proc/{process.pid}/task")[:_THREADS_MAX]
    except OSError:
        return None
    ran_ns, runnable = 0, set()
    for thread in threads:
        told = _read(f"/proc/{process.pid}/task/{thread}/schedstat").split()
        if len(told) >= 2:
            ran_ns += int(told[0]) + int(told[1])
        state = _read(f"/proc/{process.pid}/task/{thread}/stat").rpartition(") ")[2][:1]
        if state == "R":
            runnable.add(int(thread))
    return Work(ran_ns, frozenset(runnable))


def busy(before: Work | None, after: Work | None, between_s: float) -> bool:
    """Did it work in that time, or did one thread want a processor at both its ends?"""
    if before is None or after is None:
        return False
    grown_s = (after.ran_ns - before.ran_ns) / 1e9
    return grown_s >= BUSY_SHARE * between_s or bool(before.runnable & after.runnable)


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read(1024)
    except OSError:
        return ""
