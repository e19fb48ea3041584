"""What goes wrong? Each fault begins and ends; a seed draws which, when and for how long."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from .host import Host
from .network import CLIENT, WITNESS

if TYPE_CHECKING:
    from .cluster import Cluster

End = Callable[[], None]


def nothing() -> None:
    """For faults whose end is `mend`'s business."""


def kill_mysqld(cluster: Cluster, host: Host) -> End:
    if host.mysqld is not None:
        host.mysqld.end()
    return host.start_server


def stop_mysqld(cluster: Cluster, host: Host) -> End:
    """A clean shutdown, which may take its time."""
    server = host.mysqld
    if server is not None and server.alive:
        server.shut_down(cluster.engine.between(0.05, 4.0))
    return host.start_server


def lose_socket(cluster: Cluster, host: Host) -> End:
    """Somebody removed the socket's file and ended the guard's sessions; by TCP everybody can still write."""
    server = host.mysqld
    if server is None or not server.alive:
        return nothing
    server.no_socket = True
    for session in list(server.sessions.values()):
        if session.guard and session.local:
            server.drop(session)

    def end() -> None:
        server.no_socket = False

    return end


def crash_loop(cluster: Cluster, host: Host) -> End:
    """A supervisor restarts it at once."""
    host.restarts = True
    if host.mysqld is not None:
        host.mysqld.end()
    return nothing


def hang_mysqld(cluster: Cluster, host: Host) -> End:
    server = host.mysqld
    if server is None or not server.alive:
        return nothing
    server.stop()
    return server.cont


def slow_mysqld(cluster: Cluster, host: Host) -> End:
    host.server_s = cluster.engine.between(0.02, 0.7)

    def end() -> None:
        host.server_s = 0.0

    return end


def power_off(cluster: Cluster, host: Host) -> End:
    host.power_off()
    return host.boot


def pause_host(cluster: Cluster, host: Host) -> End:
    host.pause()
    return host.unpause


def kill_agent(cluster: Cluster, host: Host) -> End:
    if host.agent is not None:
        host.agent.end()
    return host.start_agent


def restart_agent(cluster: Cluster, host: Host) -> End:
    if host.agent is not None:
        host.agent.terminate()
    return host.start_agent


def stop_agent(cluster: Cluster, host: Host) -> End:
    agent = host.agent
    if agent is None or not agent.alive:
        return nothing
    agent.stop()
    return agent.cont


def kill_keepalived(cluster: Cluster, host: Host) -> End:
    if host.keepalived is not None:
        host.keepalived.kill()
    return host.start_keepalived


def shut_keepalived(cluster: Cluster, host: Host) -> End:
    if host.keepalived is not None:
        host.keepalived.shut_down()
    return host.start_keepalived


def stop_keepalived(cluster: Cluster, host: Host) -> End:
    keepalived = host.keepalived
    if keepalived is None or not keepalived.alive:
        return nothing
    keepalived.stop()
    return keepalived.cont


def respawn_keepalived(cluster: Cluster, host: Host) -> End:
    """The parent starts a killed child again within a moment."""
    if host.keepalived is not None:
        host.keepalived.kill()
    cluster.engine.at(0.02, host.start_keepalived)
    return nothing


def link_down(cluster: Cluster, host: Host) -> End:
    host.set_link(False)
    return lambda: host.set_link(True)


def isolate(cluster: Cluster, host: Host) -> End:
    """The switch drops it, the carrier stays."""
    others = [name for name in host.others() if name != CLIENT or cluster.engine.chance(0.5)]
    cluster.network.isolate(host.name, others)
    return lambda: cluster.network.isolate(host.name, others, by=-1)


def cut_pair(cluster: Cluster, host: Host) -> End:
    """Between the nodes alone; both see the witness."""
    others = [name for name in cluster.hosts if name != host.name]
    cluster.network.isolate(host.name, others)
    return lambda: cluster.network.isolate(host.name, others, by=-1)


