"""When is a fresh copy, or an acceptance, refused? One thing changed against a node that went apart."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import pytest
from healthy import CHANNEL, POLICY, STANDBY, WRITER_FACTS, with_facts

from vipguard.agent.apart import Apart, Home, follows, why_not_accept, why_not_discard
from vipguard.cli.rejoin_text import shown
from vipguard.model.evidence import AddressEvidence, Answer, EpochRow, ProcessId
from vipguard.model.gtid import GtidSet
from vipguard.model.policy import Replication
from vipguard.model.sight import Sight
from vipguard.session.process import stat_fields
from vipguard.state.mark import Mark

LACKING = GtidSet.parse("mariadb", "1-1-6..7")
HOME = Home("mariadb", GtidSet.parse("mariadb", "1-1-7,2-2-60"), True, True, (CHANNEL,), "/var/lib/mysql/", "")
POLICY_WITH_REPLICATION = replace(POLICY, replication=Replication(password="secret"))
MARK = Mark("09:00", "db2", "10.73.0.12", ProcessId(2**22 + 1, 1))
FREE = Apart(
    policy=POLICY_WITH_REPLICATION, sight=STANDBY, home=HOME, home_reason="", writer=POLICY.peers[0], lacking=LACKING,
    unfinished=None, unfinished_reason="", agent={"phase": "resting"}, agent_reason="",
)  # fmt: skip


def me() -> ProcessId:
    fields = stat_fields(os.getpid())
    assert fields is not None
    return ProcessId(os.getpid(), int(fields[19]))


def peer(**changes: Any) -> Sight:
    seen = STANDBY.peers["db2"]
    assert seen.evidence is not None
    return replace(STANDBY, peers={"db2": replace(seen, evidence=replace(seen.evidence, **changes))})


VIP_HERE = replace(STANDBY, address=AddressEvidence(0.0, True, True))
NEWER = with_facts(STANDBY, epoch=EpochRow(9, "db1", "boot-1"))
OTHER = peer(facts=replace(WRITER_FACTS, flavor="mysql", gtid=GtidSet.empty("mysql")))

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "the VIP was not seen": ({"sight": replace(STANDBY, address=None)}, "could not be seen"),
    "the VIP is here": ({"sight": VIP_HERE}, "is on this node"),
    "the agent hangs": ({"agent": None, "agent_reason": "said nothing"}, "hangs"),
    "the agent takes over": ({"agent": {"phase": "taking"}}, "not at rest: taking"),
    "another copy is under way": ({"unfinished": replace(MARK, by=me())}, "makes a fresh copy already"),
    "the server is down": ({"home": None, "home_reason": "nobody listens"}, "must run"),
    "the server is open": ({"home": replace(HOME, closed=False, read_only=False)}, "is open"),
    "it is open though it is half": (
        {"home": replace(HOME, closed=False, read_only=False), "unfinished": MARK}, "is open"
    ),
    "no writer answers": ({"writer": None, "sight": peer(answer=Answer.SILENT, facts=None)}, "no writer answers"),
    "this node is of a newer epoch": ({"writer": None, "sight": NEWER}, "epoch 9"),
    "the writer is of the other kind": ({"sight": OTHER}, "db2 is mysql"),
    "nobody knows how to follow": ({"policy": POLICY}, "no [replication]"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_no_copy_is_made_when(case: str) -> None:
    changes, word = REFUSED[case]
    said = why_not_discard(replace(FREE, **changes))
    assert said is not None and word in said


def test_a_node_that_is_apart_may_be_copied_and_one_that_is_half_too() -> None:
    if os.geteuid() != 0:
        pytest.fail("the tests run as root")
    assert why_not_discard(FREE) is None
    half = replace(FREE, unfinished=MARK, home=replace(HOME, closed=False), lacking=None)
    assert why_not_discard(half) is None, "MySQL's clone may have died without super_read_only"
    assert why_not_discard(replace(FREE, agent=None)) is None


NOT_ACCEPTED: dict[str, tuple[dict[str, Any], str]] = {
    "its copy is not whole": ({"unfinished": MARK}, "no whole copy"),
    "its mark cannot be read": ({"unfinished_reason": "torn"}, "no whole copy"),
    "the server is down": ({"home": None}, "must run"),
    "the server is open": ({"home": replace(HOME, closed=False)}, "is open"),
    "no writer answers": ({"writer": None, "lacking": None, "sight": peer(answer=Answer.ABSENT)}, "no writer answers"),
    "nothing is lacking": ({"lacking": GtidSet.empty("mariadb")}, "lacks nothing"),
    "they are of two sources": ({"lacking": GtidSet.parse("mariadb", "1-1-7,2-2-9")}, "2 sources"),
}


@pytest.mark.parametrize("case", NOT_ACCEPTED)
def test_nothing_is_accepted_when(case: str) -> None:
    changes, word = NOT_ACCEPTED[case]
    said = why_not_accept(replace(FREE, **changes))
    assert said is not None and word in said


def test_transactions_of_one_source_may_be_accepted() -> None:
    assert why_not_accept(FREE) is None


def test_whom_to_follow_is_remembered_over_a_clone() -> None:
    assert follows(FREE) == "10.73.0.12"
    itself = replace(HOME, channels=(replace(CHANNEL, source_host="10.73.0.11"),))
    assert follows(replace(FREE, home=itself)) == "10.73.0.12", "the writer, not itself"
    assert follows(replace(FREE, home=itself, unfinished=replace(MARK, follows="10.73.0.12"))) == "10.73.0.12"


def test_what_is_shown_names_both_answers_only_when_there_is_a_question() -> None:
    text = "\n".join(shown(replace(FREE, policy=POLICY)))
    assert "2 transactions that db2 lacks: 1-1-6..7" in text and "--accept" in text and "--discard" in text
    assert "--start-position=1-1-5 --stop-position=1-1-7" in text
    assert FREE.to_decide
    nothing = replace(FREE, lacking=GtidSet.empty("mariadb"))
    assert not nothing.to_decide and "nothing to decide" in "\n".join(shown(nothing))
    half = replace(FREE, unfinished=MARK)
    assert half.to_decide and "--accept" not in "\n".join(shown(half))
