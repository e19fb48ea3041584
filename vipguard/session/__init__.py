"""How is a server spoken to? Sessions with a total deadline, and the SQL of both flavours; probe and act share them."""

from .deadline import Deadline, boottime_s
from .dialect import Dialect, dialect_of
from .fault import Denied, Lost, SqlError
from .session import Connector, Session, Tls

__all__ = [
    "Connector",
    "Deadline",
    "Denied",
    "Dialect",
    "Lost",
    "Session",
    "SqlError",
    "Tls",
    "boottime_s",
    "dialect_of",
]
