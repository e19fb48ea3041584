"""Witnesses on real nodes: several ways of asking at once, and a witness that fails alone changes nothing."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator

import pytest
from guarded import Guarded

from vipguard.lab import faults
from vipguard.lab.node import CONFIG_FILE

PING, REFUSES = "10.73.0.1", "10.73.0.1:9"


@contextlib.contextmanager
def witnesses(guarded: Guarded, *names: str) -> Iterator[None]:
    """All nodes have these witnesses meanwhile."""
    with contextlib.ExitStack() as stack:
        for node in guarded.lab.nodes.values():
            before = node.read(CONFIG_FILE)
            assert f'addresses = ["{PING}"]' in before
            listed = ", ".join(f'"{name}"' for name in names)
            text = before.replace(f'addresses = ["{PING}"]', f"addresses = [{listed}]")
            stack.enter_context(guarded.configured(node, text))
            node.agent.signal(signal.SIGHUP)
            guarded.wait_said(node, "rule=configuration-taken-up")
        yield


def fresh(guarded: Guarded) -> dict[str, set[str]]:
    """Of each node, by its name: the witnesses that its status says answered within the lease."""
    found = {}
    for node in guarded.lab.nodes.values():
        said = guarded.status(node)["witnesses"]
        found[node.name] = {name for name, ago_s in said.items() if ago_s is not None and ago_s < 0.5}
    return found


@pytest.mark.parametrize("lost", [[REFUSES], [PING, REFUSES]], ids=["one", "all"])
def test_a_witness_that_fails_alone_changes_nothing(guarded: Guarded, lost: list[str]) -> None:
    lab, writer, standby = guarded.lab, guarded.writer, guarded.standby
    with witnesses(guarded, PING, REFUSES), lab.client(rate=100) as client, contextlib.ExitStack() as stack:
        lab.wait(lambda: all(names == {PING, REFUSES} for names in fresh(guarded).values()), 5, "both to answer")
        for node in lab.nodes.values():
            deaf = [("input", f'iifname "{node.name}" tcp dport 9 drop')]
            stack.enter_context(
                faults.no_witness(lab, node) if PING in lost else lab.switch.rules(deaf)
            )
        lab.wait(lambda: not any(set(lost) & names for names in fresh(guarded).values()), 5, "them to be missed")
        begun = time.monotonic()
        lab.wait(lambda: time.monotonic() - begun > 1.5, 5, "three leases to pass")
        client.wait_acks(20)
        assert lab.writer() is writer
        assert (writer.eligible(), standby.eligible()) == ("1", "1")
        assert not guarded.dropped_vip(writer) and not guarded.was_closed(writer)
        left = {PING, REFUSES} - set(lost)
        assert all(names == left for names in fresh(guarded).values())


def test_a_witness_that_filters_pings_is_seen_by_arp(guarded: Guarded) -> None:
    lab = guarded.lab
    with lab.switch.rules([("input", "ip protocol icmp drop")]):
        lab.wait(lambda: all(names == {PING} for names in fresh(guarded).values()), 5, "answers by ARP")


def test_a_witness_by_tcp_alone_lets_a_takeover_with_a_silent_peer_go_on(guarded: Guarded) -> None:
    writer, standby = guarded.writer, guarded.standby
    with witnesses(guarded, REFUSES), faults.cut_off(guarded.lab, writer):
        guarded.lab.wait(lambda: guarded.said(standby, "event=takeover-complete"), 10, "the standby to open")
        guarded.wait_said(writer, "event=closing", "rule=isolated")
    guarded.wait_writer(standby)
