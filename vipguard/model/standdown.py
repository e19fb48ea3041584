"""Did somebody order this node's server closed, and is it to stay so? The operator's word about one node, kept on it.

Unlike maintenance, which is written on the writer and replicated, it needs no other node and no open server.
"""

from __future__ import annotations

from dataclasses import dataclass

REASON_MAX = 100
HAND = "another hand"  # who closed the server without a word to vipguard: `SET GLOBAL read_only = 1`


@dataclass(frozen=True, slots=True)
class StoodDown:
    """`since_s`: seconds since 1970. `by`: who gave the order. `readable` False: there is a word that cannot be read,
    which lets nobody open and closes nobody."""

    since_s: int
    by: str
    reason: str = ""
    readable: bool = True

    @property
    def by_hand(self) -> bool:
        """No order was given: somebody closed the server, and may open it again or let another node write."""
        return self.by == HAND

    def __str__(self) -> str:
        if not self.readable:
            return "a word that cannot be read"
        return self.by + (f": {self.reason}" if self.reason else "")
