"""Do the laws hold in clusters where everything fails at any moment? The pure core, simulated from seeds.

A failing seed is played again, with its whole story, by `pytest tests/sim --seed N`.
"""

from __future__ import annotations

from typing import Any

import pytest
from sim import faults, operators
from sim.agent import Agent
from sim.cluster import Cluster
from sim.hands import HOW, Steps
from sim.laws import Broken
from sim.run import build, play
from sim.schedule import COMMON, RARE, Schedule

from vipguard.agent import contact, step
from vipguard.model import effect as do
from vipguard.model.policy import MARIADB, MYSQL, Limits
from vipguard.notify import takeover

STORY_LINES = 120


def told(cluster: Cluster, lines: int | None = STORY_LINES) -> str:
    """The story so far, its end at least, and how to see it again."""
    story = cluster.engine.story if lines is None else cluster.engine.story[-lines:]
    text = "\n".join(f"{at_s:9.3f} {who:<6} {what}" for at_s, who, what in story)
    again = f"pytest tests/sim --seed {cluster.engine.seed}"
    return f"{text}\n{cluster.state()}\n{cluster.flavor}, silent_peer={cluster.silent_peer}; again: {again}"


def test_the_laws_hold_and_a_writer_is_found_whatever_fails(seeds: range, one_seed: bool) -> None:
    for seed in seeds:
        cluster = build(seed)
        try:
            play(seed, cluster=cluster)
        except Exception as exc:
            pytest.fail(f"seed {seed}: {exc!r}\n{told(cluster, None if one_seed else STORY_LINES)}")
        if one_seed:
            print(told(cluster, None))


def test_the_same_seed_is_the_same_story() -> None:
    first, again = build(17), build(17)
    play(17, cluster=first)
    play(17, cluster=again)
    assert first.engine.story == again.engine.story


@pytest.mark.parametrize(
    ("writers", "flavor"), [(True, MARIADB), (False, MYSQL)], ids=["of-the-writer", "of-the-standby"]
)
@pytest.mark.parametrize("fault", [*COMMON, *RARE], ids=lambda fault: fault.__name__)
def test_one_fault_alone_leaves_one_writer(fault: Any, writers: bool, flavor: Any) -> None:
    cluster = Cluster(5, flavor=flavor)
    try:
        assert cluster.run_until_healthy(20.0)
        writer = cluster.laws.writers()[0]
        host = writer if writers else next(h for h in cluster.hosts.values() if h is not writer)
        schedule = Schedule(cluster)
        schedule.begin(fault, host.name, 4.0)
        cluster.run(6.0)
        schedule.mend()
        assert cluster.run_until_healthy(30.0), "no writer in the end"
    except AssertionError as exc:
        pytest.fail(f"{exc}\n{told(cluster)}")


