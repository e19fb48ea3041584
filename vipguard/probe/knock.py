"""Who answers a TCP connect? A witness that accepts does, and so does one that refuses: its host is there.

Nothing is sent over the connection, and it is reset at once, so that no side keeps a trace of it.
"""

from __future__ import annotations

import contextlib
import errno
import select
import socket
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ..errors import CouldNotLook
from ..model.witness import Witness
from .witness import Pong

# Connects under way to one witness: a lost SYN is sent again after a second only, so the oldest gives way.
KEPT = 8
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER of no seconds: close resets
_UNDER_WAY = (errno.EINPROGRESS, errno.EAGAIN)


@dataclass(slots=True)
class _Target:
    name: str
    family: int
    destination: Any


@dataclass(slots=True)
class _Call:
    sock: socket.socket
    name: str
    sent_at_s: float


class Knocker:
    """Connects to each of `witnesses` with a port. Register with `epoll_mask`, or `drain` on the tick only.

    What cannot be sent (no route, no descriptor) is simply not answered.
    """

    epoll_mask = select.EPOLLIN

    def __init__(self, witnesses: Iterable[Witness], now: Callable[[], float]) -> None:
        """Raises CouldNotLook for an address that is none."""
        self._now = now
        self._targets = [_target(witness) for witness in witnesses]
        self._calls: dict[int, _Call] = {}
        self._answers: dict[str, Pong] = {}
        self._epoll = select.epoll()

    def fileno(self) -> int:
        return self._epoll.fileno()

    def send(self) -> None:
        """One connect to every witness. Never blocks, raises nothing."""
        for target in self._targets:
            mine = [fd for fd, call in self._calls.items() if call.name == target.name]
            for fd in mine[: max(0, len(mine) - KEPT + 1)]:
                self._end(fd)
            self._call(target)

    def _call(self, target: _Target) -> None:
        sent_at_s = self._now()
        try:
            sock = socket.socket(
                target.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
            )
        except OSError:
            return
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            code = sock.connect_ex(target.destination)
            if code in _UNDER_WAY:
                self._epoll.register(sock.fileno(), select.EPOLLOUT)
                self._calls[sock.fileno()] = _Call(sock, target.name, sent_at_s)
                return
        except OSError:
            code = errno.EIO
        sock.close()
        self._judge(code, target.name, sent_at_s)

    def drain(self) -> dict[str, Pong]:
        """For each witness that answered since the last call, its answer to the newest connect. Never blocks."""
        for fd, _ in self._epoll.poll(0):
            call = self._calls.get(fd)
            if call is not None:
                with contextlib.suppress(OSError):
                    code = call.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                    self._judge(code, call.name, call.sent_at_s)
                self._end(fd)
        answers, self._answers = self._answers, {}
        return answers

    def _judge(self, code: int, name: str, sent_at_s: float) -> None:
        if code in (0, errno.ECONNREFUSED):
            before = self._answers.get(name)
            if before is None or before.sent_at_s < sent_at_s:
                self._answers[name] = Pong(self._now(), sent_at_s)

    def _end(self, fd: int) -> None:
        call = self._calls.pop(fd)
        with contextlib.suppress(OSError):
            self._epoll.unregister(fd)
        call.sock.close()

    def close(self) -> None:
        for fd in list(self._calls):
            self._end(fd)
        self._epoll.close()


def _target(witness: Witness) -> _Target:
    try:
        family, _, _, _, destination = socket.getaddrinfo(
            witness.address, witness.port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
        )[0]
    except OSError as exc:
        raise CouldNotLook(f"cannot connect to {witness.name}: it is no IP address") from exc
    return _Target(witness.name, family, destination)
