"""Who writes vipguard's own files? A process of its own, so that a disk that stands holds only that one.

Who waits for such a disk sleeps in the kernel and can't be killed; its process can't end either, nor what that holds:
the agent's lock on the run directory, its sockets, its sessions. The next agent could not start.
Run as a script it is that process: one request a line, one answer a line. It imports nothing of ours.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import threading
import time

BYTES_MAX = 4_000_000  # of a file that is appended to, before it is kept as PATH.1


def replace(path: str, text: str, parent: int = 0) -> None:
    """Write `text` so that a crash leaves the old or the new file. Raises OSError.

    Not where `parent` is not this process's any more: an agent's late word must not come after its successor's.
    """
    temporary = f"{path}.{os.getpid()}-{threading.get_native_id()}"
    data = text.encode()
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            if os.write(fd, data) != len(data):
                raise OSError(28, "half of it was written")
            os.fsync(fd)
        finally:
            os.close(fd)
        if parent and os.getppid() != parent:
            raise OSError(32, "whoever gave it has ended")
        os.rename(temporary, path)
        folder = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def append(path: str, text: str, sync: bool) -> None:
    """One more line. One that a crash tore before it stays a line of its own. Raises OSError."""
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
    fd = os.open(path, flags, 0o640)
    try:
        size = os.fstat(fd).st_size
        if size > BYTES_MAX:
            os.rename(path, f"{path}.1")
            os.close(fd)
            fd = os.open(path, flags, 0o640)
            size = 0
        torn = size > 0 and os.pread(fd, 1, size - 1) != b"\n"
        os.write(fd, (b"\n" if torn else b"") + text.encode() + b"\n")
        if sync:
            os.fsync(fd)
    finally:
        os.close(fd)


class Pen:
    """Such a process, begun at once and again when it ended. Belongs to one thread, but for `close`."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._owed = False  # an answer that had not come in its time
        self._text = b""
        with contextlib.suppress(OSError):
            self._begin()

    def replace(self, path: str, text: str, within_s: float | None = None) -> None:
        """As the function. Raises OSError, TimeoutError when it was not done in that time: it may be later."""
        self._ask(["replace", path, text], within_s)

    def append(self, path: str, text: str, sync: bool, within_s: float | None = None) -> None:
        """As the function. Raises as `replace`."""
        self._ask(["append", path, text, sync], within_s)

    def _begin(self) -> None:
        self._owed, self._text = False, b""
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", os.path.abspath(__file__), str(os.getpid())],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd="/", bufsize=0, start_new_session=True,
        )  # fmt: skip

    def _ask(self, request: list[object], within_s: float | None) -> None:
        until_s = None if within_s is None else time.monotonic() + within_s
        line = json.dumps(request).encode() + b"\n"
        for again in (True, False):
            try:
                if self._owed:
                    self._answer(until_s)
                if self._process is None:
                    self._begin()
                assert self._process is not None and self._process.stdin is not None
                view = memoryview(line)
                while view:
                    view = view[self._process.stdin.write(view) or 0 :]
                self._owed = True
                said = self._answer(until_s)
                break
            except (BrokenPipeError, EOFError):
                self.close()
                self._owed = False
                if not again:
                    raise OSError(32, "the process that writes ended") from None
        if said != "ok":
            number, _, reason = said.partition(" ")
            raise OSError(int(number or 5), reason)

    def _answer(self, until_s: float | None) -> str:
        assert self._process is not None and self._process.stdout is not None
        while b"\n" not in self._text:
            wait_s = None if until_s is None else max(0.0, until_s - time.monotonic())
            answers = select.poll()
            answers.register(self._process.stdout, select.POLLIN)
            if not answers.poll(None if wait_s is None else wait_s * 1000):
                raise TimeoutError(110, "the disk does not answer")
            data = os.read(self._process.stdout.fileno(), 4096)
            if not data:
                raise EOFError
            self._text += data
        line, _, self._text = self._text.partition(b"\n")
        self._owed = False
        return line.decode("utf-8", "replace")

    def close(self) -> None:
        """It ends with its standard input, when it has done what it was told."""
        process, self._process = self._process, None
        if process is None:
            return
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        threading.Thread(target=process.wait, name="vipguard-pen", daemon=True).start()


def _serve(parent: int) -> None:
    for line in sys.stdin.buffer:
        request = json.loads(line)
        try:
            if request[0] == "replace":
                replace(request[1], request[2], parent)
            else:
                append(request[1], request[2], request[3])
            said = "ok"
        except OSError as exc:
            said = f"{exc.errno} {exc.strerror}"
        os.write(1, f"{said}\n".encode())


if __name__ == "__main__":
    os.chdir("/")
    with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):
        _serve(int(sys.argv[1]))
