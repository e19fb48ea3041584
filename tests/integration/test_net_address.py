"""Does the address watch tell what the kernel has, and does removing a VIP take it away?"""

from __future__ import annotations

import select
import subprocess
import time
from collections.abc import Iterator

import pytest
from lawful import in_time
from nets import Net, boottime, pair

from vipguard.act.address import remove_vip
from vipguard.errors import CouldNotDo, CouldNotLook
from vipguard.lab.wait import wait_until
from vipguard.model.evidence import AddressEvidence
from vipguard.probe.address import AddressWatch

VIP4, VIP6 = "10.73.0.100", "fd73::64"


@pytest.fixture
def nets() -> Iterator[tuple[Net, Net]]:
    with pair() as made:
        yield made


def watched(net: Net, ip: str, name: str = "eth0") -> AddressWatch:
    with net.inside():
        return AddressWatch(name, ip, boottime)


def seen(net: Net, watch: AddressWatch, within_s: float = 3.0) -> AddressEvidence:
    """The next evidence, woken by the kernel as the agent is."""
    with net.inside(), select.epoll() as epoll:
        epoll.register(watch.fileno(), watch.epoll_mask)
        until = time.monotonic() + within_s
        while time.monotonic() < until:
            assert epoll.poll(until - time.monotonic()), "netlink said nothing"
            evidence = watch.drain()
            if evidence is not None:
                return evidence
    raise AssertionError("nothing about the interface")


def look(net: Net, watch: AddressWatch) -> AddressEvidence:
    with net.inside():
        return watch.look()


@pytest.mark.parametrize(
    ("ip", "prefix"), [(VIP4, "24"), (VIP4, "32"), (VIP6, "64 nodad"), (VIP6, "128 nodad")]
)
def test_the_vip_is_seen_when_it_comes_and_when_it_goes(nets: tuple[Net, Net], ip: str, prefix: str) -> None:
    net, _ = nets
    watch = watched(net, ip)
    wait_until(lambda: look(net, watch).link_up, 3.0, "the carrier")
    with net.inside():
        watch.drain()
    net.ip(f"addr add {ip}/{prefix} dev eth0")
    assert seen(net, watch).vip_present
    net.ip(f"addr del {ip}/{prefix.split(maxsplit=1)[0]} dev eth0")
    evidence = seen(net, watch)
    assert not evidence.vip_present
    assert evidence.link_up
    with net.inside():
        assert watch.drain() is None
    watch.close()


def test_the_vip_on_another_interface_is_not_ours(nets: tuple[Net, Net]) -> None:
    net, _ = nets
    net.ip("link add other type veth peer name far")
    net.ip("link set other up")
    watch = watched(net, VIP4)
    with net.inside():
        watch.drain()
    net.ip(f"addr add {VIP4}/24 dev other")
    with net.inside():
        assert watch.drain() is None
        assert not watch.look().vip_present
    watch.close()


def test_another_address_of_the_interface_is_not_the_vip(nets: tuple[Net, Net]) -> None:
    net, _ = nets
    watch = watched(net, "10.73.0.10")
    net.ip("addr add 10.73.0.101/24 dev eth0")
    assert not look(net, watch).vip_present
    watch.close()


def test_a_tentative_ipv6_vip_is_not_held_yet(nets: tuple[Net, Net]) -> None:
    net, _ = nets
    net.run("sysctl", "-q", "-w", "net.ipv6.conf.eth0.dad_transmits=3")
    watch = watched(net, VIP6)
    net.ip(f"addr add {VIP6}/64 dev eth0")
    assert not look(net, watch).vip_present
    assert "tentative" in net.ip("-6 addr show dev eth0")
    wait_until(lambda: look(net, watch).vip_present, 8.0, "the end of duplicate address detection")
    watch.close()


def test_an_ipv6_vip_that_another_host_has_is_not_held(nets: tuple[Net, Net]) -> None:
    net, other = nets
    other.ip(f"addr add {VIP6}/64 dev eth0 nodad")
    watch = watched(net, VIP6)
    net.ip(f"addr add {VIP6}/64 dev eth0")
    wait_until(lambda: "dadfailed" in net.ip("-6 addr show dev eth0"), 5.0, "the duplicate to be found")
    assert not look(net, watch).vip_present
    watch.close()


