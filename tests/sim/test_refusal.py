"""A packet filter that rejects, and a guard that is late: sequences of their own beside the seeded ones."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from sim.cluster import Cluster
from sim.host import Host
from sim.test_sim import told

from vipguard.model.policy import MARIADB, MYSQL, Fence, Flavor

FAILING = Fence(command="power-off", required=True)


def pair(seed: int = 3, **settings: Any) -> tuple[Cluster, Host, Host]:
    """A healthy pair, its writer, and its standby."""
    cluster = Cluster(seed, **settings)
    assert cluster.run_until_healthy(20.0)
    writer = cluster.laws.writers()[0]
    return cluster, writer, next(host for host in cluster.hosts.values() if host is not writer)


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
    assert cluster.laws.writers() == [writer] and not cluster.laws.pardons, told(cluster)
    reject(cluster, pings=pings, by=-1)
    assert cluster.run_until_healthy(20.0), told(cluster)
    assert not cluster.laws.pardons


def test_with_no_witness_at_all_it_opens_none_either() -> None:
    cluster, writer, _ = pair()
    cluster.witness_up = False
    reject(cluster)
    cluster.run(20.0)
    assert cluster.laws.writers() == [writer] and not cluster.laws.pardons, told(cluster)
