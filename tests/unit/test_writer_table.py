"""The verdict's tables: whole first, then row by row, each test one change against a healthy node."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import chain
from typing import Any

import healthy
import pytest
from healthy import NOW_S, STANDBY, TAKER, WRITER, last_seen, with_channel, with_facts, without_source
from hypothesis import given
from hypothesis import strategies as st

from vipguard.checks import writer
from vipguard.model.damping import Damping
from vipguard.model.evidence import DiskEvidence, EpochRow, KeepalivedEvidence
from vipguard.model.gtid import GtidSet
from vipguard.model.ledger import Ledger, Opening
from vipguard.model.maintenance import Maintenance
from vipguard.model.policy import Damping as DampingPolicy
from vipguard.model.sight import GoodLag, PeerSight, Sight
from vipguard.model.standdown import StoodDown
from vipguard.model.verdict import Eligibility, Standing

ERRANT = GtidSet.parse("mariadb", "1-1-9")
LOSSLESS = replace(healthy.POLICY, durability="lossless")
FULL_DISK = DiskEvidence(NOW_S, free_bytes=1_000_000, total_bytes=90_000_000_000, writable=True)
OUT = (Maintenance(healthy.POLICY.node, 1_700_000_000, None, "new disk"),)
MOVING = replace(healthy.SERVER, facts=replace(healthy.FACTS, moving_to="db3"))
ALL_PAUSED = (Maintenance("*", 1_700_000_000, 1_700_003_600, ""),)
STOOD_DOWN = StoodDown(1_700_000_000, "root", "two writers")
PARKED = ("maintenance", "an operator said so")
DEAD_KEEPALIVED = KeepalivedEvidence(alive=False)
NO_PEER_FIT = {"db2": replace(WRITER.peers["db2"], eligible=False)}

OF_MYSQL = replace(
    healthy.PEER, evidence=healthy.BLIND, other_flavor="its server is mysql 9.7 and this node's is mariadb"
)
FLAPPED = Damping(losses=(NOW_S - 9, NOW_S - 8, NOW_S - 7, NOW_S - 6, NOW_S - 5), until_s=NOW_S + 295)
BLOCKED = replace(
    STANDBY,
    policy=replace(healthy.POLICY, damping=DampingPolicy(recovery_block_s=60.0)),
    damping=Damping(epoch=3, epoch_at_s=NOW_S - 10),
)

# one sight for each row of each table: what makes it speak, against a node that is healthy otherwise
_FORK = EpochRow(2, "db2", "boot-2"), EpochRow(4, "db1", "boot-1")
APART = with_facts(STANDBY, epoch=_FORK[1], ledger=Ledger.of([Opening(_FORK[1])]))
APART = healthy.with_peer(APART, closed=True, open_lock=None, epoch=_FORK[0], ledger=Ledger.of([Opening(_FORK[0])]))
ROWS: dict[Standing, dict[str, Sight]] = {
    "candidate": {
        "server-not-asked": replace(STANDBY, server=None),
        "server-absent": replace(STANDBY, server=healthy.ABSENT),
        "disk-stalled": replace(STANDBY, disk=healthy.stalled_disk(1.6)),
        "server-hung": healthy.hung(STANDBY),
        "server-silent": replace(STANDBY, server=healthy.SILENT, server_silent_since_s=NOW_S - 0.5),
        "server-blind": replace(STANDBY, server=healthy.BLIND),
        "other-cluster": with_facts(STANDBY, other_cluster="invoices"),
        "process-unknown": with_facts(STANDBY, process=None),
        "keepalived-dead": replace(STANDBY, keepalived=DEAD_KEEPALIVED),
        "copy-unfinished": replace(STANDBY, copying="a fresh copy of db2 was broken off"),
        "stood-down": replace(STANDBY, stood_down=STOOD_DOWN),
        "maintenance": replace(STANDBY, maintenance=OUT),
        "cluster-paused": replace(STANDBY, maintenance=ALL_PAUSED),
        "parked": replace(STANDBY, parked=PARKED),
        "not-read-only": with_facts(STANDBY, closed=False),
        "filtered": replace(STANDBY, filtered_from="db2"),
        "forked": APART,
        "replication-broken": with_channel(STANDBY, sql_running=False, sql_errno=1062, lag_s=None),
        "received-unapplied": replace(
            with_channel(STANDBY, sql_running=False, received=GtidSet.parse("mariadb", "1-1-5,2-2-80")), promoted=True
        ),
        "lag-unknown": replace(without_source(STANDBY), good_lag=None),
        "lag-exceeded": with_channel(STANDBY, lag_s=10.5),
        "semi-sync-unmarked": replace(STANDBY, policy=LOSSLESS),
        "other-flavor": replace(STANDBY, peers={"db2": OF_MYSQL}),
        "errant-transactions": replace(STANDBY, errant=ERRANT),
        "disk-unfit": replace(STANDBY, disk=FULL_DISK),
        "disk-unsynced": replace(STANDBY, disk=replace(healthy.DISK, sync_error="Permission denied")),
        "isolated": healthy.cut_off(STANDBY),
        "nobody-answers-yet": replace(healthy.cut_off(STANDBY), watching_since_s=NOW_S - 0.1),
        "replica": healthy.REPLICA,
        "keepalived-not-seen": replace(STANDBY, keepalived=KeepalivedEvidence()),
        "keepalived-stands-still": replace(STANDBY, keepalived=replace(STANDBY.keepalived, stands=True)),
        "keepalived-starting": replace(STANDBY, keepalived=replace(STANDBY.keepalived, started_s=NOW_S - 1)),
        "keepalived-foreign": replace(STANDBY, keepalived=replace(STANDBY.keepalived, unheld_since_s=NOW_S - 2)),
        "keepalived-unheard": replace(STANDBY, keepalived=KeepalivedEvidence(alive=True, writer=True)),
        "keepalived-fault": replace(
            STANDBY, keepalived=replace(STANDBY.keepalived, state="FAULT"), track_one_since_s=NOW_S - 5
        ),
        "moving-elsewhere": replace(
            STANDBY, peers={"db2": replace(STANDBY.peers["db2"], evidence=MOVING), "db3": STANDBY.peers["db2"]}
        ),
        "recovery-block": replace(BLOCKED, peers={"db2": replace(WRITER.peers["db2"], eligible=False)}),
        "damped": replace(STANDBY, damping=FLAPPED),
        "promoted-by-operator": replace(STANDBY, promoted=True),
        "candidate-ready": STANDBY,
    },
    "taking": {
        "takeover-replica": replace(TAKER, policy=healthy.REPLICA.policy),
        "takeover-stood-down": replace(TAKER, stood_down=STOOD_DOWN),
        "takeover-paused": replace(TAKER, maintenance=ALL_PAUSED),
        "takeover-server-absent": replace(TAKER, server=healthy.ABSENT),
        "takeover-server-hung": healthy.hung(TAKER),
        "takeover-server-blind": replace(TAKER, server=healthy.BLIND, server_unseen_since_s=NOW_S - 3.1),
        "takeover-other-cluster": with_facts(TAKER, other_cluster="invoices"),
        "takeover-process-unknown": with_facts(TAKER, process=None),
        "takeover-keepalived-dead": replace(TAKER, keepalived=DEAD_KEEPALIVED),
        "takeover-isolated": healthy.cut_off(TAKER),
        "takeover-copy-unfinished": replace(TAKER, copying="a fresh copy of db2 was broken off"),
        "takeover-maintenance": replace(TAKER, maintenance=OUT),
        "takeover-parked": replace(TAKER, parked=PARKED),
        "taking-over": TAKER,
    },
    "holder": {
        "holder-stood-down": replace(WRITER, stood_down=STOOD_DOWN),
        "holder-paused": replace(WRITER, server=healthy.ABSENT, maintenance=ALL_PAUSED),
        "holder-server-leaving": replace(WRITER, server=healthy.ABSENT, process_lives=True),
        "holder-server-hung": healthy.hung(WRITER),
        "holder-hung-alone": replace(healthy.hung(WRITER), peers=NO_PEER_FIT),
        "holder-server-absent": replace(WRITER, server=healthy.ABSENT),
        "holder-isolated": healthy.cut_off(WRITER),
        "holder-disk-stalled": replace(WRITER, disk=healthy.stalled_disk(3.1), process_lives=True),
        "holder-disk-stalled-alone": replace(WRITER, disk=healthy.stalled_disk(3.1), peers=NO_PEER_FIT),
        "holder-disk-unfit": replace(WRITER, disk=FULL_DISK),
        "holder-disk-unfit-alone": replace(WRITER, disk=FULL_DISK, peers=NO_PEER_FIT),
        "holder-server-silent": replace(WRITER, server=healthy.SILENT, server_silent_since_s=NOW_S - 0.5),
        "holder-server-blind": replace(WRITER, server=healthy.BLIND),
        "holder-disk-slow": replace(WRITER, disk=healthy.stalled_disk(3.1, still_s=0.2)),
        "holder-disk-unsynced": replace(WRITER, disk=replace(healthy.DISK, sync_error="Permission denied")),
        "holder-healthy": WRITER,
    },
}
Change = Callable[[Sight], Sight]
STANDINGS: tuple[Standing, ...] = ("candidate", "taking", "holder")


# -- the tables as a whole


def _facts(**changes: Any) -> Change:
    return lambda sight: with_facts(sight, **changes) if sight.server and sight.server.facts else sight


def _to(**changes: Any) -> Change:
    return lambda sight: replace(sight, **changes)


@st.composite
def channels(draw: st.DrawFn) -> Change:
    """One or two channels, running or not, or a round that did not ask."""
    found = []
    for _ in range(draw(st.integers(0, 2))):
        io = draw(st.sampled_from(("running", "running", "connecting", "stopped")))
        errno = draw(st.sampled_from((0, 2003, 1236))) if io != "running" else 0
        lag_s = draw(st.none() | st.floats(0, 20)) if io == "running" else None
        sql = draw(st.sampled_from((True, True, False)))
        found.append(replace(healthy.CHANNEL, io=io, sql_running=sql, lag_s=lag_s, io_errno=errno))
    return _facts(channels=draw(st.sampled_from((tuple(found), tuple(found), None))))


_PEER = WRITER.peers["db2"]
_MOMENTS = st.floats(NOW_S - 20, NOW_S)
_GOOD_LAGS = st.builds(
    GoodLag,
    st.floats(0, 20),
    _MOMENTS,
    st.sampled_from((None, frozenset(), frozenset({"db2"}))),
)
_DISKS = (
    None,
    healthy.DISK,
    FULL_DISK,
    replace(FULL_DISK, writable=None),
    replace(healthy.DISK, writable=False),
)
CHANGES: st.SearchStrategy[Change] = st.one_of(
    channels(),
    st.just(without_source),
    st.just(healthy.hung),
    st.builds(
        lambda server: _to(server=server),
        st.sampled_from((None, healthy.SILENT, healthy.BLIND, healthy.ABSENT)),
    ),
    st.builds(lambda closed: _facts(closed=closed), st.booleans()),
    st.just(_facts(other_cluster="invoices")),
    st.builds(lambda at_s: _to(server_silent_since_s=at_s), _MOMENTS),
    st.builds(
        lambda alive: _to(keepalived=KeepalivedEvidence(alive=alive)), st.sampled_from((None, True, False))
    ),
    st.builds(lambda disk: _to(disk=disk), st.sampled_from(_DISKS)),
    st.builds(
        lambda fit: _to(peers={"db2": replace(_PEER, eligible=fit)}), st.sampled_from((None, False, True))
    ),
    st.sampled_from((_to(peers={}), _to(peers={"db2": PeerSight(_PEER.node)}))),
    st.builds(lambda at_s: _to(outside_s=at_s), st.none() | _MOMENTS),
    st.builds(lambda at_s: _to(watching_since_s=at_s), _MOMENTS),
    st.builds(lambda good: _to(good_lag=good), st.none() | _GOOD_LAGS),
    st.builds(lambda errant: _to(errant=errant), st.sampled_from((None, healthy.NOTHING, ERRANT))),
    st.builds(lambda ours: _to(io_stopped_by_us=ours), st.booleans()),
    st.just(_to(parked=PARKED)),
    st.builds(lambda rows: _to(maintenance=rows), st.sampled_from((OUT, ALL_PAUSED))),
    st.builds(lambda address: _to(address=address), st.sampled_from((None, STANDBY.address, WRITER.address))),
)


@st.composite
def sights(draw: st.DrawFn) -> Sight:
    """A healthy node with up to four things changed: ill, missing, or healthy in another way."""
    sight = draw(st.sampled_from((STANDBY, TAKER, WRITER)))
    for change in draw(st.lists(CHANGES, max_size=4)):
        sight = change(sight)
    return sight


def test_every_name_of_a_rule_is_unique() -> None:
    names = [rule for table in writer.TABLES.values() for rule, _ in table]
    assert len(names) == len(set(names))


def test_every_name_of_a_rule_is_kebab_case() -> None:
    for rule in chain.from_iterable(ROWS.values()):
        assert rule == rule.lower().replace("_", "-").strip("-")


@pytest.mark.parametrize("standing", STANDINGS)
def test_every_row_has_its_example_and_every_example_its_row(standing: Standing) -> None:
    assert list(ROWS[standing]) == [rule for rule, _ in writer.TABLES[standing]]


@pytest.mark.parametrize(("standing", "rule"), [(s, rule) for s in STANDINGS for rule in ROWS[s]])
def test_every_row_is_reached_by_one_change_in_a_healthy_node(standing: Standing, rule: str) -> None:
    assert writer.judge(ROWS[standing][rule], standing).rule == rule


@given(sights(), st.sampled_from(STANDINGS))
def test_every_table_decides_whatever_is_seen(sight: Sight, standing: Standing) -> None:
    verdict = writer.judge(sight, standing)
    assert verdict.rule in ROWS[standing]
    assert verdict.text
    assert verdict.standing == standing


def _blinded(sight: Sight) -> list[Sight]:
    """Every sight with one observation taken away, or made blind."""
    found = [
        replace(sight, server=None),
        replace(sight, server=healthy.BLIND),
        replace(sight, disk=None),
        replace(sight, disk=DiskEvidence(NOW_S, None, None, None)),
        replace(sight, errant=None),
        replace(sight, good_lag=None),
        replace(sight, peers={}),
        replace(sight, address=None),
    ]
    facts = sight.server.facts if sight.server else None
    if facts is not None:
        found.append(with_facts(sight, channels=None))
        for index, channel in enumerate(facts.channels or ()):
            others = list(facts.channels or ())
            others[index] = replace(channel, lag_s=None)
            found.append(with_facts(sight, channels=tuple(others)))
    return found


@given(sights())
def test_no_blindness_makes_a_candidate_eligible(sight: Sight) -> None:
    if writer.judge(sight, "candidate").may:
        return
    for blinded in _blinded(sight):
        assert not writer.judge(blinded, "candidate").may


def test_a_candidate_that_saw_nothing_of_the_server_is_not_eligible_whatever_else_is_well() -> None:
    for server in (None, healthy.BLIND, healthy.SILENT):
        verdict = writer.judge(replace(STANDBY, server=server), "candidate")
        assert (verdict.eligibility, verdict.may) == (Eligibility.UNDETERMINED, False)


@given(sights(), st.sampled_from(("holder", "taking")))
def test_no_blindness_takes_the_vip_from_who_has_it(sight: Sight, standing: Standing) -> None:
    if not writer.judge(sight, standing).may:
        return
    for blinded in _blinded(sight):
        assert writer.judge(blinded, standing).may


@given(sights(), st.floats(0, 1e6), st.floats(0, 1e6))
def test_more_lag_never_helps(sight: Sight, one_s: float, other_s: float) -> None:
    less_s, more_s = sorted((one_s, other_s))

    def lagging(lag_s: float) -> Sight:
        good = replace(sight, good_lag=GoodLag(lag_s, NOW_S, frozenset({"db2"})))
        facts = sight.server.facts if sight.server else None
        if facts is None or not facts.channels:
            return good
        behind = tuple(replace(c, lag_s=lag_s if c.io == "running" else None) for c in facts.channels)
        return with_facts(good, channels=behind)

    if writer.judge(lagging(more_s), "candidate").may:
        assert writer.judge(lagging(less_s), "candidate").may


@given(sights())
def test_null_lag_never_reads_as_zero(sight: Sight) -> None:
    facts = sight.server.facts if sight.server else None
    if facts is None or not facts.channels:
        return
    null = tuple(replace(channel, lag_s=None) for channel in facts.channels)
    unknown = replace(with_facts(sight, channels=null), good_lag=None)
    assert not writer.judge(unknown, "candidate").may or unknown.entitled


@given(sights())
def test_only_a_node_in_the_state_of_the_last_row_is_said_to_be_well(sight: Sight) -> None:
    """Or one that the operator's pause lets keep what it has."""
    for standing in STANDINGS:
        verdict = writer.judge(sight, standing)
        well = {writer.TABLES[standing][-1][0], "takeover-paused", "holder-paused"}
        assert (verdict.eligibility is Eligibility.ELIGIBLE) == (verdict.rule in well)


