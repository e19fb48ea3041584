"""What does keepalived tell through its notify FIFO, and is it still there to tell anything?

The FIFO is made before keepalived starts: keepalived unlinks and remakes only one that it made itself. A full FIFO
loses the newest lines silently, so the reader must be resident and level: what a line says is a hint to look.
"""

from __future__ import annotations

import os
import select
import stat
from dataclasses import dataclass

from ..errors import CouldNotDo
from ..model.vrrp import Ignored, VrrpEvent, parse_lines

_READ_BYTES = 65536  # a pipe's capacity: one read empties it
_READS_MAX = 16  # a writer that never pauses must not keep the watch thread here


@dataclass(frozen=True, slots=True)
class FifoSeen:
    """What one `drain` saw: events and ignored lines in order of arrival.

    `writer`: somebody has the FIFO open for writing now. `hung_up`: somebody had, and nobody has: keepalived is gone,
    or is re-reading its configuration. Before the first writer both are false.
    """

    events: tuple[VrrpEvent, ...]
    ignored: tuple[Ignored, ...]
    writer: bool
    hung_up: bool


class FifoWatch:
    """The reading end of the FIFO at `path`, kept open for as long as the agent lives.

    Register it with `epoll_mask`, which is edge-triggered: once its last writer has gone, a FIFO is readable for ever,
    and a level-triggered epoll would spin. After each event call `drain`; calling it without one is cheap and right.
    """

    epoll_mask = select.EPOLLIN | select.EPOLLET

    def __init__(self, path: str, instance: str | None = None, others: frozenset[str] = frozenset()) -> None:
        """Makes the FIFO if there is none. `instance` narrows the events to that VRRP instance, and to `others`.

        Raises CouldNotDo when the path is something else than a FIFO or cannot be made or opened.
        """
        self.path, self._instance, self._others = path, instance, others
        self._rest = b""
        self._had_writer = False
        self._fd = open_fifo(path)

    def fileno(self) -> int:
        return self._fd

    def drain(self) -> FifoSeen:
        """All that was written since the last call. Never blocks, raises nothing."""
        chunks: list[bytes] = []
        writer = True
        for _ in range(_READS_MAX):
            try:
                chunk = os.read(self._fd, _READ_BYTES)
            except BlockingIOError:
                break
            except OSError:  # closed under us, or an error that a pipe cannot have: no writer to be seen
                writer = False
                break
            if not chunk:
                writer = False
                break
            self._had_writer = True
            chunks.append(chunk)
        hung_up = not writer and self._had_writer
        self._had_writer = self._had_writer or writer
        items, self._rest = parse_lines(self._rest + b"".join(chunks), self._instance, self._others)
        if not writer:
            self._rest = b""  # half a line of a writer that died is never finished by the next one
        events = tuple(item for item in items if isinstance(item, VrrpEvent))
        ignored = tuple(item for item in items if isinstance(item, Ignored))
        return FifoSeen(events, ignored, writer, hung_up)

    def moved(self) -> bool:
        """Whether `path` is no longer the FIFO that is being read (somebody replaced it): then open a new watch."""
        try:
            there, here = os.stat(self.path), os.fstat(self._fd)
        except OSError:
            return True
        return (there.st_dev, there.st_ino) != (here.st_dev, here.st_ino)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def open_fifo(path: str) -> int:
    """A descriptor for reading the FIFO at `path`, made with mode 0600 if missing; a wrong mode or owner is corrected.

    An existing FIFO is kept: keepalived may have it open. Raises CouldNotDo with a sentence when there is something
    else at `path` (a symbolic link too), or when it cannot be made or opened.
    """
    try:
        made = _make(path)
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as exc:
        raise CouldNotDo(f"cannot make or open the FIFO {path}: {exc.strerror}", refused=True) from exc
    try:
        found = os.fstat(fd)
        if not stat.S_ISFIFO(found.st_mode):
            raise CouldNotDo(f"{path} is not a FIFO; remove it, so that vipguard can make one", refused=True)
        if made or stat.S_IMODE(found.st_mode) != 0o600:
            os.fchmod(fd, 0o600)  # mkfifo obeyed the umask
        if found.st_uid != os.geteuid():
            os.fchown(fd, os.geteuid(), -1)
    except OSError as exc:
        os.close(fd)
        raise CouldNotDo(f"cannot set the mode of the FIFO {path}: {exc.strerror}", refused=True) from exc
    except CouldNotDo:
        os.close(fd)
        raise
    return fd


def _make(path: str) -> bool:
    try:
        os.mkfifo(path, 0o600)
    except FileExistsError:
        if not stat.S_ISFIFO(os.lstat(path).st_mode):
            raise CouldNotDo(
                f"{path} is not a FIFO; remove it, so that vipguard can make one", refused=True
            ) from None
        return False
    return True
