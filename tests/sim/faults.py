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


def hang_in_the_kernel(cluster: Cluster, host: Host) -> End:
    """As hung as can be: SIGKILL does not end it, and its port still accepts."""
    server = host.mysqld
    if server is None or not server.alive:
        return nothing
    server.stop()
    host.unkillable = True

    def end() -> None:
        host.unkillable = False
        server.cont()

    return end


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


def fatal_io(cluster: Cluster, host: Host) -> End:
    """The source has purged what the replica needs next: each start of its IO thread ends in an error at once."""
    host.io_fatal = True
    if host.mysqld is not None and host.mysqld.alive and host.mysqld.io_wanted:
        host.mysqld.io_fails(1236)

    def end() -> None:
        host.io_fatal = False
        if host.mysqld is not None and host.mysqld.alive and host.mysqld.io_errno == 1236:
            host.mysqld.start_io()  # who repairs it starts what it stopped

    return end


def io_gives_up(cluster: Cluster, host: Host) -> End:
    """The IO thread tries to connect a few times only."""
    host.io_gives_up = True

    def end() -> None:
        host.io_gives_up = False

    return end


def slow_apply(cluster: Cluster, host: Host) -> End:
    host.apply_s = cluster.engine.between(0.02, 0.2)

    def end() -> None:
        host.apply_s = 0.002

    return end
