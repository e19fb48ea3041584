"""Which transactions does a server have? GTID sets of both flavours as immutable values.

A MySQL set is what it says: numbered transactions of a source, which is a uuid and since 8.3 perhaps a tag.
MariaDB's `domain-server-seq` names one transaction, and with it all that came before it in its domain:
`gtid_strict_mode` makes a domain one sequence, to which several servers add. How two compare is `lineage`'s.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from . import lineage
from .changed import worked_out
from .intervals import Interval, Intervals, covers, merge, subtract
from .policy import MARIADB, MYSQL, Flavor

Source = tuple[int, str, str]  # (domain, "", "") of MariaDB, (0, uuid, tag) of MySQL
Part = tuple[Source, int, Intervals]  # with the id of the server that wrote them (MariaDB; 0 for MySQL)

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII)
_TAG = re.compile(r"[a-z_][a-z0-9_]{0,31}", re.ASCII)
_NUMBERS = re.compile(r"(\d{1,20})(?:-(\d{1,20}))?", re.ASCII)
_POSITION = re.compile(r"(\d{1,10})-(\d{1,10})-(\d{1,20})(?:\.\.(\d{1,20}))?", re.ASCII)


@dataclass(frozen=True)
class GtidSet:
    """A set of transactions. Make one with `parse` or `empty`; no part is empty.

    `parts` is sorted by source; those of a MariaDB domain stand as `lineage.order` puts them, its end last.
    """

    flavor: Flavor
    parts: tuple[Part, ...] = ()

    @classmethod
    def empty(cls, flavor: Flavor) -> GtidSet:
        return _empty(flavor)

    @classmethod
    def parse(cls, flavor: Flavor, text: str) -> GtidSet:
        """The set that `text` names, as a server or `str()` writes it. ValueError names the wrong piece."""
        return _parse(flavor, text)

    @property
    def is_empty(self) -> bool:
        return not self.parts

    def count(self) -> int:
        """How many transactions. MariaDB numbers need not be without gaps: there it is an upper bound."""
        if self.flavor == MYSQL:
            return sum(_size(intervals) for _, _, intervals in self.parts)
        return sum(
            _size(merge(interval for _, spans in branch for interval in spans)) for branch in self._branches.values()
        )

    def contains(self, other: GtidSet) -> bool:
        """True when everything in `other` is also here; ValueError when the flavours differ."""
        self._require_same_flavor(other)
        if self.parts == other.parts:
            return True
        if self.flavor == MARIADB:
            branches = self._branches
            theirs = other._branches
            return all(
                domain in branches and lineage.contains(branches[domain], branch) for domain, branch in theirs.items()
            )
        mine = {source: intervals for source, _, intervals in self.parts}
        return all(source in mine and covers(mine[source], intervals) for source, _, intervals in other.parts)

    def minus(self, other: GtidSet, wrote: int | None = None) -> GtidSet:
        """What is here and not in `other`; empty exactly when `other` contains this.

        `wrote`: on MariaDB, what the server of that number wrote counts as missing also where `other` knows nothing of
        that server. Else the position of one that was filled from a dump is taken to say that it has that: so it would
        hide what a standby wrote by itself while its `gtid_strict_mode` was off.
        """
        self._require_same_flavor(other)
        if self.parts == other.parts:
            return _empty(self.flavor)
        if self.flavor == MARIADB:
            theirs = other._branches
            return _of_branches(
                {
                    domain: lineage.minus(branch, theirs.get(domain, ()), wrote)
                    for domain, branch in self._branches.items()
                }
            )
        gone = {source: intervals for source, _, intervals in other.parts}
        left = ((source, 0, subtract(spans, gone.get(source, ()))) for source, _, spans in self.parts)
        return GtidSet(self.flavor, tuple(part for part in left if part[2]))

    def minus_numbers(self, found: GtidSet) -> GtidSet:
        """What is here under numbers that `found` does not have. Unlike `minus` it does not ask which server gave a
        number of a MariaDB domain: the numbers of a difference may be those of another server in it."""
        self._require_same_flavor(found)
        if self.flavor == MYSQL:
            return self.minus(found)
        numbers = {
            domain: merge(interval for _, spans in branch for interval in spans)
            for domain, branch in found._branches.items()
        }
        left: dict[int, lineage.Branch] = {}
        for domain, branch in self._branches.items():
            rest = {server: subtract(spans, numbers.get(domain, ())) for server, spans in branch}
            rest = {server: spans for server, spans in rest.items() if spans}
            left[domain] = lineage.order(rest) if rest else ()
        return _of_branches(left)

    def union(self, other: GtidSet) -> GtidSet:
        """What is in either."""
        self._require_same_flavor(other)
        if not other.parts or self.parts == other.parts:
            return self
        if self.flavor == MYSQL:
            return _of(self.flavor, (*self.parts, *other.parts))
        mine, theirs = self._branches, other._branches
        return _of_branches(
            {domain: lineage.union(mine.get(domain, ()), theirs.get(domain, ())) for domain in {*mine, *theirs}}
        )

    def written_by(self, server_id: int, uuid: str) -> GtidSet:
        """What the server of this number (MariaDB) or uuid (MySQL) wrote."""
        kept = tuple(
            part for part in self.parts if (part[0][1] == uuid if self.flavor == MYSQL else part[1] == server_id)
        )
        return GtidSet(self.flavor, kept)

    def position(self) -> str:
        """MariaDB: the end of each domain, as a server takes it for a position."""
        found: dict[int, tuple[int, int]] = {}
        for source, server, intervals in self.parts:
            found[source[0]] = max(found.get(source[0], (0, 0)), (intervals[-1][1], server))
        return ",".join(f"{domain}-{server}-{number}" for domain, (number, server) in found.items())

    def sequences(self) -> int:
        """How many sequences of numbers there are, between which no order is known."""
        return len({source for source, _, _ in self.parts})

    @worked_out
    def _branches(self) -> Mapping[int, lineage.Branch]:
        found: dict[int, lineage.Branch] = {}
        for source, server, intervals in self.parts:
            found[source[0]] = (*found.get(source[0], ()), (server, intervals))
        return found

    def __str__(self) -> str:
        return _mysql_text(self.parts) if self.flavor == MYSQL else _mariadb_text(self.parts)

    def _require_same_flavor(self, other: GtidSet) -> None:
        if self.flavor != other.flavor:
            raise ValueError(f"a {self.flavor} GTID set cannot be compared with one of {other.flavor}")


@lru_cache(maxsize=4)
def _empty(flavor: Flavor) -> GtidSet:
    return GtidSet(flavor)


@lru_cache(maxsize=512)
def _parse(flavor: Flavor, text: str) -> GtidSet:
    pieces = [piece for piece in (raw.strip() for raw in text.split(",")) if piece]
    if flavor == MYSQL:
        return _of(flavor, (part for piece in pieces for part in _mysql_piece(piece)))
    if flavor == MARIADB:
        named: dict[int, list[tuple[int, Interval]]] = {}
        for domain, server, interval in (found for piece in pieces for found in _mariadb_piece(piece)):
            named.setdefault(domain, []).append((server, interval))
        return _of_branches({domain: lineage.read(found) for domain, found in named.items()})
    raise ValueError(f"no such flavour: {flavor!r}")


def _mysql_piece(piece: str) -> Iterable[Part]:
    uuid, *rest = (word.strip() for word in piece.lower().split(":"))
    if not _UUID.fullmatch(uuid) or not rest:
        raise ValueError(f"not a GTID set: {piece!r}")
    tag, numbered = "", True
    for word in rest:
        if found := _NUMBERS.fullmatch(word):
            first = int(found[1])
            last = int(found[2] or first)
            if not 0 < first <= last:
                raise ValueError(f"not an interval: {word!r} in {piece!r}")
            numbered = True
            yield (0, uuid, tag), 0, ((first, last),)
        elif _TAG.fullmatch(word) and (numbered or tag == ""):
            tag, numbered = word, False
        else:
            raise ValueError(f"neither an interval nor a tag: {word!r} in {piece!r}")
    if not numbered:
        raise ValueError(f"a tag without an interval: {tag!r} in {piece!r}")


def _mariadb_piece(piece: str) -> Iterable[tuple[int, int, Interval]]:
    found = _POSITION.fullmatch(piece)
    if not found:
        raise ValueError(f"not a GTID position: {piece!r}")
    domain, server, first = int(found[1]), int(found[2]), int(found[3])
    if found[4] is None:
        if first:  # a domain at 0 has no transaction yet
            yield domain, server, (1, first)
        return
    if not 0 < first <= int(found[4]):
        raise ValueError(f"not an interval: {piece!r}")
    yield domain, server, (first, int(found[4]))


def _of(flavor: Flavor, parts: Iterable[Part]) -> GtidSet:
    """MySQL's parts in any order, a source perhaps several times, as a value."""
    together: dict[Source, list[Interval]] = {}
    for source, _, intervals in parts:
        together.setdefault(source, []).extend(intervals)
    return GtidSet(flavor, tuple((source, 0, merge(together[source])) for source in sorted(together)))


def _of_branches(branches: Mapping[int, lineage.Branch]) -> GtidSet:
    parts = (
        ((domain, "", ""), server, intervals) for domain in sorted(branches) for server, intervals in branches[domain]
    )
    return GtidSet("mariadb", tuple(parts))


def _size(intervals: Intervals) -> int:
    return sum(last - first + 1 for first, last in intervals)


def _mysql_text(parts: tuple[Part, ...]) -> str:
    words: list[str] = []
    previous = ""
    for (_, uuid, tag), _, intervals in parts:
        numbers = ":".join(f"{first}-{last}" if first < last else str(first) for first, last in intervals)
        named = f"{tag}:{numbers}" if tag else numbers
        words.append(f":{named}" if uuid == previous else f",{uuid}:{named}")
        previous = uuid
    return "".join(words).removeprefix(",")


def _mariadb_text(parts: tuple[Part, ...]) -> str:
    return ",".join(
        f"{source[0]}-{server}-{last}" if first == 1 else f"{source[0]}-{server}-{first}..{last}"
        for source, server, intervals in parts
        for first, last in intervals
    )
