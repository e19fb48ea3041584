"""A fresh copy's pure parts: where its binary log begins, which accounts change, how fast it reads."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vipguard.act.accounts import Account, changes
from vipguard.act.copy import Pace
from vipguard.act.copy_mariadb import binlog_state, position_of
from vipguard.errors import CouldNotDo
from vipguard.model.gtid import GtidSet

OWN = 1


def position(text: str) -> GtidSet:
    return GtidSet.parse("mariadb", text)


BEGINS = {
    "nobody follows": ("1-1-100,2-2-70", [], "1-1-100,2-2-70"),
    "the writer has read less of its own": ("1-1-100,2-2-70", ["1-1-100,2-2-50"], "1-1-100,2-2-50"),
    "it has read just that": ("1-1-100,2-2-70", ["1-1-100,2-2-70"], "1-1-100,2-2-70"),
    "it has read none of a domain": ("1-1-100,2-2-70", ["1-1-100"], "1-1-100"),
    "the slowest of two counts": (
        "1-1-9,2-2-70,3-3-8", ["1-1-9,2-2-60,3-3-8", "1-1-9,2-2-65,3-3-2"], "1-1-9,2-2-60,3-3-2"
    ),
    "another server wrote last in the domain": ("1-1-100,2-3-70", ["1-1-100,2-2-50"], "1-1-100,2-2-50"),
    "this node never wrote": ("2-2-70", ["2-2-70"], "2-2-70"),
}  # fmt: skip


@pytest.mark.parametrize("case", BEGINS)
def test_the_log_begins_where_every_follower_finds_itself(case: str) -> None:
    snapshot, followers, begins = BEGINS[case]
    assert binlog_state(position(snapshot), [position(one) for one in followers], OWN) == begins


@pytest.mark.parametrize("follower", ["1-1-99,2-2-70", "2-2-70"])
def test_a_number_of_its_own_is_never_given_twice(follower: str) -> None:
    with pytest.raises(CouldNotDo, match="stands elsewhere in domain 1"):
        binlog_state(position("1-1-100,2-2-70"), [position(follower)], OWN)


Numbers = dict[int, int]
POSITIONS = st.dictionaries(st.integers(2, 4), st.integers(1, 9), max_size=3)


@given(POSITIONS, st.lists(POSITIONS, max_size=3))
def test_no_follower_stands_before_the_log_in_any_domain(snapshot: Numbers, others: list[Numbers]) -> None:
    def made(numbers: Numbers) -> GtidSet:
        return position(",".join(f"{domain}-{domain}-{number}" for domain, number in numbers.items()))

    state = position(binlog_state(made(snapshot), [made(other) for other in others], OWN))
    assert made(snapshot).contains(state)
    for other in others:
        assert all(other.get(source[0], 0) >= spans[-1][1] for source, _, spans in state.parts)


def test_a_position_names_the_last_transaction_of_each_domain() -> None:
    assert position_of(position("2-2-70,1-1-5")) == "1-1-5,2-2-70"


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
