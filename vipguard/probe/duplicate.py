"""Who on the link answers for an address? A foreign answer for the VIP is a second holder; one for a peer, a live host.

IPv4 by an ARP probe as RFC 5227 has it (sender 0.0.0.0, so that nobody's cache changes), IPv6 by a neighbour
solicitation from the interface's link-local address. Neither needs a route, a firewall's consent or a listening server.
"""

from __future__ import annotations

import fcntl
import ipaddress
import select
import socket
import struct
import threading
import time
from collections.abc import Iterable, Iterator

from pyroute2.netlink import NLM_F_DUMP
from pyroute2.netlink.rtnl import RTM_GETLINK, RTM_GETROUTE
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from ..errors import CouldNotLook
from . import address as netlink
from . import packets
from .packets import LD_B, LD_H, LD_W

_SIOCGIFHWADDR = 0x8927
_ETH_P_ARP, _ETH_P_IPV6, _ICMPV6, _NEIGHBOUR_ADVERT = 0x0806, 0x86DD, 58, 136
_NEIGHBOUR_SOLICITATION = 135
_SOLICITED_NODES = ipaddress.IPv6Address("ff02::1:ff00:0").packed[:13]
_RTN_LOCAL = 2
_READ_BYTES = 256
IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
Answers = dict[str, tuple[str, ...] | None]


def ask_arp(interface: str, ip: str, wait_s: float, first: bool = False) -> tuple[str, ...] | None:
    """The MACs that answer for `ip` within `wait_s` seconds, this host's own excluded; None: not on this link.

    As `ask_many` does for several; raises CouldNotLook as that does.
    """
    return ask_many(interface, [ip], wait_s, first=first)[ip]


def ask_many(interface: str, ips: Iterable[str], wait_s: float, first: bool = False) -> Answers:
    """For each address the MACs (lower case, in order of answering) that answer within one wait of `wait_s` seconds.

    None for an address that is not on this link: behind a gateway, through another interface, no route, no
    link-local address to ask from. An empty tuple was asked, and nobody answered. One packet an address is sent, so
    an answer can be lost. With `first` the wait ends when every askable address was answered for. Raises CouldNotLook
    when the interface is missing or down, or without the right to open packet sockets.
    """
    asked = {text: ipaddress.ip_address(text) for text in dict.fromkeys(ips)}
    answers: Answers = dict.fromkeys(asked)
    with netlink.netlink() as route_socket:
        index = netlink.interface_index(interface)
        if not index:
            raise CouldNotLook(f"there is no interface {interface}")
        own = mac_of(interface)
        frames: dict[IpAddress, bytes] = {}
        for text, ip in asked.items():
            if (
                on_link(route_socket, index, ip)
                and (frame := question(route_socket, index, own, ip)) is not None
            ):
                frames[ip], answers[text] = frame, ()
        if not frames:
            return answers
        macs = _exchange(interface, frames, own, wait_s, first)
        if any(macs.values()):
            mine = set(_own_macs(route_socket))
            macs = {ip: [mac for mac in found if mac not in mine] for ip, found in macs.items()}
    return {text: tuple(macs[ip]) if ip in frames else None for text, ip in asked.items()}


