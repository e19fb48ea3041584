"""What does one seed do? A run from healthy through faults to healthy again, and what it came to."""

from __future__ import annotations

import random
from dataclasses import dataclass

from vipguard.model.policy import MARIADB, MYSQL, Fence, Limits

from . import liveness
from .cluster import Cluster
from .schedule import LONG, Schedule
from .situations import SITUATIONS, Situation

HEALS_S = 45.0
JOINS_S = 20.0
FLOWS_S = 20.0
LONG_SHARE, LONG_S = 0.004, (60.0, 900.0)
MEDIUM_SHARE, MEDIUM_S = 0.05, (14.0, 40.0)
SITUATION_EVERY = 3  # seeds
TRIES = 100


@dataclass(slots=True)
class Outcome:
    """`waits`: the rules by which no writer is there in the end until a person speaks; none where there is one."""

    cluster: Cluster
    waits: tuple[str, ...] = ()


class Stuck(AssertionError):
    """No writer, though everything was repaired and no rule says that a person has to speak."""


def situated(seed: int) -> Situation | None:
    """Every third seed has a situation, each in its turn."""
    turn, rest = divmod(seed, SITUATION_EVERY)
    return SITUATIONS[turn % len(SITUATIONS)] if rest == SITUATION_EVERY - 1 else None


def build(seed: int, nodes: int | None = None, replicas: int | None = None) -> Cluster:
    """Two nodes or three, with up to two replicas, by the seed where they are not given; drawn anew until the seed's
    situation fits."""
    rng, situation = random.Random(seed * 7919 + 1), situated(seed)
    for _ in range(1 if situation is None else TRIES):
        cluster = _cluster(seed, rng, nodes, replicas)
        if situation is None or situation.fits(cluster):
            break
    return cluster


def _cluster(seed: int, rng: random.Random, nodes: int | None, replicas: int | None) -> Cluster:
    flavor = rng.choice((MARIADB, MYSQL))
    silent_peer = "wait" if rng.random() < 0.25 else "open"
    durability = "lossless" if rng.random() < 0.3 else "async"
    fence = Fence(command="power-off", required=rng.random() < 0.5) if rng.random() < 0.15 else None
    drawn = 3 if rng.random() < 0.2 else 2, rng.choice((0, 0, 0, 0, 0, 1, 2))
    beats, witness = rng.random() < 0.85, rng.random() < 0.95
    return Cluster(
        seed,
        nodes=drawn[0] if nodes is None else nodes,
        replicas=drawn[1] if replicas is None else replicas,
        flavor=flavor,  # type: ignore[arg-type]
        silent_peer=silent_peer,  # type: ignore[arg-type]
        durability=durability,  # type: ignore[arg-type]
        fence=fence,
        limits=Limits() if beats else Limits(heartbeat_s=0.0),
        witness=witness,
    )


def play(seed: int, cluster: Cluster | None = None) -> Outcome:
    """One run. Raises Broken or Stuck (AssertionErrors); `cluster.engine.story` tells what happened."""
    cluster = cluster or build(seed)
    rng = random.Random(seed * 104729 + 2)
    if not cluster.run_until_healthy(20.0):
        raise Stuck("it never became healthy without any fault")
    cluster.run(rng.uniform(0.0, 1.5))
    schedule = Schedule(cluster)
    situation = situated(seed)
    staged = situation is not None and situation.fits(cluster)
    cluster.run(schedule.stage(situation) if situation and staged else _draw(schedule, rng))
    schedule.mend()
    if not cluster.run_until_healthy(HEALS_S + schedule.staged_s):
        return _waiting(cluster, "no writer")
    cluster.run(rng.uniform(0.5, 2.0))
    cluster.engine.run(cluster.engine.now + JOINS_S, lambda: liveness.whole(cluster))
    if not liveness.whole(cluster):
        raise Stuck(f"a node does not join again: {liveness.verdicts(cluster)}")
    before = len(cluster.clients[0].acknowledged)
    until_s = cluster.engine.now + FLOWS_S
    while len(cluster.clients[0].acknowledged) == before and cluster.engine.now < until_s:
        cluster.run(0.5)
    if len(cluster.clients[0].acknowledged) == before:
        return _waiting(cluster, "no write is acknowledged")
    return Outcome(cluster)


def _draw(schedule: Schedule, rng: random.Random) -> float:
    """Order the faults; for how long they go on. Mostly some seconds; now and then one lasts for minutes, and what else
    fails does so about its end."""
    kind = rng.random()
    if kind < LONG_SHARE:
        lasts_s = rng.uniform(*LONG_S)
        schedule.order(rng.uniform(0.0, 2.0), lasts_s, LONG)
        for _ in range(rng.randint(1, 6)):
            schedule.order(max(2.0, lasts_s + rng.uniform(-20.0, 8.0)))
        if rng.random() < 0.5:
            schedule.order(rng.uniform(3.0, 20.0))
        return lasts_s + rng.uniform(5.0, 20.0)
    if kind < LONG_SHARE + MEDIUM_SHARE:
        lasts_s = rng.uniform(*MEDIUM_S)
        schedule.order(rng.uniform(0.0, 2.0), lasts_s, LONG)
        for _ in range(rng.randint(0, 2)):
            schedule.order(rng.uniform(0.0, 10.0), rng.uniform(lasts_s / 2, lasts_s))
        for _ in range(rng.randint(1, 5)):
            schedule.order(rng.uniform(0.0, lasts_s + 10.0))
        return lasts_s + rng.uniform(5.0, 20.0)
    count = 1 if rng.random() < 0.3 else rng.randint(8, 20) if rng.random() < 0.2 else rng.randint(2, 7)
    faults_s = rng.uniform(1.0, 14.0)
    for _ in range(count):
        schedule.order(rng.uniform(0.0, faults_s))
    return faults_s + rng.uniform(0.0, 5.0)


def _waiting(cluster: Cluster, what: str) -> Outcome:
    """By the nodes' own words. What their rules leave to a person is no fault of the core."""
    found = liveness.waits(cluster)
    if not found:
        raise Stuck(f"{what} in the end: {liveness.verdicts(cluster)}")
    return Outcome(cluster, found)
