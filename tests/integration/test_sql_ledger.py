"""The ledger of openings on real servers of both flavours: written with the epoch, replicated, and read by a probe."""

from __future__ import annotations

from typing import Any

import pytest
from scratch import Pair

from vipguard.act.ledger import write_opening
from vipguard.act.server import Opener
from vipguard.errors import CouldNotDo
from vipguard.lab.wait import wait_until
from vipguard.model.evidence import EpochRow
from vipguard.model.ledger import Ledger, Opening, Relation, relate
from vipguard.probe.server import ServerProbe
from vipguard.session import Deadline, boottime_s

pytestmark = pytest.mark.lab
FIRST, SECOND, ASIDE = EpochRow(3, "b", "boot"), EpochRow(5, "b", "boot"), EpochRow(4, "a", "boot-a")


def opened(pair: Pair) -> Opener:
    opener = Opener.prepare(pair.b.connector(), pair.policy.open_lock, Deadline(2))
    opener.open(Deadline(2))
    opener.write_epoch("scratch", Opening(FIRST), Deadline(2))
    return opener


def look(probe: ServerProbe) -> Any:
    facts = probe.look(2.0, boottime_s).facts
    assert facts is not None and facts.ledger is not None
    return facts


def rows(ledger: Ledger) -> list[EpochRow]:
    return [opening.row for opening in ledger.openings]


def test_an_opening_stands_in_the_ledger_of_every_node_and_its_history_goes_on(pair: Pair) -> None:
    here, there = (ServerProbe(server.connector(), pair.policy) for server in (pair.b, pair.a))
    before = look(there)
    opener = opened(pair)
    wait_until(lambda: look(there).epoch == FIRST, 10)
    assert rows(look(here).ledger) == rows(look(there).ledger) == [FIRST]
    assert relate(look(here).history, before.history) is Relation.AHEAD
    assert abs(look(here).ledger.openings[0].at_s - float(pair.b.value("UNIX_TIMESTAMP()"))) < 60
    raised = Opening(SECOND, overrules=frozenset({ASIDE}))
    write_opening(pair.b.session(), pair.policy, raised, opener.connection_id, Deadline(2))
    wait_until(lambda: look(there).epoch == SECOND, 10)
    assert rows(look(there).ledger) == [FIRST, SECOND] and ASIDE in look(there).ledger.covered
    assert relate(look(here).history, look(there).history) is Relation.SAME


def test_a_closed_server_and_another_hands_lock_take_no_row(pair: Pair) -> None:
    opener = opened(pair)
    for holder, closes in ((opener.connection_id + 1, False), (opener.connection_id, True)):
        if closes:
            pair.b.close()
        with pytest.raises(CouldNotDo, match=r"not open any more|read-only") as raised:
            write_opening(pair.b.session(), pair.policy, Opening(SECOND), holder, Deadline(2))
        assert raised.value.refused
    assert pair.b.value("(SELECT GROUP_CONCAT(epoch) FROM vipguard.opening)") == "3"
    assert pair.b.value("(SELECT epoch FROM vipguard.epoch)") == 3


def test_a_server_of_an_older_version_has_no_ledger_and_opens_all_the_same(pair: Pair) -> None:
    pair.b.sql("SET GLOBAL read_only=0", "SET sql_log_bin=0", "DROP TABLE vipguard.opening")
    pair.b.close()
    opener = opened(pair)
    facts = ServerProbe(pair.b.connector(), pair.policy).look(2.0, boottime_s).facts
    assert facts is not None and facts.ledger is None and facts.epoch == FIRST
    opener.close()


def test_a_table_that_comes_later_is_found_by_the_same_session(pair: Pair) -> None:
    text = pair.a.sql("SHOW CREATE TABLE vipguard.opening")[0]["Create Table"]
    pair.a.sql("SET sql_log_bin=0", "DROP TABLE vipguard.opening")
    probe = ServerProbe(pair.a.connector(), pair.policy)
    assert probe.look(2.0, boottime_s).facts.ledger is None  # type: ignore[union-attr]
    pair.a.sql("SET sql_log_bin=0", text.replace("CREATE TABLE `opening`", "CREATE TABLE vipguard.opening"))
    assert look(probe).ledger == Ledger()


def test_replications_own_heartbeats_are_counted(pair: Pair) -> None:
    probe = ServerProbe(pair.a.connector(), pair.policy)
    first = look(probe).io_beats
    assert first is not None
    wait_until(lambda: (look(probe).io_beats or 0) > first, 40)
