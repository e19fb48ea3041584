"""Witnesses over a cable: by ping, by ARP where pings are filtered, by TCP whether they accept or refuse."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import closing

import pytest
from lawful import in_time
from nets import Net, boottime, pair

from vipguard.lab.wait import wait_until
from vipguard.probe.duplicate import mac_of
from vipguard.probe.reach import Reach, by_link_name
from vipguard.probe.witness import Pong


@pytest.fixture
def nets() -> Iterator[tuple[Net, Net]]:
    with pair() as (left, right):
        for net in (left, right):
            wait_until(lambda net=net: "LOWER_UP" in net.ip("link show eth0"), 3, "the cable")
        yield left, right


def answered(net: Net, reach: Reach, rounds: int, every_s: float = 0.05) -> dict[str, Pong]:
    """Who answered in so many rounds, each with its newest answer."""
    found: dict[str, Pong] = {}
    with net.inside():
        for _ in range(rounds):
            reach.send()
            time.sleep(every_s)
            found.update(reach.drain())
    return found


def drop(net: Net, *matches: str) -> None:
    """Lose what comes in and matches, in `net`."""
    rules = "".join(f"{match} drop\n" for match in matches)
    net.run("nft", f"table inet t {{ chain c {{ type filter hook input priority 0\n{rules}}}\n}}")


def reaching(net: Net, *witnesses: str, interface: str | None = "eth0") -> Reach:
    with net.inside():
        return Reach(witnesses, ["10.73.0.2"], boottime, interface)


def test_who_accepts_and_who_refuses_a_connect_answers_and_who_is_not_there_does_not(nets: tuple[Net, Net]) -> None:
    left, right = nets
    with right.inside():
        listening = socket.create_server(("10.73.0.2", 4433))
    names = ("10.73.0.2:4433", "10.73.0.2:4434", "[fd73::2]:4434", "10.73.0.77:4433")
    with closing(listening), closing(reaching(left, *names)) as reach:
        before = boottime()
        found = answered(left, reach, 2)
        assert set(found) == {"10.73.0.2", *names[:3]}, "the peer's host by ping, and three witnesses"
        for pong in found.values():
            assert before <= pong.sent_at_s <= pong.answered_at_s <= boottime()


def test_a_connect_that_is_swallowed_is_no_answer_and_keeps_few_descriptors(nets: tuple[Net, Net]) -> None:
    left, right = nets
    drop(right, "tcp dport 4433")
    with closing(reaching(left, "10.73.0.2:4433")) as reach:
        assert set(answered(left, reach, 20, 0.005)) == {"10.73.0.2"}
        assert len(reach._knocker._calls) <= 8


def test_a_connect_leaves_no_trace_behind(nets: tuple[Net, Net]) -> None:
    left, right = nets
    with right.inside():
        listening = socket.create_server(("10.73.0.2", 4433))
    with closing(listening), closing(reaching(left, "10.73.0.2:4433")) as reach:
        answered(left, reach, 3)
    assert left.run("ss", "-Htan").stdout.strip() == "", "no connection, and none in TIME_WAIT"


@pytest.mark.parametrize("address", ["10.73.0.2", "fd73::2"])
def test_a_witness_that_filters_pings_answers_on_its_link(nets: tuple[Net, Net], address: str) -> None:
    left, right = nets
    drop(right, "meta l4proto icmp", "icmpv6 type echo-request")
    with closing(reaching(left, address)) as reach:
        assert address in answered(left, reach, 5)
        right.ip("link set eth0 down")
        time.sleep(0.1)
        with left.inside():
            reach.drain()
        assert answered(left, reach, 4) == {}, "and no longer when it is gone"
    with closing(reaching(left, address, interface=None)) as reach:
        assert answered(left, reach, 4) == {}


def test_a_filtered_witness_that_answered_is_asked_alone_and_not_by_broadcast(nets: tuple[Net, Net]) -> None:
    left, right = nets
    drop(right, "meta l4proto icmp")
    with closing(reaching(left, "10.73.0.2")) as reach:
        assert "10.73.0.2" in answered(left, reach, 8)
        mac = next(iter(reach._asker._macs.values())) if reach._asker else b""
        with right.inside():
            assert mac.hex(":") == mac_of("eth0")


def test_a_witness_behind_a_gateway_is_not_asked_on_the_link(nets: tuple[Net, Net]) -> None:
    left, _ = nets
    left.ip("route add 10.99.0.0/24 via 10.73.0.2")
    with closing(reaching(left, "10.99.0.1")) as reach:
        assert set(answered(left, reach, 4)) == {"10.73.0.2"}
        assert reach._asker is not None and reach._asker._socket is None


def test_nothing_is_raised_when_the_interface_goes_and_comes(nets: tuple[Net, Net]) -> None:
    left, right = nets
    drop(right, "meta l4proto icmp")
    with closing(reaching(left, "10.73.0.2")) as reach:
        assert "10.73.0.2" in answered(left, reach, 5)
        left.ip("link set eth0 down")
        assert answered(left, reach, 3) == {}
        left.ip("link set eth0 up")
        wait_until(lambda: "LOWER_UP" in left.ip("link show eth0"), 3, "the cable")
        wait_until(lambda: "10.73.0.2" in answered(left, reach, 3), 7, "the witness's answer")


def test_asking_every_way_costs_little(nets: tuple[Net, Net]) -> None:
    left, right = nets
    drop(right, "meta l4proto icmp")
    with closing(reaching(left, "10.73.0.2", "10.73.0.2:9", "[fd73::2]:9")) as reach:
        answered(left, reach, 4)
        with left.inside():
            begun = time.thread_time()
            for _ in range(100):
                reach.send()
                reach.drain()
            each_ms = (time.thread_time() - begun) * 10
    in_time(each_ms, 3, f"{each_ms:.3f} ms")


def test_a_peers_host_that_answers_no_pings_is_asked_on_the_link_and_told_apart(nets: tuple[Net, Net]) -> None:
    left, right = nets
    drop(right, "meta l4proto icmp", "icmpv6 type echo-request")
    with closing(reaching(left)) as reach:
        found = answered(left, reach, 6)
    assert set(found) == {by_link_name("10.73.0.2")}
    with closing(reaching(left, interface=None)) as reach:
        assert answered(left, reach, 6) == {}
