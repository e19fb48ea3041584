"""What does this failure say? The one place where errors of sockets and of SQL become our families.

Refused, or no socket file: `Absent`. Nothing within the deadline, or no way to the host: `Silent`. Wrong password,
missing grant, no descriptor, too many connections: `CouldNotLook`. Gone in the middle: `Lost`. Any other SQL error:
a step that was refused.
"""

from __future__ import annotations

import errno
import ssl

from pymysql import err

from ..errors import Absent, CouldNotDo, CouldNotLook, Silent, VipguardError

LOST = {2006, 2013, 1053, 1079, 1152, 1158, 1159, 1160, 1161, 1184, 1927, 3169, 4031}
"""Server gone or shutting down, packets broken off, this connection killed or closed for idleness."""

BLIND = {
    1040: "it has no connection left (max_connections)",
    1044: "the account may not use that database",
    1045: "the user or its password is wrong",
    1049: "the database is missing",
    1129: "it blocks this host after too many broken connections (FLUSH HOSTS)",
    1130: "it allows this user no connection from this host",
    1142: "the account lacks a grant on a table",
    1143: "the account lacks a grant on a column",
    1146: "a table is missing",
    1203: "the user has no connection left (max_user_connections)",
    1226: "the user has used up its limit",
    1227: "the account lacks a privilege",
    1251: "it wants a newer way of authentication",
    1524: "it lacks the plugin that the account authenticates with",
    1698: "the user or its password is wrong",
    1820: "the account's password has expired",
    1862: "the account's password has expired",
    3118: "the account is locked",
    4151: "the account is locked",
}
GRANTS = {1044, 1049, 1142, 1143, 1146, 1227}

UNREACHABLE = {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN, errno.ETIMEDOUT}
BROKEN = {errno.ECONNRESET, errno.EPIPE, errno.ECONNABORTED, errno.ENOTCONN, errno.EBADF, errno.ESHUTDOWN}


class Lost(VipguardError):
    """The connection ended in the middle: what was asked may have happened. A new session may be tried at once."""


class Denied(CouldNotLook):
    """The server said why it won't let us look. Attribute: `errno`, the server's."""

    def __init__(self, text: str, errno: int) -> None:
        super().__init__(text)
        self.errno = errno


class SqlError(CouldNotDo):
    """A statement was refused. Attribute: `errno`, the server's."""

    def __init__(self, text: str, errno: int) -> None:
        super().__init__(text, refused=True)
        self.errno = errno


def of_sql(number: int, message: str, place: str) -> VipguardError:
    """An error packet of the server at `place`, or an error that PyMySQL made itself (2000 and up)."""
    if number in LOST:
        return Lost(f"{place}: the connection ended ({number}: {message})")
    if number in BLIND:
        remedy = "; apply what `vipguard render accounts` prints" if number in GRANTS else ""
        return Denied(f"{place}: {BLIND[number]} ({number}: {message}){remedy}", number)
    return SqlError(f"{place}: error {number}: {message}", number)


def of_os(exc: OSError, place: str) -> VipguardError:
    """An error of the socket, or of TLS on it."""
    if isinstance(exc, ssl.SSLWantReadError | ssl.SSLWantWriteError | TimeoutError | BlockingIOError):
        return Silent(f"{place}: no answer within the deadline")
    if isinstance(exc, ssl.SSLEOFError | ssl.SSLZeroReturnError) or exc.errno in BROKEN:
        return Lost(f"{place}: the connection ended ({exc})")
    if isinstance(exc, ssl.SSLError):
        return CouldNotLook(f"{place}: TLS failed ({exc})")
    if exc.errno in (errno.ECONNREFUSED, errno.ENOENT):
        return Absent(f"{place}: nobody listens ({exc.strerror})")
    if exc.errno in UNREACHABLE:
        return Silent(f"{place}: no way to the host ({exc.strerror})")
    return CouldNotLook(f"{place}: {exc}")


def of_any(exc: Exception, place: str) -> VipguardError:
    """Whatever a session threw. What is no known error came from bytes that make no sense as this protocol."""
    if isinstance(exc, VipguardError):
        return exc
    if isinstance(exc, err.MySQLError):
        cause = getattr(exc, "original_exception", None)
        if isinstance(cause, OSError):
            return of_os(cause, place)
        if exc.args and isinstance(exc.args[0], int) and exc.args[0]:
            return of_sql(exc.args[0], str(exc.args[1]) if len(exc.args) > 1 else "", place)
        if isinstance(exc, err.InterfaceError):
            return Lost(f"{place}: the connection is closed")
    if isinstance(exc, OSError):
        return of_os(exc, place)
    return CouldNotLook(f"{place}: what answers there cannot be understood ({type(exc).__name__}: {exc})")
