"""Which openings stand in a server's history, and whose history goes on from whose?

Epochs only order openings. Whose data count is said by the ledger: the rows of `vipguard.opening`, one for each
opening, which replication takes along with the data. Each names the openings that its writer knew of and lacked.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

from .changed import worked_out
from .gtid import GtidSet


@dataclass(frozen=True, slots=True, order=True)
class EpochRow:
    """The replicated row that the first transaction after an opening writes: it names that opening."""

    epoch: int
    node: str
    boot_id: str


@dataclass(frozen=True, slots=True)
class Opening:
    """One row of the ledger. `at_s`: when, by the writer's clock, in seconds since 1970."""

    row: EpochRow
    at_s: float = 0.0
    overrules: frozenset[EpochRow] = frozenset()


@dataclass(frozen=True, slots=True)
class Ledger:
    """All rows of one server, oldest first. Made by `of`; `covered` is what it holds or overrules."""

    openings: tuple[Opening, ...] = ()
    newest: EpochRow | None = None
    covered: frozenset[EpochRow] = field(default=frozenset(), compare=False)

    @classmethod
    def of(cls, openings: Iterable[Opening]) -> Ledger:
        rows = tuple(sorted(openings, key=lambda one: one.row))
        return cls(
            rows,
            rows[-1].row if rows else None,
            frozenset(one.row for one in rows).union(*(one.overrules for one in rows)),
        )


class Relation(Enum):
    """How one server's history stands to another's. AHEAD: it goes on from the other's newest opening, or overrules it;
    BEHIND: the other way round. SAME: their newest opening is one, and the sets say who has more of it."""

    SAME = "same"
    AHEAD = "ahead"
    BEHIND = "behind"
    FORKED = "forked"


@dataclass(frozen=True)
class History:
    """What one server has, in one look: its set, its epoch row and its ledger (None: it has no such table)."""

    gtid: GtidSet
    row: EpochRow | None
    ledger: Ledger | None

    @worked_out
    def listed(self) -> bool:
        """Is its newest opening in its ledger? It is not where an agent made it that knows no ledger."""
        if self.ledger is None or self.ledger.newest is None:
            return False
        return self.row is None or self.row in self.ledger.covered

    @worked_out
    def newest(self) -> EpochRow | None:
        """Its newest opening, whoever made it."""
        return self.ledger.newest if self.ledger is not None and self.listed else self.row

    def covers(self, row: EpochRow | None) -> bool:
        """Is that opening in its history, or overruled by it?"""
        if row is None or row == self.row:
            return True
        return self.ledger is not None and row in self.ledger.covered


def relate(one: History, other: History) -> Relation:
    """How the history of `one` stands to that of `other`. Sets of two flavours can't be compared: forked."""
    if one.newest == other.newest:
        return Relation.SAME
    if one.listed and other.listed:
        if one.covers(other.newest):
            return Relation.AHEAD
        return Relation.BEHIND if other.covers(one.newest) else Relation.FORKED
    return _by_sets(one, other)


def _by_sets(one: History, other: History) -> Relation:
    """Where an agent without a ledger opened, nothing but the whole sets can tell, or a row that names its opening."""
    if one.gtid.flavor != other.gtid.flavor:
        return Relation.FORKED
    ahead = other.newest is not None and one.listed and one.covers(other.newest)
    behind = one.newest is not None and other.listed and other.covers(one.newest)
    if ahead is behind:
        ahead, behind = one.gtid.contains(other.gtid), other.gtid.contains(one.gtid)
    if ahead and behind:  # equal sets
        ahead = _number(one.newest) > _number(other.newest)
    return Relation.AHEAD if ahead else Relation.BEHIND if behind else Relation.FORKED


def _number(row: EpochRow | None) -> int:
    return row.epoch if row is not None else 0
