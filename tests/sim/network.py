"""Whose packets arrive where? Hosts on one link, cut in any direction and for any kind of traffic."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .host import Host

WITNESS, CLIENT = "witness", "client"
KINDS = ("sql", "vrrp", "ping", "arp")


class Network:
    """`cut(a, b, kind)` drops what goes from a to b; `refuse(a, b)` answers a's connects to b with a reset, as a packet
    filter does that rejects. Both nest."""

    def __init__(self) -> None:
        self.hosts: dict[str, Host] = {}
        self.cuts: Counter[tuple[str, str, str]] = Counter()
        self._refused: Counter[tuple[str, str]] = Counter()
        self.lost_share = 0.0
        self.slow_s = 0.0

    def cut(self, source: str, target: str, kinds: tuple[str, ...] = KINDS, by: int = 1) -> None:
        for kind in kinds:
            self.cuts[source, target, kind] += by

    def refuse(self, source: str, target: str, by: int = 1) -> None:
        self._refused[source, target] += by

    def refuses(self, source: str, target: str) -> bool:
        """Is a connect from the one to the other refused, and a connection that it had broken off?"""
        return self._refused.get((source, target), 0) > 0

    def isolate(self, name: str, others: list[str], by: int = 1) -> None:
        for other in others:
            self.cut(name, other, by=by)
            self.cut(other, name, by=by)

    def passes(self, source: str, target: str, kind: str) -> bool:
        """Does a packet get from the one to the other? A paused host's kernel takes it, a host without power not."""
        for name in (source, target):
            host = self.hosts.get(name)
            if host is not None and (not host.link_up or not host.powered):
                return False
        return self.cuts.get((source, target, kind), 0) <= 0

    def reaches(self, one: str, other: str) -> bool:
        """Can the one ask the other's server?"""
        return self.both_ways(one, other, "sql") and not self.refuses(one, other)

    def both_ways(self, one: str, other: str, kind: str) -> bool:
        return self.passes(one, other, kind) and self.passes(other, one, kind)