# -- the candidate


def candidate(sight: Sight) -> tuple[str, bool]:
    verdict = writer.judge(sight, "candidate")
    return verdict.rule, verdict.may


def test_a_dead_source_does_not_make_its_replica_ineligible() -> None:
    assert candidate(without_source(STANDBY)) == ("candidate-ready", True)


@pytest.mark.parametrize("errno", [2002, 2003, 2005, 2013, 1040, 1053, 1158, 1159, 1160, 1161, 2055])
def test_no_way_of_losing_a_source_makes_its_replica_ineligible(errno: int) -> None:
    assert candidate(without_source(STANDBY, io_errno=errno)) == ("candidate-ready", True)


@pytest.mark.parametrize("errno", [1236, 1593, 1045, 13114])
def test_a_source_that_refuses_for_good_makes_its_replica_ineligible(errno: int) -> None:
    assert candidate(without_source(STANDBY, io="stopped", io_errno=errno)) == ("replication-broken", False)


def test_an_io_thread_that_an_operator_stopped_makes_ineligible() -> None:
    assert candidate(without_source(STANDBY, io="stopped", io_errno=0)) == ("replication-broken", False)


def test_an_io_thread_that_a_takeover_stopped_does_not_make_ineligible() -> None:
    stopped = replace(without_source(STANDBY, io="stopped", io_errno=0), io_stopped_by_us=True)
    assert candidate(stopped) == ("candidate-ready", True)


