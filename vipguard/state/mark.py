"""Is a fresh copy of this node under way, or broken off? A file from before its first step until after its last.

While it is there the node takes nothing over and joins nobody: its data may be half. Whatever stands in the file, and
also nothing that can be understood, counts as a copy that is not whole.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import msgspec

from ..errors import CouldNotDo
from ..model.evidence import CopyEvidence, ProcessId
from ..session.process import is_exiting


@dataclass(frozen=True, slots=True)
class Mark:
    """`source` is the node that is copied. `follows`: whom this node replicated from before ("" for unknown), which
    the copy overwrites. `by`: the process that makes the copy. `began_at`: seconds since 1970, of the first run."""

    since: str
    source: str
    follows: str
    by: ProcessId
    began_at: float = 0.0


def look(path: str) -> CopyEvidence | None:
    """What the agent needs to know of the mark; None where there is none."""
    try:
        found = read(path)
    except CouldNotDo:
        return CopyEvidence("an unknown time", "an unknown node", working=False)
    return None if found is None else CopyEvidence(found.since, found.source, is_working(found))


def is_working(found: Mark) -> bool:
    """Does the process live that makes the copy?"""
    return not is_exiting(found.by)


def read(path: str) -> Mark | None:
    """The mark, None where there is none. Raises CouldNotDo for one that cannot be read or understood."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise CouldNotDo(f"cannot read {path}: {exc.strerror}") from exc
    try:
        return msgspec.json.decode(os.read(fd, 4096), type=Mark)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise CouldNotDo(f"cannot understand {path}: {exc}") from exc
    finally:
        os.close(fd)


def put(path: str, mark: Mark, *, over: bool = False) -> None:
    """Returns when the mark is on the disk; `over` another one, which is refused else.

    Raises CouldNotDo, and then nothing may be touched.
    """
    temporary = f"{path}.{os.getpid()}"
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            os.write(fd, msgspec.json.encode(mark) + b"\n")
            os.fsync(fd)
        finally:
            os.close(fd)
        if over:
            os.rename(temporary, path)
        else:
            os.link(temporary, path)
            os.unlink(temporary)
        sync(path)
    except FileExistsError as exc:
        os.unlink(temporary)
        raise CouldNotDo(f"{path} is there: somebody began a copy just now", refused=True) from exc
    except OSError as exc:
        raise CouldNotDo(f"cannot write {path}: {exc.strerror}", refused=True) from exc


def remove(path: str) -> None:
    """It holds no longer. Raises CouldNotDo."""
    try:
        os.unlink(path)
        sync(path)
    except FileNotFoundError:
        pass
    except OSError as exc:
        raise CouldNotDo(f"cannot remove {path}: {exc.strerror}", refused=True) from exc


def sync(path: str) -> None:
    """What was put into the file's folder, or taken away, is on the disk when it returns. Raises OSError."""
    folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
