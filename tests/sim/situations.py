"""What does a run play of which much is known: a few things that go wrong one after the other, and in which clusters?

What is drawn at random seldom comes to these by itself. Each is one rule's worst case, and plays alone in its run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vipguard.model.policy import MYSQL

from .faults import (
    End,
    blind,
    block_close,
    cut_sql,
    cut_vrrp,
    hang_mysqld,
    isolate,
    kill_mysqld,
    link_down,
    power_off,
    refuse_pair,
    shut_keepalived,
)
from .host import Host
from .operators import order_move
from .sequences import away, leave_unguarded

if TYPE_CHECKING:
    from .cluster import Cluster

MOMENT_S = 0.65  # longer than a lease: a writer that stood still for it closes


def _standbys(cluster: Cluster, host: Host) -> list[Host]:
    return [other for other in cluster.hosts.values() if other is not host and not other.node.is_replica]


def _lose(cluster: Cluster, host: Host, back_s: float) -> None:
    """Its power is cut for a while."""
    cluster.engine.tell("FAULT", f"power_off {host.name}")
    host.power_off()
    cluster.engine.at(back_s, host.boot)


def _then(
    cluster: Cluster,
    host: Host,
    hows: tuple[Callable[[Cluster, Host], End], ...],
    heal: End,
    low_s: float,
    high_s: float,
) -> End:
    """In the end one of `hows` happens to the writer; all is well again between `low_s` and `high_s` after that."""
    engine = cluster.engine
    how = engine.rng.choice(hows)

    def end() -> None:
        back = how(cluster, host)

        def mend() -> None:
            back()
            heal()

        engine.at(engine.between(low_s, high_s), mend)

    return end


def _receive_late(standbys: list[Host], late_s: float) -> None:
    for other in standbys:
        other.receives_late_s = late_s


def _apply_in(standbys: list[Host], each_s: float) -> None:
    for other in standbys:
        other.apply_s = each_s


def narrow_link(cluster: Cluster, host: Host) -> End:
    """The standbys receive late; in the end the VIP leaves the writer, which can be asked, or is gone."""
    standbys, how = _standbys(cluster, host), (shut_keepalived, shut_keepalived, order_move, kill_mysqld, power_off)
    _receive_late(standbys, cluster.engine.between(0.4, 4.0))
    return _then(cluster, host, how, lambda: _receive_late(standbys, 0.0), 4.0, 8.0)


def slow_applier(cluster: Cluster, host: Host) -> End:
    """The standbys receive all and apply it slowly; in the end the VIP leaves the writer."""
    standbys = _standbys(cluster, host)
    for other in standbys:
        other.apply_s = cluster.engine.between(0.1, 0.2)
    how = (shut_keepalived, kill_mysqld, power_off)
    return _then(cluster, host, how, lambda: _apply_in(standbys, 0.002), 3.0, 6.0)


def power_cut(cluster: Cluster, host: Host) -> End:
    """The standbys are down while the writer writes on; as they boot, it goes down, too."""
    ends = [power_off(cluster, other) for other in _standbys(cluster, host)]

    def end() -> None:
        _lose(cluster, host, cluster.engine.between(6.0, 10.0))
        for one in ends:
            one()

    return end


def hangs_alone(cluster: Cluster, host: Host) -> End:
    """Its server hangs, and nobody else could write."""
    others = _standbys(cluster, host)
    for other in others:
        kill_mysqld(cluster, other)
    go_on: list[End] = []
    cluster.engine.at(1.5, lambda: go_on.append(hang_mysqld(cluster, host)))

    def end() -> None:
        for one in (*go_on, *(other.start_server for other in others)):
            one()

    return end


def far_behind(cluster: Cluster, host: Host) -> End:
    """The standbys receive so late that none may take over, and the writer's server dies."""
    standbys = _standbys(cluster, host)
    _receive_late(standbys, cluster.engine.between(21.0, 24.0))
    return _then(cluster, host, (kill_mysqld, power_off), lambda: _receive_late(standbys, 0.0), 4.0, 8.0)


