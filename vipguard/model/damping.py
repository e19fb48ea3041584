"""How often did this node lose its eligibility lately, and when did the cluster's writer last change?"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Damping:
    """As this agent saw it; a new agent begins with nothing. Times are CLOCK_BOOTTIME.

    `fit`: eligible by the last verdict that decided, None before the first. `losses`: of eligibility by an observed
    fault, within the window. `until_s`: parked for them until then. `epoch_at_s`: when the epoch came up that is the
    newest now, None for the one that the agent found at its start. `writer_seen_s`: when a writer was last seen.
    """

    fit: bool | None = None
    losses: tuple[float, ...] = ()
    until_s: float | None = None
    epoch: int | None = None
    epoch_at_s: float | None = None
    writer_seen_s: float | None = None

    def left_s(self, now_s: float) -> float:
        """For how long the node is parked still; 0 when it is not."""
        return 0.0 if self.until_s is None else max(0.0, self.until_s - now_s)
