"""Which processes are this node's keepalived, and do they live? By pid file, or by who has our FIFO open.

By pidfds, so that no later process of the same number is taken for it, and its end shows at once. The process that
speaks VRRP is a child: when it is killed it takes its adverts along and leaves the VIP behind, and its parent starts
another one a moment later.
"""

from __future__ import annotations

import os
import select
import time
from pathlib import Path

from ..session.process import proc_is_ours

_NAME = "keepalived"
_OWN_NET = "/proc/thread-self/ns/net"
_PID_CHARS_MAX = 20
SEARCH_S = 1.0
SEARCH_PART = 0.05  # of one processor, at most, on a host with very many processes
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class KeepalivedWatch:
    """Follows the keepalived whose parent wrote `pid_file`; a restarted one is found again at the next `look`.

    Where no pid file names one that has `fifo` open, all processes of this network namespace are searched for it, about
    once a second. Its descriptor is an epoll of its own that holds the pidfds, so it stays the same over restarts.
    Register it with `epoll_mask` and `look` after an event and on each tick.
    """

    epoll_mask = select.EPOLLIN

    def __init__(self, pid_file: str, vrrp_pid_file: str | None = None, fifo: str = "") -> None:
        """`vrrp_pid_file` is for a keepalived started with `-r`; by default it is `vrrp.pid` beside `pid_file`."""
        child = vrrp_pid_file or str(Path(pid_file).with_name("vrrp.pid"))
        self._files = {"parent": pid_file, "vrrp": child}
        self._fifo = fifo
        self._pidfds: dict[str, int] = {}
        self._pids: dict[str, int] = {}
        self._known = False
        self._sure = False  # the one that speaks VRRP has our FIFO open
        self._search_at_s = 0.0
        self._began_s: float | None = None
        self._epoll = select.epoll()
        self.found_by = ""
        self.ever_seen = False  # the process itself, and not only a pid file
        self.others: tuple[int, ...] = ()

    def fileno(self) -> int:
        return self._epoll.fileno()

    def look(self) -> bool | None:
        """Whether the process that speaks VRRP lives (a stopped one does); None while none was ever seen.

        A pid file that names no living keepalived, or that went away after it named one, means that it does not, unless
        another one has the FIFO open. Never blocks, raises nothing.
        """
        self._drop_ended()
        for role in self._files:
            if role not in self._pidfds and (pid := _read_pid(self._files[role])) is not None:
                self._known = True
                self._open(role, pid, "pid-file")
        if self._fifo and not self._sure and time.monotonic() >= self._search_at_s:
            self._search()
        return True if "vrrp" in self._pidfds else (False if self._known else None)

    drain = look

    def pids(self) -> dict[str, int]:
        """The living: `parent` and `vrrp`, each only while it lives."""
        self.look()
        return {role: self._pids[role] for role in self._pidfds}

    def began_s(self) -> float | None:
        """When the one that speaks VRRP began, in seconds of CLOCK_BOOTTIME; None while none is known."""
        return self._began_s if "vrrp" in self._pidfds else None

    def stands(self) -> bool:
        """Is it stopped? Then it lives, keeps what it has, and does nothing."""
        fields = _stat(self._pids["vrrp"]) if "vrrp" in self._pidfds else None
        return fields is not None and fields[0] in "tT"

    def has_fifo(self) -> bool | None:
        """Whether it has our FIFO open; None while none is known, or that cannot be seen."""
        return _has_open(self._pids["vrrp"], self._fifo) if "vrrp" in self._pidfds else None

    def close(self) -> None:
        for pidfd in self._pidfds.values():
            os.close(pidfd)
        self._pidfds.clear()
        self._epoll.close()

    def _drop_ended(self) -> None:
        ended = {descriptor for descriptor, _ in self._epoll.poll(0)}
        for role in [role for role, pidfd in self._pidfds.items() if pidfd in ended]:
            self._drop(role)

    def _drop(self, role: str) -> None:
        os.close(self._pidfds.pop(role))  # leaves the epoll by itself
        if role == "vrrp":
            self._sure = False

    def _open(self, role: str, pid: int, found_by: str) -> None:
        if not proc_is_ours():
            return
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:
            return
        # The name is read after the pidfd was opened: if the process ended in between, the pidfd says so.
        if not _is_keepalived(pid) or _ended(pidfd):
            os.close(pidfd)
            return
        self._known = True
        self._pidfds[role], self._pids[role] = pidfd, pid
        self._epoll.register(pidfd, select.EPOLLIN)
        if role == "vrrp":
            self.ever_seen = True
            self.found_by, fields = found_by, _stat(pid)
            self._began_s = int(fields[19]) / TICKS_PER_S if fields else None

    def _search(self) -> None:
        """The one that has our FIFO open is ours, whatever a pid file names: several keepalived may run on a host."""
        began_s = time.monotonic()
        here = self._pids.get("vrrp") if "vrrp" in self._pidfds else None
        if here is not None and _has_open(here, self._fifo):
            self._sure = True
            return
        living = [pid for pid in _all() if pid != here]
        ours = next((pid for pid in living if _has_open(pid, self._fifo)), None)
        self.others = tuple(pid for pid in living if pid != ours)
        if ours is not None:
            if "vrrp" in self._pidfds:
                self._drop("vrrp")
            self._open("vrrp", ours, "fifo")
            self._sure = "vrrp" in self._pidfds
        took_s = time.monotonic() - began_s
        self._search_at_s = began_s + max(SEARCH_S, took_s / SEARCH_PART)


def _all() -> list[int]:
    """Every keepalived in this network namespace."""
    try:
        own, names = os.readlink(_OWN_NET), os.listdir("/proc")
    except OSError:
        return []
    found = []
    for pid in (int(name) for name in names if name.isdigit()):
        try:
            if _is_keepalived(pid) and os.readlink(f"/proc/{pid}/ns/net") == own:
                found.append(pid)
        except OSError:
            continue
    return found


def _has_open(pid: int, path: str) -> bool:
    """Has it the file at `path` open?"""
    try:
        wanted = os.stat(path)
        for entry in os.scandir(f"/proc/{pid}/fd"):
            try:
                there = os.stat(entry.path)
            except OSError:
                continue
            if (there.st_dev, there.st_ino) == (wanted.st_dev, wanted.st_ino):
                return True
    except OSError:
        return False
    return False


def _stat(pid: int) -> list[str] | None:
    """/proc/PID/stat from field 3 (state) on."""
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    return text[text.rindex(b")") + 2 :].decode("ascii").split()


def _read_pid(path: str) -> int | None:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            text = file.read(_PID_CHARS_MAX).strip()
    except OSError:
        return None
    return int(text) if text.isascii() and text.isdigit() and 0 < int(text) < 1 << 31 else None


def _is_keepalived(pid: int) -> bool:
    """By its command name, and by the program it runs where that may be read: a script can carry any name."""
    try:
        comm = Path(f"/proc/{pid}/comm").read_bytes()
    except OSError:
        return False
    if not comm.startswith(_NAME.encode()):
        return False
    try:
        program = os.readlink(f"/proc/{pid}/exe")
    except OSError:
        return True
    return os.path.basename(program.removesuffix(" (deleted)")).startswith(_NAME)


def _ended(pidfd: int) -> bool:
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    return bool(poller.poll(0))
