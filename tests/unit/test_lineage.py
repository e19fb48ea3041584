"""One domain, several servers: GTID sets beside a deliberately dumb tree, in which every server keeps its whole log."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vipguard.model.gtid import GtidSet
from vipguard.model.policy import MARIADB

Txn = tuple[int, int, int]  # domain, server, number
SERVERS, SHARED = (1, 2, 3), 0


def maria(text: str) -> GtidSet:
    return GtidSet.parse(MARIADB, text)


@dataclass
class Tree:
    """What each server has, in its order; no server gives a number twice, also when it lost what had it."""

    logs: dict[int, list[Txn]] = field(default_factory=lambda: {server: [] for server in SERVERS})
    given: dict[tuple[int, int], int] = field(default_factory=dict)

    def write(self, server: int, domain: int) -> None:
        highest = max((n for d, _, n in self.logs[server] if d == domain), default=0)
        number = max(highest, self.given.get((domain, server), 0)) + 1
        self.given[domain, server] = number
        self.logs[server].append((domain, server, number))

    def replicate(self, server: int, source: int, count: int) -> None:
        """As far as `gtid_strict_mode` lets it: in every domain its own log is the beginning of the source's."""
        mine, theirs = self.logs[server], self.logs[source]
        for domain in {txn[0] for txn in mine}:
            own = [txn for txn in mine if txn[0] == domain]
            if [txn for txn in theirs if txn[0] == domain][: len(own)] != own:
                return
        mine += [txn for txn in theirs if txn not in mine][:count]

    def copy(self, server: int, source: int) -> None:
        """Not of a server whose lost writes another one keeps: it goes on writing, and its numbers hide that."""
        lost = {txn for txn in self.logs[server] if txn[1] == server} - set(self.logs[source])
        if not any(lost & set(log) for other, log in self.logs.items() if other != server):
            self.logs[server] = list(self.logs[source])

    def state(self, server: int) -> GtidSet:
        """As `gtid_binlog_state` tells it."""
        return maria(state_of(self.logs[server]))

    def position(self, server: int) -> GtidSet:
        ends = {txn[0]: txn for txn in self.logs[server]}
        return maria(",".join("-".join(map(str, txn)) for txn in ends.values()))


def state_of(log: list[Txn]) -> str:
    last: dict[tuple[int, int], Txn] = {}
    for txn in log:
        last.pop(txn[:2], None)
        last[txn[:2]] = txn
    return ",".join("-".join(map(str, txn)) for txn in last.values())


def listed(value: GtidSet) -> set[Txn]:
    return {(source[0], s, n) for source, s, spans in value.parts for a, b in spans for n in range(a, b + 1)}


server = st.sampled_from(SERVERS)
steps = st.one_of(
    st.tuples(st.just("write"), server, st.booleans(), st.integers(1, 4)),
    st.tuples(st.just("replicate"), server, server, st.integers(1, 9)),
    st.tuples(st.just("copy"), server, server, st.just(0)),
)


def grown(domain_each: bool, told: list[tuple]) -> Tree:
    tree = Tree()
    for what, one, other, count in told:
        if what == "write":
            for _ in range(count):
                tree.write(one, one if domain_each and other else SHARED)
        elif what == "replicate":
            tree.replicate(one, other, count)
        else:
            tree.copy(one, other)
    return tree


trees = st.builds(grown, st.booleans(), st.lists(steps, max_size=25))


@given(trees, server, server)
def test_sets_compare_as_the_logs_do(tree: Tree, one: int, other: int) -> None:
    mine, theirs = set(tree.logs[one]), set(tree.logs[other])
    assert tree.state(one).contains(tree.state(other)) is (mine >= theirs)
    assert tree.state(one).contains(tree.position(other)) is (mine >= theirs)


@given(trees, server, server)
def test_a_position_alone_never_claims_what_is_not_there(tree: Tree, one: int, other: int) -> None:
    if tree.position(one).contains(tree.state(other)):
        assert set(tree.logs[one]) >= set(tree.logs[other])


@given(trees, server, server)
def test_a_difference_names_all_that_is_missing_and_nothing_that_is_there(tree: Tree, one: int, other: int) -> None:
    mine, theirs = set(tree.logs[one]), set(tree.logs[other])
    left = tree.state(one).minus(tree.state(other))
    assert mine - theirs <= listed(left)
    assert not listed(left) & theirs & mine
    assert left.is_empty is (mine <= theirs)
    assert left.count() >= len(mine - theirs)
    for number in SERVERS:
        assert {t for t in mine - theirs if t[1] == number} <= listed(left.written_by(number, ""))
    assert left.minus_numbers(maria(",".join(f"{d}-{s}-{n}..{n}" for d, s, n in mine - theirs))).count() == (
        left.count() - len(mine - theirs)
    )


