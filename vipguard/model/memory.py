"""What must survive a restart of the agent, and of the host?"""

from __future__ import annotations

from dataclasses import dataclass

from .evidence import ProcessId


@dataclass(frozen=True, slots=True)
class Completed:
    """A takeover that went through to its epoch row, and the server process that it opened."""

    epoch: int
    boot_id: str
    process: ProcessId


@dataclass(frozen=True, slots=True)
class Stopped:
    """A takeover of boot `boot_id` stopped the IO thread; the lag was this good when the source was last there."""

    boot_id: str
    lag_s: float
    at_s: float
    source_s: float


@dataclass(frozen=True, slots=True)
class Memory:
    """`epoch` is the highest that this node ever reserved; `completed` its own last completed takeover.

    `stopped` is set from before a takeover stops the IO thread until replication is started again.
    """

    epoch: int = 0
    completed: Completed | None = None
    stopped: Stopped | None = None
