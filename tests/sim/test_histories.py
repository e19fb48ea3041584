"""Two nodes that lost each other, a dead one that comes back, one that nobody saw for long: whose data count then?"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from sim import faults, liveness, operators
from sim.cluster import Cluster
from sim.host import Host
from sim.network import CLIENT
from sim.test_sim import told

from vipguard.agent.event import Command
from vipguard.model.policy import MARIADB, MYSQL


def healthy(seed: int, **more: Any) -> Cluster:
    cluster = Cluster(seed, **more)
    assert cluster.run_until_healthy(20.0)
    cluster.run(0.5 + seed % 7 * 0.11)
    return cluster


def roles(cluster: Cluster) -> tuple[Host, Host]:
    writer = cluster.laws.writers()[0]
    return writer, next(host for host in cluster.hosts.values() if host is not writer and not host.node.is_replica)


def made_writer(cluster: Cluster, name: str) -> None:
    """A planned move, if it is not the writer yet."""
    writer, _ = roles(cluster)
    if writer.name != name:
        server = writer.mysqld
        assert server is not None
        session = server.connect("operator", guard=True, local=False)
        server.lock(writer.policy.move_lock(name), session)
        cluster.run(2.0)
        server.drop(session)
    assert cluster.run_until_healthy(20.0)
    assert [host.name for host in cluster.laws.writers()] == [name], told(cluster)


def set_apart(host: Host) -> bool:
    """Does its agent name what only it has?"""
    world = host.agent.world if host.agent is not None else None
    assert world is not None
    return world.diverged is not None or (world.errant is not None and not world.errant.is_empty)


def lacks(host: Host, other: Host) -> int:
    """How many writes that `other` acknowledged are missing here."""
    return sum(t.acknowledged and t.source == other.server_id and t.number > host.disk.have.get(t.source, 0)
               for t in other.disk.log)  # fmt: skip


@pytest.mark.parametrize("nodes", [2, 3])
@pytest.mark.parametrize("durability", ["async", "lossless"])
@pytest.mark.parametrize("seed", range(6))
def test_a_standbys_own_write_in_the_writers_relay_log_keeps_it_from_nothing(
    seed: int, durability: str, nodes: int
) -> None:
    """MariaDB: the writer's applier stops at it (1950); then its keepalived is started anew."""
    cluster = healthy(seed, flavor=MARIADB, nodes=nodes, durability=durability)
    writer, standby = roles(cluster)
    operators.open_by_hand(cluster, standby)
    assert standby.mysqld is not None
    standby.mysqld.commit(standby.mysqld.connect("hand", guard=False, local=True))
    cluster.run(3.0)
    end = faults.shut_keepalived(cluster, writer)
    cluster.run(1.0)
    end()
    cluster.run(20.0)
    assert cluster.laws.writers() or liveness.waits(cluster) == ("commits-wait",), told(cluster)


@pytest.mark.parametrize("flavor", [MARIADB, MYSQL])
@pytest.mark.parametrize("durability", ["async", "lossless"])
@pytest.mark.parametrize("seed", range(6))
def test_what_a_writer_whose_guard_died_as_it_opened_writes_is_received(
    seed: int, durability: str, flavor: Any
) -> None:
    """Its opening stands in no ledger; the node that wrote before receives from it as long as it writes."""
    cluster = healthy(seed, flavor=flavor, durability=durability)
    old, new = roles(cluster)
    end = faults.shut_keepalived(cluster, old)
    while new not in cluster.laws.writers():
        cluster.run(0.0005)
    assert new.agent is not None and new.mysqld is not None
    new.agent.end()
    cluster.run(1.5)
    assert new.disk.have[new.server_id] > 5
    end()
    new.mysqld.end()
    cluster.run(0.2)
    assert not lacks(old, new), told(cluster)
    assert not any("stopped-by-hand" in what for _, _, what in cluster.engine.story), told(cluster)
    new.start_server()
    new.start_agent()
    assert cluster.run_until_healthy(30.0), told(cluster)


@pytest.mark.parametrize("cut_s", [0.3, 1.5, 2.2])
@pytest.mark.parametrize("seed", range(6))
def test_who_was_cut_off_does_not_say_that_nothing_was_acknowledged_without_it(seed: int, cut_s: float) -> None:
    """Lossless: the operator says `solo` on the writer after the cut, then that dies; law 8 hears what is said."""
    cluster = healthy(seed, flavor=MARIADB if seed % 2 else MYSQL, durability="lossless")
    writer, standby = roles(cluster)
    end = faults.isolate(cluster, standby)
    cluster.run(cut_s)
    operators.solo(cluster, writer)
    cluster.run(cut_s)
    writer.power_off()
    end()
    cluster.run(6.5)
    said = [what for _, who, what in cluster.engine.story if who == standby.name and "may-be-lost" in what]
    lasts = "lost-no-acknowledged" if 2 * cut_s < 1.0 else "lost-unknown"
    assert cluster.laws.writers() == [standby] and lasts in said[-1], told(cluster)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("promoted", [True, False])
