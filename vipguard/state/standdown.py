"""Is this node's server to stay closed by somebody's word? A file that is there for as long as that holds.

It is written without an agent too, and the agent looks at it on each tick: there is nothing to hand over. What cannot
be read counts as a word, but closes no writer.
"""

from __future__ import annotations

import contextlib
import os

import msgspec

from ..errors import CouldNotDo
from ..model.standdown import StoodDown
from .mark import remove, sync

__all__ = ["look", "put", "remove"]

_BYTES_MAX = 4096


def look(path: str) -> StoodDown | None:
    """The word; None where there is none."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    except OSError:
        return StoodDown(0, "", readable=False)
    try:
        return msgspec.json.decode(os.read(fd, _BYTES_MAX), type=StoodDown)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return StoodDown(0, "", readable=False)
    finally:
        os.close(fd)


def put(path: str, word: StoodDown, *, over: bool = True) -> None:
    """Returns when it is on the disk; `over` False leaves a word that is there. Raises CouldNotDo, nothing written."""
    temporary = f"{path}.{os.getpid()}"
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            data = msgspec.json.encode(word) + b"\n"
            if os.write(fd, data) != len(data):
                raise OSError(28, "half of it was written")
            os.fsync(fd)
        finally:
            os.close(fd)
        if over:
            os.rename(temporary, path)
        else:
            with contextlib.suppress(FileExistsError):
                os.link(temporary, path)
            os.unlink(temporary)
        sync(path)
    except OSError as exc:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise CouldNotDo(f"cannot write {path}: {exc.strerror}", refused=True) from exc
