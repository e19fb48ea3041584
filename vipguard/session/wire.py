"""How do bytes go to a server and back? PyMySQL's connection, with its reads and writes bounded by one deadline.

PyMySQL's own `read_timeout` is per recv, so a server that dribbles holds a caller for ever; and its results cost some
6 µs a column, which is too dear ten times a second. `ask` therefore reads text results by itself.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from typing import Any

from pymysql.connections import Connection
from pymysql.constants import CLIENT

from ..errors import CouldNotLook
from ..model.policy import Mysql
from . import fault
from .deadline import Deadline

Row = list[bytes | None]
_CHUNK = 65536


class Wire(Connection):
    """One authenticated connection. Its user sets `deadline` before each call; it raises our errors or PyMySQL's."""

    deadline: Deadline
    server_version: str
    server_capabilities: int
    server_thread_id: tuple[int]
    _sock: socket.socket | None
    _result: Any

    def __init__(
        self,
        sock: socket.socket,
        mysql: Mysql,
        place: str,
        deadline: Deadline,
        *,
        host: str | None = None,
        context: ssl.SSLContext | None = None,
        tls_required: bool = False,
    ) -> None:
        self.deadline, self.place = deadline, place
        self._buffer, self._at = b"", 0
        self._context, self._tls_required = context, tls_required
        self._columns: dict[bytes, tuple[str, ...]] = {}
        super().__init__(
            user=mysql.user,
            password=mysql.password.encode(),
            host=host,
            charset="utf8mb4",
            autocommit=True,
            defer_connect=True,
            ssl_disabled=True,  # else PyMySQL builds a context each time: 42 to 72 ms of CPU
            program_name="vipguard",
        )
        self._secure = sock.family == socket.AF_UNIX
        self.connect(sock)

    def _get_server_information(self) -> None:
        """The greeting; here it is known whether the server offers TLS, and nothing secret was sent yet."""
        super()._get_server_information()  # type: ignore[misc]
        if self._context is None:
            return
        if self.server_capabilities & CLIENT.SSL:
            self.ssl, self._ssl_required, self.ctx = True, True, self._context
            self.client_flag |= CLIENT.SSL
        elif self._tls_required:
            raise CouldNotLook(f"{self.place}: the server offers no TLS, and mysql.tls requires it")

    # PyMySQL calls these two for every byte that comes and goes.

    def _read_bytes(self, num_bytes: int) -> bytes:
        while len(self._buffer) - self._at < num_bytes:
            self._receive()
        start = self._at
        self._at = start + num_bytes
        return self._buffer[start : self._at]

    def _write_bytes(self, data: bytes) -> None:
        sock = self._open_socket()
        try:
            sock.settimeout(self.deadline.remaining())
            sock.sendall(data)
        except OSError as exc:
            raise fault.of_os(exc, self.place) from exc

    def _receive(self) -> None:
        sock = self._open_socket()
        try:
            # with nothing remaining this does not wait, yet takes an answer that lies there: we were late, not it
            sock.settimeout(self.deadline.remaining())
            chunk = sock.recv(_CHUNK)
        except OSError as exc:
            raise fault.of_os(exc, self.place) from exc
        if not chunk:
            raise fault.Lost(f"{self.place}: the server closed the connection")
        self._buffer = self._buffer[self._at :] + chunk
        self._at = 0

    def _open_socket(self) -> socket.socket:
        sock = self._sock
        if sock is None:
            raise fault.Lost(f"{self.place}: the connection is closed")
        return sock

    @property
    def connection_id(self) -> int:
        return int(self.server_thread_id[0])

    def certificate_until_s(self) -> float | None:
        """When the server's certificate ends, in seconds since 1970; None without TLS, and where it cannot be read."""
        found = self._sock.getpeercert(binary_form=True) if isinstance(self._sock, ssl.SSLSocket) else None
        return _ends_s(found) if found else None

    @property
    def sock(self) -> socket.socket | None:
        return self._sock

    def abandon(self) -> None:
        """End the connection without a farewell; never waits. A thread that waits on it wakes up."""
        sock = self._sock
        if sock is not None:
            with suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)
        with suppress(Exception):
            self._force_close()  # type: ignore[attr-defined]

    def rows(self) -> list[tuple[Any, ...]]:
        """The rows of the last statement that went through `query`."""
        return list(self._result.rows or ()) if self._result is not None else []

    def names(self) -> list[str]:
        return [column[0] for column in self._result.description or ()] if self._result is not None else []

    # Text results without PyMySQL's cost.

    def ask(self, statements: Sequence[bytes]) -> list[list[Row]]:
        """The rows of each statement, undecoded. All are sent at once; the first error raises."""
        self._send(statements)
        return [self._result_rows(statement) for statement in statements]

    def order(self, statement: bytes) -> None:
        """Only send it."""
        self._send((statement,))

    def attempt_all(self, statements: Sequence[bytes]) -> list[int]:
        """The server's error number for each statement, 0 for none. All are sent at once."""
        self._send(statements)
        return [self._result_errno() for _ in statements]

    def columns(self, statement: bytes) -> tuple[str, ...]:
        """The names of the columns of a statement that was asked before on this connection."""
        return self._columns[statement]

    def _send(self, statements: Sequence[bytes]) -> None:
        self._write_bytes(
            b"".join((len(text) + 1).to_bytes(3, "little") + b"\0\3" + text for text in statements)
        )

    def _packet(self) -> bytes:
        header = self._read_bytes(4)
        length = header[0] | header[1] << 8 | header[2] << 16
        if length == 0xFFFFFF:
            raise CouldNotLook(f"{self.place}: an answer of more than 16 MB")
        return self._read_bytes(length)

    def _result_rows(self, statement: bytes) -> list[Row]:
        first = self._packet()
        if first[0] == 0xFF:
            raise fault.of_sql(*_error(first), self.place)
        if first[0] == 0x00:
            return []
        if statement in self._columns:
            for _ in range(first[0] + 1):
                self._packet()
        else:
            if len(self._columns) > 32:
                self._columns.clear()
            self._columns[statement] = tuple(_column_name(self._packet()) for _ in range(first[0]))
            self._packet()
        rows: list[Row] = []
        while True:
            packet = self._packet()
            if packet[0] == 0xFE and len(packet) < 9:
                return rows
            if packet[0] == 0xFF:
                raise fault.of_sql(*_error(packet), self.place)
            rows.append(_fields(packet))

    def _result_errno(self) -> int:
        packet = self._packet()
        if packet[0] == 0xFF:
            number, message = _error(packet)
            if number in fault.LOST:
                raise fault.of_sql(number, message, self.place)
            return number
        if packet[0] != 0x00:
            raise CouldNotLook(f"{self.place}: a statement answered with rows where none were expected")
        return 0


@cache
def _ends_s(certificate: bytes) -> float | None:
    from cryptography import x509

    try:
        return x509.load_der_x509_certificate(certificate).not_valid_after_utc.timestamp()
    except ValueError:
        return None


def _error(packet: bytes) -> tuple[int, str]:
    message = packet[9:] if packet[3:4] == b"#" else packet[3:]
    return packet[1] | packet[2] << 8, message.decode("utf-8", "replace")


def _fields(packet: bytes) -> Row:
    """The length-coded strings of a row; 0xFB is NULL."""
    row: Row = []
    at, end = 0, len(packet)
    while at < end:
        size = packet[at]
        at += 1
        if size == 0xFB:
            row.append(None)
            continue
        if size > 0xFB:
            width = 2 if size == 0xFC else 3 if size == 0xFD else 8
            size = int.from_bytes(packet[at : at + width], "little")
            at += width
        row.append(packet[at : at + size])
        at += size
    return row


def _column_name(packet: bytes) -> str:
    return (_fields(packet)[4] or b"").decode("utf-8", "replace")
