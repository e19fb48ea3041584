"""Which transactions does a server have? GTID sets of both flavours as immutable values.

A MySQL set is what it says: numbered transactions of a source, which is a uuid and since 8.3 perhaps a tag.
A MariaDB position `domain-server-seq` is read as "everything up to seq in this domain", which
`gtid_strict_mode` makes true. Two histories that end in one domain at the same number but on different servers
end in two different transactions: neither contains the other.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from .policy import MARIADB, MYSQL, Flavor

Interval = tuple[int, int]  # first and last, both included
Intervals = tuple[Interval, ...]  # sorted, disjoint, never adjacent
Source = tuple[int, str, str]  # (domain, "", "") of MariaDB, (0, uuid, tag) of MySQL
Part = tuple[Source, int, Intervals]  # with the server id that wrote the last one (MariaDB; 0 for MySQL)

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII)
_TAG = re.compile(r"[a-z_][a-z0-9_]{0,31}", re.ASCII)
_NUMBERS = re.compile(r"(\d{1,20})(?:-(\d{1,20}))?", re.ASCII)
_POSITION = re.compile(r"(\d{1,10})-(\d{1,10})-(\d{1,20})(?:\.\.(\d{1,20}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class GtidSet:
    """A set of transactions. Make one with `parse` or `empty`; `parts` is sorted, no source is empty."""

    flavor: Flavor
    parts: tuple[Part, ...] = ()

    @classmethod
    def empty(cls, flavor: Flavor) -> GtidSet:
        return cls(flavor)

    @classmethod
    def parse(cls, flavor: Flavor, text: str) -> GtidSet:
        """The set that `text` names, as a server or `str()` writes it. ValueError names the wrong piece."""
        return _parse(flavor, text)

    @property
    def is_empty(self) -> bool:
        return not self.parts

    def count(self) -> int:
        """How many transactions. MariaDB numbers need not be without gaps: there it is an upper bound."""
        return sum(last - first + 1 for _, _, intervals in self.parts for first, last in intervals)

    def contains(self, other: GtidSet) -> bool:
        """True when everything in `other` is also here; ValueError when the flavours differ."""
        self._require_same_flavor(other)
        if self.parts == other.parts:
            return True
        mine = {source: (server, intervals) for source, server, intervals in self.parts}
        for source, server, intervals in other.parts:
            have = mine.get(source)
            if have is None or not _covers(have[1], intervals):
                return False
            if have[0] != server and have[1][-1][1] == intervals[-1][1]:
                return False
        return True

    def minus(self, other: GtidSet) -> GtidSet:
        """What is here and not in `other`; empty exactly when `other` contains this."""
        self._require_same_flavor(other)
        theirs = {source: (server, intervals) for source, server, intervals in other.parts}
        left: list[Part] = []
        for source, server, intervals in self.parts:
            their_server, gone = theirs.get(source, (server, ()))
            rest = _subtract(intervals, gone)
            if gone and their_server != server and gone[-1][1] == intervals[-1][1]:
                rest = _merge((*rest, (intervals[-1][1], intervals[-1][1])))
            if rest:
                left.append((source, server, rest))
        return GtidSet(self.flavor, tuple(left))

    def union(self, other: GtidSet) -> GtidSet:
        """What is in either. Of two servers that end a domain at the same number, the higher id is kept."""
        self._require_same_flavor(other)
        if not other.parts or self.parts == other.parts:
            return self
        return _of(self.flavor, (*self.parts, *other.parts))

    def written_by(self, server_id: int, uuid: str) -> GtidSet:
        """What the server of this number (MariaDB: its domain, or the last to write in one) or uuid (MySQL) wrote."""
        kept = tuple(
            (source, server, intervals)
            for source, server, intervals in self.parts
            if (source[1] == uuid if self.flavor == MYSQL else server_id in (source[0], server))
        )
        return GtidSet(self.flavor, kept)

    def __str__(self) -> str:
        return _mysql_text(self.parts) if self.flavor == MYSQL else _mariadb_text(self.parts)

    def _require_same_flavor(self, other: GtidSet) -> None:
        if self.flavor != other.flavor:
            raise ValueError(f"a {self.flavor} GTID set cannot be compared with one of {other.flavor}")


@lru_cache(maxsize=512)
def _parse(flavor: Flavor, text: str) -> GtidSet:
    pieces = [piece for piece in (raw.strip() for raw in text.split(",")) if piece]
    if flavor == MYSQL:
        return _of(flavor, (part for piece in pieces for part in _mysql_piece(piece)))
    if flavor == MARIADB:
        return _of(flavor, (part for piece in pieces for part in _mariadb_piece(piece)))
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


def _mariadb_piece(piece: str) -> Iterable[Part]:
    found = _POSITION.fullmatch(piece)
    if not found:
        raise ValueError(f"not a GTID position: {piece!r}")
    domain, server, first = int(found[1]), int(found[2]), int(found[3])
    if found[4] is None:
        if first:  # a domain at 0 has no transaction yet
            yield (domain, "", ""), server, ((1, first),)
        return
    if not 0 < first <= int(found[4]):
        raise ValueError(f"not an interval: {piece!r}")
    yield (domain, "", ""), server, ((first, int(found[4])),)


def _of(flavor: Flavor, parts: Iterable[Part]) -> GtidSet:
    """Parts in any order, a source perhaps several times, as a value."""
    together: dict[Source, list[Part]] = {}
    for part in parts:
        together.setdefault(part[0], []).append(part)
    made: list[Part] = []
    for source, same in sorted(together.items()):
        if len(same) == 1:
            made.append(same[0])
            continue
        _, server = max((part[2][-1][1], part[1]) for part in same)
        made.append((source, server, _merge(interval for part in same for interval in part[2])))
    return GtidSet(flavor, tuple(made))


def _merge(intervals: Iterable[Interval]) -> Intervals:
    merged: list[Interval] = []
    for first, last in sorted(intervals):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return tuple(merged)


def _covers(have: Intervals, wanted: Intervals) -> bool:
    for first, last in wanted:
        at = bisect_right(have, first, key=lambda interval: interval[0]) - 1
        if at < 0 or have[at][1] < last:
            return False
    return True


def _subtract(intervals: Intervals, gone: Intervals) -> Intervals:
    rest: list[Interval] = []
    at = 0
    for first, last in intervals:
        while at < len(gone) and gone[at][1] < first:
            at += 1
        ahead = at
        while ahead < len(gone) and gone[ahead][0] <= last:
            if gone[ahead][0] > first:
                rest.append((first, gone[ahead][0] - 1))
            first = gone[ahead][1] + 1
            ahead += 1
        if first <= last:
            rest.append((first, last))
    return tuple(rest)


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