@pytest.mark.parametrize(
    ("fault", "within_s"),
    [
        (faults.kill_mysqld, 0.6),
        (faults.shut_keepalived, 0.6),
        (faults.link_down, 1.2),
        (faults.isolate, 1.2),
        (faults.power_off, 1.2),
        (operators.order_move, 0.7),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_the_standby_writes_soon_after_the_writer_is_gone(fault: Any, within_s: float) -> None:
    cluster = Cluster(3)
    assert cluster.run_until_healthy(20.0)
    writer = cluster.laws.writers()[0]
    fault(cluster, writer)
    cluster.run(within_s)
    assert [h.name for h in cluster.laws.writers()] == [n for n in cluster.hosts if n != writer.name], told(cluster)


@pytest.mark.parametrize("seed", range(6))
def test_three_nodes_keep_the_laws(seed: int) -> None:
    cluster = build(seed, nodes=3)
    try:
        play(seed, cluster=cluster)
    except Exception as exc:
        pytest.fail(f"seed {seed} with three nodes: {exc!r}\n{told(cluster)}")


@pytest.mark.parametrize("seed", range(6))
def test_a_pair_with_replicas_keeps_the_laws(seed: int) -> None:
    cluster = build(seed, nodes=2, replicas=2)
    try:
        play(seed, cluster=cluster)
    except Exception as exc:
        pytest.fail(f"seed {seed} with replicas: {exc!r}\n{told(cluster)}")


def test_what_only_a_replica_received_is_written_on_by_the_new_writer() -> None:
    cluster = Cluster(7, replicas=1)
    assert cluster.run_until_healthy(20.0)
    writer, standby, replica = (cluster.hosts[name] for name in ("db1", "db2", "db3"))
    assert cluster.laws.writers() == [writer]
    assert standby.mysqld is not None
    standby.mysqld._unlink()  # the last packets went to the replica alone
    standby.mysqld.io_wanted = False
    cluster.run(0.06)
    ahead = dict(writer.disk.have)
    assert ahead[1] > standby.disk.have[1]
    assert replica.disk.have == ahead
    standby.mysqld.io_wanted = True
    faults.kill_mysqld(cluster, writer)
    assert cluster.run_until_healthy(10.0), told(cluster)
    assert cluster.laws.writers() == [standby], told(cluster)
    assert standby.disk.have[1] == ahead[1]
    assert standby.follows == "db1"
    assert replica.follows == "db2"


def circle_with_two_on_the_writer() -> tuple[Cluster, Any, Any, Any]:
    """A healthy circle in which one node follows the writer because its own source was gone for a while."""
    cluster = Cluster(3, nodes=3)
    assert cluster.run_until_healthy(20.0)
    hosts, writer = list(cluster.hosts.values()), cluster.laws.writers()[0]
    after, last = (hosts[(hosts.index(writer) + n) % 3] for n in (1, 2))
    faults.kill_mysqld(cluster, after)
    cluster.run(3.0)
    assert last.follows == writer.name
    after.start_server()
    assert cluster.run_until_healthy(20.0)
    cluster.run(2.0)
    return cluster, writer, after, last


def test_in_a_circle_no_two_follow_each_other_while_a_third_writes() -> None:
    cluster, writer, after, last = circle_with_two_on_the_writer()
    faults.shut_keepalived(cluster, writer)
    cluster.run(3.0)
    assert cluster.laws.writers() in ([after], [last])
    assert cluster.run_until_healthy(10.0), told(cluster)
    have = dict(cluster.laws.writers()[0].disk.have)
    cluster.run(0.5)
    for host in (writer, after, last):
        assert all(host.disk.have.get(server, 0) >= number for server, number in have.items()), told(cluster)


def test_what_only_the_other_candidate_received_is_received_from_it() -> None:
    cluster, writer, after, last = circle_with_two_on_the_writer()
    taker, other = sorted((after, last), key=lambda host: -host.node.priority)
    assert taker.mysqld is not None
    taker.mysqld._unlink()  # the last packets went to the other alone
    taker.mysqld.io_wanted = False
    cluster.run(0.06)
    taker.mysqld.io_wanted = True
    ahead = dict(writer.disk.have)
    assert taker.disk.have != ahead == other.disk.have
    faults.kill_mysqld(cluster, writer)
    cluster.run(1.0)
    assert cluster.laws.writers() == [taker], told(cluster)
    assert all(taker.disk.have[server] >= number for server, number in ahead.items())


def _never(*_: object) -> None:
    return None


def _drain_nothing(agent: Agent, effect: do.Drain) -> Steps:
    yield 0.0001
    server = agent.host.mysqld
    assert server is not None
    return server.gtid()


def _cut_the_writer_off(cluster: Cluster) -> None:
    faults.isolate(cluster, cluster.laws.writers()[0])


def _kill_the_writer_of_a_slow_standby(cluster: Cluster) -> None:
    for host in cluster.hosts.values():
        host.apply_s = 0.2  # slower than the clients write, whatever the seed
    cluster.run(2.0)
    faults.kill_mysqld(cluster, cluster.laws.writers()[0])


def _no_closing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step, "_close", _never)
    monkeypatch.setattr(contact, "keep", _never)  # nor may the server close itself


def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(takeover, "_await_silent", _never)


def _no_draining(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(HOW, do.Drain, _drain_nothing)


@pytest.mark.parametrize(
    ("sabotage", "scenario", "law"),
    [
        (_no_closing, _cut_the_writer_off, "law 1"),
        (_no_waiting, _cut_the_writer_off, "law 1"),
        (_no_draining, _kill_the_writer_of_a_slow_standby, "law 2"),
    ],
    ids=["nobody-closes", "nobody-waits-for-a-silent-peer", "nobody-drains"],
)
def test_the_simulator_notices_a_rule_that_is_missing(
    sabotage: Any, scenario: Any, law: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sabotage(monkeypatch)
    cluster = Cluster(3, limits=Limits(deadline_s=0.1))
    assert cluster.run_until_healthy(20.0)
    with pytest.raises(Broken, match=law):
        scenario(cluster)
        cluster.run(2.0)