def _cut_kinds(cluster: Cluster, host: Host, kinds: tuple[str, ...]) -> End:
    others = [name for name in cluster.hosts if name != host.name]

    def cut(by: int) -> None:
        for other in others:
            cluster.network.cut(host.name, other, kinds, by)
            cluster.network.cut(other, host.name, kinds, by)

    cut(1)
    return lambda: cut(-1)


def cut_sql(cluster: Cluster, host: Host) -> End:
    return _cut_kinds(cluster, host, ("sql",))


def cut_vrrp(cluster: Cluster, host: Host) -> End:
    return _cut_kinds(cluster, host, ("vrrp",))


def cut_pings(cluster: Cluster, host: Host) -> End:
    return _cut_kinds(cluster, host, ("ping", "arp"))


def one_way(cluster: Cluster, host: Host) -> End:
    """What leaves it arrives nowhere, or nothing arrives at it."""
    leaving, net = cluster.engine.chance(0.5), cluster.network

    def cut(by: int) -> None:
        for other in host.others():
            net.cut(*((host.name, other) if leaving else (other, host.name)), by=by)

    cut(1)
    return lambda: cut(-1)


def witness_down(cluster: Cluster, host: Host) -> End:
    cluster.witness_up = False

    def end() -> None:
        cluster.witness_up = True

    return end


def cut_witness(cluster: Cluster, host: Host) -> End:
    cluster.network.isolate(host.name, [WITNESS])
    return lambda: cluster.network.isolate(host.name, [WITNESS], by=-1)


def lossy(cluster: Cluster, host: Host) -> End:
    cluster.network.lost_share = cluster.engine.between(0.05, 0.4)

    def end() -> None:
        cluster.network.lost_share = 0.0

    return end


def slow_network(cluster: Cluster, host: Host) -> End:
    cluster.network.slow_s = cluster.engine.between(0.01, 0.3)

    def end() -> None:
        cluster.network.slow_s = 0.0

    return end


def blind(cluster: Cluster, host: Host) -> End:
    """The account's password is wrong."""
    server = host.mysqld
    if server is None:
        return nothing
    server.denies = True

    def end() -> None:
        server.denies = False

    return end


def late_workers(cluster: Cluster, host: Host) -> End:
    host.worker_late_s = cluster.engine.between(0.1, 3.0)

    def end() -> None:
        host.worker_late_s = 0.0

    return end


def block_close(cluster: Cluster, host: Host) -> End:
    host.close_blocked = True

    def end() -> None:
        host.close_blocked = False

    return end


def full_disk(cluster: Cluster, host: Host) -> End:
    host.disk_full = True

    def end() -> None:
        host.disk_full = False

    return end


def stall_disk(cluster: Cluster, host: Host) -> End:
    """Commits do not come back, and what was received is not written; reads answer."""
    host.stall_disk(True)
    return lambda: host.stall_disk(False)


def refuse_pair(cluster: Cluster, host: Host) -> End:
    """A packet filter between the nodes that rejects and not drops; their adverts are lost, both see the witness."""
    others, net = [name for name in cluster.hosts if name != host.name], cluster.network
    kinds = ("vrrp", "ping") if cluster.engine.chance(0.5) else ("vrrp",)

    def cut(by: int) -> None:
        for other in others:
            for one, two in ((host.name, other), (other, host.name)):
                net.cut(one, two, kinds, by)
                net.refuse(one, two, by)

    cut(1)
    return lambda: cut(-1)


def stop_io(cluster: Cluster, host: Host) -> End:
    """The operator stops the IO thread."""
    server = host.mysqld
    if server is None or not server.alive:
        return nothing
    server.stop_io()
    return server.start_io


def stop_sql(cluster: Cluster, host: Host) -> End:
    """The SQL thread stops, by an operator or an error."""
    server = host.mysqld
    if server is None or not server.alive:
        return nothing
    server.stop_sql(1062 if cluster.engine.chance(0.5) else 0)
    return server.start_sql


