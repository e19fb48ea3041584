"""Do keepalived's adverts leave this host, and whose come in?

A stopped keepalived (SIGSTOP) keeps its VIP, its pid and its FIFO; only the adverts that cease show it. A packet
socket sees what goes out too, and only with ETH_P_ALL; the kernel's filter passes nothing but adverts of our router id.
"""

from __future__ import annotations

import ipaddress
import select
import socket
from collections.abc import Callable
from dataclasses import dataclass, field

from ..errors import CouldNotLook
from . import packets
from .packets import LD_B, LD_B_X, LD_H, PACKET_OUTGOING, PROTOCOL_OFFSET

_VRRP = 112
_ETH_P_IP, _ETH_P_IPV6 = 0x0800, 0x86DD
_HEADER_BYTES = 128  # an IPv4 header with all options is 60 bytes, and 8 of VRRP are enough
_ADVERTISEMENT = (0x21, 0x31)  # version 2 or 3, type 1
_READS_MAX = 256


@dataclass(frozen=True, slots=True)
class AdvertsSeen:
    """Adverts of our router id, newest each. Times: seconds of CLOCK_BOOTTIME at which the kernel saw the packet.

    `left_at_s`: ours went to the interface's driver; None before the first. An advert with priority 0 (keepalived
    giving up) is no sign that it holds the VIP and does not count. `heard`: sender's address to (time, priority),
    priority 0 included. `looked_at_s`: all that came before it is in here; None while nothing could be seen.
    """

    left_at_s: float | None = None
    heard: dict[str, tuple[float, int]] = field(default_factory=dict)
    looked_at_s: float | None = None


class AdvertWatch:
    """Watches `interface` for adverts of `router_id`, VRRP 2 and 3, IPv4 and IPv6.

    There is no need to wake up for each advert: leave it out of the epoll and `drain` on the tick. A missing
    interface, or one made anew, is bound to as soon as it is there; until then nothing is seen (`looked_at_s` None).
    """

    epoll_mask = select.EPOLLIN

    def __init__(self, interface: str, router_id: int, now: Callable[[], float]) -> None:
        """Raises CouldNotLook without the right to open packet sockets. `now`: seconds of CLOCK_BOOTTIME."""
        self.interface = interface
        self._left_at_s: float | None = None
        self._heard: dict[str, tuple[float, int]] = {}
        self._bound, self._index = False, -1
        try:
            # protocol 0 receives nothing yet, so no packet comes in before the filter is there
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, 0)
            packets.attach_filter(self._socket, _program(router_id))
            self._time = packets.KernelTime(self._socket, now)
        except OSError as exc:
            raise CouldNotLook(f"cannot open a packet socket for VRRP: {exc.strerror}") from exc
        self._bind()

    def fileno(self) -> int:
        return self._socket.fileno()

    def drain(self) -> AdvertsSeen:
        """All adverts up to now. Never blocks, raises nothing."""
        begun_s = self._time.begin()
        if not self._bound:
            self._bind()
        looking = self._bound
        drained = False
        for _ in range(_READS_MAX):
            try:
                received = packets.receive(self._socket, _HEADER_BYTES)
            except OSError:  # ENETDOWN, told once: down, where it stays bound, or removed, where it does not
                self._bound = self._index == _index(self.interface)
                looking = False
                break
            if received is None:
                drained = True
                break
            data, ancillary, sender = received
            self._note(data, sender[2] == PACKET_OUTGOING, self._time.of(ancillary))
        self._time.end(drained)
        return AdvertsSeen(self._left_at_s, dict(self._heard), begun_s if looking and drained else None)

    def forget(self, address: str) -> None:
        """Drops a sender from `heard`."""
        self._heard.pop(address, None)

    def close(self) -> None:
        self._socket.close()

    def _bind(self) -> None:
        try:
            self._socket.bind((self.interface, packets.ETH_P_ALL))
            self._bound, self._index = True, _index(self.interface)
        except OSError:
            self._bound, self._index = False, -1

    def _note(self, data: bytes, outgoing: bool, at_s: float) -> None:
        advert = read_advert(data)
        if advert is None:
            return
        sender, priority = advert
        if not outgoing:
            self._heard.pop(sender, None)
            self._heard[sender] = (at_s, priority)
            if len(self._heard) > _READS_MAX:  # a flood of invented senders: the longest silent one goes
                del self._heard[next(iter(self._heard))]
        elif priority > 0:
            self._left_at_s = at_s


def read_advert(data: bytes) -> tuple[str, int] | None:
    """The sender's address and the priority of a VRRP advert, from its IP header on; None when it is none.

    An advert whose TTL is not 255 came through a router and is none either (RFC 5798, 5.1.1.3).
    """
    if len(data) < 20:
        return None
    if data[0] >> 4 == 4:
        start, ttl, sender = (data[0] & 15) * 4, data[8], data[12:16]
    elif len(data) >= 40 and data[0] >> 4 == 6:
        start, ttl, sender = 40, data[7], data[8:24]
    else:
        return None
    if ttl != 255 or len(data) < start + 3 or data[start] not in _ADVERTISEMENT:
        return None
    return str(ipaddress.ip_address(sender)), data[start + 2]


def _index(interface: str) -> int:
    try:
        return socket.if_nametoindex(interface)
    except OSError:
        return 0


def _program(router_id: int) -> list[packets.Instruction]:
    ipv4 = packets.accept_when((LD_H, PROTOCOL_OFFSET, _ETH_P_IP), (LD_B, 9, _VRRP), (LD_B_X, 1, router_id))
    ipv6 = packets.accept_when((LD_H, PROTOCOL_OFFSET, _ETH_P_IPV6), (LD_B, 6, _VRRP), (LD_B, 41, router_id))
    return packets.accept_either(ipv4, ipv6)
