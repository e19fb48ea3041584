"""What is due about received transactions that nobody applies: row by row, and that no row loses them silently."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from healthy import ABSENT, CHANNEL, FACTS, GTIDS, NOW_S, PEER, SILENT, STANDBY, with_facts

from vipguard.checks import writer
from vipguard.model.effect import ExamineRelay, RescueRelay, StartReplication
from vipguard.model.evidence import EpochRow, ProcessId, RelayEvidence, ServerEvidence
from vipguard.model.gtid import GtidSet
from vipguard.model.policy import Node
from vipguard.model.sight import PeerSight, Sight
from vipguard.notify import rejoin, relay

PROCESS = ProcessId(77, 1234)
NOTHING = GtidSet.empty("mariadb")
LEFT = GtidSet.parse("mariadb", "2-2-71..80")
MORE = GtidSet.parse("mariadb", "1-1-5,2-2-80")
STOPPED: dict[str, Any] = {"io": "stopped", "sql_running": False, "lag_s": None, "received": NOTHING}
AGO_S = relay.AGAIN_S + 1


def seen(unapplied: GtidSet | None = LEFT, reason: str = "", ago_s: float = 1.0) -> RelayEvidence:
    return RelayEvidence(PROCESS, NOW_S - ago_s, unapplied, reason)


def peer(evidence: ServerEvidence | None) -> dict[str, PeerSight]:
    return {"db2": replace(PEER, evidence=evidence)}


def answering(gtid: GtidSet, epoch: int = 3, closed: bool = True) -> dict[str, PeerSight]:
    facts = replace(FACTS, server_id=2, gtid=gtid, closed=closed, open_lock=None if closed else 9,
                    epoch=EpochRow(epoch, "db2", "boot-2"))  # fmt: skip
    return peer(ServerEvidence(PEER.evidence.answer, NOW_S - 0.04, NOW_S - 0.039, facts))  # type: ignore[union-attr]


#: db1's server has just restarted, its source db2 is dead, and its relay log holds ten transactions
RESTARTED = replace(
    with_facts(STANDBY, process=PROCESS, channels=(replace(CHANNEL, **STOPPED),)),
    relay=seen(),
    peers=peer(ABSENT),
)


def channel(sight: Sight, **changes: Any) -> Sight:
    return with_facts(sight, channels=(replace(CHANNEL, **{**STOPPED, **changes}),))


ROWS = {
    "nobody has them": (RESTARTED, "join-rescue", RescueRelay),
    "the source is silent": (replace(RESTARTED, peers=peer(SILENT)), "join-rescue", RescueRelay),
    "not looked yet": (replace(RESTARTED, relay=None), "join-examines", ExamineRelay),
    "looked at another process": (
        replace(RESTARTED, relay=replace(seen(), process=ProcessId(76, 1))), "join-examines", ExamineRelay,
    ),
    "looking failed long ago": (
        replace(RESTARTED, relay=seen(None, "encrypted", AGO_S)), "join-examines", ExamineRelay,
    ),
    "looking failed a moment ago": (replace(RESTARTED, relay=seen(None, "encrypted")), "join-waits", None),
    "a living source has them": (
        replace(RESTARTED, peers=answering(MORE, closed=False)), "join", StartReplication,
    ),
    "a closed source has them": (replace(RESTARTED, peers=answering(MORE)), "join", StartReplication),
    "a source came back without them": (replace(RESTARTED, peers=answering(GTIDS)), "join-rescue", RescueRelay),
    "a writer lacks them": (replace(RESTARTED, peers=answering(GTIDS, closed=False)), "diverged", None),
    "a newer history lacks them": (replace(RESTARTED, peers=answering(GTIDS, epoch=4)), "diverged", None),
    "nothing is left": (replace(RESTARTED, relay=seen(NOTHING)), "join-waits", None),
    "applying failed a moment ago": (replace(RESTARTED, relay=seen(LEFT, "1062")), "rescue-failed", None),
    "applying failed long ago": (
        replace(RESTARTED, relay=seen(LEFT, "1062", AGO_S)), "join-rescue", RescueRelay,
    ),
    "a rescue was interrupted at its end": (
        channel(replace(RESTARTED, relay=seen(NOTHING)), received=None), "join-rescue", RescueRelay,
    ),
    "a rescue was interrupted while it applied": (
        channel(RESTARTED, received=None, sql_running=True), "join-rescue", RescueRelay,
    ),
    "an interrupted rescue, and the source is back": (
        channel(replace(RESTARTED, peers=answering(MORE)), received=None), "join", StartReplication,
    ),
}  # fmt: skip
AWAY = PeerSight(Node("db3", "10.73.0.13", 160), SILENT)
ROWS["another node than the source is away"] = (
    replace(RESTARTED, peers={**RESTARTED.peers, "db3": AWAY}),
    "rescue-waits",
    None,  # type: ignore[assignment]
)
ROWS["another is away, and the operator promotes"] = (
    replace(RESTARTED, peers={**RESTARTED.peers, "db3": AWAY}, promoted=True),
    "join-rescue",
    RescueRelay,
)


@pytest.mark.parametrize("what", ROWS)
def test_before_replication_starts_it_is_due_when(what: str) -> None:
    sight, rule, effect = ROWS[what]
    join = rejoin.standby(sight)
    assert (join.rule, type(join.effect) if join.effect else None) == (rule, effect)


def test_mysql_tells_what_it_received_and_is_not_examined() -> None:
    mine, theirs = (GtidSet.parse("mysql", f"3e11fa47-71ca-11e1-9e33-c80aa9429562:1-{n}") for n in (5, 9))
    sight = with_facts(RESTARTED, flavor="mysql", gtid=mine)
    sight = replace(channel(sight, received=theirs, applied=False), relay=None, errant=None)
    assert sight.unapplied == theirs.minus(mine)
    assert rejoin.standby(sight).rule == "join-rescue"


def test_what_is_applied_or_being_applied_is_not_left() -> None:
    assert STANDBY.unapplied == NOTHING
    assert channel(RESTARTED, io="connecting", sql_running=True, received=MORE).unapplied == NOTHING
    assert with_facts(RESTARTED, gtid=MORE).unapplied == NOTHING
    assert channel(replace(RESTARTED, relay=None), received=MORE).unapplied == LEFT


@pytest.mark.parametrize("relay_seen", [None, seen(), seen(None, "encrypted"), seen(LEFT, "1062")])
def test_with_anything_left_or_unknown_a_node_is_neither_entitled_nor_eligible(
    relay_seen: RelayEvidence | None,
) -> None:
    alone = replace(RESTARTED, peers=answering(GTIDS), relay=relay_seen)
    assert replace(alone, relay=seen(NOTHING)).entitled
    assert not alone.entitled and not writer.judge(alone, "candidate").may


def test_an_operators_promotion_waits_until_it_is_applied_or_cannot_be() -> None:
    promoted = replace(RESTARTED, promoted=True)
    assert writer.judge(promoted, "candidate").rule == "received-unapplied"
    assert writer.judge(replace(promoted, relay=None), "candidate").rule == "received-unapplied"
    for done in (seen(NOTHING), seen(LEFT, "1062"), seen(None, "encrypted")):
        assert writer.judge(replace(promoted, relay=done), "candidate").may


def test_a_channel_that_follows_by_position_makes_no_candidate() -> None:
    for changes in ({"io": "running", "sql_running": True}, {"sql_running": True}, {}):
        verdict = writer.judge(channel(RESTARTED, received=None, applied=None, **changes), "candidate")
        assert verdict.rule == "replication-broken" and not verdict.may
