"""Which transactions of one MariaDB domain are in one history and not in another?

A domain is one sequence: whoever writes next takes the next number, and `gtid_strict_mode` lets no number go back. So
histories are branches of one tree, and two that have a transaction in common have everything before it in common. What
a server tells (`gtid_binlog_state`) is the last number of every server that ever wrote in the domain; a position
(`gtid_slave_pos`, a received position) tells the last one of all only, and of its server.

From that follows the one rule here: the highest number that both sides have of one server is where they were last the
same. What lies above it on one side is missing on the other. A server of which the other side knows nothing has its
numbers below that point there as well, unless it ended a history: so a server that was filled from a dump, and knows
a position alone, still compares rightly. Where a server is known to have written more here than there, that is missing
there, however low its number: `gtid_strict_mode` was off for a while.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from .intervals import Interval, Intervals, covers, merge, subtract

Branch = tuple[tuple[int, Intervals], ...]  # (server, its numbers), in the order of `order`


def order(numbers: Mapping[int, Intervals], ends: Iterable[int] = ()) -> Branch:
    """`numbers` by server as a branch; `ends` are the servers whose last transaction nothing here comes after.

    Those that something comes after stand first and ascend, the ends follow and descend: so the last one of a server's
    own list is where it stands, and the text tells the ends. Whoever has the highest number is one.
    """
    highest = max(spans[-1][1] for spans in numbers.values())
    ending = {server for server in numbers if numbers[server][-1][1] == highest} | (set(ends) & set(numbers))
    rising = sorted((spans[-1][1], server) for server, spans in numbers.items() if server not in ending)
    falling = sorted(((numbers[server][-1][1], server) for server in ending), reverse=True)
    return tuple((server, numbers[server]) for _, server in (*rising, *falling))


def ends(branch: Branch) -> frozenset[int]:
    """The servers whose last transaction nothing in the branch comes after; one, but for a union of histories."""
    found: list[int] = []
    highest = 0
    for server, spans in reversed(branch):
        if spans[-1][1] >= highest:
            highest = spans[-1][1]
            found.append(server)
    return frozenset(found)


def read(pieces: Iterable[tuple[int, Interval]]) -> Branch:
    """A branch out of (server, numbers) in the order of a text; a server may come several times."""
    spans: dict[int, list[Interval]] = {}
    stands: dict[int, tuple[int, int]] = {}  # server: its highest number, and where that was first named
    for at, (server, interval) in enumerate(pieces):
        spans.setdefault(server, []).append(interval)
        if server not in stands or interval[1] > stands[server][0]:
            stands[server] = interval[1], at
    named = sorted(spans, key=lambda server: stands[server][1])
    together = tuple((server, merge(spans[server])) for server in named)
    return order(dict(together), ends(together))


def missing(branch: Branch, other: Branch, wrote: int | None = None) -> Iterator[tuple[int, Intervals]]:
    """What is in `branch` and not in `other`, by server. Its numbers are an upper bound: those in between may be
    another server's. What the server `wrote` did is missing, too, where `other` knows nothing of that server."""
    theirs, whole = dict(other), _whole(other)
    shared = max((min(spans[-1][1], theirs[s][-1][1]) for s, spans in branch if s in theirs), default=0)
    ending = ends(branch)
    for server, spans in branch:
        above = whole and spans[-1][1] > shared
        if server in theirs:
            if whole and covers(theirs[server], ((spans[-1][1], spans[-1][1]),)):
                continue
            rest = subtract(spans, theirs[server])
        elif whole and not above and server not in ending:
            if server == wrote:
                yield server, ((spans[-1][1], spans[-1][1]),)
            continue
        else:
            rest = spans
        if above:
            rest = subtract(rest, ((1, shared),))
        if rest:
            yield server, rest


def minus(branch: Branch, other: Branch, wrote: int | None = None) -> Branch:
    """What is in `branch` and not in `other`; () where that is nothing. `wrote`: as in `missing`."""
    left = dict(missing(branch, other, wrote))
    return order(left, ends(branch)) if left else ()


def contains(branch: Branch, other: Branch) -> bool:
    return next(missing(other, branch), None) is None


def union(branch: Branch, other: Branch) -> Branch:
    """What is in either. Of two histories that went apart both ends stay ends."""
    numbers = dict(branch)
    for server, spans in other:
        numbers[server] = merge((*numbers.get(server, ()), *spans))
    return order(numbers, _lasting(branch, other) | _lasting(other, branch))


def _lasting(branch: Branch, other: Branch) -> set[int]:
    """The ends of `branch` that nothing in `other` comes after."""
    theirs, their_ends = dict(other), ends(other)
    found: set[int] = set()
    for server in ends(branch):
        last = dict(branch)[server][-1][1]
        has = covers(theirs.get(server, ()), ((last, last),))
        if not has or (server in their_ends and theirs[server][-1][1] == last):
            found.add(server)
    return found


def _whole(branch: Branch) -> bool:
    """Is it a history from its beginning, and not only transactions out of one?"""
    reached = 0
    for first, last in sorted(interval for _, spans in branch for interval in spans):
        if first > reached + 1:
            return False
        reached = max(reached, last)
    return True
