"""What goes over the wire between two namespaces: adverts, pings, ARP, neighbour discovery, announcements."""

from __future__ import annotations

import ipaddress
import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from lawful import in_time
from nets import Net, boottime, pair

from vipguard.act.arp import Announcer, build_frames
from vipguard.errors import CouldNotDo, CouldNotLook
from vipguard.lab.wait import wait_until
from vipguard.probe import address as netlink
from vipguard.probe.adverts import AdvertWatch, read_advert
from vipguard.probe.duplicate import ask_arp, ask_many, mac_of, question, read_answer
from vipguard.probe.packets import KernelTime
from vipguard.probe.witness import Pinger

VIP4, VIP6 = "10.73.0.100", "fd73::64"


@pytest.fixture
def nets() -> Iterator[tuple[Net, Net]]:
    with pair() as (left, right):
        for net in (left, right):
            wait_until(lambda net=net: "LOWER_UP" in net.ip("link show eth0"), 3, "the cable")
        yield left, right


def advertise(net: Net, router_id: int, priority: int, version: int = 4, ttl: int = 255) -> None:
    """One advert of VRRP 3, as keepalived sends it."""
    packet = struct.pack("!BBBBHH", 0x31, router_id, priority, 1, 10, 0) + ipaddress.ip_address(VIP4).packed
    with net.inside():
        if version == 4:
            with socket.socket(socket.AF_INET, socket.SOCK_RAW, 112) as sock:
                sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, ttl)
                sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(own4(net)))
                sock.sendto(packet, ("224.0.0.18", 0))
        else:
            with socket.socket(socket.AF_INET6, socket.SOCK_RAW, 112) as sock:
                index = socket.if_nametoindex("eth0")
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, ttl)
                sock.sendto(packet, ("ff02::12", 0, 0, index))


def own4(net: Net) -> str:
    return next(word for word in net.ip("-4 -o addr show dev eth0").split() if word.startswith("10.")).split(
        "/"
    )[0]


def watch_adverts(net: Net, router_id: int = 51, name: str = "eth0") -> AdvertWatch:
    with net.inside():
        return AdvertWatch(name, router_id, boottime)


@pytest.mark.parametrize("version", [4, 6])
def test_adverts_that_leave_and_those_that_come_in_are_told_apart(
    nets: tuple[Net, Net], version: int
) -> None:
    left, right = nets
    here, there = watch_adverts(left), watch_adverts(right)
    assert here.drain().left_at_s is None
    before = boottime()
    advertise(left, 51, 200, version)
    after = boottime()
    time.sleep(0.05)
    with left.inside():
        seen = here.drain()
    assert seen.left_at_s is not None
    assert before - 0.001 <= seen.left_at_s <= after + 0.001  # the kernel's time, not the reader's
    assert seen.heard == {}
    assert seen.looked_at_s is not None
    heard = there.drain()
    assert heard.left_at_s is None
    sender = "10.73.0.1" if version == 4 else "fe80::1"
    at_s, priority = heard.heard[sender]
    assert priority == 200
    assert before - 0.001 <= at_s <= after + 0.001
    here.close()
    there.close()


def test_a_foreign_router_id_a_routed_advert_and_a_farewell_are_not_ours(nets: tuple[Net, Net]) -> None:
    left, right = nets
    here, there = watch_adverts(left), watch_adverts(right)
    advertise(left, 52, 200)
    advertise(left, 51, 200, ttl=64)
    assert here.drain().left_at_s is None
    assert there.drain().heard == {}
    advertise(left, 51, 0)
    assert here.drain().left_at_s is None
    assert there.drain().heard["10.73.0.1"][1] == 0
    there.forget("10.73.0.1")
    assert there.drain().heard == {}
    here.close()
    there.close()


