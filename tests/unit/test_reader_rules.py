"""May a node serve a reader address? The table, whole and row by row, each against a healthy node."""

from __future__ import annotations

from dataclasses import replace

import healthy
import pytest
from healthy import NOW_S, READER, STANDBY, WRITER, last_seen, with_channel, with_facts, without_source
from hypothesis import given
from hypothesis import strategies as st

from vipguard.checks import reader as check
from vipguard.checks.reader import Reading
from vipguard.model.evidence import KeepalivedEvidence
from vipguard.model.maintenance import Maintenance
from vipguard.model.reader import NODES_MAX
from vipguard.model.sight import Sight
from vipguard.model.verdict import Eligibility

READY = Reading(STANDBY, READER)
OUT = (Maintenance("db1", 1_700_000_000, None, "new disk"),)
PAUSED = (Maintenance("*", 1_700_000_000, None, ""),)


def seen(sight: Sight) -> Reading:
    return replace(READY, sight=sight)


ROWS: dict[str, Reading] = {
    "reader-paused": seen(replace(STANDBY, maintenance=PAUSED)),
    "reader-keepalived-dead": seen(replace(STANDBY, keepalived=KeepalivedEvidence(alive=False))),
    "reader-server-not-asked": seen(replace(STANDBY, server=None)),
    "reader-server-absent": seen(replace(STANDBY, server=healthy.ABSENT)),
    "reader-server-hung": seen(healthy.hung(STANDBY)),
    "reader-server-silent": seen(replace(STANDBY, server=healthy.SILENT, server_silent_since_s=NOW_S - 0.5)),
    "reader-server-blind": seen(replace(STANDBY, server=healthy.BLIND)),
    "reader-other-cluster": seen(with_facts(STANDBY, other_cluster="invoices")),
    "reader-copy-unfinished": seen(replace(STANDBY, copying="a fresh copy was broken off")),
    "reader-maintenance": seen(replace(STANDBY, maintenance=OUT)),
    "reader-isolated": seen(healthy.cut_off(STANDBY)),
    "reader-diverged": replace(READY, diverged="db2 lacks 1-1-9"),
    "reader-never-the-writer": Reading(WRITER, replace(READER, writer="no"), writer=True),
    "reader-by-the-writer": Reading(WRITER, READER, writer=True),
    "reader-wrote-lately": replace(seen(with_channel(STANDBY, sql_running=False, lag_s=None)), wrote_s=9.9),
    "reader-replication-broken": seen(with_channel(STANDBY, sql_running=False, sql_errno=1062, lag_s=None)),
    "reader-lag-unknown": seen(replace(without_source(STANDBY), good_lag=None)),
    "reader-lag-exceeded": seen(with_channel(STANDBY, lag_s=10.5)),
    "reader-ready": READY,
}
BLIND = [
    replace(STANDBY, server=None),
    replace(STANDBY, server=healthy.BLIND),
    replace(STANDBY, server=healthy.SILENT, server_silent_since_s=NOW_S - 0.5),
    with_facts(STANDBY, channels=None),
    replace(without_source(STANDBY), good_lag=None),
]


def test_every_row_has_its_example_and_every_example_its_row() -> None:
    assert list(ROWS) == [rule for rule, _ in check.TABLE]
    assert set(ROWS) >= check.NO_FAULTS


@pytest.mark.parametrize("rule", ROWS)
def test_every_row_is_reached_by_one_change_in_a_healthy_node(rule: str) -> None:
    assert check.judge(ROWS[rule]).rule == rule


@pytest.mark.parametrize("sight", BLIND)
def test_blindness_makes_no_candidate_eligible_and_takes_no_address_from_a_holder(sight: Sight) -> None:
    candidate, holder = (check.judge(replace(seen(sight), here=here)) for here in (False, True))
    assert not candidate.may and candidate.eligibility is Eligibility.UNDETERMINED
    assert holder.may


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0, 3600), st.booleans())
def test_more_lag_never_helps(one_s: float, other_s: float, lag_s_max: float, here: bool) -> None:
    low_s, high_s = sorted((one_s, other_s))
    reader = replace(READER, lag_s_max=lag_s_max)
    low, high = (
        check.judge(Reading(with_channel(STANDBY, lag_s=lag_s), reader, here)).may for lag_s in (low_s, high_s)
    )
    assert low or not high


def test_the_lag_at_the_limit_is_within_it_and_the_limit_is_the_addresses_own() -> None:
    behind = with_channel(STANDBY, lag_s=10.0)
    assert check.judge(seen(behind)).may
    assert not check.judge(Reading(behind, replace(READER, lag_s_max=1.0))).may


def test_a_dead_source_leaves_the_readers_where_they_are_and_a_living_one_out_of_reach_does_not_for_long() -> None:
    assert check.judge(seen(without_source(STANDBY))).may
    for here in (True, False):
        aged = last_seen(without_source(STANDBY), 0.0, NOW_S - 11)
        assert check.judge(replace(seen(aged), here=here)).rule == "reader-lag-exceeded"


@pytest.mark.parametrize("writer", ["last", "yes"])
def test_the_writer_needs_no_replication(writer: str) -> None:
    reader = replace(READER, writer=writer)
    alone = with_facts(WRITER, channels=())
    assert check.judge(Reading(alone, reader, writer=True)).may
    assert not check.judge(Reading(alone, reader, writer=False)).may


def test_having_been_the_writer_does_not_help_for_longer_than_the_lag_that_is_allowed() -> None:
    stopped = with_channel(STANDBY, io="stopped", sql_running=False, lag_s=None)
    rules = [check.judge(replace(seen(stopped), wrote_s=wrote_s)).rule for wrote_s in (0.0, 9.9, 10.0, None)]
    assert rules == ["reader-wrote-lately"] * 2 + ["reader-replication-broken"] * 2


def test_a_paused_cluster_keeps_what_it_has_whatever_its_servers_do_but_for_one_that_is_cut_off() -> None:
    paused = replace(STANDBY, maintenance=PAUSED, server=healthy.ABSENT)
    assert check.judge(replace(seen(paused), here=True)).may
    assert not check.judge(seen(paused)).may
    assert check.judge(replace(seen(healthy.cut_off(paused)), here=True)).rule == "reader-server-absent"


# -- who comes before whom


def test_the_priorities_of_any_set_of_nodes_are_apart_and_a_writer_as_last_resort_is_last() -> None:
    reader = replace(READER, nodes=tuple(f"db{number}" for number in range(NODES_MAX)))
    for writer in reader.nodes:
        given = [reader.priority(node, node == writer) for node in reader.nodes]
        assert len(set(given)) == NODES_MAX and 0 < min(given) <= max(given) <= 200
        assert min(given) == reader.priority(writer, True)
        assert all(abs(one - other) >= 10 for one in given for other in given if one != other)


@pytest.mark.parametrize("writer", ["yes", "no"])
def test_otherwise_the_writer_comes_where_any_node_would(writer: str) -> None:
    reader = replace(READER, writer=writer)
    assert reader.priority("db1", True) == reader.priority("db1", False) == 200
