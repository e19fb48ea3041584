"""Is a client refused while the VIP is not here, served while it is, and left alone where the rule would cut it off?"""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Iterator

import pytest
from nets import Net, pair

from vipguard.act import nft, tcp
from vipguard.act.tcp import reset_clients
from vipguard.errors import CouldNotDo
from vipguard.lab.wait import wait_until
from vipguard.model.evidence import ProcessId

VIP4, VIP6, PORT = "10.73.0.100", "fd73::64", 3306


@pytest.fixture
def nets() -> Iterator[tuple[Net, Net]]:
    with pair() as (server, client):
        for family in ("ipv4.conf.all", "ipv6.conf.all"):
            server.run("sysctl", "-q", "-w", f"net.{family}.forwarding=0")
        yield server, client


def aimed_here(server: Net, client: Net, vip: str) -> None:
    """The client still believes that the VIP is at the server: what the gap of a move looks like."""
    words = server.ip("link show eth0").split()
    lladdr = words[words.index("link/ether") + 1]
    client.ip(f"neigh replace {vip} lladdr {lladdr} dev eth0 nud permanent")


def bits(vip: str) -> int:
    return 128 if ":" in vip else 32


def attempt(client: Net, vip: str, port: int = PORT, timeout_s: float = 0.5) -> str:
    family = socket.AF_INET6 if ":" in vip else socket.AF_INET
    with client.inside(), socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.settimeout(timeout_s)
        try:
            sock.connect((vip, port))
        except OSError as exc:
            return type(exc).__name__
        return "connected"


def listening(server: Net, vip: str, port: int = PORT) -> socket.socket:
    family = socket.AF_INET6 if ":" in vip else socket.AF_INET
    with server.inside():
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("::" if ":" in vip else "", port))
        sock.listen(8)
    return sock


@pytest.mark.parametrize("vip", [VIP4, VIP6])
def test_a_client_is_refused_at_once_and_served_when_the_vip_is_here(nets: tuple[Net, Net], vip: str) -> None:
    server, client = nets
    aimed_here(server, client, vip)
    assert attempt(client, vip) == "TimeoutError"
    with server.inside():
        assert not nft.installed("orders", "eth0", vip, PORT)
        nft.install("orders", "eth0", vip, PORT)
        assert nft.installed("orders", "eth0", vip, PORT)
    assert attempt(client, vip) == "ConnectionRefusedError"
    assert attempt(client, vip, port=PORT + 1) == "TimeoutError"  # the database's port alone
    with listening(server, vip):
        server.ip(f"addr add {vip}/{bits(vip)} dev eth0" + (" nodad" if ":" in vip else ""))
        assert attempt(client, vip, timeout_s=3) == "connected"
        server.ip(f"addr del {vip}/{bits(vip)} dev eth0")
        assert attempt(client, vip) == "ConnectionRefusedError"
    with server.inside():
        nft.remove("orders")
        nft.remove("orders")
        assert not nft.installed("orders", "eth0", vip, PORT)
    assert attempt(client, vip) == "TimeoutError"


def test_the_nodes_own_address_is_not_touched(nets: tuple[Net, Net]) -> None:
    server, client = nets
    with server.inside():
        nft.install("orders", "eth0", VIP4, PORT)
    with listening(server, VIP4):
        assert attempt(client, "10.73.0.1", timeout_s=3) == "connected"


def test_installing_twice_or_anew_leaves_one_rule_and_other_tables_alone(nets: tuple[Net, Net]) -> None:
    server, _ = nets
    server.run("nft", "add table inet mine")
    with server.inside():
        nft.install("orders", "eth0", VIP4, PORT)
        nft.install("orders", "eth0", VIP4, PORT)
        nft.install("orders", "eth0", VIP4, 3307)
        assert nft.installed("orders", "eth0", VIP4, 3307)
        assert not nft.installed("orders", "eth0", VIP4, PORT)
        nft.install("a-b", "eth0", VIP4, PORT)
    listing = server.run("nft", "list", "ruleset").stdout
    assert listing.count("fib daddr type != local reject with tcp reset") == 2
    assert "table inet mine" in listing
    assert nft.table_name("a-b") != nft.table_name("a_b")


