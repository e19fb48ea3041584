"""Does a write come back? A process of its own that writes a few bytes into a directory and syncs them, when told to.

It is run as a script, by `probe/disk.py`: whoever waits for a disk that stands can't be ended before it moves again,
and neither can its process, nor what that holds: the agent must not be the one that waits. For each line on its
standard input two go to its standard output: what statvfs tells, and then, when it has come back, the write's outcome.
The file has no name where the file system can do that; it never pins the mount, and leaves nothing behind.
"""

from __future__ import annotations

import contextlib
import os
import sys

NAME = ".vipguard-sync"
_BYTES = b"vipguard" * 64


def room(path: str) -> str:
    """Free and total bytes, writable or not, and the device as "major:minor"."""
    try:
        found, device = os.statvfs(path), os.stat(path).st_dev
    except OSError as exc:
        return f"gone {exc.strerror}"
    writable = int(not found.f_flag & os.ST_RDONLY)
    free, total = found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize
    return f"room {free} {total} {writable} {os.major(device)}:{os.minor(device)}"


def write(path: str) -> str:
    """ "synced", or why not. That there is no room came back, too."""
    try:
        fd = _open(path)
        try:
            os.write(fd, _BYTES)
            os.fsync(fd)
        finally:
            os.close(fd)
    except OSError as exc:
        return f"failed {exc.errno} {exc.strerror}"
    return "synced"


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    except OSError:
        name = os.path.join(path, NAME)
        fd = os.open(name, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        os.unlink(name)
        return fd


def main() -> None:
    path = sys.argv[1]
    os.chdir("/")
    while os.read(0, 1):
        os.write(1, f"{room(path)}\n".encode())
        os.write(1, f"{write(path)}\n".encode())


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):  # whoever asked has ended meanwhile
        main()
