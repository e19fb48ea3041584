"""Were two nodes open at once? One thread a node asks its server and its kernel every few milliseconds; the overlaps are counted.

A sample is an instant somewhere between asking and answer. Two samples in a row that say "writable" prove what lies between the
first answer and the second question; one alone proves a moment, counted as `INSTANT_NS` before its answer (when a stopped server
goes on, it answers an old question then). So the sums are lower bounds of what was, with an error of one period at each end.
"""

from __future__ import annotations

import contextlib
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import pymysql

from vipguard.lab.node import Node, has_address

if TYPE_CHECKING:
    from vipguard.lab.cluster import Lab

QUESTION = b"SELECT @@global.read_only"
PACKET = struct.pack("<I", len(QUESTION) + 1) + b"\x03" + QUESTION  # length and sequence number 0, COM_QUERY
INSTANT_NS = 100_000
QUICK_NS = 20_000_000  # an answer that took longer may be that of a server which stood still


class Sample(NamedTuple):
    asked_ns: int
    answered_ns: int
    writable: bool | None
    vip: bool


@dataclass(frozen=True)
class Change:
    """What became different on a node: `what` is "vip" or "writable", `now` its new value (None: does not answer)."""

    ns: int
    node: str
    what: str
    now: bool | None


Interval = tuple[int, int]


class Watcher:
    """`with lab.watch() as watcher:` samples; `two_writers_ms()` and `changes` tell. `tell` is called with each change, from its thread."""

    def __init__(
        self, lab: Lab, every_s: float = 0.003, tell: Callable[[Change], None] | None = None
    ) -> None:
        self.lab, self.every_s, self.tell = lab, every_s, tell
        self.samples: dict[str, list[Sample]] = {name: [] for name in lab.nodes}
        self.changes: list[Change] = []
        self._end = threading.Event()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Watcher:
        self._threads = [
            threading.Thread(target=self._sample, args=(node,), name=f"watch-{name}", daemon=True)
            for name, node in self.lab.nodes.items()
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join(timeout=2)

    def _sample(self, node: Node) -> None:
        connection: pymysql.Connection[Any] | None = None
        kept = self.samples[node.name]
        while not self._end.is_set():
            asked = time.monotonic_ns()
            writable: bool | None = None
            try:
                if connection is None:
                    connection = node.mysqld.connect(timeout_s=1.0)
                writable = ask(connection)
            except (pymysql.MySQLError, OSError):
                if connection is not None:
                    with contextlib.suppress(Exception):
                        connection._force_close()  # type: ignore[attr-defined]
                    connection = None
            answered = time.monotonic_ns()
            sample = Sample(
                asked, answered, writable, has_address(node.space.identity.pid, self.lab.spec.vip)
            )
            self._note(node.name, kept[-1] if kept else None, sample)
            kept.append(sample)
            self._end.wait(self.every_s)
        if connection is not None:
            with contextlib.suppress(Exception):
                connection._force_close()  # type: ignore[attr-defined]

    def _note(self, node: str, before: Sample | None, now: Sample) -> None:
        for what in ("vip", "writable"):
            if before is None or getattr(before, what) != getattr(now, what):
                change = Change(now.answered_ns, node, what, getattr(now, what))
                self.changes.append(change)
                if self.tell:
                    self.tell(change)

    def intervals(self, node: str, *, with_vip: bool = False) -> list[Interval]:
        """When the node was surely writable (and had the VIP), in monotonic nanoseconds."""
        samples = list(self.samples[node])
        good = [bool(sample.writable) and (sample.vip or not with_vip) for sample in samples]
        found: list[Interval] = []
        for index, sample in enumerate(samples):
            if not good[index]:
                continue
            quick = sample.answered_ns - sample.asked_ns < QUICK_NS
            known = index > 0 and good[index - 1] and quick
            start = sample.asked_ns if known else max(sample.asked_ns, sample.answered_ns - INSTANT_NS)
            follows = index + 1 < len(samples) and good[index + 1]
            end = samples[index + 1].asked_ns if follows else sample.answered_ns
            if found and found[-1][1] >= start:
                found[-1] = (found[-1][0], max(end, found[-1][1]))
            else:
                found.append((start, end))
        return found

    def two_writers_ms(self, *, with_vip: bool = False) -> float:
        """How long two or more nodes were writable at once; `with_vip`: and had the VIP."""
        edges: list[tuple[int, int]] = []
        for node in self.samples:
            for start, end in self.intervals(node, with_vip=with_vip):
                edges += [(start, 1), (end, -1)]
        edges.sort()
        total, depth = 0, 0
        for (at, step), (following, _) in pairwise([*edges, (0, 0)]):
            depth += step
            if depth >= 2:
                total += following - at
        return total / 1e6


def ask(connection: pymysql.Connection[Any]) -> bool:
    """Whether the server is writable, by a prebuilt packet: a tenth of what PyMySQL's own query costs."""
    sock = connection._sock  # type: ignore[attr-defined]
    sock.sendall(PACKET)
    answer = b""
    # number of columns, column, end marker, the row, end marker
    while len(packets := split_packets(answer)) < 5:
        if packets and packets[0][:1] == b"\xff":
            raise OSError("the server answered with an error")
        chunk = sock.recv(4096)
        if not chunk:
            raise OSError("the server closed the connection")
        answer += chunk
    return packets[3] == b"\x010"


def split_packets(stream: bytes) -> list[bytes]:
    """The payloads of the whole packets at the start of a server's answer."""
    found, at = [], 0
    while len(stream) >= at + 4:
        end = at + 4 + int.from_bytes(stream[at : at + 3], "little")
        if end > len(stream):
            break
        found.append(stream[at + 4 : end])
        at = end
    return found
