"""GTID sets of both flavours, beside a deliberately dumb version that lists every transaction."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vipguard.model.gtid import GtidSet
from vipguard.model.policy import MARIADB, MYSQL

A = "3e11fa47-71ca-11e1-9e33-c80aa9429562"
B = "a0000000-71ca-11e1-9e33-c80aa9429562"

intervals = st.tuples(st.integers(1, 30), st.integers(0, 9)).map(lambda pair: (pair[0], pair[0] + pair[1]))
mysql_dumb = st.frozensets(
    st.tuples(st.sampled_from([A, B]), st.sampled_from(["", "blue", "x_1"]), st.integers(1, 20)), max_size=40
)
mariadb_position = st.dictionaries(st.integers(0, 12), st.integers(1, 30), max_size=4)


def mysql_text(dumb: frozenset[tuple[str, str, int]]) -> str:
    return ",\n".join(f"{u.upper()}:{tag + ':' if tag else ''}{n}" for u, tag, n in dumb)


def mysql(dumb: frozenset[tuple[str, str, int]]) -> GtidSet:
    return GtidSet.parse(MYSQL, mysql_text(dumb))


def position(domains: dict[int, int]) -> GtidSet:
    """Every domain belongs to the server of the same number, plus one."""
    return GtidSet.parse(MARIADB, ",".join(f"{d}-{d + 1}-{seq}" for d, seq in domains.items()))


def listed(domains: dict[int, int]) -> set[tuple[int, int]]:
    return {(domain, n) for domain, seq in domains.items() for n in range(1, seq + 1)}


def listed_again(value: GtidSet) -> set[tuple[int, int]]:
    return {(source[0], n) for source, _, spans in value.parts for a, b in spans for n in range(a, b + 1)}


@given(mysql_dumb, mysql_dumb)
def test_mysql_arithmetic_is_that_of_plain_sets(a: frozenset, b: frozenset) -> None:
    left, right = mysql(a), mysql(b)
    assert left.contains(right) is (a >= b)
    assert left.minus(right) == mysql(a - b)
    assert left.union(right) == mysql(a | b)
    assert left.count() == len(a)
    assert left.is_empty is (not a)
    assert hash(left) == hash(mysql(frozenset(sorted(a))))


@given(mysql_dumb)
def test_mysql_text_round_trips(a: frozenset) -> None:
    assert GtidSet.parse(MYSQL, str(mysql(a))) == mysql(a)


@given(mariadb_position, mariadb_position)
def test_mariadb_arithmetic_is_that_of_plain_sets(a: dict[int, int], b: dict[int, int]) -> None:
    left, right = position(a), position(b)
    assert left.contains(right) is (listed(a) >= listed(b))
    assert listed_again(left.minus(right)) == listed(a) - listed(b)
    assert listed_again(left.union(right)) == listed(a) | listed(b)
    assert left.minus(right).count() == len(listed(a) - listed(b))
    assert GtidSet.parse(MARIADB, str(left.minus(right))) == left.minus(right)
    assert GtidSet.parse(MARIADB, str(left)) == left


@given(mariadb_position, mariadb_position, mariadb_position)
def test_mariadb_differences_can_be_reckoned_with_too(
    a: dict[int, int], b: dict[int, int], c: dict[int, int]
) -> None:
    rest = position(a).minus(position(b))
    assert rest.union(position(b)).contains(position(a))
    assert listed_again(rest.minus(position(c))) == listed(a) - listed(b) - listed(c)
    assert listed_again(position(c).minus(rest)) == listed(c) - (listed(a) - listed(b))
    again = rest.union(position(c).minus(position(a)))
    assert GtidSet.parse(MARIADB, str(again)) == again


positions_of_any_server = st.lists(
    st.tuples(st.integers(0, 2), st.integers(1, 3), st.integers(1, 5)), max_size=4
).map(lambda rows: GtidSet.parse(MARIADB, ",".join(f"{d}-{s}-{n}" for d, s, n in rows)))


@given(positions_of_any_server, positions_of_any_server)
def test_minus_is_empty_exactly_when_the_other_contains_it(a: GtidSet, b: GtidSet) -> None:
    assert b.contains(a) is a.minus(b).is_empty
    assert a.contains(a)
    assert a.union(b) == b.union(a)


def test_a_mariadb_difference_is_readable() -> None:
    mine, theirs = GtidSet.parse(MARIADB, "1-1-7,2-2-14"), GtidSet.parse(MARIADB, "2-2-9,1-1-7")
    assert str(mine.minus(theirs)) == "2-2-10..14"
    assert mine.minus(theirs).count() == 5
    assert theirs.minus(mine).is_empty


def maria(text: str) -> GtidSet:
    return GtidSet.parse(MARIADB, text)


def test_a_later_server_in_the_same_domain_continues_it() -> None:
    assert maria("0-1-5,0-2-6").contains(maria("0-1-5"))
    assert str(maria("0-1-5,0-2-9").minus(maria("0-1-5"))) == "0-2-6..9"
    assert not maria("0-2-6").contains(maria("0-1-5"))  # a position alone: whether 0-1-5 came before, nobody knows


def test_the_same_number_by_another_server_is_another_transaction() -> None:
    mine, theirs = GtidSet.parse(MARIADB, "0-1-5"), GtidSet.parse(MARIADB, "0-2-5")
    assert not mine.contains(theirs)
    assert not theirs.contains(mine)
    assert str(mine.minus(theirs)) == "0-1-5"
    assert str(maria("0-1-4,0-3-5").minus(maria("0-1-4,0-2-5"))) == "0-3-5..5"


def test_mysql_writes_a_set_as_the_server_does() -> None:
    text = f"{A}:1-3:5:blue:1-4:9,\n{B}:7"
    assert str(GtidSet.parse(MYSQL, text)) == text.replace("\n", "")
    assert GtidSet.parse(MYSQL, f" {A}:1-2 : 3 ,, {A} : blue : 1 ").count() == 4


def test_nothing_is_the_empty_set() -> None:
    for flavor in (MARIADB, MYSQL):
        assert GtidSet.parse(flavor, " \n") == GtidSet.empty(flavor)
        assert str(GtidSet.empty(flavor)) == ""
    assert GtidSet.parse(MARIADB, "0-1-0").is_empty


@pytest.mark.parametrize(
    ("flavor", "text", "named"),
    [
        (MYSQL, f"{A}", A),
        (MYSQL, f"{A}:", "''"),
        (MYSQL, f"{A}:0", "'0'"),
        (MYSQL, f"{A}:5-3", "'5-3'"),
        (MYSQL, f"{A}:1-2-3", "'1-2-3'"),
        (MYSQL, f"{A}:blue", "'blue'"),
        (MYSQL, f"{A}:blue:red:1", "'red'"),
        (MYSQL, f"{B}:1, 0-1-5", "'0-1-5'"),
        (MYSQL, f"{A}:1٣", "1٣"),
        (MARIADB, "0-1", "'0-1'"),
        (MARIADB, "1-1-1,0-1--5", "'0-1--5'"),
        (MARIADB, "0-1-5..4", "'0-1-5..4'"),
        (MARIADB, f"{A}:1-5", A),
        (MARIADB, "0-1-" + "9" * 5000, "9999"),
    ],
)
def test_what_is_not_a_set_is_named(flavor: str, text: str, named: str) -> None:
    with pytest.raises(ValueError, match=r"not a|neither|without") as raised:
        GtidSet.parse(flavor, text)
    assert named in str(raised.value)


@given(st.sampled_from([MARIADB, MYSQL]), st.text(alphabet=A + "012,:- \n.xz", max_size=60))
def test_any_text_is_a_set_or_a_value_error(flavor: str, text: str) -> None:
    try:
        value = GtidSet.parse(flavor, text)
    except ValueError:
        return
    assert GtidSet.parse(flavor, str(value)) == value


def test_flavours_are_not_compared() -> None:
    mine, theirs = GtidSet.empty(MARIADB), GtidSet.empty(MYSQL)
    for operation in (mine.contains, mine.minus, mine.union):
        with pytest.raises(ValueError, match="mysql"):
            operation(theirs)
