"""What is on one node? Its server, keepalived and agent, the VIP, the track file, its disk; and how it can fail."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from vipguard.model.evidence import ProcessId, VrrpState
from vipguard.model.memory import Memory
from vipguard.model.policy import Policy
from vipguard.model.standdown import StoodDown

from .engine import Engine
from .keepalived import Keepalived
from .mysqld import Disk, Mysqld
from .network import CLIENT, WITNESS, Network

if TYPE_CHECKING:
    from .agent import Agent
    from .cluster import Cluster


class Host:
    """One machine. What is on its disk outlives a loss of power: the server's data, the agent's memory."""

    def __init__(self, cluster: Cluster, policy: Policy, server_id: int) -> None:
        self.cluster, self.policy, self.server_id = cluster, policy, server_id
        self.engine: Engine = cluster.engine
        self.network: Network = cluster.network
        self.node = policy.me
        self.name, self.address, self.flavor = self.node.name, self.node.address, cluster.flavor
        self.powered, self.paused, self.link_up = True, False, True
        self.vip = False
        self.track: str | None = None
        self.advert_left_s: float | None = None
        self.heard: dict[str, float] = {}
        self.vrrp: tuple[VrrpState, float] | None = None
        self.keepalived: Keepalived | None = None
        self.keepalived_known = False
        self.mysqld: Mysqld | None = None
        self.agent: Agent | None = None
        self.follows = policy.source_of(self.node).name
        self.disk, self.memory, self.boots, self.pids = Disk(), Memory(), 1, 100 * server_id
        self.stood_down: StoodDown | None = None
        # knobs of the faults
        self.apply_s = 0.002
        self.server_s = 0.0  # added to each statement
        self.receives_late_s = 0.0  # what a source sends is so long on its way
        self.vrrp_fault = False  # keepalived's own, by another script that it tracks
        self.close_blocked = self.unkillable = self.disk_full = self.restarts = False
        self.disk_stalled = False  # commits do not come back, and reads answer
        self.disk_stalled_s = self.server_ended_s = self.ailing_s = -9.0
        self.io_fatal = self.io_gives_up = False
        self.worker_late_s = 0.0
        self.knows_ledger = True  # its server has the table, and its agent writes there

    @property
    def source(self) -> Host:
        """Where its replication is pointed at; that is on its disk too."""
        return self.cluster.hosts[self.follows]

    @property
    def boot_id(self) -> str:
        return f"{self.name}-boot-{self.boots}"

    # -- VIP and VRRP

    def add_vip(self) -> None:
        if not self.vip:
            self.vip = True
            self.engine.tell(self.name, "VIP added")
            self.cluster.arp_owner = self.name
            self._address_changed()

    def remove_vip(self, why: str) -> None:
        if self.vip:
            self.vip = False
            self.engine.tell(self.name, f"VIP removed: {why}")
            self.cluster.laws.vip_left(self)
            self._address_changed()

    def _address_changed(self) -> None:
        if self.agent is not None:
            self.agent.notice(self.engine.between(0.0003, 0.002), "address")

    def vrrp_line(self, state: VrrpState) -> None:
        self.vrrp = (state, self.engine.now)
        self.engine.tell(self.name, f"VRRP {state}")
        if self.agent is not None:
            self.agent.notice(self.engine.between(0.0003, 0.006), "keepalived")

    def hear_advert(self, sender: Host, priority: int) -> None:
        if self.powered:
            self.heard[sender.address] = self.engine.now
            if self.keepalived is not None:
                self.keepalived.at(0.0, self.keepalived.hear, sender, priority)

    def set_fault(self, on: bool) -> None:
        self.vrrp_fault = on
        if self.keepalived is not None:
            self.keepalived.at(self.engine.between(0.001, 0.005), self.keepalived.look)

    def keepalived_changed(self) -> None:
        if self.agent is not None:
            self.agent.notice(self.engine.between(0.0005, 0.003), "keepalived")

    def write_track(self, value: str | None) -> None:
        if value != self.track:
            self.track = value
            if self.keepalived is not None:
                self.keepalived.at(self.engine.between(0.001, 0.005), self.keepalived.look)

    def check_script(self) -> bool:
        """The wrapper: the agent's answer; without it, what a probe of its own tells."""
        agent, server = self.agent, self.mysqld
        if agent is not None and agent.running:
            return agent.may()
        up = server is not None and server.alive
        if self.vip:
            return up
        return up and server is not None and server.running and server.closed

    # -- the server

    def start_server(self) -> None:
        if self.powered and (self.mysqld is None or not self.mysqld.alive):
            self.pids += 1
            self.mysqld = Mysqld(self, self.disk, ProcessId(self.pids, int(self.engine.now * 1000)))
            self.engine.tell(self.name, "server starts, closed")

    def stall_disk(self, stalled: bool) -> None:
        self.disk_stalled = stalled
        self.disk_stalled_s = self.engine.now  # when that began, or ended
        if not stalled and self.mysqld is not None and self.mysqld.alive:
            self.mysqld.at(0.0, self.mysqld.disk_goes_on)

    def server_ended(self) -> None:
        self.server_ended_s = self.engine.now
        if self.agent is not None:
            self.agent.notice(self.engine.between(0.0005, 0.01), "exit")
        if self.restarts and self.powered:
            self.engine.at(self.engine.between(0.3, 3.0), self.start_server)

    def kill_server(self, pid: ProcessId) -> bool:
        server = self.mysqld
        if server is None or not server.alive or server.pid != pid:
            return True
        if self.unkillable:
            return False
        server.end()
        return True

    # -- agent and keepalived

    def start_agent(self) -> None:
        from .agent import Agent

        if self.powered and (self.agent is None or not self.agent.alive):
            if self.track is None:
                self.track = "0"
            self.agent = Agent(self)
            self.engine.tell(self.name, "agent starts")

    def start_keepalived(self) -> None:
        if self.node.is_replica:
            return  # it has no VRRP instance
        if self.powered and (self.keepalived is None or not self.keepalived.alive):
            self.keepalived, self.keepalived_known = Keepalived(self), True
            self.engine.tell(self.name, "keepalived starts")
            self.keepalived_changed()

    # -- the machine

    def set_link(self, up: bool) -> None:
        if up != self.link_up:
            self.link_up = up
            self.engine.tell(self.name, f"link {'up' if up else 'down'}")
            if self.keepalived is not None:
                self.keepalived.at(self.engine.between(0.003, 0.009), self.keepalived.look)
            self._address_changed()

    def pause(self) -> None:
        self.paused = True
        self.engine.tell(self.name, "host pauses")
        self._see_guard()
        self.cluster.laws.writers_changed(self)

    def unpause(self) -> None:
        if not self.paused:
            return
        self.cluster.laws.thawed(self)
        self.paused = False
        self.engine.tell(self.name, "host goes on")
        self._see_guard()
        for process in (self.mysqld, self.keepalived, self.agent):
            if process is not None:
                process.thaw()
        self.cluster.laws.writers_changed(self)

    def _see_guard(self) -> None:
        self.cluster.laws.guards.see(self, self.agent is not None and self.agent.running)

    def power_off(self) -> None:
        self.engine.tell(self.name, "power off")
        self.powered = self.paused = False
        for process in (self.agent, self.keepalived, self.mysqld):
            if process is not None and process.alive:
                process.end()
        self.vip, self.track, self.vrrp, self.advert_left_s = False, None, None, None
        self.keepalived_known = False
        self.heard.clear()

    def boot(self) -> None:
        if self.powered:
            return
        self.powered, self.boots = True, self.boots + 1
        self.engine.tell(self.name, "boots")
        self.start_server()
        self.start_agent()
        self.engine.at(self.engine.between(0.1, 1.0), self.start_keepalived)

    def others(self) -> list[str]:
        return [*(name for name in self.cluster.hosts if name != self.name), WITNESS, CLIENT]

    def reload(self, policy: Policy) -> None:
        self.policy = replace(policy)
