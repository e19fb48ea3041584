"""A planned move, step by step: the writer's part, the target's, and how each goes back."""

from __future__ import annotations

from dataclasses import replace

import core
import pytest
from core import Core
from healthy import BEATLESS, CHANNEL, GTIDS, POLICY, STANDBY, WRITER_FACTS, with_facts

from vipguard.agent.event import Claimed
from vipguard.agent.world import Closing, Handing, Invited
from vipguard.checks import move
from vipguard.model import effect as do
from vipguard.model.evidence import Answer, Order
from vipguard.model.gtid import GtidSet
from vipguard.model.maintenance import Maintenance
from vipguard.model.policy import Node
from vipguard.model.sight import PeerSight
from vipguard.notify import domains

AHEAD = GTIDS.union(GtidSet.parse("mariadb", "1-1-9"))


def ordered(*, claimed: bool = True) -> Core:
    """db1 writes, it is ordered that db2 does, and db2 has claimed db1."""
    one = core.guarded_writer()
    assert one.facts is not None
    one.facts = replace(one.facts, moving_to="db2", claim_lock=77 if claimed else None)
    one.look()
    return one


def closing() -> Core:
    """Its clients are reset, and the close is under way."""
    one = ordered()
    one.do(do.ResetClients)
    return one


def handing() -> Core:
    """Closed with transactions that db2 has not applied yet."""
    one = closing()
    assert one.facts is not None
    one.facts = replace(one.facts, gtid=AHEAD)
    one.do(do.CloseServer)
    assert isinstance(one.world.phase, Handing)
    return one


def asked() -> Core:
    """db2 writes, and it is ordered there that db1 does."""
    one = core.standby()
    one.peer = replace(WRITER_FACTS, moving_to="db1")
    one.look()
    return one


def invited() -> Core:
    """db1 can open, lets nobody in before, and begins to claim."""
    one = asked()
    one.do(do.PrepareOpen)
    one.do(do.ShutGate)
    return one


def carry(one: Core, times: int) -> None:
    """Everything is carried out, with a look at the peer in between: an invited node asks it again and again."""
    for _ in range(times):
        one.wait(0.1)
        for kind in {type(flight.effect) for flight in one.flights} - {do.ProbePeer}:
            one.now += 0.001
            one.do(kind)


# -- the writer


def test_an_order_without_the_targets_claim_moves_nothing() -> None:
    one = ordered(claimed=False)
    one.wait(1.0)
    assert one.phase == "Writing" and not one.sent(do.CloseServer)


def test_clients_are_cut_when_the_target_is_near_or_does_not_come_near_within_a_second() -> None:
    for comes in (True, False):
        one = ordered(claimed=False)
        assert one.facts is not None and one.peer is not None
        one.facts = replace(one.facts, gtid=AHEAD.union(GtidSet.parse("mariadb", "1-1-5000")), claim_lock=77)
        one.wait(0.5)
        assert one.phase == "Writing" and not one.sent(do.ResetClients)
        if comes:
            one.peer = replace(one.peer, gtid=one.facts.gtid)
        one.wait(0.2 if comes else 0.7)
        assert one.phase == "Closing" and one.sent(do.ResetClients)


def test_clients_are_reset_before_the_server_is_read_only_and_the_vip_stays() -> None:
    one = ordered()
    assert isinstance(one.world.phase, Closing) and one.sent(do.ResetClients) and not one.sent(do.CloseServer)
    one.do(do.ResetClients)
    assert one.sent(do.CloseServer) and not one.sent(do.KillServer) and one.track == "1"


def test_the_vip_is_let_go_when_the_target_has_everything() -> None:
    one = handing()
    assert any(probe.after_s for probe in one.sent(do.ProbePeer)) and not one.sent(do.WriteTrack)
    assert one.peer is not None
    one.peer = replace(one.peer, gtid=AHEAD)
    one.do(do.ProbePeer)
    assert one.phase == "Resting" and one.sent(do.WriteTrack) == [do.WriteTrack(1.0, "0")]
    assert "target-has-all" in one.rules and "takeover-parked" in one.rules


def test_the_sessions_of_the_close_are_made_once_while_clients_still_write() -> None:
    one = ordered()
    assert one.sent(do.PrepareClose) and one.sent(do.ResetClients)
    one.do(do.PrepareClose)
    assert not one.sent(do.PrepareClose) and not one.sent(do.CloseServer), "not again, and nothing before the cut"


def test_a_server_that_cannot_be_closed_in_time_is_not_killed_and_stays_the_writer() -> None:
    one = closing()
    for _ in range(6):
        if one.sent(do.CloseServer):
            one.fail(do.CloseServer, refused=True)
        one.wait(0.1)
    assert not one.sent(do.KillServer) and one.phase == "Writing" and "not-closed-in-time" in one.rules
    one.wait(1.0)
    assert not one.sent(do.CloseServer), "the same order is not tried again"
    assert one.facts is not None
    one.facts = replace(one.facts, moving_to=None, claim_lock=None)
    one.wait(0.3)
    one.go()
    one.facts = replace(one.facts, moving_to="db2", claim_lock=78)
    one.wait(0.2)
    assert one.phase == "Closing", "the next order is"


