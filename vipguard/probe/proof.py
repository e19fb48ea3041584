"""Does a server that does not answer live all the same? Nothing but silence is silence.

What it was asked may be what is locked, its threads may all be taken, it may get no processor. So before it counts as
silent it is asked for as little as can be: a greeting, on a fresh connection, then on the port that it keeps for
administrators; and its process is watched meanwhile. Only this host's server can be asked so closely.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from ipaddress import ip_address

from ..errors import Absent, Silent, VipguardError
from ..model.evidence import ProcessId
from ..session import Connector, Deadline, Lost, Session
from ..session.process import is_done
from ..session.wire import Row
from ..session.working import busy, sample

VARIABLES = (
    "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('log_bin_basename', 'innodb_log_group_home_dir',"
    " 'thread_handling', 'extra_port', 'bind_address', 'admin_address', 'admin_port')"
)
WATCH_S = 0.06  # the process is watched for at least that long
#: A server whose clients each have a thread answers within that many times `hang_s`, however many there are.
BUSY_TIMES = 10.0
_ANY = {"", "*", "0.0.0.0", "::"}


class Proof:
    """What is known of one local server from better times. Belongs to the thread of its prober."""

    def __init__(self, connect: Connector, hang_s: float) -> None:
        self._connect, self._hang_s = connect, hang_s
        self.log_dirs: tuple[str, ...] = ()
        self.process: ProcessId | None = None
        self._pooled = False
        self._port: tuple[str, int] | None = None
        self._spare: Connector | None = None
        self._busy_since_s: float | None = None

    def learn(self, rows: Sequence[Row]) -> None:
        """The answer to `VARIABLES`."""
        said = {_text(row[0]).lower(): _text(row[1]) for row in rows}
        binlog, redo = said.get("log_bin_basename", ""), said.get("innodb_log_group_home_dir", "")
        self.log_dirs = tuple(place for place in (binlog.rpartition("/")[0], redo) if place)
        self._pooled = said.get("thread_handling") == "pool-of-threads"
        port = _port(said)
        if port != self._port:
            self.close()
            self._port, self._spare = port, self._connect.spare(*port) if port else None

    def answered(self, process: ProcessId | None) -> None:
        self.process, self._busy_since_s = process or self.process, None

    @property
    def dead(self) -> bool:
        """Is the process at the socket one that was killed and can't end, since its threads hang in the kernel?"""
        listener = self._connect.listener
        return listener is not None and is_done(listener)

    def seek(self, deadline: Deadline) -> tuple[str, bool, Session | None]:
        """What shows that it lives, "" when nothing does; whether it said something; the session if it gave one."""
        process, began_s = self._connect.listener or self.process, time.monotonic()
        before = sample(process) if process is not None else None
        half_s = deadline.remaining() / (1 if self._spare is None else 2)
        said, session = _greeting(self._connect, deadline.at_most(half_s))
        if not said and self._spare is not None:
            said, spare = _greeting(self._spare, deadline)
            said = said and f"on the port that it keeps for administrators, {said}"
            if spare is not None:
                spare.close()
        if said:
            self._busy_since_s = None
            return said, True, session
        watched_s = time.monotonic() - began_s
        if process is None or before is None or is_done(process):
            return "", False, None
        if watched_s < WATCH_S:
            time.sleep(WATCH_S - watched_s)
        works = busy(before, sample(process), time.monotonic() - began_s)
        return (self._works(), False, None) if works else ("", False, None)

    def _works(self) -> str:
        now_s = time.monotonic()
        since_s = self._busy_since_s = now_s if self._busy_since_s is None else self._busy_since_s
        if self._pooled:
            return "its threads are at work, and its pool of threads has none left"
        if now_s - since_s > BUSY_TIMES * self._hang_s:
            return ""
        return "its threads are at work, or wait for a processor"

    def close(self) -> None:
        spare, self._spare, self._port = self._spare, None, None
        if spare is not None:
            spare.close()


def _greeting(connect: Connector, deadline: Deadline) -> tuple[str, Session | None]:
    """What it said on a fresh connection; "" when nothing within the deadline."""
    try:
        session = connect(deadline)
    except (Silent, Lost) as exc:
        return (f"it sent its greeting ({exc})", None) if connect.greeted else ("", None)
    except Absent:
        return "", None
    except VipguardError as exc:
        return f"it said: {exc}", None
    return "it took a new session", session


def _port(said: dict[str, str]) -> tuple[str, int] | None:
    """MariaDB's extra_port is at the addresses of the other one, MySQL's admin_port at one of its own."""
    extra, admin = said.get("extra_port", "0"), said.get("admin_address", "")
    if extra.isdigit() and int(extra):
        address, port = said.get("bind_address", "").split(",")[0].strip(), int(extra)
    elif admin and said.get("admin_port", "").isdigit():
        address, port = admin, int(said["admin_port"])
    else:
        return None
    address = "127.0.0.1" if address in _ANY else address
    try:
        ip_address(address)
    except ValueError:
        return None
    return address, port


def _text(cell: bytes | None) -> str:
    return "" if cell is None else cell.decode("utf-8", "replace")
