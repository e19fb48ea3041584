"""Network namespaces for tests: made by the test, held by a descriptor, gone with it."""

from __future__ import annotations

import ctypes
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def boottime() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Net:
    """One network namespace, loopback up. `run` runs a program in it, `inside` puts the calling thread there."""

    def __init__(self) -> None:
        made: list[int] = []
        thread = threading.Thread(target=lambda: made.append(_unshared()))
        thread.start()
        thread.join()
        self.fd = made[0]
        self.path = f"/proc/{os.getpid()}/fd/{self.fd}"
        self.run("ip", "link", "set", "lo", "up")

    def argv(self, *argv: str) -> list[str]:
        return ["nsenter", f"--net={self.path}", "--", *argv]

    def run(self, *argv: str, check: bool = True, timeout: float = 10) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self.argv(*argv),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert not check or done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
        return done

    def ip(self, line: str, check: bool = True) -> str:
        return self.run("ip", *line.split(), check=check).stdout

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Sockets made meanwhile by this thread belong to the namespace, and stay in it."""
        before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _setns(self.fd)
            yield
        finally:
            _setns(before)
            os.close(before)

    def end(self) -> None:
        os.close(self.fd)


def connect(left: Net, right: Net, name: str = "eth0") -> None:
    """A cable: both ends are called `name`, 10.73.0.1 and fd73::1 on the left, .2 on the right, both up."""
    left.ip(f"link add {name} type veth peer name {name} netns {right.path}")
    for net, number in ((left, 1), (right, 2)):
        net.ip(f"addr add 10.73.0.{number}/24 dev {name}")
        net.ip(f"addr add fd73::{number}/64 dev {name} nodad")
        net.ip(f"link set {name} addrgenmode none")
        net.ip(f"link set {name} up")
        net.ip(f"addr add fe80::{number}/64 dev {name} nodad")


@contextmanager
def pair() -> Iterator[tuple[Net, Net]]:
    left, right = Net(), Net()
    try:
        connect(left, right)
        yield left, right
    finally:
        left.end()
        right.end()


def _unshared() -> int:
    if _libc.unshare(_CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "unshare: network namespaces need root")
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _setns(fd: int) -> None:
    if _libc.setns(fd, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")
