"""Which faults come together? Cuts that mend in stages, a guard that is late in a cut, a writer that retakes alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .faults import (
    End,
    cut_pair,
    cut_sql,
    isolate,
    kill_agent,
    link_down,
    nothing,
    pause_host,
    refuse_pair,
    shut_keepalived,
    stop_agent,
    stop_keepalived,
)
from .host import Host
from .network import CLIENT, WITNESS

if TYPE_CHECKING:
    from .cluster import Cluster

STAGED_S = 10.0  # at most between the two stages of a mending


def _staged(cluster: Cluster, host: Host, stages: list[list[tuple[str, tuple[str, ...]]]]) -> End:
    """Cut `host` from others by kind, both ways; what is listed first mends first, or last, the rest a while later."""
    net, engine = cluster.network, cluster.engine
    if engine.chance(0.5):
        stages = stages[::-1]

    def change(stage: list[tuple[str, tuple[str, ...]]], by: int) -> None:
        for other, kinds in stage:
            net.cut(host.name, other, kinds, by)
            net.cut(other, host.name, kinds, by)

    for stage in stages:
        change(stage, 1)

    def end() -> None:
        change(stages[0], -1)
        after_s = 0.0
        for stage in stages[1:]:
            after_s += engine.between(0.01, STAGED_S / (len(stages) - 1))
            engine.at(after_s, change, stage, -1)

    return end


def isolate_staged(cluster: Cluster, host: Host) -> End:
    """Cut off from all; the witness comes back before the peers, or the other way round."""
    everything = ("sql", "vrrp", "ping", "arp")
    peers = [(name, everything) for name in cluster.hosts if name != host.name]
    clients = [(CLIENT, everything)] if cluster.engine.chance(0.5) else []
    return _staged(cluster, host, [[(WITNESS, everything)], [*peers, *clients]])


def cut_pair_staged(cluster: Cluster, host: Host) -> End:
    """Between the nodes alone; SQL comes back before the adverts, or the other way round."""
    others = [name for name in cluster.hosts if name != host.name]
    first, last = ("sql", "ping", "arp"), ("vrrp",)
    return _staged(cluster, host, [[(name, first) for name in others], [(name, last) for name in others]])


def refuse_one_way(cluster: Cluster, host: Host) -> End:
    """Its own packet filter, or that of the others, rejects what comes in for the server."""
    net, others = cluster.network, [name for name in cluster.hosts if name != host.name]
    pairs = [(name, host.name) for name in others]
    if cluster.engine.chance(0.5):
        pairs = [(two, one) for one, two in pairs]

    def change(by: int) -> None:
        for one, two in pairs:
            net.refuse(one, two, by)

    change(1)
    return lambda: change(-1)


def late_guard(cluster: Cluster, host: Host) -> End:
    """In a cut the guard gets no processor for less than a lease, and the server goes on."""
    engine = cluster.engine
    end = engine.rng.choice((isolate, link_down, cut_pair, refuse_pair))(cluster, host)
    begin_s, lasts_s = engine.between(0.0, 1.2), engine.between(0.05, host.policy.limits.lease_s - 0.01)

    def stop() -> None:
        agent = host.agent
        if agent is not None and agent.alive and not agent.stopped:
            agent.engine.tell("FAULT", f"the guard of {host.name} gets no processor for {lasts_s:.3f} s")
            agent.stop()
            engine.at(lasts_s, agent.cont)

    engine.at(begin_s, stop)
    return end


def pause_in_a_cut(cluster: Cluster, host: Host) -> End:
    """Cut off, and its host stands still meanwhile; either ends before the other."""
    engine = cluster.engine
    ends = [isolate(cluster, host), pause_host(cluster, host)]
    if engine.chance(0.5):
        ends.reverse()

    def end() -> None:
        ends[0]()
        engine.at(engine.between(0.0, 2.0), ends[1])

    return end


def leave_unguarded(cluster: Cluster, host: Host) -> End:
    """Its guard is gone, and then the VIP leaves it: whoever takes over has to close it."""
    engine = cluster.engine
    end, on = engine.rng.choice((stop_agent, kill_agent))(cluster, host), [True]
    then = engine.rng.choice((shut_keepalived, stop_keepalived))

    def leave() -> None:
        if on:
            then(cluster, host)

    engine.at(engine.between(0.0, 1.0), leave)

    def both() -> None:
        on.clear()
        end()
        if host.keepalived is not None and host.keepalived.stopped:
            host.keepalived.cont()
        host.start_keepalived()

    return both


def away(cluster: Cluster, host: Host) -> End:
    """Another candidate is out of it for a while; as it comes back the writer is lost."""
    engine = cluster.engine
    others = [other for other in cluster.hosts.values() if other is not host and not other.node.is_replica]
    if not others:
        return nothing
    out = engine.rng.choice((isolate, pause_host, cut_sql, stop_agent, link_down))
    back = out(cluster, engine.rng.choice(others))

    def end() -> None:
        for writer in cluster.laws.writers()[:1]:
            engine.tell("FAULT", f"power_off {writer.name}")
            writer.power_off()
            engine.at(engine.between(8.0, 20.0), writer.boot)
        engine.at(engine.between(0.0, 1.0), back)

    return end


def retake_alone(cluster: Cluster, host: Host) -> End:
    """The others are cut off, and the writer stands still for a moment, closes and opens again, more than once."""
    engine = cluster.engine
    candidates = [other for other in cluster.hosts.values() if other is not host and not other.node.is_replica]
    if host.node.is_replica:
        return nothing
    ends = [isolate(cluster, other) for other in candidates]
    at_s, on = 0.3, [True]

    def stand_still() -> None:
        if on:
            host.pause()

    for _ in range(engine.rng.randint(1, 3)):
        lasts_s = engine.between(0.55, 2.5)
        engine.at(at_s, stand_still)
        engine.at(at_s + lasts_s, host.unpause)
        at_s += lasts_s + engine.between(1.0, 4.0)

    def end() -> None:
        on.clear()
        for one in ends:
            one()

    return end
