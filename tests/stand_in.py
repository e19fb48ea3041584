"""A network namespace of its own, with stand-ins for the agent and for the database's socket."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
PYTHON = "/usr/bin/python3"

# argv: path, answer. "silent" accepts and says nothing, "deaf" does not even accept, "half" never ends its line.
STAND_IN = """
import os, socket, sys
path, answer = sys.argv[1:]
listener = socket.socket(socket.AF_UNIX)
listener.bind(path)
listener.listen(0 if answer == "deaf" else 8)
kept = []
if answer == "deaf":
    while len(kept) < 1:
        kept.append(socket.socket(socket.AF_UNIX))
        kept[-1].connect(path)
print("ready", flush=True)
while answer != "deaf":
    kept.append(listener.accept()[0])
    if answer != "silent":
        try:
            with open(path + ".asked", "ab") as asked:
                asked.write(kept[-1].recv(64))
            kept[-1].send(answer.encode() + (b"" if answer == "half" else b"\\n"))
        except OSError:
            pass  # the asker has gone
import signal
signal.pause()
"""


class Namespace:
    """A network namespace with a mount namespace, kept by one sleeping process. `run` runs a command in it."""

    def __init__(self) -> None:
        argv = ["unshare", "--net", "--mount", "--propagation", "private", "sleep", "600"]
        self._keeper = subprocess.Popen(argv, start_new_session=True)
        self._children: list[subprocess.Popen[str]] = []
        own = os.readlink("/proc/self/ns/mnt")
        until(lambda: os.readlink(f"/proc/{self._keeper.pid}/ns/mnt") != own, "the namespace to be there")
        self.check("ip", "link", "set", "lo", "up")

    def argv(self, *argv: str) -> list[str]:
        return ["nsenter", "-t", str(self._keeper.pid), "-n", "-m", *argv]

    def run(self, *argv: str, timeout: float = 20, **more: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.argv(*argv),
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            **more,
        )  # type: ignore[call-overload,no-any-return]

    def check(self, *argv: str) -> str:
        done = self.run(*argv)
        assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
        return str(done.stdout)

    def start(self, *argv: str) -> subprocess.Popen[str]:
        child = subprocess.Popen(
            self.argv(*argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._children.append(child)
        return child

    @contextmanager
    def stand_in(self, path: Path, answer: str) -> Iterator[subprocess.Popen[str]]:
        """Somebody listens at `path` and answers each question with `answer`."""
        child = self.start(PYTHON, "-I", "-S", "-c", STAND_IN, str(path), answer)
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
            yield child
        finally:
            child.kill()
            child.wait(10)
            path.unlink(missing_ok=True)

    def end(self) -> None:
        for process in (*self._children, self._keeper):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)


def until(condition: Callable[[], object], describe: str, within_s: float = 10.0) -> None:
    """Waits for the condition; says what it waited for when it does not come."""
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end, f"waited {within_s} s for {describe}"
        time.sleep(0.02)
