"""What stands in a server's binary log? Raw events over the replication protocol, from one file, until its end."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from ..errors import CouldNotLook
from . import fault
from .deadline import Deadline
from .session import Session

_DUMP, _AT, _DO_NOT_WAIT = b"\x12", 4, 1
_ROTATE = 4
_SETTINGS = (
    "SET @master_binlog_checksum = @@global.binlog_checksum, @source_binlog_checksum = @@global.binlog_checksum,"
    " @mariadb_slave_capability = 4"
)


def read_events(session: Session, file: str, deadline: Deadline) -> Iterator[bytes]:
    """The events of `file`, header first, with the checksums that they have in the file.

    The account needs REPLICATION SLAVE. The session is of no use afterwards, and is closed. Raises Silent, Lost, and
    what a refused statement raises.
    """
    session.ask((_SETTINGS,), deadline)
    wire = session._wire
    wire.deadline = deadline
    request = _DUMP + struct.pack("<IHI", _AT, _DO_NOT_WAIT, 0) + file.encode()
    try:
        wire._write_bytes(len(request).to_bytes(3, "little") + b"\0" + request)
        while True:
            packet = wire._packet()
            if packet[0] == 0xFE and len(packet) < 9:
                return
            if packet[0] == 0xFF:
                number = int.from_bytes(packet[1:3], "little")
                raise fault.of_sql(number, packet[9:].decode("utf-8", "replace"), session.place)
            if packet[0] != 0 or len(packet) < 20:
                raise CouldNotLook(f"{session.place}: its binary log cannot be understood")
            event = packet[1:]
            if event[4] == _ROTATE and event[:4] != b"\0\0\0\0":
                return  # a real one, at the file's end: what follows is the next file
            yield event
    except Exception as exc:
        raise fault.of_any(exc, session.place) from exc
    finally:
        session.close()
