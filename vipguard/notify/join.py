"""How is it said what is due about replication? One value for everyone who decides on it."""

from __future__ import annotations

from dataclasses import dataclass

from ..model.effect import Effect
from ..model.gtid import GtidSet


@dataclass(frozen=True, slots=True)
class Join:
    """What is due: an effect, or the rule by which nothing is. `apart` are the transactions that keep the node out."""

    rule: str
    text: str
    effect: Effect | None = None
    apart: GtidSet | None = None
