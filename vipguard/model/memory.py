"""What must survive a restart of the agent, and of the host?"""

from __future__ import annotations

from dataclasses import dataclass

from .evidence import EpochRow, ProcessId
from .maintenance import Maintenance


@dataclass(frozen=True, slots=True)
class Completed:
    """A takeover that went through to its epoch row, and the server process that it opened; None: it was not known."""

    epoch: int
    boot_id: str
    process: ProcessId | None


@dataclass(frozen=True, slots=True)
class KeptLag:
    """The last good lag of boot `boot_id`, in seconds, and when it was seen (CLOCK_BOOTTIME of that boot)."""

    boot_id: str
    lag_s: float
    at_s: float


@dataclass(frozen=True, slots=True)
class KeptClean:
    """The last comparison of boot `boot_id` found nothing errant here; `own`: what this server had written itself then.

    As long as it has written nothing more by itself, it has nothing that the writer lacks.
    """

    boot_id: str
    own: str


@dataclass(frozen=True, slots=True)
class KeptThreads:
    """The server process of boot `boot_id` that was last seen to replicate; `by_hand`: its threads stand since, and
    neither vipguard nor an error stopped them.

    A process that is another one was booted, with its replication stopped by its configuration.
    """

    boot_id: str
    process: ProcessId
    by_hand: bool = False


@dataclass(frozen=True)  # without slots, `model/changed.py` changes it fast
class Memory:
    """`epoch` is the highest that this node ever reserved; `completed` its own last completed takeover.

    `lag` and `clean` outlive the agent, not the boot. `stopped` is the boot in which a takeover stopped the IO thread,
    until replication is started again. `solo`: when this node last wrote, every other was out for sure, so that nobody
    can have a newer history; a node that boots alone may open only then. `open`: from before an opening until the
    server was seen closed again. `maintenance`: the operator's rows as the server told them last. `diverged`: why this
    node is apart, until a comparison finds otherwise. `openings`: those of other nodes that it heard of and that its
    own server does not know. `threads` tells an operator's STOP from a server's boot.
    """

    epoch: int = 0
    completed: Completed | None = None
    lag: KeptLag | None = None
    clean: KeptClean | None = None
    stopped: str | None = None
    solo: bool = False
    open: bool = False
    maintenance: tuple[Maintenance, ...] = ()
    diverged: str | None = None
    openings: tuple[EpochRow, ...] = ()
    threads: KeptThreads | None = None