def test_a_lag_that_was_good_long_before_the_source_went_has_aged() -> None:
    aged = last_seen(without_source(STANDBY), 1.0, NOW_S - 30, NOW_S - 20)
    assert candidate(aged) == ("lag-exceeded", False)


def test_a_good_lag_does_not_age_after_the_source_went() -> None:
    old = last_seen(without_source(STANDBY), 1.0, NOW_S - 3600, NOW_S - 3600)
    assert candidate(replace(old, watching_since_s=NOW_S - 7200)) == ("candidate-ready", True)


@pytest.mark.parametrize(
    ("blind_s", "said", "expected"),
    [(8.9, True, "candidate-ready"), (9.1, True, "lag-exceeded"), (0.6, False, "lag-exceeded")],
    ids=["for less than it may lag", "for longer", "and its agent does not say that its server is down"],
)
def test_a_source_that_went_before_a_blind_moment_may_have_written_in_that(
    blind_s: float, said: bool, expected: str
) -> None:
    old = last_seen(without_source(STANDBY), 1.0, NOW_S - 3600, NOW_S - 3600)
    assert old.good_lag is not None
    blind = replace(old, good_lag=replace(old.good_lag, blind_s=blind_s))
    assert candidate(with_facts(blind, gone=frozenset({"db2"}) if said else frozenset()))[0] == expected


