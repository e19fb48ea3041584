"""What does this server answer? One authenticated session, every call of it bounded by a total deadline.

A session belongs to one thread at a time; only `close` may come from another. Any error closes it: whoever gets one
begins anew with a fresh session, so no half-read answer is ever taken for the next one.
"""

from __future__ import annotations

import errno
import os
import socket
import ssl
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from ipaddress import ip_address
from typing import Any, cast

from pymysql.converters import escape_item

from ..errors import CouldNotLook, Silent, VipguardError
from ..model.evidence import ProcessId
from ..model.policy import MARIADB, Flavor, Mysql
from . import fault
from .deadline import Deadline
from .process import TOLD, Told, found, process_id, stat_fields
from .wire import Row, Wire

LOCAL_IDLE_S_MAX = 2147483  # a session that holds the open lock outlives any wait_timeout of the operator's
SEARCH_AGAIN_S = 5.0  # for a server's process that was not to be told before
PEER_IDLE_S_MAX = 10  # the claim of a taker whose host died is gone by then


class Tls:
    """The TLS context for sessions to peers, made once and shared."""

    def __init__(self, context: ssl.SSLContext, required: bool) -> None:
        self.context, self.required = context, required

    @classmethod
    def of(cls, mysql: Mysql) -> Tls:
        """With `tls_ca`, `verify` checks the chain up to it; without, the system's authorities and the name too.

        Raises CouldNotLook when the file of authorities cannot be read.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # certificates that MySQL makes itself don't pass it
        context.check_hostname = mysql.tls == "verify" and not mysql.tls_ca
        context.verify_mode = ssl.CERT_REQUIRED if mysql.tls == "verify" else ssl.CERT_NONE
        try:
            if mysql.tls == "verify" and mysql.tls_ca:
                context.load_verify_locations(mysql.tls_ca)
            elif mysql.tls == "verify":
                context.load_default_certs()
        except OSError as exc:
            raise CouldNotLook(f"mysql.tls_ca: cannot read {mysql.tls_ca!r} ({exc})") from exc
        return cls(context, required=mysql.tls != "preferred")


class Session:
    """An open session. `place` names the server in messages."""

    def __init__(self, wire: Wire, idle_s_max: int, deadline: Deadline) -> None:
        self._wire = wire
        self.place = wire.place
        greeting = wire.server_version
        self.flavor: Flavor = "mariadb" if "mariadb" in greeting.lower() else "mysql"
        self.version = greeting.removeprefix("5.5.5-") if self.flavor == MARIADB else greeting
        self.connection_id = wire.connection_id
        self.certificate_until_s = wire.certificate_until_s()
        self._process: ProcessId | None = None
        self._searched_s: float | None = None
        limit = "max_statement_time" if self.flavor == MARIADB else "max_execution_time"
        settings = "sql_mode='STRICT_ALL_TABLES', lock_wait_timeout=1, innodb_lock_wait_timeout=1, time_zone='+00:00'"
        self.ask([f"SET SESSION {settings}, {limit}=0, wait_timeout={idle_s_max}"], deadline)

    @classmethod
    def local(cls, mysql: Mysql, deadline: Deadline) -> Session:
        """Over the unix socket, without TLS. Raises Absent, Silent, CouldNotLook, Lost."""
        return cls.on_local_socket(open_local(mysql, deadline), mysql, deadline)

    @classmethod
    def peer(cls, host: str, mysql: Mysql, tls: Tls, deadline: Deadline) -> Session:
        """Over TCP to the IP address `host`. Raises Absent, Silent, CouldNotLook, Lost."""
        return cls.on_peer_socket(open_peer(host, mysql, deadline), host, mysql, tls, deadline)

    @classmethod
    def on_local_socket(cls, sock: socket.socket, mysql: Mysql, deadline: Deadline) -> Session:
        place = mysql.socket
        return _made(sock, place, lambda: cls(Wire(sock, mysql, place, deadline), LOCAL_IDLE_S_MAX, deadline))

    @classmethod
    def on_peer_socket(
        cls, sock: socket.socket, host: str, mysql: Mysql, tls: Tls, deadline: Deadline
    ) -> Session:
        place = _place(host, mysql)

        def make() -> Session:
            wire = Wire(
                sock, mysql, place, deadline, host=host, context=tls.context, tls_required=tls.required
            )
            return cls(wire, PEER_IDLE_S_MAX, deadline)

        return _made(sock, place, make)

    def query(self, sql: str, args: Sequence[Any] = (), *, deadline: Deadline) -> list[tuple[Any, ...]]:
        """The rows, converted as PyMySQL does it; none for a statement that has none. `%s` stands for each of `args`.

        Raises Silent past the deadline, Lost, CouldNotLook where a grant is missing, else SqlError.
        """
        self._run(sql, args, deadline)
        return self._wire.rows()

    def rows_as_dicts(
        self, sql: str, args: Sequence[Any] = (), *, deadline: Deadline
    ) -> list[dict[str, Any]]:
        """As `query`, each row by the names of its columns."""
        rows = self.query(sql, args, deadline=deadline)
        names = self._wire.names()
        return [dict(zip(names, row, strict=True)) for row in rows]

    def ask(self, statements: Sequence[str], deadline: Deadline) -> list[list[Row]]:
        """The rows of each statement as bytes, all statements sent at once: the cheap way. Raises as `query`."""
        self._wire.deadline = deadline
        try:
            return self._wire.ask([statement.encode() for statement in statements])
        except Exception as exc:
            self.close()
            raise fault.of_any(exc, self.place) from exc

    def order(self, statement: str, deadline: Deadline) -> None:
        """Send a statement for whose answer nobody waits: nothing else can be asked in this session any more."""
        self._wire.deadline = deadline
        try:
            self._wire.order(statement.encode())
        except Exception as exc:
            self.close()
            raise fault.of_any(exc, self.place) from exc

    def columns(self, statement: str) -> tuple[str, ...]:
        """The column names of a statement that `ask` sent before."""
        return self._wire.columns(statement.encode())

    def attempt_all(self, statements: Sequence[str], deadline: Deadline) -> list[int]:
        """The error number of each statement, 0 for none; these don't close the session. All are sent at once."""
        self._wire.deadline = deadline
        try:
            return self._wire.attempt_all([statement.encode() for statement in statements])
        except Exception as exc:
            self.close()
            raise fault.of_any(exc, self.place) from exc

    def literal(self, value: str) -> str:
        """`value` quoted for a statement."""
        return str(escape_item(value, "utf8mb4"))

    def fileno(self) -> int:
        """The socket, to be polled for a hang-up; -1 once closed."""
        sock = self._wire.sock
        return sock.fileno() if sock is not None else -1

    @property
    def is_open(self) -> bool:
        return self._wire.sock is not None

    def server_process(self, deadline: Deadline | None = None) -> ProcessId | None:
        """The server's process, on this host only; None for a peer, and where no process is proven to be it.

        By its name and who listens; with a `deadline` it is asked what it says of itself where that does not tell, now
        and then. Raises as `ask`.
        """
        if self._process is None:
            self._process = process_id(self._wire.sock)
        local = self._wire.sock is not None and self._wire.sock.family == socket.AF_UNIX
        if self._process is not None or not local or deadline is None:
            return self._process
        if self._searched_s is None or time.monotonic() - self._searched_s >= SEARCH_AGAIN_S:
            row = self.ask((TOLD,), deadline)[0][0]
            told = Told(*((cell or b"").decode("utf-8", "surrogateescape") for cell in row))
            self._process = found(self._wire.sock, told)
            self._searched_s = time.monotonic()
        return self._process

    def close(self) -> None:
        """Never waits and never raises; the server notices by itself."""
        self._wire.abandon()

    def _run(self, sql: str, args: Sequence[Any], deadline: Deadline) -> None:
        self._wire.deadline = deadline
        try:
            text = sql % tuple(escape_item(arg, "utf8mb4") for arg in args) if args else sql
            self._wire.query(text)
        except Exception as exc:
            self.close()
            raise fault.of_any(exc, self.place) from exc


