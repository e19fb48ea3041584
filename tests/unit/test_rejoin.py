"""Which node may follow which, after a return, at a boot, and when histories forked?"""

from __future__ import annotations

from dataclasses import replace

from core import PEER_FACTS, Core, guarded_writer, standby, writer
from healthy import BLIND, CHANNEL, FACTS, GTIDS, PEER, STANDBY, WRITER, with_facts, with_peer

from vipguard.model import effect as do
from vipguard.model.evidence import Channel, EpochRow
from vipguard.model.gtid import GtidSet
from vipguard.model.ledger import Ledger, Opening
from vipguard.model.sight import Sight
from vipguard.notify import rejoin

STOPPED = replace(CHANNEL, io="stopped", sql_running=False, lag_s=None)
IO_STOPPED = replace(CHANNEL, io="stopped", lag_s=None)
LESS = GtidSet.parse("mariadb", "1-1-5,2-2-60")
MORE = GtidSet.parse("mariadb", "1-1-5,2-2-90")
FORKED = GtidSet.parse("mariadb", "1-1-9,2-2-60")


def returned(gtid: GtidSet = GTIDS, channel: Channel = STOPPED, **changes: object) -> Sight:
    """db1 is back, closed, its replication stopped; its peers as in STANDBY."""
    sight = with_facts(STANDBY, gtid=gtid, channels=(channel,), **changes)
    assert sight.server is not None and PEER.evidence is not None
    return replace(sight, server=replace(sight.server, asked_at_s=990.0, seen_at_s=990.0))


def test_a_node_whose_history_the_writer_has_joins() -> None:
    join = rejoin.standby(returned(LESS))
    assert join.rule == "join" and isinstance(join.effect, do.StartReplication)


def test_a_node_with_more_than_the_writer_stays_apart_and_names_it() -> None:
    join = rejoin.standby(returned(FORKED))
    assert join.rule == "diverged" and join.effect is None
    assert join.apart is not None and str(join.apart) == "1-1-6..9"


def test_what_the_writer_seems_to_lack_may_be_newer_than_the_look_at_it() -> None:
    sight = returned(MORE)
    assert sight.server is not None
    assert rejoin.standby(replace(sight, server=replace(sight.server, seen_at_s=sight.now_s))).rule == (
        "join-compare-again"
    )


def test_a_node_of_which_replication_runs_is_left_alone() -> None:
    assert rejoin.standby(STANDBY).rule == "joined"


def test_a_node_without_replication_is_said_to_have_none() -> None:
    assert rejoin.standby(with_facts(STANDBY, channels=())).rule == "join-not-configured"


def test_without_a_writer_and_with_a_peer_unseen_nobody_joins() -> None:
    sight = replace(returned(LESS, IO_STOPPED), peers={"db2": replace(PEER, evidence=BLIND)})
    assert rejoin.standby(sight).rule == "join-waits"


def test_without_a_writer_a_contained_node_joins_the_fullest_closed_one() -> None:
    join = rejoin.standby(with_peer(returned(LESS), closed=True, open_lock=None))
    assert join.rule == "join"


def test_without_a_writer_the_fullest_node_waits_for_the_vip() -> None:
    join = rejoin.standby(with_peer(returned(MORE), closed=True, open_lock=None))
    assert join.rule == "join-waits"


def test_an_older_epoch_never_decides_what_a_newer_one_lacks() -> None:
    row = EpochRow(1, "db2", "boot-2")
    join = rejoin.standby(with_peer(returned(FORKED), closed=True, open_lock=None, epoch=row))
    assert join.rule == "join-waits"


def test_a_writer_of_an_older_epoch_is_not_followed() -> None:
    old, new = EpochRow(1, "db2", "boot-2"), EpochRow(3, "db2", "boot-2")
    here = with_facts(returned(LESS), epoch=new, ledger=Ledger.of([Opening(old), Opening(new)]))
    join = rejoin.standby(with_peer(here, epoch=old, ledger=Ledger.of([Opening(old)])))
    assert join.effect is None


def test_a_writer_listens_to_a_standby_that_has_nothing_more() -> None:
    sight = with_facts(WRITER, channels=(IO_STOPPED,), gtid=MORE)
    join = rejoin.writer(with_peer(sight, closed=True, open_lock=None, gtid=LESS))
    assert join.rule == "listen" and isinstance(join.effect, do.StartReceiving)


def test_a_writer_never_listens_to_a_standby_with_transactions_of_its_own() -> None:
    sight = with_facts(WRITER, channels=(IO_STOPPED,), gtid=LESS)
    assert sight.server is not None
    sight = replace(sight, server=replace(sight.server, asked_at_s=sight.now_s, seen_at_s=sight.now_s))
    join = rejoin.writer(with_peer(sight, closed=True, open_lock=None, gtid=FORKED))
    assert join.rule == "peer-diverged" and join.effect is None and join.apart is not None


def test_a_writer_listens_to_nobody_that_is_open() -> None:
    sight = with_facts(WRITER, channels=(IO_STOPPED,))
    assert rejoin.writer(with_peer(sight, closed=False)).rule == "listen-waits"


# -- in the core


def restarted(core: Core, gtid: GtidSet = GTIDS) -> Core:
    """db1's server came back as another process, closed, with its replication stopped."""
    from vipguard.model.evidence import ProcessId

    assert core.facts is not None
    core.facts = None
    core.look()
    core.facts = replace(
        FACTS, process=ProcessId(5000, 7), channels=(STOPPED,), gtid=gtid, epoch=EpochRow(3, "db2", "boot-2")
    )
    return core


def test_a_server_that_restarted_is_joined_by_itself() -> None:
    core = restarted(standby())
    core.wait(0.3)
    core.go(do.StartReplication)
    assert core.sent(do.StartReplication)
    core.go()
    core.wait(0.3)
    assert core.world.join_due is False and core.world.diverged is None


def test_a_server_that_forked_is_parked_and_its_transactions_are_named() -> None:
    core = restarted(standby(), FORKED)
    core.wait(0.5)
    core.go()
    assert core.world.diverged is not None and "1-1-6..9" in core.world.diverged
    assert not core.sent(do.StartReplication) and core.track == "0"


def test_an_operators_stop_of_replication_stays() -> None:
    core = standby()
    assert core.facts is not None
    core.facts = replace(core.facts, channels=(IO_STOPPED,))
    core.wait(1.0)
    core.go()
    assert not core.sent(do.StartReplication) and core.track == "0"


def test_a_writer_hears_its_standby_again_when_that_is_back() -> None:
    core = writer()
    assert core.facts is not None
    core.peer = replace(PEER_FACTS, closed=True, open_lock=None, gtid=core.facts.gtid, epoch=core.facts.epoch)
    core.wait(0.2)
    assert core.sent(do.StartReceiving)


def test_the_next_agent_starts_what_a_takeover_of_this_boot_stopped() -> None:
    core = guarded_writer()
    assert core.facts is not None
    memory = replace(core.world.memory, stopped="boot-1")
    again = Core(memory=memory)
    again.facts = replace(core.facts, channels=(IO_STOPPED,), open_lock=None)
    again.vip, again.track, again.peer = True, "1", core.peer
    from vipguard.agent.event import AddressSeen, TrackSeen

    again.step(TrackSeen("1"))
    again.step(AddressSeen(again.address()))
    again.wait(0.5)
    again.go(do.StartReceiving)
    assert again.sent(do.StartReceiving)