def slow_apply(cluster: Cluster, host: Host) -> End:
    host.apply_s = cluster.engine.between(0.02, 0.2)

    def end() -> None:
        host.apply_s = 0.002

    return end


def open_by_hand(cluster: Cluster, host: Host) -> End:
    """Somebody sets read_only=0."""
    server = host.mysqld
    if server is not None and server.running and server.closed:
        cluster.laws.opened_by_hand(host)
        server.set_closed(False, "another hand")
    return nothing


def order_move(cluster: Cluster, host: Host) -> End:
    """The operator orders that another node become the writer, and withdraws it sooner or later."""
    server = host.mysqld
    if server is None or not server.running:
        return nothing
    target = cluster.engine.rng.choice([name for name in cluster.hosts if name != host.name])
    session = server.connect("operator", guard=True, local=False)
    server.lock(host.policy.move_lock(target), session)

    def asks() -> None:
        if session.alive:
            session.used_s = cluster.engine.now
            cluster.engine.at(0.5, asks)

    asks()
    return lambda: server.drop(session)


COMMON = (kill_mysqld, crash_loop, hang_mysqld, power_off, pause_host, kill_agent, stop_agent, kill_keepalived,
          shut_keepalived, stop_keepalived, link_down, isolate, order_move)  # fmt: skip
RARE = (stop_mysqld, lose_socket, slow_mysqld, restart_agent, respawn_keepalived, cut_pair, cut_sql, cut_vrrp,
        cut_pings, one_way, witness_down, cut_witness, lossy, slow_network, blind, late_workers, block_close,
        full_disk, stop_io, stop_sql, slow_apply, open_by_hand)  # fmt: skip


class Schedule:
    """The faults of one run, drawn from the cluster's seed; `mend` ends what has not ended."""

    def __init__(self, cluster: Cluster, within_s: float, count: int, single: bool) -> None:
        self.cluster, self.engine = cluster, cluster.engine
        self._running: list[tuple[str, End]] = []
        for _ in range(count):
            rng = self.engine.rng
            fault = rng.choice(COMMON) if rng.random() < 0.6 else rng.choice(RARE)
            # half of the time the one that writes is hit, whoever that will be then
            target = None if rng.random() < 0.6 else rng.choice(list(cluster.hosts))
            begin_s = rng.uniform(0.0, within_s)
            lasts_s = rng.choice((rng.uniform(0.01, 0.6), rng.uniform(0.3, 3.0), rng.uniform(1.0, 15.0)))
            self.engine.at(begin_s, self.begin, fault, target, lasts_s)
            if single:
                break

    def begin(self, fault: Callable[[Cluster, Host], End], target: str | None, lasts_s: float) -> None:
        """On `target`, by default on whoever writes now."""
        writers = self.cluster.laws.writers()
        host = self.cluster.hosts[target] if target else (writers or list(self.cluster.hosts.values()))[0]
        if not host.powered:
            return
        self.engine.tell("FAULT", f"{fault.__name__} {host.name} for {lasts_s:.2f} s")
        entry = (f"{fault.__name__} {host.name}", fault(self.cluster, host))
        self._running.append(entry)
        self.engine.at(lasts_s, self._end, entry)

    def _end(self, entry: tuple[str, End]) -> None:
        if entry in self._running:
            self._running.remove(entry)
            self.engine.tell("FAULT", f"ends: {entry[0]}")
            entry[1]()

    def mend(self) -> None:
        """Everything is repaired, and what is dead is started."""
        for entry in list(self._running):
            self._end(entry)
        for host in self.cluster.hosts.values():
            host.restarts = True  # a supervisor is there: a guard may still have to kill
            host.boot()
            host.unpause()
            host.start_server()
            host.start_agent()
            host.start_keepalived()
        self.engine.tell("FAULT", "all is mended")