def mac_of(interface: str) -> str:
    """The hardware address of an interface, as `aa:bb:cc:dd:ee:ff`. Raises CouldNotLook when there is none."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            reply = fcntl.ioctl(sock, _SIOCGIFHWADDR, struct.pack("256s", interface.encode()[:15]))
    except OSError as exc:
        raise CouldNotLook(f"cannot read the hardware address of {interface}: {exc.strerror}") from exc
    return reply[18:24].hex(":")


def _exchange(
    interface: str, frames: dict[IpAddress, bytes], own: str, wait_s: float, first: bool
) -> dict[IpAddress, list[str]]:
    macs: dict[IpAddress, list[str]] = {ip: [] for ip in frames}
    try:
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        try:
            packets.attach_filter(sock, ANSWERS)
            sock.bind((interface, packets.ETH_P_ALL))
            until_s = time.monotonic() + wait_s
            for frame in frames.values():
                sock.send(frame)
            for ip, mac in _answers(sock, until_s):
                if ip not in macs or mac == own or mac in macs[ip]:
                    continue
                macs[ip].append(mac)
                if first and all(macs.values()):
                    break
        finally:
            # Closing a packet socket waits for an RCU grace period, 10 to 20 ms, which nobody needs to wait for.
            threading.Thread(target=sock.close, daemon=True).start()
    except OSError as exc:
        raise CouldNotLook(f"cannot ask on {interface} who has an address: {exc.strerror}") from exc
    return macs


def _answers(sock: socket.socket, until_s: float) -> Iterator[tuple[IpAddress, str]]:
    poller = select.poll()
    poller.register(sock, select.POLLIN)
    while (left_s := until_s - time.monotonic()) > 0:
        if not poller.poll(left_s * 1000):
            return
        received = packets.receive(sock, _READ_BYTES)
        if received is None or received[2][2] == packets.PACKET_OUTGOING:
            continue
        answer = read_answer(received[0])
        if answer is not None:
            yield answer


def read_answer(frame: bytes) -> tuple[IpAddress, str] | None:
    """Who a frame says has which address: an ARP packet's sender, or a neighbour advertisement's target; else None."""
    kind = frame[12:14]
    if kind == b"\x08\x06" and len(frame) >= 42 and frame[14:20] == b"\x00\x01\x08\x00\x06\x04":
        ip = ipaddress.IPv4Address(frame[28:32])
        return None if ip.is_unspecified else (ip, frame[22:28].hex(":"))
    if kind == b"\x86\xdd" and len(frame) >= 78 and frame[20] == _ICMPV6 and frame[54] == _NEIGHBOUR_ADVERT:
        mac = _target_option(frame[78:]) or frame[6:12]
        return ipaddress.IPv6Address(frame[62:78]), mac.hex(":")
    return None


def _target_option(options: bytes) -> bytes | None:
    while len(options) >= 8 and options[1]:
        if options[0] == 2 and options[1] == 1:  # target link-layer address (RFC 4861, 4.6.1)
            return options[2:8]
        options = options[options[1] * 8 :]
    return None


def question(route_socket: socket.socket, index: int, own: str, ip: IpAddress) -> bytes | None:
    """The frame that asks on the link who has `ip`; None for IPv6 without a link-local address to ask from."""
    mac = bytes.fromhex(own.replace(":", ""))
    if ip.version == 4:
        return _arp_probe(mac, ip.packed)
    own_ips = (
        found for found, usable in netlink.addresses(route_socket, index, 6) if usable and found.is_link_local
    )
    source = next(own_ips, None)
    return None if source is None else _solicitation(mac, source.packed, ip.packed)


def _arp_probe(mac: bytes, target: bytes) -> bytes:
    """RFC 5227, 2.1.1: a request whose sender has no address yet."""
    ethernet = b"\xff" * 6 + mac + struct.pack("!H", _ETH_P_ARP)
    return ethernet + struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + mac + bytes(4) + bytes(6) + target


def _solicitation(mac: bytes, source: bytes, target: bytes) -> bytes:
    """RFC 4861, 4.3, to the solicited-node group of `target`, with our link-layer address as its option."""
    group = _SOLICITED_NODES + target[-3:]
    body = struct.pack("!BBHI", _NEIGHBOUR_SOLICITATION, 0, 0, 0) + target + b"\x01\x01" + mac
    pseudo = source + group + struct.pack("!II", len(body), _ICMPV6)
    total = sum(struct.unpack(f"!{(len(pseudo) + len(body)) // 2}H", pseudo + body))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    body = body[:2] + struct.pack("!H", ~total & 0xFFFF) + body[4:]
    ethernet = b"\x33\x33" + group[-4:] + mac + struct.pack("!H", _ETH_P_IPV6)
    return ethernet + struct.pack("!IHBB", 6 << 28, len(body), _ICMPV6, 255) + source + group + body


def on_link(route_socket: socket.socket, index: int, ip: IpAddress) -> bool:
    """By the kernel's route: straight out of this interface, or to this host itself (it holds the VIP)."""
    request = rtmsg()
    request["family"], request["dst_len"] = (
        (socket.AF_INET, 32) if ip.version == 4 else (socket.AF_INET6, 128)
    )
    request["attrs"] = [("RTA_DST", str(ip))]
    if ip.version == 6 and ip.is_link_local:
        return True
    try:
        for message in netlink.ask(route_socket, request, RTM_GETROUTE, 0, rtmsg):
            if message["type"] == _RTN_LOCAL:
                return True
            direct = message.get_attr("RTA_GATEWAY") is None and message.get_attr("RTA_VIA") is None
            return direct and message.get_attr("RTA_OIF") == index
    except CouldNotLook:
        return False
    return False


def _own_macs(route_socket: socket.socket) -> Iterator[str]:
    """Of every interface: two on one link answer for each other's addresses."""
    for message in netlink.ask(route_socket, ifinfmsg(), RTM_GETLINK, NLM_F_DUMP, ifinfmsg):
        mac = message.get_attr("IFLA_ADDRESS")
        if mac:
            yield str(mac).lower()


ANSWERS = packets.accept_either(
    packets.accept_when((LD_H, 12, _ETH_P_ARP), (LD_W, 14, 0x00010800)),
    packets.accept_when((LD_H, 12, _ETH_P_IPV6), (LD_B, 20, _ICMPV6), (LD_B, 54, _NEIGHBOUR_ADVERT)),
)