def test_a_dead_node_that_counted_up_alone_closes_no_writer_when_it_returns(seed: int, promoted: bool) -> None:
    cluster = healthy(seed)
    writer, standby = roles(cluster)
    end = faults.isolate(cluster, standby)
    cluster.run(8.0)
    for _ in range(2):
        writer.pause()
        cluster.run(1.2)
        writer.unpause()
        cluster.run(4.0)
    assert writer.disk.epoch is not None and writer.disk.epoch.epoch >= 3
    writer.power_off()
    cluster.run(0.5)
    end()
    cluster.run(0.3)
    assert standby.agent is not None
    if promoted:
        cluster.laws.histories.ordered_s[standby.name] = cluster.engine.now
        standby.agent._steps([Command("promote")])
    cluster.run(20.0)
    if not promoted and cluster.laws.writers() == []:
        return  # it was away for longer than it may be
    assert cluster.laws.writers() == [standby], told(cluster)
    writer.boot()
    cluster.run(20.0)
    assert cluster.laws.writers() == [standby], told(cluster)
    assert lacks(standby, standby) == 0
    assert set_apart(writer), told(cluster)
    standby.power_off()
    cluster.run(1.0)
    standby.boot()
    cluster.run(15.0)
    assert cluster.laws.writers() == [standby], f"the diverged one blocks it\n{told(cluster)}"


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("first", ["db1", "db2"])
def test_of_two_open_nodes_the_superseded_one_closes_whatever_keepalived_prefers(first: str, seed: int) -> None:
    cluster = healthy(seed)
    made_writer(cluster, first)
    old, new = roles(cluster)
    end = faults.cut_pair(cluster, old)
    cluster.run(4.0)
    assert len(cluster.laws.writers()) == 2
    end()
    cluster.run(6.0)
    assert cluster.laws.writers() == [new], told(cluster)
    assert new.vip and not old.vip
    assert set_apart(old), told(cluster)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("retakes", ["db1", "db2"])
def test_of_two_that_went_apart_the_one_stays_that_keepalived_prefers_however_often_one_retakes(
    retakes: str, seed: int
) -> None:
    cluster = healthy(seed)
    made_writer(cluster, "db2")
    old, _ = roles(cluster)
    end = faults.cut_pair(cluster, old)
    cluster.run(3.0)
    for name in ("db2", retakes, retakes):  # the old writer opens anew, so that neither has the other's newest opening
        host = cluster.hosts[name]
        host.pause()
        cluster.run(0.9)
        host.unpause()
        cluster.run(3.0)
    assert len(cluster.laws.writers()) == 2, told(cluster)
    end()
    cluster.run(8.0)
    assert [host.name for host in cluster.laws.writers()] == ["db1"], told(cluster)
    assert set_apart(cluster.hosts["db2"]), told(cluster)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("how", ["pause", "cut"])
@pytest.mark.parametrize("seconds", [13.0, 120.0])
def test_a_former_writer_that_was_away_does_not_open_without_what_was_written_meanwhile(
    seconds: float, how: str, seed: int
) -> None:
    cluster = healthy(seed)
    writer, standby = roles(cluster)
    end = faults.isolate(cluster, writer)
    if how == "pause":
        writer.pause()
    cluster.run(seconds)
    assert standby in cluster.laws.writers()
    standby.power_off()
    cluster.run(0.05)
    end()
    cluster.network.isolate(writer.name, [CLIENT])  # nobody writes there in the moment in which it goes on
    assert writer.mysqld is not None
    for session in [one for one in writer.mysqld.sessions.values() if not one.guard]:
        writer.mysqld.drop(session)
    if how == "pause":
        writer.unpause()
    cluster.run(15.0)
    assert cluster.laws.writers() == [], told(cluster)
    assert writer.agent is not None and writer.agent.world.verdict is not None
    assert writer.agent.world.verdict.rule in ("lag-exceeded", "parked")
    standby.boot()
    cluster.run(15.0)
    (again,) = cluster.laws.writers()  # both have all by then, and keepalived chooses
    assert lacks(again, standby) == 0, told(cluster)


@pytest.mark.parametrize("seed", range(4))
def test_a_lone_writer_whose_host_stalls_beside_a_standby_that_is_far_behind_opens_again(seed: int) -> None:
    cluster = healthy(seed)
    writer, standby = roles(cluster)
    standby.apply_s = 3600.0
    cluster.run(30.0)
    writer.pause()
    cluster.run(12.0)
    writer.unpause()
    cluster.run(4.0)
    assert cluster.laws.writers() == [writer], told(cluster)


