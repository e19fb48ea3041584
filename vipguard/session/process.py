"""Which process is behind this socket, and is it still there? Read from /proc, never confused with a later one."""

from __future__ import annotations

import os
import socket
import struct

from ..model.evidence import ProcessId

PF_EXITING = 0x4
KILL_PENDING = 1 << 8  # SIGKILL is number 9, its bit the eighth from 0


def process_id(sock: socket.socket | None) -> ProcessId | None:
    """Who listens at the other end of a unix socket; None where that is no server on this host that we can see.

    The kernel tells who called listen(). Under socket activation that is PID 1, across PID namespaces it is 0: only
    a process whose command line names mysqld or mariadbd is taken.
    """
    if sock is None or sock.family != socket.AF_UNIX:
        return None
    pid, _, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    if pid <= 1 or pid == os.getpid():
        return None
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read().split(b"\0")
    except OSError:
        return None
    if not any(os.path.basename(word) in (b"mysqld", b"mariadbd") for word in words):
        return None
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
