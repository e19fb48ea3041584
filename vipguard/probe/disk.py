"""Has the file system of the data directory room, can it be written, and do writes to it come back?"""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from errno import ENOSPC
from pathlib import Path

from ..model.evidence import DiskEvidence
from ..session.process import stat_fields
from . import syncer

WAIT_S = 0.2  # for a healthy disk to come back within the look
Now = Callable[[], float]


def look(path: str, now: Now) -> DiskEvidence:
    """Free bytes (those that a process without privileges may use), total bytes, and whether it is mounted writable.

    All None when statvfs fails. Raises nothing, but blocks for as long as a dead network file system does: call it
    where that is harmless. `now`: seconds of CLOCK_BOOTTIME. A file system that the kernel turned read-only after
    errors shows in ST_RDONLY; nothing is written to find out.
    """
    seen_at_s = now()
    try:
        found = os.statvfs(path)
    except OSError:
        return DiskEvidence(seen_at_s, free_bytes=None, total_bytes=None, writable=None)
    return DiskEvidence(
        seen_at_s,
        free_bytes=found.f_bavail * found.f_frsize,
        total_bytes=found.f_blocks * found.f_frsize,
        writable=not found.f_flag & os.ST_RDONLY,
        took_s=now() - seen_at_s,
    )


class DiskWatch:
    """Looks at the data directory, and writes there and where the logs lie. Belongs to one thread; never blocks for
    longer than `WAIT_S`, whatever the disks do. Raises nothing.
    """

    def __init__(self) -> None:
        self._writers: dict[str, _Writer] = {}

    def look(self, path: str, logs: tuple[str, ...], now: Now) -> DiskEvidence:
        """The room of `path`, and the worst of what a write to it and to each of `logs` met."""
        began_s, until_s = now(), now() + WAIT_S
        places = dict.fromkeys(os.path.normpath(os.path.join(path, place)) for place in ("", *logs))
        for gone in [place for place in self._writers if place not in places]:
            self._writers.pop(gone).close()
        for place in places:
            self._writers.setdefault(place, _Writer(place)).ask(now)
        seen = [self._writers[place].see(max(0.0, until_s - now()), now) for place in self._of_their_own(places)]
        first = seen[0]
        worst = max(seen, key=lambda one: (one.waits_since_s is not None, -(one.waits_since_s or 0.0)))
        failed = next((one for one in seen if one.error), None)
        return DiskEvidence(
            now(), first.free_bytes, first.total_bytes, first.writable,
            took_s=None if first.waits_since_s is not None else now() - began_s,
            waits_since_s=worst.waits_since_s, still_since_s=worst.still_since_s, counted=worst.counted,
            sync_error=failed.error if failed else "",
            place=failed.place if failed and worst.waits_since_s is None else worst.place,
        )  # fmt: skip

    def _of_their_own(self, places: dict[str, None]) -> list[str]:
        """One a file system: a second writer there would tell nothing new."""
        found: dict[str, str] = {}
        for place in places:
            found.setdefault(self._writers[place].device or place, place)
        return list(found.values())

    def close(self) -> None:
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()


@dataclass(frozen=True, slots=True)
class _Seen:
    """What one writer met: see `DiskEvidence`."""

    place: str
    free_bytes: int | None = None
    total_bytes: int | None = None
    writable: bool | None = None
    waits_since_s: float | None = None
    still_since_s: float | None = None
    counted: bool = True
    error: str = ""


