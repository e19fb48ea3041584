"""Does keepalived live on this host?

By pidfds, so that no later process of the same number is taken for it, and its end shows at once. The process that
speaks VRRP is the child; the parent starts it again when it dies. Both pid files are written in the foreground too
(`-n`, systemd's `--dont-fork`): /run/keepalived.pid and, beside it, /run/vrrp.pid (measured with 2.2.7).
"""

from __future__ import annotations

import os
import select
from pathlib import Path

_NAME = "keepalived"
_PID_CHARS_MAX = 20


class KeepalivedWatch:
    """Follows the keepalived whose parent wrote `pid_file`; a restarted one is found again at the next `look`.

    Its descriptor is an epoll of its own that holds the pidfds, so it stays the same over restarts. Register it with
    `epoll_mask` and `look` after an event and on each tick.
    """

    epoll_mask = select.EPOLLIN

    def __init__(self, pid_file: str, vrrp_pid_file: str | None = None) -> None:
        """`vrrp_pid_file` is for a keepalived started with `-r`; by default it is `vrrp.pid` beside `pid_file`."""
        child = vrrp_pid_file or str(Path(pid_file).with_name("vrrp.pid"))
        self._files = {"parent": pid_file, "vrrp": child}
        self._pidfds: dict[str, int] = {}
        self._known = False
        self._epoll = select.epoll()

    def fileno(self) -> int:
        return self._epoll.fileno()

    def look(self) -> bool | None:
        """Whether the process that speaks VRRP lives (a stopped one does); None while no pid file ever named one.

        A pid file that names no living keepalived, or that went away after it named one, means that it does not.
        Never blocks, raises nothing.
        """
        self._drop_ended()
        for role in self._files:
            if role not in self._pidfds:
                self._open(role)
        return True if "vrrp" in self._pidfds else (False if self._known else None)

    drain = look

    def pids(self) -> dict[str, int]:
        """What the pid files of the living say: `parent` and `vrrp`, each only while it lives."""
        self.look()
        found = {role: _read_pid(self._files[role]) for role in self._pidfds}
        return {role: pid for role, pid in found.items() if pid is not None}

    def close(self) -> None:
        for pidfd in self._pidfds.values():
            os.close(pidfd)
        self._pidfds.clear()
        self._epoll.close()

    def _drop_ended(self) -> None:
        ended = {descriptor for descriptor, _ in self._epoll.poll(0)}
        for role in [role for role, pidfd in self._pidfds.items() if pidfd in ended]:
            os.close(self._pidfds.pop(role))  # leaves the epoll by itself

    def _open(self, role: str) -> None:
        pid = _read_pid(self._files[role])
        if pid is None:
            return
        self._known = True
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:
            return
        # The name is read after the pidfd was opened: if the process ended in between, the pidfd says so.
        if not _is_keepalived(pid) or _ended(pidfd):
            os.close(pidfd)
            return
        self._pidfds[role] = pidfd
        self._epoll.register(pidfd, select.EPOLLIN)


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