def test_a_lag_at_the_limit_is_within_it() -> None:
    assert candidate(with_channel(STANDBY, lag_s=10.0)) == ("candidate-ready", True)


def test_the_slowest_of_all_channels_counts() -> None:
    two = (healthy.CHANNEL, replace(healthy.CHANNEL, name="b", lag_s=11.0))
    assert candidate(with_facts(STANDBY, channels=two)) == ("lag-exceeded", False)


def test_a_broken_channel_is_not_hidden_by_a_good_one() -> None:
    two = (healthy.CHANNEL, replace(healthy.CHANNEL, name="b", sql_running=False))
    assert candidate(with_facts(STANDBY, channels=two)) == ("replication-broken", False)


def test_a_server_that_replicates_from_nobody_is_no_candidate() -> None:
    assert candidate(with_facts(STANDBY, channels=())) == ("replication-broken", False)


def test_a_set_that_was_never_compared_is_not_taken_for_clean() -> None:
    verdict = writer.judge(replace(STANDBY, errant=None), "candidate")
    assert (verdict.rule, verdict.eligibility) == ("errant-transactions", Eligibility.UNDETERMINED)


def test_the_verdict_tells_the_numbers_that_made_it() -> None:
    verdict = writer.judge(with_channel(STANDBY, lag_s=10.5), "candidate")
    assert dict(verdict.numbers) == {"lag_s": 10.5, "lag_s_max": 10.0}


