"""What becomes of a cluster in which a disk stands: reads answer, and no commit comes back?"""

from __future__ import annotations

import pytest
from sim.cluster import Cluster
from sim.host import Host
from sim.test_sim import told

from vipguard.model.policy import MARIADB, MYSQL, Limits

HANG_S = Limits().hang_s
SEEDS = range(3)


def made(seed: int, *, clients: bool = True, lossless: bool = False, nodes: int = 2) -> tuple[Cluster, Host, Host]:
    """A healthy cluster, its writer and a standby."""
    cluster = Cluster(
        seed, nodes=nodes, flavor=MYSQL if seed % 2 else MARIADB, clients=clients,
        durability="lossless" if lossless else "async",
    )  # fmt: skip
    assert cluster.run_until_healthy(20.0), told(cluster)
    cluster.run(2.0 + seed * 0.113)
    writer = cluster.laws.writers()[0]
    return cluster, writer, next(host for host in cluster.hosts.values() if host is not writer)


def kills(cluster: Cluster) -> int:
    return sum("server process ends" in what for _, _, what in cluster.engine.story)


@pytest.mark.parametrize("lossless", [False, True], ids=["async", "lossless"])
@pytest.mark.parametrize("clients", [True, False], ids=["busy", "idle"])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_writer_whose_disk_stands_is_replaced_also_when_nobody_writes(
    seed: int, clients: bool, lossless: bool
) -> None:
    cluster, writer, standby = made(seed, clients=clients, lossless=lossless)
    writer.stall_disk(True)
    cluster.run(HANG_S - 0.5)
    assert kills(cluster) == 0 and cluster.laws.writers() == [writer], told(cluster)
    cluster.run(3.5)
    assert cluster.laws.writers() == [standby], told(cluster)
    assert writer.mysqld is not None and not writer.mysqld.alive
    writer.stall_disk(False)
    writer.start_server()
    cluster.run(5.0)
    assert cluster.laws.writers() == [standby], told(cluster)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_came_while_a_standbys_disk_stood_is_all_there_afterwards(seed: int) -> None:
    cluster, writer, standby = made(seed)
    standby.stall_disk(True)
    cluster.run(1.3)
    standby.stall_disk(False)
    written = writer.disk.have[writer.server_id]
    cluster.run(1.5)
    assert standby.disk.have[writer.server_id] >= written, told(cluster)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_disk_that_goes_on_in_time_costs_nobody_anything(seed: int) -> None:
    cluster, writer, _ = made(seed)
    for _ in range(5):
        writer.stall_disk(True)
        cluster.run(HANG_S - 0.3)
        writer.stall_disk(False)
        cluster.run(0.7)
    assert kills(cluster) == 0 and cluster.laws.writers() == [writer], told(cluster)


@pytest.mark.parametrize("hang_s", [1.0, 3.0])
@pytest.mark.parametrize("apart_s", [0.0, 0.2])
@pytest.mark.parametrize("seed", SEEDS)
def test_disks_that_stand_at_the_same_time_kill_nobody(seed: int, apart_s: float, hang_s: float) -> None:
    """The storage that both lie on: there is nobody to whom it would help."""
    cluster = Cluster(seed, limits=Limits(hang_s=hang_s))
    assert cluster.run_until_healthy(20.0)
    cluster.run(seed * 0.171)
    hosts = list(cluster.hosts.values())
    writer = cluster.laws.writers()[0]
    for host in sorted(hosts, key=lambda host: host is writer):
        host.stall_disk(True)
        cluster.run(apart_s)
    cluster.run(9.0)
    assert kills(cluster) == 0 and cluster.laws.writers() == [writer], told(cluster)
    for host in hosts:
        host.stall_disk(False)
    assert cluster.run_until_healthy(20.0), told(cluster)
    assert kills(cluster) == 0 and cluster.laws.writers() == [writer], told(cluster)


@pytest.mark.parametrize("lossless", [False, True], ids=["async", "lossless"])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_standbys_disk_that_stands_kills_nobody(seed: int, lossless: bool) -> None:
    cluster, writer, standby = made(seed, lossless=lossless)
    standby.stall_disk(True)
    cluster.run(9.0)
    assert kills(cluster) == 0 and cluster.laws.writers() == [writer], told(cluster)
    assert standby.agent is not None and standby.agent.world.verdict is not None
    assert not standby.agent.world.verdict.may
    standby.stall_disk(False)
    assert cluster.run_until_healthy(20.0), told(cluster)
    before = len(cluster.clients[0].acknowledged)
    cluster.run(5.0)
    assert len(cluster.clients[0].acknowledged) > before and kills(cluster) == 0, told(cluster)


@pytest.mark.parametrize("seed", SEEDS)
def test_of_three_nodes_the_one_whose_disk_moves_takes_over(seed: int) -> None:
    cluster, writer, standby = made(seed, nodes=3)
    other = next(host for host in cluster.hosts.values() if host not in (writer, standby))
    standby.stall_disk(True)
    cluster.run(2.0)
    writer.stall_disk(True)
    cluster.run(HANG_S + 12.0)  # it has to wait for what its source, the second one, received
    assert cluster.laws.writers() == [other], told(cluster)


def test_a_few_beats_hang_on_a_disk_that_stands_and_no_more() -> None:
    """Each would keep a session of the server's."""
    cluster, writer, standby = made(3)
    standby.stall_disk(True)
    writer.stall_disk(True)
    cluster.run(15.0)
    assert writer.mysqld is not None
    beats = [txn for txn, session, _ in writer.mysqld.stalled if session.guard]
    assert len(beats) <= 2, told(cluster)
