"""Does a witness on our link answer for its own address? For one that does not answer pings, and never blocking.

The question is that of `duplicate.py`; one packet socket is kept, so that asking on every tick costs little.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ..errors import CouldNotLook
from . import address as netlink
from . import packets
from .duplicate import ANSWERS, IpAddress, mac_of, on_link, question, read_answer
from .witness import Pong

ROUTES_S = 5.0  # how long a look at the routes is good for
_READ_BYTES, _READS_MAX = 256, 256


@dataclass(frozen=True, slots=True)
class _Frame:
    made_s: float
    frame: bytes | None  # None: not on this link


class LinkAsker:
    """Asks on `interface`. `now` is CLOCK_BOOTTIME in seconds."""

    def __init__(self, interface: str, now: Callable[[], float]) -> None:
        self._interface, self._now = interface, now
        self._socket: socket.socket | None = None
        self._frames: dict[str, _Frame] = {}
        self._macs: dict[IpAddress, bytes] = {}
        self._sent_at_s: dict[IpAddress, float] = {}
        self._own = ""

    def send(self, addresses: Iterable[str]) -> None:
        """One question for each address on this link. Never blocks, raises nothing: who can't be asked is silent."""
        for text in addresses:
            with contextlib.suppress(OSError, CouldNotLook):
                self._ask(text)

    def _ask(self, text: str) -> None:
        now_s, ip = self._now(), ipaddress.ip_address(text)
        known = self._frames.get(text)
        if known is None or now_s - known.made_s > ROUTES_S:
            known = self._frames[text] = _Frame(now_s, None)
            known = self._frames[text] = _Frame(now_s, self._frame(ip))
        if known.frame is None:
            return
        sock = self._open()
        # to whom answered last alone, so that a witness without pings costs no broadcasts
        mac = self._macs.pop(ip, None) if ip.version == 4 else None
        self._sent_at_s[ip] = now_s
        sock.send(known.frame if mac is None else mac + known.frame[6:], socket.MSG_DONTWAIT)

    def _frame(self, ip: IpAddress) -> bytes | None:
        with netlink.netlink() as route_socket:
            index = netlink.interface_index(self._interface)
            if not index or not on_link(route_socket, index, ip):
                return None
            self._own = mac_of(self._interface)
            return question(route_socket, index, self._own, ip)

    def _open(self) -> socket.socket:
        if self._socket is None:
            sock = socket.socket(
                socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, 0
            )
            try:
                packets.attach_filter(sock, ANSWERS)
                sock.bind((self._interface, packets.ETH_P_ALL))
            except OSError:
                sock.close()
                raise
            self._socket = sock
        return self._socket

    def drain(self) -> dict[IpAddress, Pong]:
        """Who answered since the last call, by the question before it. Never blocks, raises nothing."""
        answers: dict[IpAddress, Pong] = {}
        for _ in range(_READS_MAX if self._socket is not None else 0):
            try:
                received = packets.receive(self._socket, _READ_BYTES) if self._socket is not None else None
            except OSError:  # the interface went, perhaps to come again
                self.close()
                break
            if received is None:
                break
            answer = None if received[2][2] == packets.PACKET_OUTGOING else read_answer(received[0])
            if answer is None or answer[0] not in self._sent_at_s or answer[1] == self._own:
                continue
            ip, mac = answer
            self._macs[ip] = bytes.fromhex(mac.replace(":", ""))
            answers[ip] = Pong(self._now(), self._sent_at_s[ip])
        return answers

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
