"""May this node hold the VIP? The answer as keepalived's track file has it: `1` yes, `0` no.

With `weight 0 reverse` everything but a 1 means FAULT to keepalived: 0, an empty file, garbage, no file. So a write
that fails ends in removing the file: an old 1 must not outlive a verdict that says 0.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from typing import Final, Literal

from ..errors import CouldNotDo

ELIGIBLE: Final = "1"
INELIGIBLE: Final = "0"
Value = Literal["1", "0"]
_READ_BYTES_MAX = 64


def write(path: str, value: Value) -> None:
    """Makes the file say `value`, by a new file beside it and a rename: a reader sees the old or the new, never half.

    A file that says just that already is left alone, so that a full file system takes nothing from a healthy holder.
    If writing fails, the file is removed. Raises CouldNotDo either way then, saying what keepalived sees now; `refused`
    is true only when the file could not be removed either and still says what it said before.
    """
    if _content(path) == _line(value):
        return
    try:
        _replace(path, value)
    except OSError as exc:
        _remove_instead(path, value, exc)


def _replace(path: str, value: str) -> None:
    temporary = f"{path}.{threading.get_native_id()}"  # of this thread alone: two writers must not mix
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)  # left by a writer that died; O_EXCL then refuses a planted link
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    try:
        try:
            os.fchmod(fd, 0o644)
            if os.write(fd, _line(value)) != len(_line(value)):
                raise OSError(errno.ENOSPC, "half of it was written")
        finally:
            os.close(fd)
        os.rename(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _remove_instead(path: str, value: str, cause: OSError) -> None:
    problem = f"cannot write {value} to the track file {path} ({cause.strerror})"
    try:
        os.unlink(path)
    except FileNotFoundError:
        raise CouldNotDo(f"{problem}; there is no such file, which keepalived takes for FAULT") from cause
    except OSError as exc:
        raise CouldNotDo(
            f"{problem} nor remove it ({exc.strerror}); keepalived still sees what it said before",
            refused=True,
        ) from cause
    raise CouldNotDo(f"{problem}; removed it instead, which keepalived takes for FAULT") from cause


def read(path: str) -> str | None:
    """What the file says, without the white space around it, or None when it cannot be read.

    Only "1" is eligible; a content that vipguard never writes comes back as it is, cut to 64 bytes.
    """
    content = _content(path)
    return None if content is None else content.decode("utf-8", "backslashreplace").strip()


def ensure(path: str, value_if_new: Value) -> str | None:
    """Leaves an existing file alone and says what `read` says of it; makes a missing one with `value_if_new`.

    Raises CouldNotDo when a missing file cannot be made.
    """
    if os.path.lexists(path):
        return read(path)
    write(path, value_if_new)
    return value_if_new


def _line(value: str) -> bytes:
    return f"{value}\n".encode("ascii")


def _content(path: str) -> bytes | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return os.read(fd, _READ_BYTES_MAX)
    except OSError:
        return None
    finally:
        os.close(fd)