def _withdrawn(one: Core) -> None:
    assert one.facts is not None
    one.facts = replace(one.facts, moving_to=None)


def _target_silent(one: Core) -> None:
    one.peer_answer = Answer.SILENT


def _target_left(one: Core) -> None:
    assert one.facts is not None
    one.facts = replace(one.facts, claim_lock=None)


def _target_behind(one: Core) -> None:
    one.wait(5.2)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (_withdrawn, "order-withdrawn"),
        (_target_silent, "target-silent"),
        (_target_left, "target-left"),
        (_target_behind, "target-behind"),
    ],
)
def test_a_closed_writer_goes_back_and_opens_again(change: object, rule: str) -> None:
    one = handing()
    change(one)  # type: ignore[operator]
    one.wait(0.3)
    assert rule in one.rules and one.vip and one.track == "1"
    assert one.facts is not None
    one.facts = replace(one.facts, moving_to=None, claim_lock=None)
    one.peer_answer = Answer.ANSWERED
    carry(one, 30)
    assert one.phase == "Writing" and one.vip and one.track == "1"


def test_a_closed_writer_that_still_is_claimed_waits_before_it_opens_again() -> None:
    one = handing()
    _withdrawn(one)
    one.wait(1.0)
    assert one.phase == "Handing" and not one.sent(do.Claim)


def test_a_vip_that_goes_by_itself_ends_the_move_closed() -> None:
    one = handing()
    one.move_vip(False)
    assert one.phase == "Resting" and one.facts is not None and one.facts.closed


def test_an_isolated_writer_in_the_middle_of_a_move_closes_as_any_other() -> None:
    one = closing()
    one.pings, one.peer_answer = False, Answer.SILENT
    for _ in range(12):
        one.wait(0.1)
        if one.sent(do.CloseServer) and not one.sent(do.KillServer):
            one.fail(do.CloseServer)
    assert "isolated" in one.rules and (one.sent(do.KillServer) or one.facts is None)


def test_a_paused_cluster_moves_nothing() -> None:
    one = core.guarded_writer()
    assert one.facts is not None
    paused = (Maintenance("*", 1_700_000_000, None, ""),)
    one.facts = replace(one.facts, moving_to="db2", claim_lock=77, maintenance=paused)
    one.wait(0.5)
    assert one.phase == "Writing"


# -- the target


def test_a_candidate_that_is_asked_claims_every_node_in_order() -> None:
    one = asked()
    assert isinstance(one.world.phase, Invited) and not one.sent(do.Claim)
    one.do(do.PrepareOpen)
    assert not one.sent(do.Claim), "the gate is shut before the writer can let the VIP go"
    one.do(do.ShutGate)
    claimed = []
    while one.sent(do.Claim):
        claimed += [effect.node for effect in one.sent(do.Claim) if isinstance(effect, do.Claim)]
        one.do(do.Claim)
    assert claimed == ["db1", "db2"] and one.phase == "Invited" and not one.sent(do.StopReceiving)


def test_before_the_vip_comes_everything_but_the_opening_is_done() -> None:
    one = invited()
    carry(one, 3)
    one.peer = replace(one.peer, closed=True, open_lock=None) if one.peer is not None else None
    carry(one, 12)
    assert isinstance(one.world.phase, Invited)
    record = one.world.phase.takeover
    assert record.drained is not None and record.opener is not None and record.remembered and one.world.phase.shut
    carry(one, 20)
    assert one.track == "1", "however long the VIP takes"
    one.move_vip(True)
    assert one.phase == "Taking"
    carry(one, 10)
    assert one.phase == "Writing" and "switchover" in one.rules


@pytest.mark.parametrize("how", ["withdrawn", "denied", "unfit", "late"])
def test_a_target_that_leaves_gives_its_claims_back(how: str) -> None:
    one = invited()
    one.do(do.Claim)
    if how == "denied":
        flight = one.take(do.Claim)
        one.report(flight, Claimed(None, one.peers_server()))
    elif how == "withdrawn":
        one.peer = WRITER_FACTS
    elif how == "unfit":
        assert one.facts is not None
        one.facts = replace(one.facts, channels=(replace(CHANNEL, sql_running=False),))
    one.wait(16.0 if how == "late" else 0.3)
    assert one.phase == "Resting" and "switchover-abandoned" in [note.what for note in one.notes]
    assert one.sent(do.DropOpener), "an idle session would hold the open lock, and MySQL's shutdown up"
    one.go()
    assert one.facts is not None and one.facts.claim_lock is None