@given(trees, server, server)
def test_without_gaps_the_difference_is_counted_exactly(tree: Tree, one: int, other: int) -> None:
    for log in tree.logs.values():
        ends: dict[int, int] = {}
        for domain, _, number in log:
            if number != ends.get(domain, 0) + 1:
                return
            ends[domain] = number
    lacking = set(tree.logs[one]) - set(tree.logs[other])
    assert tree.state(one).minus(tree.state(other)).count() == len(lacking)


@given(trees, server, server, server)
def test_a_union_is_contained_where_both_are_and_contains_what_either_does(
    tree: Tree, one: int, other: int, third: int
) -> None:
    both = tree.state(one).union(tree.state(other))
    assert both == tree.state(other).union(tree.state(one))
    assert tree.state(third).contains(both) is (
        set(tree.logs[third]) >= set(tree.logs[one]) | set(tree.logs[other])
    )
    has = tree.state(one).contains(tree.state(third)) or tree.state(other).contains(tree.state(third))
    assert not has or both.contains(tree.state(third))
    assert both.minus(tree.state(third)).is_empty is tree.state(third).contains(both)


@given(trees, server, server)
def test_what_was_taken_away_comes_back_by_a_union(tree: Tree, one: int, other: int) -> None:
    left = tree.state(one).minus(tree.state(other))
    assert tree.state(other).union(left).contains(tree.state(one))
    assert tree.state(one).union(left).contains(left)


@given(trees, server, server)
def test_the_text_of_every_value_is_read_as_that_value(tree: Tree, one: int, other: int) -> None:
    mine, theirs = tree.state(one), tree.state(other)
    for value in (mine, mine.minus(theirs), mine.union(theirs), tree.position(one).union(theirs)):
        assert maria(str(value)) == value
    assert maria(mine.position()) == tree.position(one)


@given(trees, server, server)
def test_what_was_received_is_in_the_union_of_what_is_had_and_the_position(
    tree: Tree, one: int, other: int
) -> None:
    """A position received ahead of what is applied, as a channel tells it."""
    mine, theirs = set(tree.logs[one]), set(tree.logs[other])
    if mine <= theirs:
        have = tree.state(one).union(tree.position(other))
        assert tree.state(other).contains(have)
        assert have.minus(tree.state(other)).is_empty


COMPARED = {
    # mine, theirs, what I have beyond theirs, what they have beyond mine
    "one continues the other": ("0-1-100,0-2-170", "0-1-100,0-2-150", "0-2-151..170", ""),
    "a new writer": ("0-1-100,0-2-170", "0-1-90", "0-1-91..100,0-2-91..170", ""),
    "the old writer's tail": ("0-2-50,0-1-105", "0-2-50,0-1-100,0-2-170", "0-1-101..105", "0-2-101..170"),
    "an errant write": ("0-1-100,0-2-101", "0-1-130", "0-2-101..101", "0-1-101..130"),
    "filled from a dump": ("0-2-170", "0-1-100,0-2-160", "0-2-161..170", ""),
    "filled from a dump, and behind": ("0-1-100", "0-1-100,0-2-50,0-3-120", "", "0-3-101..120"),
    "old domains stay": ("1-1-80,2-2-70,0-1-9", "1-1-80,2-2-70,0-2-8,0-1-9,0-3-10", "", "0-3-10..10"),
    "an errant write under a strict mode that was off": ("0-2-51,0-1-72", "0-2-50,0-1-72", "0-2-51..51", ""),
}


@pytest.mark.parametrize("case", COMPARED)
def test_what_either_has_beyond_the_other(case: str) -> None:
    mine, theirs, beyond, lacking = COMPARED[case]
    assert str(maria(mine).minus(maria(theirs))) == beyond
    assert str(maria(theirs).minus(maria(mine))) == lacking


def test_a_state_in_the_order_of_no_strict_server_has_two_ends() -> None:
    """Its highest number is not its last: something was written out of order."""
    both = maria("0-1-700,0-2-650")
    assert not maria("0-1-700").contains(both)
    assert maria("0-2-650,0-1-700") != both


def test_a_servers_state_and_position_together_are_one_history() -> None:
    assert maria("1-2-3,1-1-5,1-2-3") == maria("1-2-3,1-1-5")
    assert maria("1-1-60,1-2-61,1-1-60") == maria("1-1-60,1-2-61")


def test_what_a_server_wrote_itself_is_missing_where_nobody_knows_of_it() -> None:
    """A writer that knows a position alone is taken to have what came before it; not so for an errant write."""
    standby, writer = maria("0-3-51,0-1-72"), maria("0-1-72")
    assert standby.minus(writer).is_empty
    assert str(standby.minus(writer, wrote=3)) == "0-3-51..51"
    assert standby.minus(maria("0-3-51,0-1-72"), wrote=3).is_empty
    assert str(standby.minus(maria("0-3-50,0-1-72"), wrote=3)) == "0-3-51..51"
    assert standby.minus(writer, wrote=1).is_empty
