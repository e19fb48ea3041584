"""What does one seed do? A run from healthy through faults to healthy again, and what it came to."""

from __future__ import annotations

import random
from dataclasses import dataclass

from vipguard.model.policy import MARIADB, MYSQL, Fence

from .cluster import Cluster
from .faults import Schedule

HEALS_S = 45.0
FLOWS_S = 20.0


@dataclass(slots=True)
class Outcome:
    """`stuck`: the reason that the rules give for having no writer at the end, None when there is one."""

    cluster: Cluster
    stuck: str | None = None


class Stuck(AssertionError):
    """No writer, though everything was repaired and no rule says why."""


def build(seed: int, nodes: int = 2, replicas: int = 0) -> Cluster:
    rng = random.Random(seed * 7919 + 1)
    flavor = rng.choice((MARIADB, MYSQL))
    silent_peer = "wait" if rng.random() < 0.25 else "open"
    durability = "lossless" if rng.random() < 0.3 else "async"
    fence = Fence(command="power-off", required=rng.random() < 0.5) if rng.random() < 0.15 else None
    return Cluster(
        seed,
        nodes=nodes,
        replicas=replicas,
        flavor=flavor,  # type: ignore[arg-type]
        silent_peer=silent_peer,  # type: ignore[arg-type]
        durability=durability,  # type: ignore[arg-type]
        fence=fence,
    )


def play(seed: int, nodes: int = 2, cluster: Cluster | None = None) -> Outcome:
    """One run. Raises Broken or Stuck (AssertionErrors); `cluster.engine.story` tells what happened."""
    cluster = cluster or build(seed, nodes)
    rng = random.Random(seed * 104729 + 2)
    if not cluster.run_until_healthy(20.0):
        raise Stuck("it never became healthy without any fault")
    cluster.run(rng.uniform(0.0, 1.5))
    single = rng.random() < 0.3
    count = 1 if single else rng.randint(8, 20) if rng.random() < 0.2 else rng.randint(2, 7)
    faults_s = rng.uniform(2.0, 20.0)
    schedule = Schedule(cluster, faults_s, count, single)
    cluster.run(faults_s + (rng.uniform(0.0, 10.0)))
    schedule.mend()
    if cluster.run_until_healthy(HEALS_S):
        cluster.run(rng.uniform(0.5, 2.0))
        before = len(cluster.clients[0].acknowledged)
        until_s = cluster.engine.now + FLOWS_S
        while len(cluster.clients[0].acknowledged) == before and cluster.engine.now < until_s:
            cluster.run(0.5)
        if len(cluster.clients[0].acknowledged) == before:
            return Outcome(cluster, "no write is acknowledged: " + _why_stuck(cluster))
        return Outcome(cluster)
    return Outcome(cluster, _why_stuck(cluster))


def _why_stuck(cluster: Cluster) -> str:
    """By each node's own verdict. What the rules name for every node is no fault of the core."""
    rules = []
    for host in cluster.hosts.values():
        world = host.agent.world if host.agent is not None else None
        assert world is not None and world.verdict is not None
        rule = world.verdict.rule
        if rule == "parked" and world.diverged:
            rule = "diverged"
        rules.append(rule)
    one, other = [host.disk.have for host in cluster.hosts.values()][:2]
    forked = any(n > other.get(s, 0) for s, n in one.items()) and any(n > one.get(s, 0) for s, n in other.items())
    return "/".join(rules) + (" forked" if forked else "")