def test_a_cable_that_is_pulled_shows_at_both_ends(nets: tuple[Net, Net]) -> None:
    net, other = nets
    watch = watched(net, VIP4)
    net.ip(f"addr add {VIP4}/24 dev eth0")
    wait_until(lambda: look(net, watch).link_up, 3.0, "the carrier")
    with net.inside():
        watch.drain()
    other.ip("link set eth0 down")
    evidence = seen(net, watch)
    assert not evidence.link_up
    assert evidence.vip_present  # the address stays: only keepalived takes it away
    watch.close()


def test_a_missing_interface_is_no_error_and_is_seen_when_it_comes(nets: tuple[Net, Net]) -> None:
    net, _ = nets
    watch = watched(net, VIP4, "eth9")
    evidence = look(net, watch)
    assert (evidence.vip_present, evidence.link_up) == (False, False)
    net.ip("link add eth9 type veth peer name far")
    assert not seen(net, watch).vip_present
    net.ip(f"addr add {VIP4}/24 dev eth9")
    assert seen(net, watch).vip_present
    net.ip("link del eth9")
    wait_until(lambda: not look(net, watch).vip_present, 2.0, "the interface to be gone")
    net.ip("link add eth9 type veth peer name far")
    net.ip(f"addr add {VIP4}/24 dev eth9")
    assert look(net, watch).vip_present
    watch.close()


def test_lost_messages_make_a_fresh_look(nets: tuple[Net, Net]) -> None:
    net, _ = nets
    watch = watched(net, VIP4)
    net.ip("link add noise type veth peer name far")
    lines = "".join(f"addr add 10.9.{i // 250}.{i % 250 + 1}/32 dev noise\n" for i in range(4000))
    with net.inside():
        subprocess.run(["ip", "-batch", "-"], input=lines, text=True, check=True, timeout=30)
        subprocess.run(["ip", "addr", "add", f"{VIP4}/24", "dev", "eth0"], check=True, timeout=5)
        found = None
        for _ in range(50):
            found = watch.drain() or found
        assert found is not None
        assert found.vip_present
    watch.close()


def test_a_look_is_cheap(nets: tuple[Net, Net]) -> None:
    net, _ = nets
    watch = watched(net, VIP4)
    with net.inside():
        watch.look()
        begun = time.thread_time()
        for _ in range(100):
            watch.look()
        each_ms = (time.thread_time() - begun) * 10
    in_time(each_ms, 5)  # 0.2 ms where this was written
    watch.close()


@pytest.mark.parametrize(
    ("ip", "prefixes"), [(VIP4, ["24"]), (VIP4, ["24", "32"]), (VIP6, ["64"]), (VIP6, ["128"])]
)
def test_a_left_over_vip_is_removed_with_any_prefix(
    nets: tuple[Net, Net], ip: str, prefixes: list[str]
) -> None:
    net, _ = nets
    for prefix in prefixes:
        net.ip(f"addr add {ip}/{prefix} dev eth0" + (" nodad" if ":" in ip else ""))
    watch = watched(net, ip)
    assert look(net, watch).vip_present
    with net.inside():
        assert remove_vip("eth0", ip) is True
        assert not watch.look().vip_present
        assert remove_vip("eth0", ip) is False
        assert remove_vip("eth7", ip) is False
    assert "10.73.0.1/24" in net.ip("addr show dev eth0")
    watch.close()


def test_a_vip_that_comes_back_each_time_is_told(
    nets: tuple[Net, Net], monkeypatch: pytest.MonkeyPatch
) -> None:
    from vipguard.act import address

    net, _ = nets
    monkeypatch.setattr(address, "_GONE_S_MAX", 0.2)
    delete = address._delete

    def delete_in_vain(*arguments: object) -> None:
        delete(*arguments)  # type: ignore[arg-type]
        net.ip(f"addr add {VIP4}/24 dev eth0")

    monkeypatch.setattr(address, "_delete", delete_in_vain)
    net.ip(f"addr add {VIP4}/24 dev eth0")
    with net.inside(), pytest.raises(CouldNotDo, match="comes back"):
        remove_vip("eth0", VIP4)


def test_a_change_that_could_not_be_looked_at_is_looked_at_again(
    nets: tuple[Net, Net], monkeypatch: pytest.MonkeyPatch
) -> None:
    net, _ = nets
    watch = watched(net, VIP4)
    with net.inside():
        watch.drain()
        net.ip(f"addr add {VIP4}/24 dev eth0")
        with monkeypatch.context() as patch:
            patch.setattr(watch, "look", lambda: (_ for _ in ()).throw(CouldNotLook("no descriptor")))
            with pytest.raises(CouldNotLook):
                watch.drain()
        evidence = watch.drain()
        assert evidence is not None
        assert evidence.vip_present
        assert watch.drain() is None
    watch.close()