def here(server: Net, vip: str) -> socket.socket:
    server.ip(f"addr add {vip}/{bits(vip)} dev eth0" + (" nodad" if ":" in vip else ""))
    return listening(server, vip)


@pytest.mark.parametrize("vip", [VIP4, VIP6])
def test_a_shut_gate_refuses_newcomers_and_leaves_the_others_alone(nets: tuple[Net, Net], vip: str) -> None:
    server, client = nets
    aimed_here(server, client, vip)
    with server.inside():
        nft.install("orders", "eth0", vip, PORT)
        gate = nft.Gate("orders", vip)
    with here(server, vip) as listener:
        with client.inside():
            near = socket.create_connection((vip, PORT), 3)
        far, _ = listener.accept()
        with near, far:
            for _ in range(2):
                with server.inside():
                    gate.shut()
                    gate.shut()
                assert attempt(client, vip) == "ConnectionRefusedError"
                near.sendall(b"still")
                assert far.recv(5) == b"still"
                with server.inside():
                    gate.open()
                    gate.open()
                assert attempt(client, vip, timeout_s=3) == "connected"
            with server.inside():
                gate.shut()
                assert reset_clients(vip, PORT) >= 1
            near.settimeout(2)
            with pytest.raises(ConnectionResetError):
                near.recv(1)
            assert attempt(client, vip) == "ConnectionRefusedError", "who comes back at once is not taken in"


@pytest.mark.parametrize("reader", ["10.73.0.101", "fd73::65"])
def test_the_other_addresses_are_refused_where_they_are_not_and_for_a_moment_where_they_leave(
    nets: tuple[Net, Net], reader: str
) -> None:
    """Beside a VIP of either family; the VIP's own gate does not concern them."""
    server, client = nets
    aimed_here(server, client, reader)
    with server.inside():
        assert nft.install("orders", "eth0", VIP4, PORT, [("eth0", reader)]) == []
        assert nft.installed("orders", "eth0", VIP4, PORT) and nft.installed("orders", "eth0", reader, PORT)
    assert attempt(client, reader) == "ConnectionRefusedError"
    with here(server, reader):
        with server.inside():
            gate = nft.Gate("orders", VIP4)
            gate.shut()
        assert attempt(client, reader, timeout_s=3) == "connected"
        with server.inside():
            gate.open()
            nft.refuse_for_a_moment("orders", reader)
            nft.refuse_for_a_moment("orders", reader)
        assert attempt(client, reader) == "ConnectionRefusedError"
        wait_until(lambda: attempt(client, reader) == "connected", 3, lambda: "the moment to end")


