"""Who asks the agent, and what may they? The local socket: one line in, one line out, never blocking the agent.

Root may command (`hook`), the group vipguard may read (`check`, `status`, `stories`); the kernel says who asks
(SO_PEERCRED).
"""

from __future__ import annotations

import contextlib
import grp
import os
import select
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass

from ..errors import CouldNotDo
from ..log import get_logger

CLIENTS_MAX = 32
CLIENT_S_MAX = 1.0
_LINE_BYTES_MAX = 256
_READING = ("check", "status", "stories")
_log = get_logger("control")


@dataclass(slots=True)
class _Client:
    sock: socket.socket
    uid: int
    since_s: float
    data: bytes = b""


class Control:
    """The listening socket and its clients. `answer` maps a command to its line, or None for an unknown one."""

    def __init__(
        self, path: str, now: Callable[[], float], answer: Callable[[str], str | None], epoll: select.epoll
    ):
        """Binds the socket, root:vipguard 0660; without that group, root only. Raises CouldNotDo."""
        self._path, self._now, self._answer, self._epoll = path, now, answer, epoll
        self._clients: dict[int, _Client] = {}
        self._socket = socket.socket(
            socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        )
        try:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            mask = os.umask(0o117)
            try:
                self._socket.bind(path)
            finally:
                os.umask(mask)
            self._socket.listen(CLIENTS_MAX)
        except OSError as exc:
            self._socket.close()
            raise CouldNotDo(f"cannot listen at {path}: {exc.strerror}") from exc
        try:
            os.chown(path, 0, grp.getgrnam("vipguard").gr_gid)
        except (KeyError, OSError):
            _log.warning(
                "socket", rule="no-group", path=path, remedy="make the group vipguard; until then root only"
            )
        epoll.register(self._socket.fileno(), select.EPOLLIN)

    def serve(self, ready: set[int]) -> None:
        """Accept, read and answer what is ready; drop who says nothing for a second."""
        if self._socket.fileno() in ready:
            self._accept()
        for fd in [fd for fd in self._clients if fd in ready]:
            self._read(self._clients[fd])
        for client in [c for c in self._clients.values() if self._now() - c.since_s > CLIENT_S_MAX]:
            self._drop(client)

    def _accept(self) -> None:
        for _ in range(CLIENTS_MAX):
            try:
                sock, _ = self._socket.accept()
            except OSError:
                return
            sock.setblocking(False)
            if len(self._clients) >= CLIENTS_MAX:
                oldest = min(self._clients.values(), key=lambda c: c.since_s)
                self._drop(oldest)
            credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
            _, uid, _ = struct.unpack("3i", credentials)
            client = _Client(sock, uid, self._now())
            self._clients[sock.fileno()] = client
            self._epoll.register(sock.fileno(), select.EPOLLIN)
            self._read(client)

    def _read(self, client: _Client) -> None:
        try:
            more = client.sock.recv(_LINE_BYTES_MAX)
        except BlockingIOError:
            return
        except OSError:
            more = b""
        client.data += more
        if not more or len(client.data) > _LINE_BYTES_MAX:
            self._drop(client)
        elif b"\n" in client.data:
            line = client.data.split(b"\n", 1)[0].decode("ascii", "replace").strip()
            self._reply(client, self._line(client, line))

    def _line(self, client: _Client, command: str) -> str:
        if command.partition(" ")[0] not in _READING and client.uid != 0:
            return f"error only root may command the agent; {', '.join(_READING)} are for its group"
        answer = self._answer(command)
        return answer if answer is not None else f"error there is no command {command[:40]!r}"

    def _reply(self, client: _Client, text: str) -> None:
        with contextlib.suppress(OSError):
            client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
            client.sock.send(text.encode("utf-8", "replace") + b"\n")
        self._drop(client)

    def _drop(self, client: _Client) -> None:
        fd = client.sock.fileno()
        if self._clients.pop(fd, None) is not None:
            with contextlib.suppress(OSError):
                self._epoll.unregister(fd)
        client.sock.close()

    def close(self) -> None:
        for client in list(self._clients.values()):
            self._drop(client)
        self._socket.close()
        with contextlib.suppress(OSError):
            os.unlink(self._path)