class Connector:
    """Makes sessions to one server, and keeps waiting on a connection that was accepted but not greeted yet.

    A prober that gave up on each such connection would fill a hung server's backlog, and come back to a server that
    blocks its host for `max_connect_errors` broken handshakes.
    """

    def __init__(
        self,
        open_socket: Callable[[Deadline], socket.socket],
        greet: Callable[[socket.socket, Deadline], Session],
        place: str,
    ) -> None:
        self._open_socket, self._greet, self.place = open_socket, greet, place
        self._waiting: socket.socket | None = None
        self.is_local, self._mysql = False, cast("Mysql | None", None)
        self.greeted = False  # did the server send its greeting within the last call?

    @classmethod
    def local(cls, mysql: Mysql) -> Connector:
        made = cls(
            lambda deadline: open_local(mysql, deadline),
            lambda sock, deadline: Session.on_local_socket(sock, mysql, deadline),
            mysql.socket,
        )
        made.is_local, made._mysql = True, mysql
        return made

    def spare(self, host: str, port: int) -> Connector:
        """To the port that the server at this socket keeps for administrators. Only whether it says anything counts
        there, so its account may be refused."""
        assert self._mysql is not None
        mysql = replace(self._mysql, port=port)
        place = _place(host, mysql)

        def greet(sock: socket.socket, deadline: Deadline) -> Session:
            return _made(sock, place, lambda: Session(Wire(sock, mysql, place, deadline), PEER_IDLE_S_MAX, deadline))

        return Connector(lambda deadline: open_peer(host, mysql, deadline), greet, place)

    @property
    def listener(self) -> ProcessId | None:
        """The process that took the connection and has sent no greeting yet, dead or alive."""
        if self._waiting is None or self._waiting.family != socket.AF_UNIX:
            return None
        pid, _, _ = struct.unpack("3i", self._waiting.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        fields = stat_fields(pid) if pid not in (0, 1, os.getpid()) else None
        return ProcessId(pid, int(fields[19])) if fields else None

    @classmethod
    def peer(cls, host: str, mysql: Mysql, tls: Tls) -> Connector:
        return cls(
            lambda deadline: open_peer(host, mysql, deadline),
            lambda sock, deadline: Session.on_peer_socket(sock, host, mysql, tls, deadline),
            _place(host, mysql),
        )

    def __call__(self, deadline: Deadline) -> Session:
        """A new session. Raises as `Session.local` and `Session.peer`."""
        sock, self._waiting = self._waiting, None
        self.greeted = False
        if sock is not None:
            try:
                return self._use(sock, deadline)
            except fault.Lost:  # it ended while nobody looked
                sock.close()
        return self._use(self._open_socket(deadline), deadline)

    def _use(self, sock: socket.socket, deadline: Deadline) -> Session:
        try:
            sock.settimeout(deadline.remaining())
            sock.recv(1, socket.MSG_PEEK)
        except (TimeoutError, BlockingIOError) as exc:
            self._waiting = sock
            raise Silent(f"{self.place}: accepted the connection and sent no greeting") from exc
        except OSError as exc:
            sock.close()
            raise fault.of_os(exc, self.place) from exc
        self.greeted = True
        return self._greet(sock, deadline)

    def close(self) -> None:
        sock, self._waiting = self._waiting, None
        if sock is not None:
            sock.close()


def open_local(mysql: Mysql, deadline: Deadline) -> socket.socket:
    """A connected unix socket; a full backlog is waited for until the deadline."""
    return _opened(socket.AF_UNIX, mysql.socket, mysql.socket, deadline)


def open_peer(host: str, mysql: Mysql, deadline: Deadline) -> socket.socket:
    """A connected TCP socket. Its keepalive finds a dead host within 4 s, so that one may keep waiting on it."""
    place = _place(host, mysql)
    try:
        family = socket.AF_INET6 if ip_address(host).version == 6 else socket.AF_INET
    except ValueError as exc:
        raise CouldNotLook(f"{place}: not an IP address, and names may take for ever to resolve") from exc
    return _opened(family, (host, mysql.port), place, deadline)


def _opened(family: int, address: Any, place: str, deadline: Deadline) -> socket.socket:
    try:
        sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    except OSError as exc:
        raise fault.of_os(exc, place) from exc
    try:
        if family == socket.AF_UNIX:
            # a non-blocking connect fails at once while the backlog is full; this one waits, but not longer than that
            left = max(deadline.remaining(), 0.001)
            sock.setsockopt(
                socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", int(left), int(left % 1 * 1e6))
            )
        else:
            sock.settimeout(max(deadline.remaining(), 0.001))
            for option, value in _TCP:
                sock.setsockopt(socket.IPPROTO_TCP, option, value)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.connect(address)
    except OSError as exc:
        sock.close()
        if exc.errno == errno.EAGAIN:
            raise Silent(f"{place}: takes no connection, its backlog is full") from exc
        raise fault.of_os(exc, place) from exc
    return sock


_TCP = (
    (socket.TCP_NODELAY, 1),
    (socket.TCP_KEEPIDLE, 1),
    (socket.TCP_KEEPINTVL, 1),
    (socket.TCP_KEEPCNT, 3),
    (socket.TCP_USER_TIMEOUT, 4000),
)


def _made(sock: socket.socket, place: str, make: Callable[[], Session]) -> Session:
    try:
        return make()
    except Exception as exc:
        sock.close()
        error = fault.of_any(exc, place)
        if isinstance(error, VipguardError) and error is exc:
            raise
        raise error from exc


def _place(host: str, mysql: Mysql) -> str:
    return f"[{host}]:{mysql.port}" if ":" in host else f"{host}:{mysql.port}"
