"""What do people do to a cluster, rightly or not? As the faults of `faults.py` each begins and returns how it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vipguard.agent.event import Command
from vipguard.model.standdown import StoodDown

from .faults import End, nothing
from .host import Host

if TYPE_CHECKING:
    from .cluster import Cluster


def _say(host: Host, word: str) -> None:
    """To the agent's socket, where somebody listens."""
    if not host.node.is_replica and host.agent is not None and host.agent.running:
        host.engine.tell(host.name, f"the operator says {word}")
        host.agent.order(Command(word))


def promote(cluster: Cluster, host: Host) -> End:
    """`vipguard promote --force`, with whatever reason."""
    _say(host, "promote")
    return nothing


def solo(cluster: Cluster, host: Host) -> End:
    """`vipguard solo`, whether or not the others are out for sure."""
    _say(host, "solo")
    return nothing


def _stand_up(host: Host) -> None:
    """`vipguard standdown --end`."""
    host.stood_down = None
    _say(host, "stand-up")


def close_by_hand(cluster: Cluster, host: Host) -> End:
    """SET GLOBAL read_only = 1 on an open server; its agent takes that for a word, which the operator takes back."""
    server = host.mysqld
    if server is not None and server.running and not server.stalled:
        server.set_closed(True, "another hand")
    return lambda: _stand_up(host)


def stand_down(cluster: Cluster, host: Host) -> End:
    """`vipguard standdown`, until its end is said."""
    host.stood_down = StoodDown(round(cluster.engine.now), "the operator")
    cluster.laws.stood_down(host)
    return lambda: _stand_up(host)


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
    if server is None or not server.running or not server.io_wanted:
        return nothing  # who finds it stopped, as after a boot, has nothing to start again
    server.stop_io()
    return server.start_io


def stop_sql(cluster: Cluster, host: Host) -> End:
    """The SQL thread stops, by an operator or an error."""
    server = host.mysqld
    if server is None or not server.running or not server.sql_wanted:
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
