"""Which nodes did the operator take out of the election, until when and why?

The rows of `vipguard.maintenance`, written on the writer and so replicated to every node. One for `*` pauses the whole
cluster: keepalived keeps what it has, and nothing is promoted by itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

CLUSTER = "*"
REASON_MAX = 100


@dataclass(frozen=True, slots=True)
class Maintenance:
    """One row. Times are seconds since 1970; `until_s` None: until the operator ends it."""

    node: str
    since_s: int
    until_s: int | None
    reason: str

    def __str__(self) -> str:
        return "the operator's word" + (f": {self.reason}" if self.reason else "")


def of_node(rows: Iterable[Maintenance], node: str) -> Maintenance | None:
    """The node's own maintenance, not the cluster's pause."""
    return next((row for row in rows if row.node == node), None)