def test_the_watch_survives_its_interface(nets: tuple[Net, Net]) -> None:
    left, right = nets
    watch = watch_adverts(left)
    left.ip("link set eth0 down")
    with left.inside():
        assert watch.drain().looked_at_s is None  # told once: something may have been missed
        assert watch.drain().looked_at_s is not None
    left.ip("link set eth0 up")
    wait_until(lambda: "LOWER_UP" in left.ip("link show eth0"), 3, "the cable")
    advertise(left, 51, 200)
    with left.inside():
        assert watch.drain().left_at_s is not None
    left.ip("link del eth0")
    with left.inside():
        for _ in range(3):
            assert watch.drain().looked_at_s is None
    left.ip(f"link add eth0 type veth peer name eth0 netns {right.path}")
    left.ip("addr add 10.73.0.1/24 dev eth0")
    left.ip("link set eth0 up")
    right.ip("link set eth0 up")
    with left.inside():
        watch.drain()
        wait_until(lambda: "LOWER_UP" in left.ip("link show eth0"), 3, "the cable")
        watch.drain()
        before = boottime()
        advertise(left, 51, 200)
        seen = watch.drain()
        assert seen.left_at_s is not None
        assert seen.left_at_s >= before - 0.001
        assert seen.looked_at_s is not None
    watch.close()


def test_a_missing_interface_is_waited_for(nets: tuple[Net, Net]) -> None:
    left, _ = nets
    watch = watch_adverts(left, name="eth9")
    with left.inside():
        assert watch.drain().looked_at_s is None
        left.ip("link add eth9 type veth peer name far")
        left.ip("link set eth9 up")
        left.ip("link set far up")
        watch.drain()
        assert watch.drain().looked_at_s is not None
    watch.close()


def test_garbage_is_no_advert() -> None:
    for size in range(80):
        for first in (0x00, 0x45, 0x4F, 0x60, 0xFF):
            read_advert(bytes([first]) + bytes(max(0, size - 1)))
            read_advert(bytes([first]) + os.urandom(max(0, size - 1)))
    assert read_advert(b"") is None