# -- the node that has the whole history, when no writer is left

CLOSED_PEER = replace(STANDBY.peers["db2"], evidence=replace(healthy.SERVER, facts=healthy.FACTS))
LEFT_OVER = replace(with_channel(STANDBY, sql_running=False, lag_s=None), peers={"db2": CLOSED_PEER})


def _peer_facts(**changes: Any) -> Sight:
    evidence = replace(healthy.SERVER, facts=replace(healthy.FACTS, **changes))
    return replace(LEFT_OVER, peers={"db2": replace(CLOSED_PEER, evidence=evidence)})


def test_a_node_with_the_whole_history_needs_no_replication() -> None:
    assert candidate(LEFT_OVER) == ("candidate-ready", True)


@pytest.mark.parametrize(
    "sight",
    [
        _peer_facts(closed=False),
        _peer_facts(gtid=healthy.GTIDS.union(ERRANT)),
        _peer_facts(epoch=EpochRow(4, "db2", "boot-2")),
        replace(LEFT_OVER, peers={"db2": replace(CLOSED_PEER, evidence=healthy.SILENT)}),
        replace(LEFT_OVER, peers={"db2": replace(CLOSED_PEER, evidence=healthy.BLIND)}),
        replace(LEFT_OVER, peers={"db2": replace(CLOSED_PEER, evidence=healthy.ABSENT)}),
        replace(LEFT_OVER, peers={"db2": replace(CLOSED_PEER, evidence=None)}),
        replace(LEFT_OVER, peers={}),
    ],
    ids=[
        "an open peer",
        "more on a peer",
        "a newer epoch",
        "silent",
        "blind",
        "absent",
        "unseen",
        "no peers",
    ],
)
def test_nothing_less_than_the_whole_history_makes_up_for_broken_replication(sight: Sight) -> None:
    assert candidate(sight) == ("replication-broken", False)