def test_a_node_that_is_no_candidate_is_not_asked() -> None:
    one = core.standby()
    assert one.facts is not None
    one.facts = replace(one.facts, channels=(replace(CHANNEL, sql_running=False),))
    one.peer = replace(WRITER_FACTS, moving_to="db1")
    one.wait(0.5)
    assert one.phase == "Resting" and not one.sent(do.Claim)


def test_an_opening_that_is_under_way_is_not_given_up_for_its_own_row() -> None:
    """A peer that follows already has the new row, and more than was drained, before the report comes."""
    one = core.taker()
    one.go(do.Open)
    flight = one.take(do.Open)
    assert isinstance(flight.effect, do.Open) and one.facts is not None
    row, more = flight.effect.row, one.facts.gtid.union(GtidSet.parse("mariadb", "1-1-99"))
    one.facts = replace(one.facts, closed=False, open_lock=core.OPENER, epoch=row, gtid=more)
    one.peer = replace(WRITER_FACTS, closed=True, open_lock=None, epoch=row, gtid=more)
    one.wait(0.2)
    one.report(flight, None)
    assert one.phase == "Writing" and "epoch-overtaken" not in one.rules and "peer-has-more" not in one.rules


# -- what is looked at before


SEEN = replace(STANDBY, policy=POLICY)


def _rules(**target: object) -> dict[str, bool]:
    """db1 is to take over from db2, seen from db1."""
    seen = with_facts(SEEN, **target)
    seen = replace(seen, policy=BEATLESS)
    return {line.rule: line.fine for line in move.examine("db2", "db1", seen, seen)}


def test_a_healthy_target_is_fine_in_every_respect() -> None:
    assert all(_rules().values()) and {"closed", "replication", "lag", "errant"} <= set(_rules())


@pytest.mark.parametrize(
    ("target", "rule"),
    [
        ({"closed": False}, "closed"),
        ({"channels": ()}, "replication"),
        ({"channels": (replace(CHANNEL, sql_running=False, sql_error="1062"),)}, "replication"),
        ({"channels": (replace(CHANNEL, lag_s=3.0),)}, "lag"),
        ({"channels": (replace(CHANNEL, lag_s=None),)}, "lag"),
        ({"gtid": AHEAD}, "errant"),
    ],
)
def test_what_speaks_against_a_target_is_named(target: dict[str, object], rule: str) -> None:
    found = _rules(**target)
    assert found[rule] is False


def test_a_target_that_does_not_answer_is_the_only_line() -> None:
    lines = move.examine("db2", "db1", replace(SEEN, server=None), SEEN)
    assert [(line.rule, line.fine) for line in lines] == [("not-seen", False)]


@pytest.mark.parametrize(
    ("writers", "third", "moves"),
    [
        (0, Order(0, True, parallel=True), True),
        (2, Order(0, True, parallel=False), True),
        (2, Order(0, True, parallel=True), False),
        (2, None, False),
    ],
    ids=["one domain", "nobody in parallel", "a third node in parallel", "a third node that is not seen"],
)
def test_the_move_into_the_clusters_domain_waits_for_parallel_appliers(
    writers: int, third: Order | None, moves: bool
) -> None:
    nodes = (*POLICY.nodes, Node("db3", "10.73.0.13", 0, 3, "replica"))
    peer = SEEN.peers["db2"]
    assert peer.evidence is not None and peer.evidence.facts is not None
    its = replace(peer.evidence.facts, order=Order(writers, True, parallel=True))
    follows = replace(peer.evidence.facts, order=third, closed=True, open_lock=None)
    seen = replace(
        with_facts(SEEN, order=Order(0, True, parallel=True)),
        policy=replace(BEATLESS, nodes=nodes),
        peers={"db2": replace(peer, evidence=replace(peer.evidence, facts=its))},
        replicas={"db3": PeerSight(nodes[2], replace(peer.evidence, facts=follows))},
    )
    found = {line.rule: line for line in move.examine("db2", "db1", seen, seen)}
    assert ("order" in found) is (writers != 0)
    assert writers == 0 or ("goes on in it" not in found["order"].text) is moves
    assert domains.domain(seen) == (0 if moves else writers)


def test_maintenance_and_pause_are_told_by_the_writer() -> None:
    rows = (Maintenance("*", 1, None, ""), Maintenance("db1", 1, None, "disk"))
    peer = SEEN.peers["db2"]
    assert peer.evidence is not None and peer.evidence.facts is not None
    told = replace(peer, evidence=replace(peer.evidence, facts=replace(peer.evidence.facts, maintenance=rows)))
    seen = replace(SEEN, peers={"db2": told})
    lines = {line.rule: line for line in move.examine("db2", "db1", seen, seen)}
    assert not lines["maintenance"].fine and not lines["cluster-paused"].fine and "disk" in lines["maintenance"].text