def test_the_clients_of_each_address_of_a_dying_server_are_reset(
    nets: tuple[Net, Net], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first takes the listening sockets away from the second."""
    server, client = nets
    monkeypatch.setattr(tcp, "is_dying", lambda process: True)
    server.ip("addr add 10.73.0.101/24 dev eth0")
    with here(server, VIP4) as listener:
        with client.inside():
            near = [socket.create_connection((ip, PORT), 3) for ip in (VIP4, "10.73.0.101")]
        far = [listener.accept()[0] for _ in near]
        with server.inside():
            for ip in (VIP4, "10.73.0.101"):
                assert reset_clients(ip, PORT, ProcessId(1, 1)) >= 1
        for sock in near:
            sock.settimeout(2)
            with pytest.raises(ConnectionResetError):
                sock.recv(1)
        for sock in (*near, *far):
            sock.close()


def test_a_gate_that_a_guard_before_left_shut_is_opened_without_a_program(
    nets: tuple[Net, Net], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, client = nets
    aimed_here(server, client, VIP4)
    with server.inside():
        nft.install("orders", "eth0", VIP4, PORT)
        before = nft.Gate("orders", VIP4)
        before.shut()
    with here(server, VIP4):
        assert attempt(client, VIP4) == "ConnectionRefusedError"
        monkeypatch.setenv("PATH", "/nowhere")
        with server.inside():
            nft.Gate("orders", VIP4).open()
        monkeypatch.undo()
        assert attempt(client, VIP4, timeout_s=3) == "connected"


def test_a_gate_that_nobody_opens_opens_by_itself(nets: tuple[Net, Net], monkeypatch: pytest.MonkeyPatch) -> None:
    server, client = nets
    monkeypatch.setattr(nft, "SHUT_S", 1)
    aimed_here(server, client, VIP4)
    with server.inside():
        nft.install("orders", "eth0", VIP4, PORT)
        gate = nft.Gate("orders", VIP4)
        gate.shut()
    with here(server, VIP4):
        assert attempt(client, VIP4) == "ConnectionRefusedError"
        wait_until(lambda: attempt(client, VIP4) == "connected", 5, "the gate to open")


def test_without_its_rules_there_is_no_gate(nets: tuple[Net, Net], monkeypatch: pytest.MonkeyPatch) -> None:
    server, _ = nets
    with server.inside():
        gate = nft.Gate("orders", VIP4)
        with pytest.raises(CouldNotDo):
            gate.shut()
        gate.open()
        monkeypatch.setenv("PATH", "/nowhere")
        with pytest.raises(CouldNotDo, match="the program nft is missing"):
            gate.shut()
        gate.open()


def test_not_on_a_port_of_a_bridge(nets: tuple[Net, Net]) -> None:
    server, _ = nets
    server.ip("link add br0 type bridge")
    with server.inside():
        nft.install("orders", "eth0", VIP4, PORT)
        server.ip("link set eth0 master br0")
        with pytest.raises(CouldNotDo, match="eth0 is a port of a bridge") as caught:
            nft.install("orders", "eth0", VIP4, PORT)
        assert caught.value.refused
        assert not nft.installed("orders", "eth0", VIP4, PORT)  # the old one is gone
        nft.install("orders", "br0", VIP4, PORT)


@pytest.mark.parametrize(("vip", "family"), [(VIP4, "ipv4"), (VIP6, "ipv6")])
def test_not_where_this_host_forwards_for_others(nets: tuple[Net, Net], vip: str, family: str) -> None:
    server, _ = nets
    server.run("sysctl", "-q", "-w", f"net.{family}.conf.eth0.forwarding=1")
    with server.inside():
        with pytest.raises(CouldNotDo, match="forwards what comes in by eth0"):
            nft.install("orders", "eth0", vip, PORT)
        assert not nft.installed("orders", "eth0", vip, PORT)


def test_without_nft_it_is_one_sentence(nets: tuple[Net, Net], monkeypatch: pytest.MonkeyPatch) -> None:
    server, _ = nets
    monkeypatch.setenv("PATH", "/nowhere")
    with server.inside(), pytest.raises(CouldNotDo, match="the program nft is missing"):
        nft.install("orders", "eth0", VIP4, PORT)


def test_a_refusing_nft_is_quoted(nets: tuple[Net, Net]) -> None:
    server, _ = nets
    with server.inside():
        with pytest.raises(CouldNotDo, match="no name of an interface"):
            nft.install("orders", 'eth0" accept; #', VIP4, PORT)
        with pytest.raises(CouldNotDo, match="nft refused"):
            nft._nft(["-f", "-"], "nonsense\n")


def test_an_nft_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(*_: object, **more: object) -> None:
        raise subprocess.TimeoutExpired("nft", float(str(more["timeout"])))

    monkeypatch.setattr(subprocess, "run", hang)
    with pytest.raises(CouldNotDo, match="could not be run"):
        nft.remove("orders")
    assert threading.active_count() < 50