# -- who has the VIP


IRRELEVANT: dict[str, Callable[[Sight], Sight]] = {
    "a dead source": without_source,
    "a stopped SQL thread": lambda sight: with_channel(sight, sql_running=False, lag_s=None),
    "lag": lambda sight: with_channel(sight, lag_s=9999.0),
    "errant transactions": lambda sight: replace(sight, errant=ERRANT),
    "no replication": lambda sight: with_facts(sight, channels=()),
    "a set that was not compared": lambda sight: replace(sight, errant=None),
}


@pytest.mark.parametrize("what", IRRELEVANT)
@pytest.mark.parametrize(("standing", "sight"), [("holder", WRITER), ("taking", TAKER)])
def test_replication_takes_no_vip_away(standing: Standing, sight: Sight, what: str) -> None:
    assert writer.judge(IRRELEVANT[what](sight), standing).may


def test_a_hung_writer_keeps_the_vip_while_nobody_else_could_have_it() -> None:
    verdict = writer.judge(ROWS["holder"]["holder-hung-alone"], "holder")
    assert (verdict.may, verdict.eligibility) == (True, Eligibility.UNDETERMINED)


def test_a_writer_whose_peer_is_fit_but_does_not_answer_counts_as_alone() -> None:
    peer = replace(WRITER.peers["db2"], evidence=healthy.SILENT)
    assert writer.judge(replace(healthy.hung(WRITER), peers={"db2": peer}), "holder").may


