"""What does keepalived do? VRRP 3 with nopreempt, the track file, the check script, and its ways to end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vipguard.model.evidence import VrrpState
from vipguard.model.vrrp import down_timer_s, skew_s

from .engine import Process

if TYPE_CHECKING:
    from .host import Host

SCRIPT_S = 2.0


class Keepalived(Process):
    """The VRRP process of one host. It adds and removes the VIP; when it is killed the VIP stays."""

    def __init__(self, host: Host) -> None:
        super().__init__(host.engine, host)
        self.state: VrrpState = "INIT"
        self.priority = host.node.priority
        self.advert_s = host.policy.vip.advert_s
        self._due_s = 0.0
        self._armed = False
        self._results: list[bool] = []
        self._script_ok = True
        host.remove_vip("keepalived starts")
        self.at(self.engine.between(0.1, 0.4), self._begin)

    def _begin(self) -> None:
        self._script(first=True)
        self._enter("BACKUP" if self._healthy() else "FAULT")
        self.at(self.advert_s, self._advertise)
        self.at(SCRIPT_S, self._script)

    def _healthy(self) -> bool:
        return self.host.track == "1" and self.host.link_up and self._script_ok and not self.host.vrrp_fault

    def _script(self, first: bool = False) -> None:
        ok = self.host.check_script()
        self._results = [*self._results, ok][-2:]
        if first or len(set(self._results)) == 1:
            self._script_ok = ok
        if not first:
            self.look()
            self.at(SCRIPT_S, self._script)

    def look(self) -> None:
        """Something that is tracked may have changed."""
        if self.state == "INIT":
            return
        if not self._healthy() and self.state != "FAULT":
            if self.state == "MASTER":
                self._send(0)
            self._enter("FAULT")
        elif self._healthy() and self.state == "FAULT":
            self._enter("BACKUP")

    def _enter(self, state: VrrpState) -> None:
        old, self.state = self.state, state
        if old == "MASTER":
            self.host.remove_vip(f"VRRP {state}")
        if state == "BACKUP":
            self._arm(down_timer_s(self.priority, self.advert_s))
        elif state == "MASTER":
            self._send(self.priority)
            self.host.add_vip()
        self.host.vrrp_line(state)

    def _arm(self, after_s: float) -> None:
        self._due_s = self.engine.now + after_s
        if not self._armed:
            self._armed = True
            self.at(after_s, self._down)

    def _down(self) -> None:
        self._armed = False
        left_s = self._due_s - self.engine.now
        if left_s > 1e-6:
            self._armed = True
            self.at(left_s, self._down)
        elif self.state == "BACKUP":
            self._enter("MASTER")

    def _advertise(self) -> None:
        if self.state == "MASTER":
            self._send(self.priority)
        self.at(self.advert_s, self._advertise)

    def _send(self, priority: int) -> None:
        host = self.host
        if host.link_up and priority:
            host.advert_left_s = self.engine.now
        for other in host.cluster.hosts.values():
            lost = other is host or self.engine.chance(host.network.lost_share)
            if not lost and host.network.passes(host.name, other.name, "vrrp"):
                self.engine.at(0.0002, other.hear_advert, host, priority)

    def hear(self, sender: Host, priority: int) -> None:
        if self.state == "BACKUP":
            if priority == 0:
                self._due_s = self.engine.now + skew_s(self.priority, self.advert_s)
                self.at(skew_s(self.priority, self.advert_s), self._down)
            else:
                self._due_s = self.engine.now + down_timer_s(self.priority, self.advert_s)
        elif self.state == "MASTER":
            if priority == 0 or priority < self.priority:
                self._send(self.priority)
            elif priority > self.priority or sender.address > self.host.address:
                self._enter("BACKUP")

    def address_removed(self) -> None:
        """By somebody else, while this is MASTER: it adds the VIP again."""
        if self.state == "MASTER":
            self.host.add_vip()

    def shut_down(self) -> None:
        """SIGTERM: priority 0, the VIP goes, then the process ends."""
        if not self.running:
            return
        if self.state == "MASTER":
            self._send(0)
            self.state = "INIT"
            self.host.remove_vip("keepalived stops")
        self.host.vrrp_line("STOP")
        self.kill()

    def kill(self) -> None:
        if self.alive:
            self.end()
            self.host.keepalived_changed()
