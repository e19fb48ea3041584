"""Who answers a ping? A witness or a peer that does shows that this host is not cut off.

ICMP echo by raw sockets with prebuilt packets: the agent sends a round on each tick and reads what came on the next.
"""

from __future__ import annotations

import ipaddress
import os
import select
import socket
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..errors import CouldNotLook
from . import packets
from .packets import LD_B, LD_B_X, LD_H, LD_H_X

_ECHO, _ECHO_REPLY, _ECHO6, _ECHO6_REPLY = 8, 0, 128, 129
_ROUNDS_KEPT = 128  # answers to older rounds are not matched; a power of two below 65536
_READS_MAX = 512
_READ_BYTES = 128


@dataclass(frozen=True, slots=True)
class _Target:
    name: str
    destination: Any  # as sendto takes it
    version: int


class Pong(NamedTuple):
    """An answered ping, in seconds of CLOCK_BOOTTIME; the answer's time is the kernel's."""

    answered_at_s: float
    sent_at_s: float


class Pinger:
    """Pings `addresses` (IPv4 and IPv6, numeric). Register with `epoll_mask`, or `drain` on the tick only.

    An answer counts when identifier, token, sequence number and source match; a round is sent with one number. What
    cannot be sent (no route, no such interface) is simply not answered.
    """

    epoll_mask = select.EPOLLIN

    def __init__(self, addresses: Iterable[str], now: Callable[[], float]) -> None:
        """Raises CouldNotLook for an address that is none, and without the right to open raw sockets."""
        self._now = now
        self._identifier = int.from_bytes(os.urandom(2), "big")
        self._token = os.urandom(8)
        self._sequence = 0
        self._sent_at_s: list[tuple[int, float]] = [(-1, 0.0)] * _ROUNDS_KEPT
        self._targets = [_target(address) for address in dict.fromkeys(addresses)]
        self._names = {
            (target.version, _bare(target.destination[0])): target.name for target in self._targets
        }
        self._base = {4: self._packet(_ECHO, 0), 6: self._packet(_ECHO6, 0)}
        self._sum = _ones_sum(self._base[4])
        self._epoll = select.epoll()
        self._sockets: dict[int, tuple[socket.socket, packets.KernelTime]] = {}
        try:
            for version in sorted({target.version for target in self._targets}):
                self._sockets[version] = self._open(version)
        except OSError as exc:
            self.close()
            raise CouldNotLook(f"cannot open a raw socket for pings: {exc.strerror}") from exc

    def fileno(self) -> int:
        return self._epoll.fileno()

    def send(self) -> None:
        """One echo request to every address. Never blocks, raises nothing."""
        self._sequence = sequence = (self._sequence + 1) & 0xFFFF
        self._sent_at_s[sequence % _ROUNDS_KEPT] = (sequence, self._now())
        ready = {
            4: _with_sequence4(self._base[4], self._sum, sequence),
            6: _with_sequence(self._base[6], sequence),
        }
        for target in self._targets:
            try:
                sock = self._sockets[target.version][0]
                sock.sendto(ready[target.version], socket.MSG_DONTWAIT, target.destination)
            except OSError:
                continue

    def drain(self) -> dict[str, Pong]:
        """For each address that answered since the last call, its answer to the newest round.

        Never blocks, raises nothing. A lease counts from `sent_at_s`: an answer may have been long on its way.
        """
        answers: dict[str, Pong] = {}
        for version, (sock, kernel_time) in self._sockets.items():
            kernel_time.begin()
            drained = False
            for _ in range(_READS_MAX):
                try:
                    received = packets.receive(sock, _READ_BYTES)
                except OSError:
                    break
                if received is None:
                    drained = True
                    break
                data, ancillary, sender = received
                name = self._names.get((version, _bare(sender[0])))
                sent_at_s = self._match(data, version)
                if name is not None and sent_at_s is not None:
                    answer = Pong(kernel_time.of(ancillary), sent_at_s)
                    answers[name] = max(answers.get(name, answer), answer, key=lambda pong: pong.sent_at_s)
            kernel_time.end(drained)
        return answers

    def close(self) -> None:
        for sock, _ in self._sockets.values():
            sock.close()
        self._sockets.clear()
        self._epoll.close()

    def _open(self, version: int) -> tuple[socket.socket, packets.KernelTime]:
        family, protocol = (
            (socket.AF_INET, socket.IPPROTO_ICMP)
            if version == 4
            else (socket.AF_INET6, socket.IPPROTO_ICMPV6)
        )
        sock = socket.socket(family, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        try:
            if version == 4:
                wanted = packets.accept_when((LD_B_X, 0, _ECHO_REPLY), (LD_H_X, 4, self._identifier))
            else:
                wanted = packets.accept_when((LD_B, 0, _ECHO6_REPLY), (LD_H, 4, self._identifier))
            packets.attach_filter(sock, wanted)
            kernel_time = packets.KernelTime(sock, self._now)
            self._epoll.register(sock, select.EPOLLIN)
        except OSError:
            sock.close()
            raise
        return sock, kernel_time

    def _packet(self, kind: int, sequence: int) -> bytes:
        return struct.pack("!BBHHH", kind, 0, 0, self._identifier, sequence) + self._token

    def _match(self, data: bytes, version: int) -> float | None:
        start = (data[0] & 15) * 4 if version == 4 and data else 0
        if len(data) < start + 16 or data[start + 8 : start + 16] != self._token:
            return None
        (sequence,) = struct.unpack_from("!H", data, start + 6)
        kept, sent_at_s = self._sent_at_s[sequence % _ROUNDS_KEPT]
        return sent_at_s if kept == sequence else None


def _target(address: str) -> _Target:
    try:
        family, _, _, _, destination = socket.getaddrinfo(
            address, None, type=socket.SOCK_RAW, flags=socket.AI_NUMERICHOST
        )[0]
    except OSError as exc:
        raise CouldNotLook(f"cannot ping {address}: it is no IP address") from exc
    return _Target(address, destination, 4 if family == socket.AF_INET else 6)


def _bare(address: Any) -> str:
    """An address as it compares: without an IPv6 zone, and in its shortest form."""
    text = str(address).partition("%")[0]
    return str(ipaddress.ip_address(text)) if ":" in text else text


def _ones_sum(packet: bytes) -> int:
    return sum(struct.unpack(f"!{len(packet) // 2}H", packet))


def _with_sequence(packet: bytes, sequence: int) -> bytes:
    return packet[:6] + sequence.to_bytes(2, "big") + packet[8:]


def _with_sequence4(packet: bytes, ones_sum: int, sequence: int) -> bytes:
    """With the checksum that IPv4 leaves to the sender (RFC 1071); IPv6's is the kernel's."""
    total = ones_sum + sequence
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    checksum, number = (~total & 0xFFFF).to_bytes(2, "big"), sequence.to_bytes(2, "big")
    return packet[:2] + checksum + packet[4:6] + number + packet[8:]
