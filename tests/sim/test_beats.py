"""Does the writer's heartbeat, a write of vipguard's own, make a node diverge on which no client writes?"""

from __future__ import annotations

from typing import Any

import pytest
from sim import faults
from sim.cluster import Cluster
from sim.host import Host
from sim.schedule import Schedule
from sim.test_sim import told

from vipguard.agent import heartbeat
from vipguard.agent.draft import Draft
from vipguard.agent.event import Event
from vipguard.agent.world import Writing
from vipguard.checks import lag
from vipguard.model import effect as do
from vipguard.model.policy import MARIADB, MYSQL


def idle(seed: int, nodes: int = 2) -> Cluster:
    cluster = Cluster(seed, nodes=nodes, flavor=MYSQL if seed % 2 else MARIADB, clients=False)
    assert cluster.run_until_healthy(20.0)
    cluster.run(2.0 + seed % 17 * 0.07)
    return cluster


def diverged_after(fault: Any, seed: int, nodes: int) -> bool:
    """Has a node of an idle cluster what the writer lacks, after its writer was hit for a while?"""
    cluster = idle(seed, nodes)
    schedule = Schedule(cluster)
    schedule.begin(fault, cluster.laws.writers()[0].name, 4.0)
    cluster.run(6.0)
    schedule.mend()
    cluster.run_until_healthy(12.0)
    cluster.run(2.0)
    have = cluster.laws.writers()[0].disk.have
    apart = any(n > have.get(s, 0) for host in cluster.hosts.values() for s, n in host.disk.have.items())
    assert apart or cluster.laws.healthy(), told(cluster)
    return apart


def beats_of(host: Host, since_s: float) -> int:
    return sum(txn.beat is not None and txn.at_s > since_s for txn in host.disk.log)


@pytest.mark.parametrize("nodes", [2, 3])
def test_a_writer_beats_at_its_interval_while_clients_write(nodes: int) -> None:
    cluster = Cluster(1, nodes=nodes, flavor=MYSQL)
    assert cluster.run_until_healthy(20.0)
    writer, before = cluster.laws.writers()[0], cluster.engine.now
    cluster.run(20.0)
    assert 30 <= beats_of(writer, before) <= 42, told(cluster)


@pytest.mark.parametrize("nodes", [2, 3])
def test_an_idle_writer_has_nothing_to_tell_and_everybody_knows_that_he_is_not_behind(nodes: int) -> None:
    cluster = idle(1, nodes)
    writer, before = cluster.laws.writers()[0], cluster.engine.now
    cluster.run(20.0)
    assert beats_of(writer, before) == 0 < beats_of(writer, 0.0)
    assert len({tuple(sorted(host.disk.have.items())) for host in cluster.hosts.values()}) == 1
    for host in cluster.hosts.values():
        assert host.agent is not None
        if host is not writer:
            found = lag.measure(host.agent.world.sight(cluster.engine.now))
            assert (found.rule, found.lag_s) == ("lag-heartbeat", 0.0)


@pytest.mark.parametrize(
    ("fault", "nodes", "seeds"),
    [
        (faults.isolate, 2, 8),
        (faults.isolate, 3, 4),
        (faults.link_down, 2, 4),
        (faults.power_off, 2, 4),
        (faults.pause_host, 2, 4),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_no_beat_makes_a_node_of_an_idle_cluster_diverge(fault: Any, nodes: int, seeds: int) -> None:
    assert not any(diverged_after(fault, seed, nodes) for seed in range(seeds))


def test_beats_without_good_news_would_make_nodes_diverge(monkeypatch: pytest.MonkeyPatch) -> None:
    """So the test above would notice."""

    def at_any_time(draft: Draft, event: Event) -> None:
        phase, now_s = draft.world.phase, draft.now_s
        if isinstance(phase, Writing) and phase.opener is not None and now_s - draft.world.beat_s > 0.2:
            draft.set(beat_s=now_s)
            draft.send(do.Beat(0.2, phase.opener, now_s + 1.0))

    monkeypatch.setattr(heartbeat, "keep", at_any_time)
    assert any(diverged_after(faults.isolate, seed, 2) for seed in range(4))