@pytest.mark.parametrize("seed", range(4))
def test_a_lone_writer_that_was_cut_off_from_all_opens_again_beside_a_dead_standby(seed: int) -> None:
    cluster = healthy(seed)
    writer, standby = roles(cluster)
    faults.kill_mysqld(cluster, standby)
    cluster.run(30.0)
    end = faults.isolate(cluster, writer)
    cluster.run(60.0)
    end()
    cluster.run(6.0)
    assert cluster.laws.writers() == [writer], told(cluster)


@pytest.mark.parametrize("seed", range(4))
def test_servers_of_an_older_version_are_judged_by_their_whole_sets(seed: int) -> None:
    cluster = Cluster(seed)
    for host in cluster.hosts.values():
        host.knows_ledger = False
    assert cluster.run_until_healthy(20.0)
    writer, standby = roles(cluster)
    standby.knows_ledger = True
    faults.kill_mysqld(cluster, writer)
    cluster.run(3.0)
    assert cluster.laws.writers() == [standby], told(cluster)
    writer.knows_ledger = True
    writer.start_server()
    assert cluster.run_until_healthy(20.0), told(cluster)


@pytest.mark.parametrize("seed", range(3))
def test_in_a_circle_a_node_left_diverged_keeps_nobody_from_opening_after_a_power_cut(seed: int) -> None:
    cluster = healthy(seed, nodes=3)
    hosts = list(cluster.hosts.values())
    writer = cluster.laws.writers()[0]
    last = next(host for host in hosts if host is not writer)
    assert last.mysqld is not None
    session = last.mysqld.connect("a hand", guard=False, local=False)
    end = faults.isolate(cluster, last)
    cluster.run(2.0)
    last.mysqld.commit(session)  # by an account that read_only does not bind
    end()
    cluster.run(20.0)
    for host in hosts:
        host.power_off()
    cluster.run(1.0)
    for host in hosts:
        host.boot()
    cluster.run(20.0)
    assert len(cluster.laws.writers()) == 1, told(cluster)


@pytest.mark.parametrize("durability", ["async", "lossless"])
@pytest.mark.parametrize("flavor", [MARIADB, MYSQL])
def test_a_former_writer_put_back_to_an_older_state_never_opens_without_what_it_wrote_itself(
    flavor: Any, durability: str
) -> None:
    """Replication brings no server its own transactions, whatever state that was put back to."""
    cluster = healthy(0, flavor=flavor, durability=durability)
    writer, standby = roles(cluster)
    older = deepcopy(standby.disk)
    made_writer(cluster, standby.name)
    made_writer(cluster, writer.name)
    assert standby.mysqld is not None
    standby.mysqld.end()
    cluster.run(0.3)
    standby.disk = older
    standby.start_server()
    cluster.run(2.0)
    writer.power_off()
    cluster.run(15.0)
    assert cluster.laws.writers() == [], told(cluster)
    writer.boot()
    cluster.run(20.0)
    assert cluster.laws.writers() == [writer], told(cluster)


@pytest.mark.parametrize("flavor", [MARIADB, MYSQL])
def test_in_a_circle_a_node_that_was_down_may_have_written_while_another_was_cut_off(flavor: Any) -> None:
    """It was down when that one last saw the writer, came back, took over, and is gone again; the old writer boots."""
    cluster = healthy(3, nodes=3, flavor=flavor)
    writer = cluster.laws.writers()[0]
    standby, down = (host for host in cluster.hosts.values() if host is not writer)
    faults.kill_mysqld(cluster, down)
    cluster.run(2.0)
    end = faults.isolate(cluster, standby)
    cluster.run(2.0)
    down.start_server()
    cluster.run(8.0)
    writer.power_off()
    cluster.run(45.0)
    assert cluster.laws.writers() == [down], told(cluster)
    down.power_off()
    writer.boot()
    cluster.run(3.0)
    end()
    cluster.run(15.0)
    assert cluster.laws.writers() == [], told(cluster)
    down.boot()
    cluster.run(20.0)
    (again,) = cluster.laws.writers()
    assert lacks(again, down) == 0, told(cluster)


def test_a_peer_that_was_down_before_a_pause_may_have_written_in_it() -> None:
    """It came back behind a firewall of its own: it sees the writer, which does not see it."""
    cluster = healthy(3)
    writer, standby = roles(cluster)
    faults.kill_mysqld(cluster, standby)
    cluster.run(3.0)
    cluster.network.refuse(writer.name, standby.name)
    standby.start_server()
    cluster.run(4.0)
    writer.pause()
    cluster.run(45.0)
    assert cluster.laws.writers() == [standby], told(cluster)
    standby.power_off()
    cluster.network.refuse(writer.name, standby.name, -1)
    cluster.network.isolate(writer.name, [CLIENT])  # nobody writes there in the moment in which it goes on
    writer.unpause()
    cluster.run(12.0)
    assert cluster.laws.writers() == [], told(cluster)
