"""Were two nodes open at once? A thread a node asks its server every few milliseconds; the overlaps are
counted.

A sample is an instant somewhere between question and answer. Two samples in a row that say "writable" prove
what lies between the first answer and the second question; one alone proves a moment, counted as `INSTANT_NS`
before its answer: a server that stood still answers the old question when it goes on, and the time before is
not held against it. So the sums are lower bounds of what was, with an error of one period at each end.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
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
SILENT_NS = 500_000_000  # a question that old, unanswered, is told as a change
AGAIN_S, YIELD_S = 0.1, 0.02  # ended twice within the first: away for the second
PATIENCE_S = 600.0  # no time-out: the answer of a server that goes on is what matters most

Interval = tuple[int, int]


class Sample(NamedTuple):
    asked_ns: int
    answered_ns: int
    writable: bool | None


@dataclass(frozen=True)
class Change:
    """What became different on a node: `what` is "vip" or "writable", `now` its new value (None: no answer)."""

    ns: int
    node: str
    what: str
    now: bool | None


class Watcher:
    """`with lab.watch() as watcher:` samples; afterwards `two_writers_ms()` and `changes` tell.

    `tell` is called with each change as it is seen, from one of the threads; not with what was at the start.
    """

    def __init__(
        self, lab: Lab, every_s: float = 0.003, tell: Callable[[Change], None] | None = None
    ) -> None:
        self.lab, self.every_s, self.tell = lab, every_s, tell
        self.samples: dict[str, list[Sample]] = {name: [] for name in lab.nodes}
        self.changes: list[Change] = []
        self._asked_ns: dict[str, int] = dict.fromkeys(lab.nodes, 0)
        self._said: dict[tuple[str, str], bool | None] = {}
        self._sockets: dict[str, socket.socket] = {}
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Watcher:
        self._threads = [threading.Thread(target=self._watch_addresses, name="watch-vip", daemon=True)]
        for name, node in self.lab.nodes.items():
            self._threads.append(
                threading.Thread(target=self._watch_server, args=(node,), name=f"watch-{name}", daemon=True)
            )
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for sock in list(self._sockets.values()):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)  # ends the wait for a server that stands still
        for thread in self._threads:
            thread.join(timeout=2)

    # -- the threads

    def _watch_server(self, node: Node) -> None:
        connection: pymysql.Connection[Any] | None = None
        ended_s = 0.0
        while not self._end.is_set():
            asked = self._asked_ns[node.name] = time.monotonic_ns()
            writable: bool | None = None
            try:
                if connection is None:
                    connection = node.mysqld.connect(timeout_s=PATIENCE_S)
                    self._sockets[node.name] = connection._sock  # type: ignore[attr-defined]
                writable = ask(connection)
            except (pymysql.MySQLError, OSError):
                # a node that closes ends all sessions: one that came back at once each time would hold that up
                if connection is not None:
                    if time.monotonic() - ended_s < AGAIN_S:
                        self._end.wait(YIELD_S)
                    ended_s = time.monotonic()
                abandon(connection)
                connection = None
            answered = time.monotonic_ns()
            self._asked_ns[node.name] = 0
            self.samples[node.name].append(Sample(asked, answered, writable))
            self._note(answered, node.name, "writable", writable)
            self._end.wait(self.every_s)
        abandon(connection)

    def _watch_addresses(self) -> None:
        while not self._end.is_set():
            for name, node in self.lab.nodes.items():
                self._note(
                    time.monotonic_ns(), name, "vip", has_address(node.space.identity.pid, self.lab.spec.vip)
                )
                asked, now = self._asked_ns[name], time.monotonic_ns()
                if asked and now - asked > SILENT_NS:
                    self._note(now, name, "writable", None)
            self._end.wait(self.every_s)

    def _note(self, ns: int, node: str, what: str, now: bool | None) -> None:
        if self._end.is_set():
            return  # what ends now, ends because nobody watches any more
        with self._lock:
            first = (node, what) not in self._said
            if not first and self._said[node, what] == now:
                return
            self._said[node, what] = now
            change = Change(ns, node, what, now)
            self.changes.append(change)
            if self.tell and not first:
                self.tell(change)

    # -- what they saw

    def writable_intervals(self, node: str) -> list[Interval]:
        """When the node was surely writable, in monotonic nanoseconds."""
        return intervals_of(list(self.samples[node]))

    def vip_intervals(self, node: str) -> list[Interval]:
        """When the node had the VIP, within one period."""
        found: list[Interval] = []
        start: int | None = None
        for change in list(self.changes):
            if change.node == node and change.what == "vip":
                if change.now and start is None:
                    start = change.ns
                elif not change.now and start is not None:
                    found.append((start, change.ns))
                    start = None
        if start is not None:
            found.append((start, time.monotonic_ns()))
        return found

    def two_writers_ms(self, *, with_vip: bool = False) -> float:
        """How long two or more nodes were writable at once; `with_vip`: and had the VIP."""
        edges: list[tuple[int, int]] = []
        for node in self.samples:
            spans = self.writable_intervals(node)
            if with_vip:
                spans = overlaps(spans, self.vip_intervals(node))
            for start, end in spans:
                edges += [(start, 1), (end, -1)]
        total, depth = 0, 0
        for (at, step), (following, _) in pairwise([*sorted(edges), (0, 0)]):
            depth += step
            if depth >= 2:
                total += following - at
        return total / 1e6


def intervals_of(samples: Sequence[Sample]) -> list[Interval]:
    """The times that samples prove writable, see the head of this module."""
    found: list[Interval] = []
    for index, sample in enumerate(samples):
        if not sample.writable:
            continue
        quick = sample.answered_ns - sample.asked_ns < QUICK_NS
        before = index > 0 and bool(samples[index - 1].writable)
        follows = index + 1 < len(samples) and bool(samples[index + 1].writable)
        start = sample.asked_ns if before and quick else max(sample.asked_ns, sample.answered_ns - INSTANT_NS)
        end = samples[index + 1].asked_ns if follows else sample.answered_ns
        if found and found[-1][1] >= start:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found


def overlaps(one: Sequence[Interval], other: Sequence[Interval]) -> list[Interval]:
    """The times that are in both."""
    pairs = ((max(a, c), min(b, d)) for a, b in one for c, d in other)
    return sorted((start, end) for start, end in pairs if start < end)


def abandon(connection: pymysql.Connection[Any] | None) -> None:
    """Close without a word to a server that may not listen."""
    if connection is not None:
        with contextlib.suppress(Exception):
            connection._force_close()  # type: ignore[attr-defined]


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
