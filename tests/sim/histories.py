"""Who wrote what in which reign, and who lacks it? The simulator's own knowledge: no epoch, no ledger, no agent's word.

A reign is the time in which one server stands open. What a reign wrote is missing on a node that opens without it. That
is right only for a reason in `pardons.py`, and a reason that held once holds for whoever goes on from that opening.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .guards import THAW_S

if TYPE_CHECKING:
    from .cluster import Cluster
    from .host import Host
    from .mysqld import Numbers, Txn

BOTH_CLOSE_S = 3.0  # two writers that see each other again are one, or none, by then
PROMOTED_S = 60.0
SENT_S = 3.0  # how much older than `lag_s_max` a write may be that was never sent


@dataclass(eq=False, slots=True)
class Reign:
    """One server stands open, from its own transaction `first` + 1 on. `left`: the reigns that it goes on without, and
    since when. `beside`: when another was last open at the same time, by that reign."""

    host: str
    server_id: int
    first: int
    began_s: float
    by_hand: bool
    promoted: bool = False
    errant: bool = False  # a hand's, and the writer of that time was seen to lack it
    ended_s: float | None = None
    left: dict[Reign, float] = field(default_factory=dict)
    beside: dict[Reign, float] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.host}'s reign since {self.began_s:.3f}"


@dataclass(frozen=True, slots=True)
class Missing:
    """Writes `first` to `last` of one reign, which some node lacks."""

    reign: Reign
    first: int
    last: int

    @property
    def count(self) -> int:
        return self.last - self.first + 1

    def __str__(self) -> str:
        server = self.reign.server_id
        return f"{self.count} writes ({server}-{self.first} to {server}-{self.last}) of {self.reign}"


class Histories:
    def __init__(self, cluster: Cluster) -> None:
        self.cluster, self.engine = cluster, cluster.engine
        self.reigns: dict[int, list[Reign]] = {}  # by server id, in order of `first`
        self.open: dict[str, Reign] = {}
        self.acknowledged: dict[int, list[Txn]] = {}  # by server id, in order of their numbers
        self.ordered_s: dict[str, float] = {}  # when the operator said `promote` there
        self.solo_s: float | None = None  # when the operator first said `solo`

    # -- what happens

    def acknowledge(self, txn: Txn) -> None:
        txn.acknowledged_s = self.engine.now
        done = self.acknowledged.setdefault(txn.source, [])
        insort(done, txn, key=lambda t: t.number)

    def begin(self, reign: Reign) -> None:
        self.reigns.setdefault(reign.server_id, []).append(reign)
        self.open[reign.host] = reign

    def opened_by_hand(self, host: Host) -> None:
        have = host.disk.have.get(host.server_id, 0)
        self.begin(Reign(host.name, host.server_id, have, self.engine.now, by_hand=True))

    def closed(self, host: Host) -> None:
        reign = self.open.pop(host.name, None)
        if reign is not None:
            reign.ended_s = self.engine.now

    def beside(self, one: Host, other: Host) -> None:
        """Both accept writes right now."""
        first, second = self.open.get(one.name), self.open.get(other.name)
        if first is not None and second is not None:
            first.beside[second] = second.beside[first] = self.engine.now

    def unseeing(self, host: Host) -> None:
        """Its guard cannot look: one of two writers does not find out yet that the other was there, or has closed."""
        mine, now = self.open.get(host.name), self.engine.now
        for other, at_s in mine.beside.items() if mine is not None else ():
            if mine is not None and now - at_s < BOTH_CLOSE_S:
                mine.beside[other] = other.beside[mine] = now

    def ordered(self, host: Host, word: str) -> None:
        """The operator's word to that node's agent."""
        if word == "promote":
            self.ordered_s[host.name] = self.engine.now
        elif word == "solo" and self.solo_s is None:
            self.solo_s = self.engine.now

    def promoted(self, host: Host) -> bool:
        """The operator's word holds for a minute, or until that node has opened."""
        return self.engine.now - self.ordered_s.get(host.name, -PROMOTED_S) < PROMOTED_S

    # -- what is missing

    def reign_of(self, server_id: int, number: int) -> Reign | None:
        """The reign in which that server wrote its `number`; None for what was there before any."""
        found: Reign | None = None
        for reign in self.reigns.get(server_id, ()):
            if reign.first >= number:
                break
            found = reign
        return found

    def line(self, have: Numbers) -> list[Reign]:
        """The reigns whose first write is in `have`."""
        return [
            reign
            for server_id, reigns in self.reigns.items()
            for reign in reigns
            if have.get(server_id, 0) > reign.first
        ]

    def missing(self, mine: Numbers, theirs: Numbers) -> list[Missing]:
        """What is in `theirs` and not in `mine`, by reigns; a write of no reign counts as the first one's."""
        found = []
        for server_id, last in theirs.items():
            number = mine.get(server_id, 0) + 1
            reigns = self.reigns.get(server_id, [])
            for index, reign in enumerate(reigns):
                ends = reigns[index + 1].first if index + 1 < len(reigns) else last
                first, until = max(number, reign.first + 1 if index else 1), min(ends, last)
                if first <= until:
                    found.append(Missing(reign, first, until))
        return found

    def everywhere(self) -> Numbers:
        """The last number of each server that is on any disk."""
        all_there: Numbers = {}
        for host in self.cluster.hosts.values():
            for server_id, number in host.disk.have.items():
                all_there[server_id] = max(number, all_there.get(server_id, 0))
        return all_there

    def told(self, part: Missing) -> list[Txn]:
        """The acknowledged ones among them."""
        done = self.acknowledged.get(part.reign.server_id, [])
        begin = bisect_left(done, part.first, key=lambda t: t.number)
        end = bisect_left(done, part.last + 1, key=lambda t: t.number)
        return done[begin:end]

    def lost(self, mine: Numbers) -> list[tuple[Missing, list[Txn]]]:
        """What somebody was told is done, on whatever disk it is, and is not in `mine`; by reigns."""
        parts = ((part, self.told(part)) for part in self.missing(mine, self.everywhere()))
        return [(part, told) for part, told in parts if told]

    # -- what is forgiven

    def pardon(self, reign: Reign, part: Missing, line: list[Reign], told: list[Txn]) -> str | None:
        """Why may `reign` begin without this part of another one? `line`: what it goes on from."""
        if part.reign.by_hand:
            return "written-by-hand"
        if reign.promoted:
            return "promoted-by-operator"
        if any(part.reign in mine.left for mine in line):
            return "left-behind"
        if self._just_thawed(part, line):
            return "just-thawed"
        if not self.cluster.lossless:
            for mine in line:
                beside_s = mine.beside.get(part.reign)
                if beside_s is not None and all(txn.at_s < beside_s + BOTH_CLOSE_S for txn in told):
                    return "two-writers"
        elif self.solo_s is not None and all(txn.acknowledged_s > self.solo_s for txn in told):
            return "solo-by-operator"
        return None

    def _just_thawed(self, part: Missing, line: list[Reign]) -> bool:
        """Was it written in the moment in which a server went on that had stood still while another opened?"""
        host = self.cluster.hosts[part.reign.host]
        thawed_s = self.cluster.laws.thawed_s(host)
        if not any(reign.host != part.reign.host and part.reign.began_s < reign.began_s < thawed_s for reign in line):
            return False
        numbers = range(part.first, part.last + 1)
        at_s = [txn.at_s for txn in host.disk.log if txn.source == part.reign.server_id and txn.number in numbers]
        return bool(at_s) and all(thawed_s <= one < thawed_s + THAW_S for one in at_s)

    def decide(self, reign: Reign, mine: Numbers, theirs: Numbers) -> None:
        """The one writer sees a closed node that has what it lacks: from now on it goes on without that, and not the
        other way round."""
        for part in self.missing(mine, theirs):
            if part.reign is not reign:
                reign.left[part.reign] = self.engine.now
                part.reign.errant = part.reign.by_hand
                for own in self.line(mine):
                    part.reign.left.pop(own, None)

    def leave(self, reign: Reign, have: Numbers) -> None:
        """From here on `reign` goes on without what `have` lacks, and without what a reign writes on that stands open
        now; so does whoever goes on from it."""
        for part in self.missing(have, self.everywhere()):
            if part.reign is not reign:
                reign.left[part.reign] = self.engine.now
        for other in self.open.values():
            if other is not reign:
                reign.left[other] = self.engine.now

    def was_told(self, mine: Reign, part: Missing, told: list[Txn]) -> bool:
        """Was it said, when `mine` began, that this may be missing?"""
        left_s = mine.left.get(part.reign)
        return left_s is not None and all(txn.at_s <= left_s for txn in told)
