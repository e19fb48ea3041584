"""How is another's program run? With a total deadline, what it says caught, and killed with its group when late."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..errors import CouldNotDo

OUTPUT_BYTES_MAX = 16_384  # of what it says, the end is kept
_REAP_S = 0.2
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Ran:
    """`code` is the exit code, negative for the signal that ended it; None: it was late, and killed."""

    code: int | None
    output: str

    @property
    def ok(self) -> bool:
        return self.code == 0

    @property
    def how(self) -> str:
        if self.code is None:
            return "was late and was killed"
        return f"exited with {self.code}" if self.code >= 0 else f"was ended by signal {-self.code}"


def run(
    argv: Sequence[str], deadline_s: float, *, stdin: str = "", env: Mapping[str, str] | None = None
) -> Ran:
    """Run it in a session and a process group of its own, with `env` and a plain PATH as its whole environment.

    Input and output are files in memory, so that a child which it leaves behind holds nobody up. Raises CouldNotDo
    (refused) when it cannot be started.
    """
    given, said = _memory("stdin", stdin), _memory("output", "")
    try:
        try:
            process = subprocess.Popen(
                list(argv),
                stdin=given,
                stdout=said,
                stderr=said,
                cwd="/",
                env={"PATH": _PATH, "LANG": "C.UTF-8", **(env or {})},
                start_new_session=True,
            )
        except (OSError, ValueError) as exc:
            reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
            raise CouldNotDo(f"{argv[0]} could not be started: {reason}", refused=True) from exc
        if _ended(process, deadline_s):
            return Ran(process.returncode, _tail(said))
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        _ended(process, _REAP_S)  # one in uninterruptible sleep is reaped later
        return Ran(None, _tail(said))
    finally:
        os.close(given)
        os.close(said)


def _memory(name: str, text: str) -> int:
    fd = os.memfd_create(f"vipguard-{name}", os.MFD_CLOEXEC)
    os.write(fd, text.encode())
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def _ended(process: subprocess.Popen[bytes], within_s: float) -> bool:
    """Wait for its end without polling; whether it has ended."""
    descriptor = os.pidfd_open(process.pid)
    try:
        poller = select.poll()
        poller.register(descriptor, select.POLLIN)
        poller.poll(max(0.0, within_s) * 1000)
    finally:
        os.close(descriptor)
    return process.poll() is not None


def _tail(fd: int) -> str:
    size = os.fstat(fd).st_size
    data = os.pread(fd, OUTPUT_BYTES_MAX, max(0, size - OUTPUT_BYTES_MAX))
    return data.decode("utf-8", "replace").strip()