def cut_from_the_source(cluster: Cluster, host: Host) -> End:
    """The standbys cannot reach the writer's server any more, replicas can; then the writer is gone."""
    net, names = cluster.network, [other.name for other in _standbys(cluster, host)]

    def cut(by: int) -> None:
        for name in names:
            net.cut(host.name, name, ("sql",), by)
            net.cut(name, host.name, ("sql",), by)

    cut(1)

    def end() -> None:
        _lose(cluster, host, cluster.engine.between(8.0, 15.0))
        cut(-1)

    return end


def cut_but_pings(cluster: Cluster, host: Host) -> End:
    """Its server and its adverts are not heard any more; its host answers."""
    ends = [cut_sql(cluster, host), cut_vrrp(cluster, host)]

    def end() -> None:
        for one in ends:
            one()

    return end


def goes_on_cut_off(cluster: Cluster, host: Host) -> End:
    """Its host stands still until another has opened, and goes on without a connection to anybody."""
    engine = cluster.engine
    heal = (link_down if engine.chance(0.5) else isolate)(cluster, host)
    host.pause()

    def end() -> None:
        host.unpause()
        engine.at(engine.between(2.0, 4.0), heal)

    return end


def stuck_close(cluster: Cluster, host: Host) -> End:
    """It is cut off, or its VIP is to leave, and its server cannot be closed: it has to be killed."""
    free = block_close(cluster, host)
    how = cluster.engine.rng.choice((isolate, link_down, shut_keepalived))
    back = how(cluster, host)

    def end() -> None:
        free()
        back()
        host.start_server()

    return end


def returns_with_higher_epoch(cluster: Cluster, host: Host) -> End:
    """Alone it opens more than once, and is gone as the others come back; it comes back when one of them writes."""
    engine = cluster.engine
    heals = [isolate(cluster, other) for other in _standbys(cluster, host)]
    for at_s in (0.2, 2.7):
        engine.at(at_s, host.pause)
        engine.at(at_s + MOMENT_S, host.unpause)

    def end() -> None:
        _lose(cluster, host, engine.between(7.0, 10.0))
        for heal in heals:
            engine.at(engine.between(0.0, 0.5), heal)

    return end


def errant_standby(cluster: Cluster, host: Host) -> End:
    """Somebody writes by hand on a standby from which the writer does not receive; seconds later the writer is gone."""
    if host.mysqld is not None:
        host.mysqld.stop_io()
    server = _standbys(cluster, host)[0].mysqld
    if server is not None and server.running and server.closed:
        cluster.laws.opened_by_hand(server.host)
        server.set_closed(False, "another hand")
        server.commit(server.connect("operator", guard=False, local=False))
    return lambda: _lose(cluster, host, cluster.engine.between(6.0, 12.0))


def fork(cluster: Cluster, host: Host) -> End:
    """Between the nodes alone; meanwhile the old writer closes and opens once more, and SQL is back before VRRP."""
    engine, net = cluster.engine, cluster.network
    pairs = [(host.name, other.name) for other in _standbys(cluster, host)]

    def cut(kinds: tuple[str, ...], by: int) -> None:
        for one, two in pairs:
            net.cut(one, two, kinds, by)
            net.cut(two, one, kinds, by)

    first, last = ("sql", "ping", "arp"), ("vrrp",)
    cut((*first, *last), 1)
    engine.at(2.5, host.pause)
    engine.at(2.5 + MOMENT_S, host.unpause)

    def end() -> None:
        cut(first, -1)
        engine.at(engine.between(3.0, 5.0), cut, last, -1)

    return end


