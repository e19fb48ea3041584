"""A packet filter that rejects, and a guard that is late: sequences of their own beside the seeded ones."""

from __future__ import annotations

import itertools
from typing import Any, Literal

import pytest
from sim import faults
from sim.cluster import Cluster
from sim.host import Host
from sim.network import CLIENT, WITNESS
from sim.pardons import OF_LAW_1
from sim.test_sim import told

from vipguard.model.policy import MARIADB, MYSQL, Fence, Flavor

FAILING = Fence(command="power-off", required=True)


def pair(seed: int = 3, **settings: Any) -> tuple[Cluster, Host, Host]:
    """A healthy pair, its writer, and its standby."""
    cluster = Cluster(seed, **settings)
    assert cluster.run_until_healthy(20.0)
    writer = cluster.laws.writers()[0]
    return cluster, writer, next(host for host in cluster.hosts.values() if host is not writer)


def forgiven(cluster: Cluster) -> list[str]:
    """Two writers that the documentation excepts: none is meant here."""
    return [name for name in OF_LAW_1 if cluster.laws.pardons.given[name]]


def reject(cluster: Cluster, *, pings: bool = False, by: int = 1) -> None:
    """Between all nodes: connects are refused, adverts are lost, and pings where it is said."""
    net = cluster.network
    for one, other in itertools.permutations(cluster.hosts, 2):
        net.refuse(one, other, by)
        net.cut(one, other, ("vrrp", "ping") if pings else ("vrrp",), by)


@pytest.mark.parametrize("pings", [False, True], ids=["pings-pass", "pings-are-lost"])
@pytest.mark.parametrize("flavor", [MARIADB, MYSQL])
@pytest.mark.parametrize(
    "settings",
    [
        {"silent_peer": "wait"},
        {"silent_peer": "open"},
        {"silent_peer": "wait", "fence": FAILING},
        {"silent_peer": "open", "fence": FAILING},
        {"silent_peer": "open", "durability": "lossless"},
        {"silent_peer": "wait", "nodes": 3},
        {"silent_peer": "open", "nodes": 3},
    ],
    ids=lambda value: "-".join(str(part) for part in value.values() if isinstance(part, str | int)),
)
def test_a_firewall_that_rejects_opens_no_second_writer(
    settings: dict[str, Any], flavor: Flavor, pings: bool
) -> None:
    cluster, writer, _ = pair(flavor=flavor, **settings)
    cluster.fence_fails = True
    reject(cluster, pings=pings)
    cluster.run(20.0)
    assert cluster.laws.writers() == [writer] and not forgiven(cluster), told(cluster)
    reject(cluster, pings=pings, by=-1)
    assert cluster.run_until_healthy(20.0), told(cluster)
    assert not forgiven(cluster)


def test_with_no_witness_at_all_it_opens_none_either() -> None:
    cluster, writer, _ = pair()
    cluster.witness_up = False
    reject(cluster)
    cluster.run(20.0)
    assert cluster.laws.writers() == [writer] and not forgiven(cluster), told(cluster)


def late_guard(cluster: Cluster, writer: Host, *, begins_s: float, lasts_s: float) -> None:
    """The writer is cut off now; its guard alone gets no processor for a while."""
    agent = writer.agent
    assert agent is not None
    cluster.network.isolate(writer.name, [name for name in writer.others() if name != CLIENT])
    cluster.engine.at(begins_s, agent.stop)
    cluster.engine.at(begins_s + lasts_s, agent.cont)


@pytest.mark.parametrize("lasts_s", [0.2, 0.4, 0.47, 0.499])
@pytest.mark.parametrize("silent_peer", ["open", "wait"])
def test_a_guard_that_is_late_by_less_than_its_lease_leaves_no_second_writer(
    lasts_s: float, silent_peer: Literal["open", "wait"]
) -> None:
    """At whatever moment the cut comes between two looks, and whenever the guard stops after it."""
    for number in range(24):
        cluster, writer, standby = pair(number % 5, silent_peer=silent_peer)
        cluster.run(0.0417 * number)
        late_guard(cluster, writer, begins_s=0.0 if number < 4 else 0.026 * (number - 3), lasts_s=lasts_s)
        cluster.run(3.0)
        assert cluster.laws.writers() == ([standby] if silent_peer == "open" else []), told(cluster)
        assert not forgiven(cluster), told(cluster)


