"""Which process is behind this socket, and is it still there? Read from /proc, never confused with a later one.

Whoever is named here may be killed one day, so each has to be proven twice: that it listens on the very socket, and
that it is the server. A pid file that was left behind proves neither.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from ..model.evidence import ProcessId

PF_EXITING = 0x4
KILL_PENDING = 1 << 8  # SIGKILL is number 9, its bit the eighth from 0
_ACCEPTS = "00010000"  # __SO_ACCEPTCON, in the flags of /proc/net/unix
_SERVERS = (b"mysqld", b"mariadbd")
_PID_BYTES_MAX = 20


@dataclass(frozen=True, slots=True)
class Told:
    """What the server says of itself over the session that asks, with the paths as it sees them; TOLD asks for it."""

    pid_file: str = ""
    datadir: str = ""
    socket: str = ""

    @property
    def pid_path(self) -> str:
        """Where its pid file is; "" for none."""
        return os.path.join(self.datadir, self.pid_file) if self.pid_file else ""


TOLD = "SELECT @@global.pid_file, @@global.datadir, @@global.socket"


def process_id(sock: socket.socket | None) -> ProcessId | None:
    """Who listens at the other end of a unix socket; None where that is no server on this host that we can see.

    The kernel tells who called listen(). Under socket activation that is PID 1, across PID namespaces it is 0: only
    a process whose command line names mysqld or mariadbd is taken. For all others see `found`.
    """
    pid = _listener(sock)
    if pid is None or pid <= 1 or pid == os.getpid() or not proc_is_ours() or not _is_named(pid):
        return None
    return _identity(pid)


def found(sock: socket.socket | None, told: Told) -> ProcessId | None:
    """The server behind a unix socket by what it says of itself, whatever its program is called and whoever made the
    socket; None where no process is proven to be it.

    It has the listening socket, and its number stands in the server's own pid file, or the server's data directory is
    where it works: a name alone would be any server's on this host. PID 1 is never taken: a kill would not end it.
    """
    listener = _listener(sock)
    if sock is None or listener is None or not proc_is_ours():
        return None
    paths = {path.removeprefix("/var") for path in (_path(sock), told.socket) if path}
    for pid in _candidates(listener, told):
        listens = pid == listener or _has_listening(pid, paths)
        if listens and (_is_told(pid, told) or _works_in(pid, told.datadir)):
            return _identity(pid)
    return None


def proc_is_ours() -> bool:
    """Do the numbers in /proc mean to kill(2) what they mean there? Not where it is another PID namespace's."""
    try:
        return os.readlink("/proc/self") == str(os.getpid())
    except OSError:
        return False


def _candidates(listener: int, told: Told) -> Iterator[int]:
    """The likeliest first; all processes of the host last, which takes some milliseconds once a session."""
    seen = {0, 1, os.getpid()}
    for pid in (listener, _read_pid(told.pid_path)):
        if pid is not None and pid not in seen:
            seen.add(pid)
            yield pid
    try:
        names = os.listdir("/proc")
    except OSError:
        return
    for pid in (int(name) for name in names if name.isdigit()):
        if pid not in seen and (_is_told(pid, told) or _works_in(pid, told.datadir)):
            yield pid


def _listener(sock: socket.socket | None) -> int | None:
    if sock is None or sock.family != socket.AF_UNIX:
        return None
    pid, _, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return int(pid)


def _path(sock: socket.socket) -> str:
    try:
        name = sock.getpeername()
    except OSError:
        return ""
    return name if isinstance(name, str) else ""


def _is_named(pid: int) -> bool:
    """Does a word of its command line name a server? The program itself may be a loader."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read().split(b"\0")
    except OSError:
        return False
    return any(os.path.basename(word) in _SERVERS for word in words)


def _is_told(pid: int, told: Told) -> bool:
    """Does the server's pid file name it? In a container both the path and the number are the container's."""
    path = told.pid_path
    if not path:
        return False
    written = {_read_pid(path), _read_pid(f"/proc/{pid}/root{path}")}
    return not written.isdisjoint(_numbers(pid))


def _works_in(pid: int, datadir: str) -> bool:
    """A server changes into its data directory before all else."""
    if not datadir:
        return False
    try:
        there = os.stat(f"/proc/{pid}/cwd")
        wanted = os.stat(f"/proc/{pid}/root{datadir}")
    except OSError:
        return False
    return (there.st_dev, there.st_ino) == (wanted.st_dev, wanted.st_ino)


def _has_listening(pid: int, paths: set[str]) -> bool:
    """Has it open what listens at one of `paths`, in its own network namespace? Whoever made it: systemd passes it on.
    /var/run is /run, and servers are told of either."""
    inodes = set()
    try:
        with open(f"/proc/{pid}/net/unix", encoding="utf-8", errors="replace") as file:
            for line in file:
                words = line.rstrip("\n").split(None, 7)
                if len(words) == 8 and words[3] == _ACCEPTS and words[7].removeprefix("/var") in paths:
                    inodes.add(f"socket:[{words[6]}]")
        for entry in os.scandir(f"/proc/{pid}/fd"):
            try:
                if os.readlink(entry.path) in inodes:
                    return True
            except OSError:
                continue
    except OSError:
        return False
    return False


def _read_pid(path: str) -> int | None:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            text = file.read(_PID_BYTES_MAX).strip()
    except OSError:
        return None
    return int(text) if text.isascii() and text.isdigit() else None


def _numbers(pid: int) -> frozenset[int]:
    """Its numbers, in this PID namespace and in those below (proc(5), NSpid)."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
            line = next((line for line in file if line.startswith("NSpid:")), "")
    except OSError:
        return frozenset()
    return frozenset(int(word) for word in line.split()[1:])


def _identity(pid: int) -> ProcessId | None:
    fields = stat_fields(pid)
    return ProcessId(pid, int(fields[19])) if fields else None


def stat_fields(pid: int) -> list[str] | None:
    """/proc/PID/stat from field 3 (state) on; None when there is no such process."""
    try:
        fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        text = os.read(fd, 2048)
    except OSError:
        return None
    finally:
        os.close(fd)
    return text[text.rindex(b")") + 2 :].decode("ascii").split()


def is_exiting(process: ProcessId) -> bool:
    """True when it runs none of its code any more: exiting, a zombie, gone, or its number is another's."""
    fields = stat_fields(process.pid)
    if fields is None or int(fields[19]) != process.start_ticks:
        return True
    return fields[0] in "ZXx" or bool(int(fields[6]) & PF_EXITING)


def is_done(process: ProcessId) -> bool:
    """Of one that was sent SIGKILL: does none of its threads run any of its code again? Each is exiting, or asleep in
    the kernel, where it may stay for as long as a disk stands, with SIGKILL waiting for it: it wakes up to end.
    """
    if is_exiting(process):
        return True
    try:
        threads = os.listdir(f"/proc/{process.pid}/task")
    except OSError:
        return True
    return all(_is_done(f"/proc/{process.pid}/task/{thread}") for thread in threads)


def _is_done(task: str) -> bool:
    try:
        with open(f"{task}/status", encoding="ascii", errors="replace") as file:
            said = dict(line.partition(":")[::2] for line in file)
    except OSError:
        return True
    state = said.get("State", "").strip()[:1]
    pending = int(said.get("SigPnd", "0"), 16) | int(said.get("ShdPnd", "0"), 16)
    return state in "ZX" or (state == "D" and bool(pending & KILL_PENDING))
