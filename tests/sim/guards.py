"""Is there a guard on a node, since when, and has it had the time to look round?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .engine import Engine

if TYPE_CHECKING:
    from .host import Host

THAW_S = 0.45  # who was frozen while another opened: until its guard has seen the gap and closed (a tick, close_s)
NEW_S = 1.3  # a new agent looks at every peer before it decides, each within its deadline


class Guards:
    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._back_s: dict[str, float] = {}  # since when the agent has been running
        self._gone_s: dict[str, float] = {}  # since when it was not, the last time

    def see(self, host: Host, runs: bool) -> None:
        """It begins, goes on, stands still or ends."""
        if runs:
            self._back_s.setdefault(host.name, self.engine.now)
        elif self._back_s.pop(host.name, None) is not None or host.name not in self._gone_s:
            self._gone_s[host.name] = self.engine.now

    def since_s(self, host: Host) -> float | None:
        """Since when it has been running; None while it is not."""
        return self._back_s.get(host.name)

    def gone_s(self, host: Host) -> float | None:
        """Since when it was not, the last time."""
        return self._gone_s.get(host.name)

    def settled(self, host: Host) -> bool:
        """A live agent that has had the time to look round."""
        back_s = self._back_s.get(host.name)
        return back_s is not None and self.engine.now - back_s > NEW_S

    def gone(self, host: Host) -> bool:
        """Has it been dead, or standing still for a whole lease, or had no time yet to look round since?"""
        gone_s, back_s = self._gone_s.get(host.name), self._back_s.get(host.name)
        if gone_s is None:
            return False
        lease_s = host.policy.limits.lease_s
        if back_s is None:
            ended = host.agent is None or not host.agent.alive
            return ended or self.engine.now - gone_s >= lease_s
        new = host.agent is not None and host.agent.began_s >= gone_s
        if not new and back_s - gone_s < lease_s:
            return False
        return self.engine.now - back_s < (NEW_S if new else THAW_S)
