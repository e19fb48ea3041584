"""Which failures of a test are which? A law that was broken, a program that was slow, and everything else.

What a promise of docs/guarantees.md rules out is a `LawBroken`: it ends the run, and is never run again. A wait that
ran out, or a limit of time that a busy machine may pass, may be tried again. Any other assertion fails at once.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import NoReturn

from guarded import Guarded, gtids

from vipguard.lab import Lab, Node, WaitTimeout
from vipguard.lab.client import Client
from vipguard.lab.watch import Watcher

UNEXPECTED = ("Traceback", "rule=unexpected-error")


class LawBroken(AssertionError):
    """What may never happen was seen; the text says what and where."""


class TooSlow(AssertionError):
    """It came, later than the test allows for."""


def broken(law: str) -> NoReturn:
    raise LawBroken(law)


def in_time(took: float, limit: float, why: str = "") -> None:
    """What took that long (in any unit) was to take less than `limit`."""
    if not took < limit:
        raise TooSlow(f"it took {took:.3f}, the limit is {limit:g}" + (f": {why}" if why else ""))


def taken_up(said: str) -> None:
    """No planned move was called off because its target answered after the time that a move gives it."""
    if "not-taken-up" in said:
        raise TooSlow(said)


def nothing_lost(client: Client, *nodes: Node) -> None:
    """Each row that was acknowledged to the client is there."""
    for node in nodes:
        if lost := client.lost(node):
            acked = len(client.seen().acks)
            broken(f"{len(lost)} of {acked} acknowledged rows are not on {node.name}: {lost[:5]} … {lost[-5:]}")


def wait_nothing_lost(lab: Lab, client: Client, node: Node, within_s: float, what: str) -> None:
    """They come to that node. Where nothing is on its way to it any more, they are lost and not late."""
    try:
        lab.wait(lambda: not client.lost(node), within_s, what)
    except WaitTimeout:
        with contextlib.suppress(Exception):
            alive = [each for each in lab.nodes.values() if each.mysqld.alive]
            if node in alive and len({gtids(each) for each in alive}) == 1:
                nothing_lost(client, node)
        raise


def one_writer(watcher: Watcher, ms_max: float = 0.0) -> None:
    """Never two; but for as long as the test itself made them, by a case that docs/guarantees.md excepts."""
    both_ms = watcher.two_writers_ms()
    if both_ms > ms_max:
        broken(f"two nodes were writable at once for {both_ms:.1f} ms; this test allows for {ms_max:g}")


def closed_first(guarded: Guarded, old: Node, new: Node, since_ns: int = 0) -> tuple[int, int]:
    """When the old writer was first seen closed since then, and the new one open: never before."""
    closed_ns = guarded.seen_ns(old, "writable", False, since_ns)
    opened_ns = guarded.seen_ns(new, "writable", True, since_ns)
    in_that_order(guarded, closed_ns, opened_ns)
    return closed_ns, opened_ns


def in_that_order(guarded: Guarded, closed_ns: int, opened_ns: int) -> None:
    """Each node is looked at by itself: on a busy machine one may be seen late. What was seen of both proves the law or
    its breach."""
    one_writer(guarded.watcher, guarded.two_writers_ms_max)
    if closed_ns > opened_ns:
        raise TooSlow(f"the close was seen {(closed_ns - opened_ns) / 1e6:.1f} ms after the opening")


@contextlib.contextmanager
def watched(lab: Lab) -> Iterator[Guarded]:
    """A watcher, from a healthy moment on; who wrote is asked at its end however the test ended."""
    with lab.watch() as watcher:
        guarded = Guarded(lab, watcher)
        try:
            yield guarded
        finally:
            one_writer(watcher, guarded.two_writers_ms_max)


@contextlib.contextmanager
def never_two(lab: Lab) -> Iterator[Watcher]:
    """The same of a lab that is not guarded yet."""
    with lab.watch() as watcher:
        try:
            yield watcher
        finally:
            one_writer(watcher)


class laws_hold:
    """What must be true after any test with agents: at most one node writable, and no traceback in any agent's log."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab

    def __enter__(self) -> None:
        self.sizes = {name: node.agent.log_size() for name, node in self.lab.nodes.items()}

    def __exit__(self, *_: object) -> None:
        lab = self.lab
        lab.heal()
        for name, node in lab.nodes.items():
            text = node.agent.log_text(self.sizes[name])
            for word in UNEXPECTED:
                if word in text:
                    broken(f"{word} in the agent's log of {name}:\n{text[-4000:]}")
        try:
            lab.wait(lambda: len(lab.writable()) <= 1, 5, "at most one writable node")
        except WaitTimeout as exc:
            raise LawBroken(f"more than one node is writable at the end of the test, for 5 s: {exc}") from exc