def alone_and_gone(cluster: Cluster, host: Host) -> End:
    """Its server dies, another writes alone; it is back and receives late when that other one dies."""
    engine = cluster.engine
    kill_mysqld(cluster, host)
    host.receives_late_s = engine.between(1.0, 2.5)

    def end() -> None:
        host.start_server()
        engine.at(engine.between(0.8, host.receives_late_s + 0.3), lose)

    def lose() -> None:
        writers = [writer for writer in cluster.laws.writers() if writer is not host]
        for writer in writers:
            engine.tell("FAULT", f"kill_mysqld {writer.name}")
            kill_mysqld(cluster, writer)
            engine.at(engine.between(5.0, 9.0), writer.start_server)
        engine.at(4.0, widen)

    def widen() -> None:
        host.receives_late_s = 0.0

    return end


def vip_leaves_alone(cluster: Cluster, host: Host) -> End:
    """keepalived goes to FAULT by a reason of its own, and nobody is there to take over."""
    others = _standbys(cluster, host)
    for other in others:
        kill_mysqld(cluster, other)
    host.set_fault(True)

    def end() -> None:
        host.set_fault(False)
        for other in others:
            other.start_server()

    return end




def every(cluster: Cluster) -> bool:
    return True


def _opens_beside(cluster: Cluster) -> bool:
    """Does a node of it open although another one says nothing?"""
    policy = next(iter(cluster.hosts.values())).policy
    return cluster.silent_peer == "open" and not policy.fence.command and bool(policy.witnesses)


def _beats(cluster: Cluster) -> bool:
    policy = next(iter(cluster.hosts.values())).policy
    return policy.limits.heartbeat_s > 0 and not cluster.lossless


def _replicas(cluster: Cluster) -> bool:
    return any(host.node.is_replica for host in cluster.hosts.values())


def _pair(cluster: Cluster) -> bool:
    return len([host for host in cluster.hosts.values() if not host.node.is_replica]) == 2


def _pair_alone(cluster: Cluster) -> bool:
    """A replica would bring to the others what they did not see."""
    return _pair(cluster) and not _replicas(cluster)


@dataclass(frozen=True, slots=True)
class Situation:
    """For how long, at least and at most; in which clusters."""

    fault: Callable[[Cluster, Host], End]
    low_s: float
    high_s: float
    fits: Callable[[Cluster], bool] = every


#: each comes up as often as it stands here
SITUATIONS = (
    Situation(narrow_link, 4.5, 7.0),
    Situation(far_behind, 25.0, 28.0, _beats),
    Situation(away, 14.5, 20.0, lambda cluster: _opens_beside(cluster) and not cluster.lossless),
    Situation(cut_from_the_source, 2.0, 6.0, lambda cluster: _opens_beside(cluster) and _replicas(cluster)),
    Situation(cut_but_pings, 2.0, 5.0, _opens_beside),
    Situation(refuse_pair, 2.0, 5.0),
    Situation(goes_on_cut_off, 1.8, 4.0, _opens_beside),
    Situation(stuck_close, 1.5, 4.0),
    Situation(returns_with_higher_epoch, 5.2, 5.6, lambda c: _opens_beside(c) and _pair_alone(c) and not c.lossless),
    Situation(errant_standby, 2.0, 5.0, lambda c: c.flavor == MYSQL),
    Situation(narrow_link, 4.5, 7.0),
    Situation(fork, 6.0, 7.0, lambda c: _opens_beside(c) and _pair(c)),
    Situation(alone_and_gone, 2.0, 4.0, lambda c: c.lossless and _pair(c)),
    Situation(slow_applier, 2.5, 5.0),
    Situation(leave_unguarded, 1.5, 4.0),
    Situation(power_cut, 14.5, 18.0, lambda c: _opens_beside(c) and not c.lossless),
    Situation(blind, 1.0, 4.0),
    Situation(hangs_alone, 5.5, 7.0),
    Situation(alone_and_gone, 2.0, 4.0, lambda c: c.lossless and _pair(c)),
    Situation(vip_leaves_alone, 2.5, 5.0),
)