def test_a_clock_that_was_set_makes_nothing_look_fresher(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = {"boot": 1000.0, "real": 5000.0}
    monkeypatch.setattr(time, "clock_gettime", lambda _: clock["real"])
    with socket.socket(socket.AF_UNIX) as sock:
        kernel_time = KernelTime(sock, lambda: clock["boot"])
        kernel_time.begin()
        kernel_time.end(True)
        stamp = [(socket.SOL_SOCKET, 35, struct.pack("@ll", 5001, 0))]
        for jump in (-3600, 0, 3600):
            clock.update(boot=1010.0, real=5010.0 + jump)
            kernel_time.begin()
            assert 1000.0 <= kernel_time.of(stamp) <= 1001.0
            clock.update(boot=1000.0, real=5000.0)
            kernel_time.begin()
        assert kernel_time.of([]) == 1000.0


def test_pings_are_answered_by_those_who_are_there(nets: tuple[Net, Net]) -> None:
    left, _ = nets
    addresses = [
        "10.73.0.2",
        "10.73.0.77",
        "fd73::2",
        "fd73::77",
        "fe80::2%eth0",
        "192.0.2.1",
        "2001:db8::1",
        VIP6,
    ]
    with left.inside():
        pinger = Pinger(addresses, boottime)
        assert pinger.drain() == {}
        answers: dict[str, object] = {}
        for _ in range(20):
            before = boottime()
            pinger.send()
            after = boottime()
            time.sleep(0.05)
            for address, pong in pinger.drain().items():
                answers[address] = pong
                assert before <= pong.sent_at_s <= after
                assert pong.sent_at_s - 0.001 <= pong.answered_at_s <= before + 0.05 + 0.1
        assert set(answers) == {"10.73.0.2", "fd73::2", "fe80::2%eth0"}
        pinger.close()


def test_an_answer_that_is_read_late_tells_when_it_came(nets: tuple[Net, Net]) -> None:
    left, _ = nets
    with left.inside():
        pinger = Pinger(["10.73.0.2"], boottime)
        wait_until(lambda: (pinger.send(), time.sleep(0.02), pinger.drain())[2], 3, "the first answer")
        pinger.send()
        sent = boottime()
        time.sleep(0.3)
        pong = pinger.drain()["10.73.0.2"]
        assert pong.answered_at_s < sent + 0.2
        pinger.close()


def test_somebody_elses_pings_are_not_ours_and_the_sequence_wraps(nets: tuple[Net, Net]) -> None:
    left, right = nets
    with left.inside():
        pinger, other = Pinger(["10.73.0.2"], boottime), Pinger(["10.73.0.2"], boottime)
        pinger.send()
        wait_until(pinger.drain, 3, "an answer")
        other.send()
        time.sleep(0.05)
        assert pinger.drain() == {}
        assert other.drain()
        pinger._sequence = 65534
        for _ in range(4):
            pinger.send()
            assert wait_until(pinger.drain, 3, "an answer around the wrap")
        right.ip("link set eth0 down")
        pinger.send()
        time.sleep(0.05)
        assert pinger.drain() == {}
        left.ip("link set eth0 down")
        pinger.send()  # ENETUNREACH
        assert pinger.drain() == {}
        pinger.close()
        other.close()


def test_a_name_is_no_address() -> None:
    with pytest.raises(CouldNotLook, match="no IP address"):
        Pinger(["db2.example"], boottime)


def mac(net: Net) -> str:
    with net.inside():
        return mac_of("eth0")


def test_arp_tells_who_has_an_address_and_never_this_host(nets: tuple[Net, Net]) -> None:
    left, right = nets
    right.ip(f"addr add {VIP4}/24 dev eth0")
    left.ip(f"addr add {VIP4}/24 dev eth0")
    left.ip("route add 198.51.100.0/24 via 10.73.0.2")
    ips = [VIP4, "10.73.0.2", "10.73.0.77", "10.73.0.1", "198.51.100.7", "192.0.2.9"]
    with left.inside():
        found = ask_many("eth0", ips, 0.1)
        assert found == {
            VIP4: (mac(right),),
            "10.73.0.2": (mac(right),),
            "10.73.0.77": (),
            "10.73.0.1": (),
            "198.51.100.7": None,
            "192.0.2.9": None,
        }
        assert ask_arp("eth0", VIP4, 0.1) == (mac(right),)
        begun = time.monotonic()
        assert ask_arp("eth0", VIP4, 5.0, first=True) == (mac(right),)
        in_time(time.monotonic() - begun, 2)
    assert "10.73.0.1" not in right.ip("neigh show")  # a probe teaches nobody anything


def test_neighbour_solicitation_does_the_same_for_ipv6(nets: tuple[Net, Net]) -> None:
    left, right = nets
    right.ip(f"addr add {VIP6}/64 dev eth0 nodad")
    left.ip(f"addr add {VIP6}/64 dev eth0 nodad")
    with left.inside():
        found = ask_many("eth0", [VIP6, "fd73::2", "fe80::2", "fd73::77", "2001:db8::1", "10.73.0.2"], 0.2)
    assert found == {
        VIP6: (mac(right),),
        "fd73::2": (mac(right),),
        "fe80::2": (mac(right),),
        "fd73::77": (),
        "2001:db8::1": None,
        "10.73.0.2": (mac(right),),
    }
    left.ip("addr del fe80::1/64 dev eth0")
    with left.inside():
        assert ask_arp("eth0", VIP6, 0.05) is None  # nothing to ask from


def test_asking_where_there_is_no_interface_is_blindness(nets: tuple[Net, Net]) -> None:
    left, _ = nets
    with left.inside():
        with pytest.raises(CouldNotLook, match="no interface eth9"):
            ask_arp("eth9", VIP4, 0.1)
        left.ip(f"addr add {VIP4}/32 dev lo")
        left.ip("link set eth0 down")
        with pytest.raises(CouldNotLook, match="cannot ask on eth0"):
            ask_arp("eth0", VIP4, 0.1)


def test_garbage_answers_nothing() -> None:
    for size in range(100):
        for kind in (b"\x08\x06", b"\x86\xdd", b"\0\0"):
            read_answer((bytes(12) + kind + os.urandom(100))[:size])
    frame = bytes(12) + b"\x86\xdd" + bytes(6) + b"\x3a" + bytes(33) + bytes([136]) + bytes(7) + bytes(16)
    assert read_answer(frame + b"\x02\x00" * 8) is not None  # an option of length 0 ends the reading


@pytest.mark.parametrize("vip", [VIP4, VIP6])
def test_an_announcement_turns_the_neighbours_to_this_host(nets: tuple[Net, Net], vip: str) -> None:
    left, right = nets
    right.ip(f"neigh replace {vip} lladdr 02:00:00:00:00:99 dev eth0 nud stale")
    with left.inside():
        announcer = Announcer("eth0", vip)
        announcer.announce(2, 0.01)
    wait_until(lambda: mac(left) in right.ip(f"neigh show {vip}"), 3, lambda: right.ip("neigh show"))
    left.ip("link set eth0 address 02:00:00:00:00:42")  # a bond that failed over
    with left.inside():
        announcer.send()
    wait_until(
        lambda: "02:00:00:00:00:42" in right.ip(f"neigh show {vip}"), 3, lambda: right.ip("neigh show")
    )


def test_the_frames_are_what_the_standards_ask_for() -> None:
    request, reply = build_frames("02:00:00:00:00:01", ipaddress.ip_address(VIP4), router=False)
    mac_bytes, vip = bytes.fromhex("020000000001"), ipaddress.ip_address(VIP4).packed
    head = b"\xff" * 6 + mac_bytes + b"\x08\x06" + bytes.fromhex("0001080006040001") + mac_bytes + vip
    assert request == head + bytes(6) + vip
    assert reply == head.replace(bytes.fromhex("06040001"), bytes.fromhex("06040002")) + b"\xff" * 6 + vip
    for router, flags in ((False, 0x20), (True, 0xA0)):
        (advert,) = build_frames("02:00:00:00:00:01", ipaddress.ip_address(VIP6), router=router)
        assert advert[54] == 136
        assert advert[58] == flags
        assert advert[21] == 255


def test_announcing_without_an_interface_is_a_sentence(nets: tuple[Net, Net]) -> None:
    left, _ = nets
    with left.inside():
        with pytest.raises(CouldNotDo, match=r"cannot announce 10\.73\.0\.100 on eth9"):
            Announcer("eth9", VIP4).send()
        left.ip("link set eth0 down")
        with pytest.raises(CouldNotDo, match="cannot announce"):
            Announcer("eth0", VIP4).send()


def test_a_tick_of_all_watchers_is_cheap(nets: tuple[Net, Net]) -> None:
    left, _ = nets
    with left.inside():
        adverts, pinger = AdvertWatch("eth0", 51, boottime), Pinger(["10.73.0.2", "10.73.0.77"], boottime)
        begun = time.thread_time()
        for _ in range(200):
            adverts.drain()
            pinger.send()
            pinger.drain()
        each_ms = (time.thread_time() - begun) * 5
        adverts.close()
        pinger.close()
    in_time(each_ms, 2)  # 0.06 ms where this was written


@pytest.mark.parametrize("ip", ["10.73.0.2", "fd73::2"])
def test_the_question_is_the_very_packet_that_scapy_makes(nets: tuple[Net, Net], ip: str) -> None:
    left, _ = nets
    from scapy.layers.inet6 import ICMPv6ND_NS, ICMPv6NDOptSrcLLAddr, IPv6
    from scapy.layers.l2 import ARP, Ether

    with left.inside(), netlink.netlink() as route_socket:
        own = mac_of("eth0")
        frame = question(route_socket, netlink.interface_index("eth0"), own, ipaddress.ip_address(ip))
    if ":" in ip:
        body = ICMPv6ND_NS(tgt=ip) / ICMPv6NDOptSrcLLAddr(lladdr=own)
        wanted = Ether(src=own, dst="33:33:ff:00:00:02") / IPv6(src="fe80::1", dst="ff02::1:ff00:2", hlim=255) / body
    else:
        probe = ARP(op=1, hwsrc=own, psrc="0.0.0.0", hwdst="00:00:00:00:00:00", pdst=ip)
        wanted = Ether(src=own, dst="ff:ff:ff:ff:ff:ff") / probe
    assert frame == bytes(wanted)


def test_the_probes_import_no_scapy_before_they_need_it() -> None:
    code = (
        "import sys, vipguard.probe.adverts, vipguard.probe.witness, vipguard.probe.duplicate, vipguard.act.arp,"
        " vipguard.act.nft, vipguard.act.address; assert 'scapy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)
