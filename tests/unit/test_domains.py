"""In which domain does a MariaDB node write once it has opened? One change a test, against a cluster of four."""

from __future__ import annotations

from dataclasses import replace

import core
import pytest
from healthy import POLICY, STANDBY, with_facts

from vipguard.model import effect as do
from vipguard.model.evidence import EpochRow, Order, ServerEvidence
from vipguard.model.policy import Mysql, Node
from vipguard.model.sight import PeerSight, Sight
from vipguard.notify import domains

OLD = Order(domain=2, strict=True, parallel=False)
THIRD = Node("db3", "10.73.0.13", 160, 3)


def seen(of: ServerEvidence | None, **facts: object) -> ServerEvidence:
    assert of is not None and of.facts is not None
    return replace(of, facts=replace(of.facts, **facts))  # type: ignore[arg-type]


def sight(writers: Order | None = OLD, third: Order | None = OLD, replica: Order | None = OLD) -> Sight:
    """db1 is to open after db2, the last writer, which is dead; db3 and a replica are there."""
    peer, row = STANDBY.peers["db2"], EpochRow(3, "db2", "boot-2")
    dead = replace(peer, evidence=None, last=seen(peer.evidence, epoch=row, order=writers))
    nodes = {
        "db3": PeerSight(THIRD, seen(peer.evidence, epoch=row, order=third)),
        "db4": PeerSight(Node("db4", "10.73.0.14", 0, 4, "replica"), seen(peer.evidence, epoch=row, order=replica)),
    }
    taker = with_facts(STANDBY, epoch=row, order=Order(1, True, parallel=True))
    return replace(taker, peers={"db2": dead, "db3": nodes["db3"]}, replicas={"db4": nodes["db4"]})


PARALLEL = replace(OLD, parallel=True)


@pytest.mark.parametrize(
    ("found", "domain"),
    [
        (sight(), 0),
        (sight(writers=replace(OLD, domain=0), third=PARALLEL), 0),
        (sight(third=PARALLEL), 2),
        (sight(replica=PARALLEL), 2),
        (sight(third=None), 2),
        (sight(writers=None, third=PARALLEL), 0),
        (replace(sight(), peers={"db2": sight().peers["db2"]}, replicas={}), 0),
    ],
    ids=["one by one", "it is the cluster's", "a third node in parallel", "a replica in parallel", "one is not seen",
         "the writer was never seen", "a pair"],
)  # fmt: skip
def test_the_old_writers_domain_is_left_where_nobody_could_mix_the_two(found: Sight, domain: int) -> None:
    assert domains.domain(found) == domain


def test_a_node_that_opens_again_goes_on_in_its_own_for_the_same_reason() -> None:
    row = EpochRow(4, "db1", "boot-1")
    again = with_facts(sight(third=PARALLEL), epoch=row, order=replace(OLD, domain=1))
    assert domains.domain(again) == 1


def test_the_clusters_domain_is_the_configurations() -> None:
    assert domains.domain(replace(sight(), policy=replace(POLICY, mysql=Mysql(gtid_domain_id=7)))) == 7


def test_a_taker_is_told_the_domain_and_an_adopter_changes_nothing() -> None:
    taker = core.taker()
    taker.go(do.PrepareOpen)
    effect = taker.take(do.PrepareOpen).effect
    assert isinstance(effect, do.PrepareOpen) and effect.domain == 0
    assert do.PrepareOpen(0.5, adopt=True).domain is None
