"""What do people do to a cluster, rightly or not? As the faults of `faults.py` each begins and returns how it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vipguard.agent.event import Command

from .faults import End, nothing
from .host import Host

if TYPE_CHECKING:
    from .cluster import Cluster


def _say(host: Host, word: str) -> bool:
    """To the agent's socket; False where nobody listens."""
    if host.node.is_replica or host.agent is None or not host.agent.running:
        return False
    host.agent.engine.tell(host.name, f"the operator says {word}")
    host.agent.order(Command(word))  # type: ignore[arg-type]
    return True


def promote(cluster: Cluster, host: Host) -> End:
    """`vipguard promote --force`, with whatever reason."""
    cluster.laws.histories.ordered_s[host.name] = cluster.engine.now
    if not _say(host, "promote"):
        del cluster.laws.histories.ordered_s[host.name]
    return nothing


def solo(cluster: Cluster, host: Host) -> End:
    """`vipguard solo`, whether or not the others are out for sure."""
    if _say(host, "solo") and cluster.laws.histories.solo_s is None:
        cluster.laws.histories.solo_s = cluster.engine.now
    return nothing


def close_by_hand(cluster: Cluster, host: Host) -> End:
    """SET GLOBAL read_only = 1 on an open server."""
    server = host.mysqld
    if server is not None and server.running and not server.stalled:
        server.set_closed(True, "another hand")
    return nothing


def open_by_hand(cluster: Cluster, host: Host) -> End:
    """SET GLOBAL read_only = 0 on a closed one."""
    server = host.mysqld
    if server is not None and server.running and server.closed:
        cluster.laws.opened_by_hand(host)
        server.set_closed(False, "another hand")
    return nothing


def stop_io(cluster: Cluster, host: Host) -> End:
    """STOP of the IO thread; it is started again by the same hand."""
    server = host.mysqld
    if server is None or not server.running:
        return nothing
    server.stop_io()
    return server.start_io


def stop_sql(cluster: Cluster, host: Host) -> End:
    """The SQL thread stops, by an operator or an error."""
    server = host.mysqld
    if server is None or not server.running:
        return nothing
    server.stop_sql(1062 if cluster.engine.chance(0.5) else 0)
    return server.start_sql


def stop_both(cluster: Cluster, host: Host) -> End:
    """STOP of replication; MariaDB throws away what was not applied as it starts again."""
    server = host.mysqld
    if server is None or not server.running:
        return nothing
    server.stop_io()
    server.stop_sql()

    def end() -> None:
        server.start_sql()
        server.disk.ever.clear()
        server.start_io()

    return end


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


def bounce_agent(cluster: Cluster, host: Host) -> End:
    """`systemctl restart`: it is there again in a moment."""
    if host.agent is not None:
        host.agent.terminate()
    cluster.engine.at(cluster.engine.between(0.02, 0.6), host.start_agent)
    return nothing