class _Writer:
    """One `syncer` process, which may hang, and what it said last."""

    def __init__(self, place: str) -> None:
        self.place, self.device = place, ""
        self._process: subprocess.Popen[bytes] | None = None
        self._text = b""
        self._asked_s: float | None = None
        self._still_s = 0.0
        self._count: int | None = None
        self._last = _Seen(place)

    def ask(self, now: Now) -> None:
        """Tell it to write, unless it still does."""
        if self._asked_s is not None:
            return
        try:
            if self._process is None:
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-S", os.path.abspath(syncer.__file__), self.place],
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd="/", bufsize=0, start_new_session=True,
                )  # fmt: skip
            assert self._process.stdin is not None
            self._process.stdin.write(b"\n")
        except OSError as exc:
            self._end(f"the process that writes there cannot be started: {exc.strerror}")
            return
        self._asked_s = self._still_s = now()
        self._count = completed(self.device)

    def see(self, wait_s: float, now: Now) -> _Seen:
        """What it has said by now; it is waited for `wait_s` at most."""
        until_s = now() + wait_s
        while self._asked_s is not None and self._process is not None:
            assert self._process.stdout is not None
            answers = select.poll()
            answers.register(self._process.stdout, select.POLLIN)
            if not answers.poll(max(0.0, until_s - now()) * 1000):
                break
            data = os.read(self._process.stdout.fileno(), 4096)
            if not data:
                self._end("the process that writes there ended")
                break
            self._text += data
            while b"\n" in self._text:
                line, _, self._text = self._text.partition(b"\n")
                self._hear(line.decode("utf-8", "replace"))
        if self._asked_s is None or self._process is None:
            return self._last
        counted = self._moves(self._process.pid, now)
        return replace(self._last, waits_since_s=self._asked_s, still_since_s=self._still_s, counted=counted)

    def _hear(self, line: str) -> None:
        word, _, rest = line.partition(" ")
        if word == "room":
            free, total, writable, device = rest.split()
            if device != self.device:
                self.device, self._count = device, completed(device)
            self._last = _Seen(self.place, int(free), int(total), writable == "1")
        elif word == "gone":
            self._last = _Seen(self.place)
        else:
            self._asked_s = None
            number, _, reason = rest.partition(" ")
            if word == "failed" and number != str(ENOSPC):
                self._last = replace(self._last, error=reason)

    def _moves(self, pid: int, now: Now) -> bool:
        """Does its device count what it completes? If one moved, or the process does not sleep in a call (it gets no
        processor, was stopped, or waits for its own program's pages), that was no standstill of this disk up to now."""
        count, fields = completed(self.device), stat_fields(pid)
        if count != self._count or fields is None or fields[0] not in "DS" or not _in_a_call(pid):
            self._count, self._still_s = count, now()
        return count is not None

    def _end(self, why: str) -> None:
        self._last = _Seen(self.place, error=why)
        self.close()

    def close(self) -> None:
        """It ends by itself with its standard input; one that hangs, when the disk moves again."""
        process, self._process, self._asked_s, self._text = self._process, None, None, b""
        if process is None:
            return
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        process.kill()
        try:
            process.wait(0.05)
        except subprocess.TimeoutExpired:
            _ENDING.append(process)
        for ended in [one for one in _ENDING if one.poll() is not None]:
            _ENDING.remove(ended)


def _in_a_call(pid: int) -> bool:
    """proc_pid_syscall(5): -1 for one that sleeps outside of any; where the kernel does not tell, it is believed."""
    try:
        return not Path(f"/proc/{pid}/syscall").read_text(encoding="ascii").startswith(("-1", "running"))
    except OSError:
        return True


_ENDING: list[subprocess.Popen[bytes]] = []  # killed, and asleep in the kernel: to be reaped when they have ended


def completed(device: str) -> int | None:
    """How many writes and flushes a block device "major:minor" has completed; None where nobody counts them.

    Documentation/block/stat.rst: the fifth and the sixteenth field. A file system without a device of its own in its
    number (btrfs) is looked up in mountinfo.
    """
    if not device:
        return None
    if device.startswith("0:"):
        device = _mounted_from(device)
    try:
        fields = Path(f"/sys/dev/block/{device}/stat").read_text(encoding="ascii").split()
    except OSError:
        return None
    return int(fields[4]) + (int(fields[15]) if len(fields) > 15 else 0)


def _mounted_from(device: str) -> str:
    """The block device behind an anonymous one, as "major:minor"; empty where there is none."""
    try:
        lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        for line in lines:
            fields, _, rest = line.partition(" - ")
            source = rest.split()[1]
            if fields.split()[2] == device and source.startswith("/dev/"):
                found = os.stat(source).st_rdev
                return f"{os.major(found)}:{os.minor(found)}"
    except (OSError, IndexError):
        pass
    return ""
