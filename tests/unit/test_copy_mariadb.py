"""A fresh copy's pure parts: where its binary log begins, which accounts change, how fast it reads."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vipguard.act.accounts import Account, changes
from vipguard.act.copy import Pace
from vipguard.act.copy_mariadb import binlog_state, ends_of_copy
from vipguard.model.gtid import GtidSet


def position(text: str) -> GtidSet:
    return GtidSet.parse("mariadb", text)


BEGINS = {
    # snapshot, what the writer had before, followers, where the log begins
    "nobody follows": ("0-1-100", "0-2-50,0-1-90", [], "0-2-50,0-1-100"),
    "nobody follows, a domain each": ("1-1-100,2-2-70", "1-1-90,2-2-70", [], "1-1-100,2-2-70"),
    "the writer follows, and stands where the copy does": (
        "0-1-100", "0-3-20,0-2-50,0-1-90", ["0-1-100"], "0-3-20,0-2-50,0-1-100"
    ),
    "the writer has read less of its own": ("0-1-100", "0-3-20,0-2-50,0-1-90", ["0-1-80"], "0-3-20,0-2-50,0-1-80"),
    "it has read none of its own yet": ("0-1-100", "0-3-20,0-2-50,0-1-90", ["0-2-50"], "0-3-20,0-2-50"),
    "it has read none of a domain": ("1-1-100,2-2-70", "1-1-100,2-2-70", ["1-1-100"], "1-1-100"),
    "old domains stay": (
        "0-1-9,1-1-100,2-2-70", "0-1-9,1-1-100,2-2-70", ["0-1-5,1-1-100,2-2-60"], "0-1-5,1-1-100,2-2-60"
    ),
    "a backup is older than what the writer has": ("0-1-100", "0-3-20,0-2-250,0-1-300", [], "0-3-20,0-1-100"),
    "the writer knows a position alone": ("0-1-100", "0-1-90", [], "0-1-100"),
}  # fmt: skip


@pytest.mark.parametrize("case", BEGINS)
def test_the_log_begins_where_every_follower_finds_itself(case: str) -> None:
    snapshot, before, followers, begins = BEGINS[case]
    assert binlog_state(position(snapshot), position(before), [position(one) for one in followers]) == begins


ENDS = {
    # snapshot, where the log begins, what is put there under the number of server 1, the writer
    "the log begins with it": ("0-1-100", "0-2-50,0-1-100", []),
    "the writer has read less of its own": ("0-1-100", "0-2-50,0-1-80", [(0, 1, 100)]),
    "it has read none of its own yet": ("0-1-100", "0-3-20,0-2-50", [(0, 1, 100)]),
    "it has read none of a domain": ("0-1-100,1-1-7,2-2-70", "2-2-70", [(0, 1, 100), (1, 1, 7)]),
    "the end is another's, who would not read over it": ("0-2-100", "0-2-80", []),
}


@pytest.mark.parametrize("case", ENDS)
def test_what_the_log_does_not_begin_with_is_put_there_as_the_writers_own(case: str) -> None:
    snapshot, begins, ends = ENDS[case]
    assert ends_of_copy(position(snapshot), position(begins), 1) == ends


def test_a_copy_that_wrote_has_still_what_was_copied() -> None:
    """A peer that was looked at a moment before the new writer's first row has nothing that the writer lacks."""
    peer, begins = position("0-2-50,0-1-100"), "0-2-50,0-1-80"
    assert not position(f"{begins},0-3-101").contains(peer)
    assert position(f"{begins},0-1-100,0-3-101").contains(peer)


Numbers = dict[int, int]
POSITIONS = st.dictionaries(st.integers(2, 4), st.integers(1, 9), max_size=3)


@given(POSITIONS, POSITIONS, st.lists(POSITIONS, max_size=3))
def test_no_follower_stands_before_the_log_in_any_domain(
    snapshot: Numbers, before: Numbers, others: list[Numbers]
) -> None:
    def made(numbers: Numbers) -> GtidSet:
        return position(",".join(f"{domain}-{domain}-{number}" for domain, number in numbers.items()))

    state = position(binlog_state(made(snapshot), made(before), [made(other) for other in others]))
    assert made(snapshot).contains(state)
    for other in others:
        assert all(other.get(source[0], 0) >= spans[-1][1] for source, _, spans in state.parts)


LOGS = st.lists(st.integers(1, 3), min_size=1, max_size=12)  # who wrote each transaction of the one domain


@given(LOGS, st.integers(1, 12), st.integers(0, 12))
def test_a_copy_compares_as_its_source_does(log: list[int], copied: int, asked: int) -> None:
    def state(count: int) -> GtidSet:
        last = {server: at for at, server in enumerate(log[:count], 1)}
        return position(",".join(f"0-{server}-{at}" for server, at in sorted(last.items(), key=lambda one: one[1])))

    copied, asked = min(copied, len(log)), min(asked, copied, len(log))
    snapshot = position(state(copied).position())
    copy = position(f"{binlog_state(snapshot, state(asked), [])},{snapshot}")
    assert state(copied).contains(copy) and copy.contains(snapshot)
    assert copy.contains(state(asked))


def test_a_position_names_the_last_transaction_of_each_domain() -> None:
    assert position("2-2-70,1-1-5,1-3-6").position() == "1-3-6,2-2-70"


JOE, AMY, ROLE = Account(True, "joe", "%"), Account(True, "amy", "%"), Account(False, "reader", "")
OF_JOE = ("CREATE USER `joe`@`%` IDENTIFIED BY PASSWORD '*1'", "GRANT USAGE ON *.* TO `joe`@`%`")
OF_AMY = ("CREATE USER `amy`@`%`", "GRANT `reader` TO `amy`@`%`", "GRANT USAGE ON *.* TO `amy`@`%`")
OF_ROLE = ("GRANT USAGE ON *.* TO `reader`", "GRANT SELECT ON `app`.* TO `reader`")


def quote(text: str) -> str:
    return f"'{text}'"


def test_equal_accounts_are_left_alone() -> None:
    told = {JOE: OF_JOE, AMY: OF_AMY, ROLE: OF_ROLE}
    assert list(changes(told, dict(told), quote)) == []


def test_missing_accounts_are_made_and_strange_ones_dropped() -> None:
    assert list(changes({JOE: OF_JOE}, {AMY: OF_AMY, ROLE: OF_ROLE}, quote)) == [
        "DROP USER 'amy'@'%'",
        "DROP ROLE 'reader'",
        "CREATE OR REPLACE USER `joe`@`%` IDENTIFIED BY PASSWORD '*1'",
        OF_JOE[1],
    ]


def test_a_role_is_made_before_it_is_granted_and_given_back_to_all_that_had_it() -> None:
    wanted = {JOE: OF_JOE, AMY: OF_AMY, ROLE: OF_ROLE}
    assert list(changes(wanted, {JOE: OF_JOE, AMY: OF_AMY, ROLE: OF_ROLE[:1]}, quote)) == [
        "CREATE OR REPLACE ROLE 'reader'",
        *OF_ROLE,
        *OF_AMY[1:],
    ]


def test_the_pace_is_kept_on_average() -> None:
    pace, began_s = Pace(1.0), time.monotonic()
    for _ in range(30):
        pace.wait(10_000)
    assert 0.15 < time.monotonic() - began_s < 1.0
