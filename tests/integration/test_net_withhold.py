"""A VIP that is about to leave takes no new connection, resets those that it has, and can be given back."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from nets import Net, pair

from vipguard.act.address import give_back, remove_vip, withhold
from vipguard.act.tcp import reset_clients

VIP = "10.73.0.100"
PORT = 3306


@pytest.fixture
def nets() -> Iterator[tuple[Net, Net]]:
    with pair() as both:
        yield both


def is_local(net: Net) -> bool:
    return f"local {VIP} dev eth0" in net.ip("route show table local")


def connected(server: Net, client: Net) -> tuple[socket.socket, socket.socket, socket.socket]:
    with server.inside():
        listener = socket.create_server(("0.0.0.0", PORT))
    with client.inside():
        near = socket.create_connection((VIP, PORT), 2)
    far, _ = listener.accept()
    return listener, near, far


@pytest.mark.parametrize("prefix", [24, 32])
def test_a_withheld_vip_takes_no_connection_and_resets_those_it_has(nets: tuple[Net, Net], prefix: int) -> None:
    server, client = nets
    server.ip(f"addr add {VIP}/{prefix} dev eth0")
    listener, near, far = connected(server, client)
    with listener, near, far:
        with server.inside():
            withhold("eth0", VIP)
            withhold("eth0", VIP)
            assert reset_clients(VIP, PORT) == 1
        near.settimeout(2)
        with pytest.raises(ConnectionResetError):
            near.recv(1)
        with client.inside(), pytest.raises(OSError):
            socket.create_connection((VIP, PORT), 0.3)
        assert VIP in server.ip("addr show dev eth0"), "the address itself stays until keepalived takes it"


@pytest.mark.parametrize("prefix", [24, 32])
def test_a_vip_that_never_left_answers_again_when_given_back(nets: tuple[Net, Net], prefix: int) -> None:
    server, client = nets
    server.ip(f"addr add {VIP}/{prefix} dev eth0")
    before = server.ip("route show table local")
    with server.inside():
        withhold("eth0", VIP)
        assert not is_local(server)
        give_back("eth0", VIP)
        give_back("eth0", VIP)
    assert server.ip("route show table local") == before, "as the kernel made it, so that it goes with the address"
    for sock in connected(server, client):
        sock.close()


@pytest.mark.parametrize("prefix", [24, 32])
@pytest.mark.parametrize("given_back", [False, True])
def test_a_vip_that_was_withheld_leaves_nothing_behind_when_it_is_taken_away(
    nets: tuple[Net, Net], prefix: int, given_back: bool
) -> None:
    server, _ = nets
    server.ip(f"addr add {VIP}/{prefix} dev eth0")
    with server.inside():
        withhold("eth0", VIP)
        if given_back:
            give_back("eth0", VIP)
        assert remove_vip("eth0", VIP) is True
    assert VIP not in server.ip("route show table all") and VIP not in server.ip("addr")


@pytest.mark.parametrize("vip", [VIP, "fd73::100"])
def test_where_there_is_nothing_to_withhold_nothing_changes(nets: tuple[Net, Net], vip: str) -> None:
    """Where the VIP is not; and an IPv6 VIP is left alone."""
    server, _ = nets
    if ":" in vip:
        server.ip(f"addr add {vip}/64 dev eth0 nodad")
    with server.inside():
        withhold("eth0", vip)
        give_back("eth0", vip)
    routes = server.ip("route show table local") + server.ip("-6 route show table local")
    assert (vip in routes) is (":" in vip)
