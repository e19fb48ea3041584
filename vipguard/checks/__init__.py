"""The questions asked of the evidence, one module each; `writer` makes of the answers the verdict.

Every check is a pure function `check(sight, thresholds) -> Finding`. `CHECKS` names them for the command line.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..model.finding import Finding, Thresholds
from ..model.sight import Sight
from . import alive, disk, errant, lag, read_only, replication, semi_sync, witness

CHECKS: Mapping[str, Callable[[Sight, Thresholds], Finding]] = {
    "alive": alive.check,
    "replication": replication.check,
    "lag": lag.check,
    "read_only": read_only.check,
    "errant": errant.check,
    "disk": disk.check,
    "witness": witness.check,
    "semi_sync": semi_sync.check,
}
