"""A standby's own write stands in the writer's relay log, and its applier stops at it: may the writer open again?"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from healthy import CHANNEL, NOW_S, WRITER, with_facts, with_peer

from vipguard.checks import writer
from vipguard.model import effect as do
from vipguard.model.evidence import EpochRow
from vipguard.model.gtid import GtidSet
from vipguard.model.ledger import Ledger, Opening
from vipguard.model.sight import Sight
from vipguard.notify.takeover import Takeover, due

MINE = GtidSet.parse("mariadb", "0-2-40,0-1-60")
ERRANT = GtidSet.parse("mariadb", "0-1-52,0-2-53")
BEFORE, OWN, LATER = (Opening(EpochRow(2, "db2", "b2")), Opening(EpochRow(3, "db1", "b1")),
                      Opening(EpochRow(4, "db2", "b2")))  # fmt: skip


def after_reign(received: str = "0-2-53", **peer: Any) -> Sight:
    """db1 wrote until a moment ago; its applier stands at what db2, closed and of the same history, wrote by itself."""
    stands = replace(
        CHANNEL, sql_running=False, sql_errno=1950, received=GtidSet.parse("mariadb", received), applied=False
    )
    ledger = Ledger.of([BEFORE, OWN])
    sight = with_facts(
        WRITER, closed=True, open_lock=None, gtid=MINE, channels=(stands,), epoch=OWN.row, ledger=ledger
    )
    sight = with_peer(
        sight, **{"closed": True, "open_lock": None, "gtid": ERRANT, "epoch": OWN.row, "ledger": ledger, **peer}
    )
    seen = sight.peers["db2"]
    return replace(sight, peers={"db2": replace(seen, last=seen.evidence)}, was_writer=True, errant=None)


def test_what_the_closed_peer_wrote_by_itself_may_be_set_aside() -> None:
    sight = after_reign()
    assert str(sight.aside) == "0-2-41..53" and sight.entitled
    assert writer.judge(sight, "candidate").rule != "received-unapplied"


def test_the_stop_of_the_io_thread_takes_it_along() -> None:
    sight = after_reign()
    takeover = Takeover(
        NOW_S - 1, "boot-1", claims={"db1": 1, "db2": 2}, arp={"10.73.0.100": False, "10.73.0.12": True}, reserved=4,
        remembered=True, opener=9, hooked=True,
    )  # fmt: skip
    (stop,) = [one for one in due(takeover, sight).effects if isinstance(one, do.StopReceiving)]
    assert stop.aside == sight.aside


def test_also_when_that_node_is_gone_by_now() -> None:
    sight = after_reign()
    peers = {"db2": replace(sight.peers["db2"], evidence=None)}
    assert replace(sight, peers=peers).aside is not None


@pytest.mark.parametrize(
    "changed",
    [
        after_reign(closed=False, open_lock=9),
        after_reign(received="0-2-54"),
        after_reign(epoch=LATER.row, ledger=Ledger.of([BEFORE, OWN, LATER])),
        replace(after_reign(), peers={"db2": replace(after_reign().peers["db2"], last=None)}),
    ],
    ids=["it is open", "it has not that itself", "it has opened", "it was never seen"],
)  # fmt: skip
def test_nothing_else_may(changed: Sight) -> None:
    assert changed.aside is None
    assert writer.judge(changed, "candidate").rule != "candidate-ready"


def test_what_the_last_writer_sent_may_never_be_set_aside_by_a_standby() -> None:
    """db2 wrote by right: its newest opening is its own."""
    row = EpochRow(3, "db2", "boot-2")
    sight = after_reign(epoch=row, ledger=Ledger.of([Opening(row)]))
    sight = replace(with_facts(sight, epoch=row, ledger=Ledger.of([Opening(row)])), was_writer=False)
    assert sight.aside is None


def test_what_a_third_nodes_write_brought_along_is_errant_too_while_this_one_wrote() -> None:
    """It reached db2 through the circle: nobody else wrote by right since this node opened."""
    passed_on = GtidSet.parse("mariadb", "0-1-52,0-3-53")
    sight = after_reign(received="0-3-53", gtid=passed_on)
    assert sight.aside is not None
    lacking = sight.lacks(sight.peers["db2"])
    assert lacking is not None and lacking.is_empty and not sight.forked
    assert replace(sight, was_writer=False).aside is None