@pytest.mark.parametrize("flavor", [MARIADB, MYSQL])
@pytest.mark.parametrize("silent_peer", ["open", "wait"])
@pytest.mark.parametrize("how", ["keepalived-stops", "keepalived-in-fault"])
@pytest.mark.parametrize("guard", ["late", "dead"])
def test_a_late_or_dead_guard_behind_a_firewall_that_rejects_closes_before_another_opens(
    guard: str, how: str, silent_peer: Literal["open", "wait"], flavor: Flavor
) -> None:
    """Its host shows no VIP, and its server is open until its guard, or keepalived's hook, comes to closing it."""
    cluster, writer, standby = pair(silent_peer=silent_peer, flavor=flavor)
    agent, server = writer.agent, writer.mysqld
    assert agent is not None and server is not None
    for one, other in itertools.permutations(cluster.hosts, 2):
        cluster.network.refuse(one, other)
    cluster.run(1.0)
    if guard == "late":
        agent.stop()
        cluster.engine.at(0.49, agent.cont)
    else:
        agent.end()
        cluster.engine.at(0.6, server.set_closed, True, "keepalived's hook")
    if how == "keepalived-stops":
        faults.shut_keepalived(cluster, writer)
    else:
        writer.set_fault(True)
    cluster.run(5.0)
    assert cluster.laws.writers() == [standby] and not forgiven(cluster), told(cluster)


@pytest.mark.parametrize("begins_s", [0.16, 0.3, 0.5])
def test_a_guard_that_stops_for_good_after_contact_was_lost_leaves_none_either(begins_s: float) -> None:
    cluster, writer, standby = pair()
    late_guard(cluster, writer, begins_s=begins_s, lasts_s=60.0)
    cluster.run(5.0)
    assert cluster.laws.writers() == [standby] and not forgiven(cluster), told(cluster)


def test_a_blip_closes_nobody() -> None:
    """Nobody answers for a moment, again and again, and then somebody does before the lease ends."""
    cluster, writer, _ = pair()
    net, others = cluster.network, [name for name in writer.others() if name != CLIENT]

    def cut(by: int) -> None:
        for other in others:
            net.cut(writer.name, other, ("sql", "ping"), by)

    orders = 0
    for number in range(20):
        cluster.engine.at(number * 1.0, cut, 1)
        cluster.engine.at(number * 1.0 + 0.2, cut, -1)
    for _ in range(440):
        cluster.run(0.05)
        orders += writer.agent is not None and writer.agent.world.armed_s is not None
    assert orders > 20, "its server was told to close at the end of the lease, and told otherwise in time"
    assert cluster.laws.openings == 1 and cluster.laws.writers() == [writer], told(cluster)


def test_silence_from_before_an_isolation_does_not_count() -> None:
    """A node that was cut off sees the witness first: whoever writes has his lease from that moment on."""
    cluster, writer, standby = pair(silent_peer="open")
    others = [name for name in standby.others() if name not in (CLIENT, WITNESS)]
    cluster.network.isolate(standby.name, [*others, WITNESS])
    cluster.run(4.0)
    cluster.network.isolate(standby.name, [WITNESS], by=-1)
    mended_s = cluster.engine.now
    while cluster.engine.now < mended_s + 5.0 and cluster.laws.writers() == [writer]:
        cluster.run(0.05)
    if cluster.laws.writers() != [writer]:
        assert cluster.engine.now - mended_s >= 0.9, told(cluster)


def test_a_writer_of_a_circle_listens_to_nobody_who_may_still_receive_from_one_that_went_apart() -> None:
    """All of three come back at one moment: what the writer listens to reaches the former writer just then, too."""
    cluster, writer, _ = pair(nodes=3)
    reject(cluster, pings=True)
    cluster.network.isolate(writer.name, [WITNESS])
    cluster.run(6.0)
    cluster.network.isolate(writer.name, [WITNESS], by=-1)
    cluster.run(3.0)
    assert cluster.laws.writers() not in ([], [writer]), told(cluster)
    reject(cluster, pings=True, by=-1)
    assert cluster.run_until_healthy(20.0) and not forgiven(cluster), told(cluster)
