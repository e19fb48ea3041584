"""What keeps a node's namespaces alive? The first process in them, which this file is when run as a script.

It makes the namespaces, gives the node its own /run, /tmp, /etc, /var/lib, host name and boot id, and then
only reaps. Being the first process of a pid namespace it takes the whole node with it when it is killed:
nothing of a node survives its holder. Run as `python3 -I -S holder.py LAB NODE < spec.json`; it prints the
holder's pid, as the host sees it, or why it failed.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import sys
import time
from typing import Any, NoReturn

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWPID, CLONE_NEWNET = (
    0x00020000, 0x04000000, 0x08000000, 0x20000000, 0x40000000,
)  # fmt: skip
MS_NOSUID, MS_NODEV, MS_BIND, MS_REC, MS_PRIVATE = 2, 4, 4096, 16384, 1 << 18
BOOT_ID = "/proc/sys/kernel/random/boot_id"
# What a node has of its own. A path of the host that must stay reachable below one of these is named in spec["keep"].
COVERED = ("/run", "/tmp", "/etc", "/var/lib")

libc = ctypes.CDLL(None, use_errno=True)


def call(name: str, *arguments: object) -> None:
    if getattr(libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}{arguments}: {os.strerror(number)}")


def mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    call(
        "mount",
        source.encode(),
        target.encode(),
        kind.encode() if kind else None,
        ctypes.c_ulong(flags),
        data.encode() if data else None,
    )


def bind(descriptor: int, target: str) -> None:
    mount(f"/proc/self/fd/{descriptor}", target, None, MS_BIND | MS_REC)


def build_view(spec: dict[str, Any]) -> None:
    """Give this mount namespace the node's own directories; the rest of the host stays visible."""
    home = spec["home"]
    kept = [(path, os.open(path, os.O_PATH)) for path in spec["keep"]]
    own = {name: os.open(f"{home}/{name}", os.O_PATH) for name in ("etc", "mysql", "vipguard", "boot_id")}
    bind(own["etc"], "/etc")
    mount("tmpfs", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=755,size=16m")
    mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777,size=256m")
    mount("tmpfs", "/var/lib", "tmpfs", MS_NOSUID | MS_NODEV, "mode=755,size=1m")
    for directory in ("/run/mysqld", "/run/lock", "/var/lib/mysql", "/var/lib/vipguard"):
        os.mkdir(directory, 0o755)
    bind(own["mysql"], "/var/lib/mysql")
    bind(own["vipguard"], "/var/lib/vipguard")
    for path, descriptor in kept:
        os.makedirs(path, exist_ok=True)
        bind(descriptor, path)
    mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV)
    mount("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV)
    bind(own["boot_id"], BOOT_ID)
    for descriptor in [*own.values(), *(descriptor for _, descriptor in kept)]:
        os.close(descriptor)


def enter(spec: dict[str, Any]) -> None:
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    socket.sethostname(spec["hostname"])
    if spec["home"]:
        build_view(spec)
    else:
        mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV)


def hold(exits: str) -> NoReturn:
    """Reap for ever, and note each end: a daemon's exit status would be lost with its parent otherwise."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    journal = os.open("/dev/null", os.O_WRONLY) if not exits else int(exits)
    while True:
        signal.sigwait({signal.SIGCHLD})
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            code = os.waitstatus_to_exitcode(status)
            os.write(journal, f"{time.monotonic():.3f} pid {pid} ended with {code}\n".encode())


def main() -> int:
    spec = json.load(sys.stdin)
    journal = os.open(spec["exits"], os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    call("unshare", CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWNET)
    answer, tell = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(answer)
            os.setsid()
            enter(spec)
            null = os.open("/dev/null", os.O_RDWR)
            for descriptor in (0, 1, 2):
                os.dup2(null, descriptor)
            os.chdir("/")
            os.write(tell, b"ready")
            os.close(tell)
        except BaseException as exc:
            os.write(tell, f"{type(exc).__name__}: {exc}".encode())
            os._exit(1)
        hold(str(journal))
    os.close(tell)
    said = b""
    while chunk := os.read(answer, 4096):
        said += chunk
    if said != b"ready":
        print(said.decode() or "the holder died without a word", file=sys.stderr)
        return 1
    print(child)
    return 0


if __name__ == "__main__":
    sys.exit(main())