def test_a_full_disk_takes_the_vip_only_where_another_node_could_have_it() -> None:
    full = replace(WRITER, disk=FULL_DISK)
    assert not writer.judge(full, "holder").may
    assert writer.judge(replace(full, peers=NO_PEER_FIT), "holder").may


def test_a_writer_with_a_full_disk_is_never_healthy() -> None:
    verdict = writer.judge(replace(WRITER, disk=FULL_DISK, peers=NO_PEER_FIT), "holder")
    assert (verdict.may, verdict.eligibility) == (True, Eligibility.UNDETERMINED)
    assert "no other node is known eligible" in verdict.text


def test_a_disk_that_could_not_be_looked_at_takes_no_vip() -> None:
    assert writer.judge(replace(WRITER, disk=None), "holder").may


def test_silence_shorter_than_a_lease_is_not_isolation() -> None:
    quiet = replace(WRITER, outside_s=NOW_S - 0.49, witnesses={"10.73.0.1": NOW_S - 0.49})
    assert writer.judge(quiet, "holder").may


def test_a_guard_that_did_not_look_for_a_lease_does_not_call_itself_isolated() -> None:
    late = replace(healthy.cut_off(WRITER), watching_since_s=NOW_S - 0.2)
    assert writer.judge(late, "holder").may


# -- what a peer is seen to be


def test_a_healthy_standby_is_fit_from_afar() -> None:
    assert writer.fit_from_afar(STANDBY)


@pytest.mark.parametrize(
    "rule",
    ["other-cluster", "not-read-only", "replication-broken", "lag-exceeded", "server-blind", "server-absent"],
)
def test_a_peer_that_a_row_speaks_against_is_not_fit_from_afar(rule: str) -> None:
    assert not writer.fit_from_afar(ROWS["candidate"][rule])


@pytest.mark.parametrize("rule", ["lag-unknown", "errant-transactions", "disk-unfit", "replication-broken"])
def test_a_takeover_does_not_begin_on_unfit_data(rule: str) -> None:
    found = writer.unfit(ROWS["candidate"][rule])
    assert found is not None and found[0] == rule


def test_a_takeover_begins_on_fit_data() -> None:
    assert writer.unfit(STANDBY) is None


OVERRIDDEN = {
    "parked": replace(STANDBY, parked=PARKED),
    "replication stopped": with_channel(STANDBY, sql_running=False, lag_s=None),
    "lag over the limit": with_channel(STANDBY, lag_s=99.0),
    "errant transactions": replace(STANDBY, errant=ERRANT),
}
NOT_OVERRIDDEN = {
    "stood-down": replace(STANDBY, stood_down=STOOD_DOWN),
    "copy-unfinished": replace(STANDBY, copying="a fresh copy of db2 was broken off"),
    "server-absent": replace(STANDBY, server=healthy.ABSENT),
    "server-blind": replace(STANDBY, server=healthy.BLIND),
    "other-cluster": with_facts(STANDBY, other_cluster="invoices"),
    "not-read-only": with_facts(STANDBY, closed=False),
    "isolated": healthy.cut_off(STANDBY),
    "disk-unfit": replace(STANDBY, disk=FULL_DISK),
}


@pytest.mark.parametrize("name", OVERRIDDEN)
def test_the_operators_promotion_overrides_what_may_be_missing(name: str) -> None:
    assert not writer.judge(OVERRIDDEN[name], "candidate").may
    assert writer.judge(replace(OVERRIDDEN[name], promoted=True), "candidate").rule == "promoted-by-operator"


@pytest.mark.parametrize("rule", NOT_OVERRIDDEN)
def test_the_operators_promotion_overrides_nothing_that_makes_writing_impossible_or_double(rule: str) -> None:
    verdict = writer.judge(replace(NOT_OVERRIDDEN[rule], promoted=True), "candidate")
    assert (verdict.rule, verdict.may) == (rule, False)
