"""What stands in the journal, and what is added to it from now on? Read beside its writer, which may rotate the file.

Whatever cannot be read as an entry is told with its file, line and reason, and costs only itself.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass
from typing import Any, BinaryIO


@dataclass(frozen=True, slots=True)
class Unread:
    """One line that is no entry. `line` counts from 1 within the file, or from where following began."""

    file: str
    line: int
    reason: str

    def __str__(self) -> str:
        return f"line {self.line} of {self.file} {self.reason}"


Read = dict[str, Any] | Unread


class Tail:
    """The journal at `path`. The first `poll` tells all there is, oldest first, the rotated file included; each later
    one what came since. Nothing is told twice, and nothing is passed over by a rotation in between."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._file: BinaryIO | None = None
        self._rest, self._line = b"", 0
        self._told: BinaryIO | None = None  # the rotated file whose lines were told; open, so that none gets its number

    @property
    def there(self) -> bool:
        """Is there a journal, as far as was seen?"""
        return self._file is not None

    def poll(self) -> list[Read]:
        """Raises OSError when a file that is there can't be read."""
        found: list[Read] = []
        if self._file is None:
            self._open()
            found += self._rotated()
        while self._file is not None:
            replaced = self._replaced()  # asked first: what is written into it after the rotation is nothing
            found += self._lines(self._file.read())
            if not replaced:
                break
            found += self.leftover()
            self._keep(self._file)
            self._file = None
            self._open()
            found += self._rotated()  # one that came and went since, unless it is the one just told
        return found

    def leftover(self) -> list[Read]:
        """The end of the file without a line's end: torn, unless it is whole by luck. Asked for when nothing will
        follow any more."""
        rest, self._rest = self._rest, b""
        if not rest.strip():
            return []
        self._line += 1
        entry = _parse(rest)
        torn = isinstance(entry, str)
        return [Unread(self.path, self._line, "is torn: the host or the agent stopped while it was written") if torn
                else entry]  # type: ignore[list-item]  # fmt: skip

    def close(self) -> None:
        for file in (self._file, self._told):
            if file is not None:
                file.close()

    def _keep(self, told: BinaryIO) -> None:
        if self._told is not None:
            self._told.close()
        self._told = told

    def _open(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._file = open(self.path, "rb")  # noqa: SIM115 (kept over a rotation)
        self._rest, self._line = b"", 0

    def _rotated(self) -> list[Read]:
        """The file before the present one; not if that was told, or is the one just opened, being rotated meanwhile."""
        name = f"{self.path}.1"
        try:
            old = open(name, "rb")  # noqa: SIM115 (kept)
        except FileNotFoundError:
            return []
        if any(one is not None and _same(old, one) for one in (self._file, self._told)):
            old.close()
            return []
        self._keep(old)
        return _all(name, old.read())

    def _replaced(self) -> bool:
        assert self._file is not None
        try:
            return not os.path.samestat(os.stat(self.path), os.fstat(self._file.fileno()))
        except FileNotFoundError:
            return False  # moved away, and the next one is not there yet

    def _lines(self, data: bytes) -> list[Read]:
        *lines, self._rest = (self._rest + data).split(b"\n")
        found: list[Read] = []
        for line in lines:
            self._line += 1
            if line.strip():
                found.append(_entry(self.path, self._line, line))
        return found


def _same(one: BinaryIO, other: BinaryIO) -> bool:
    return os.path.samestat(os.fstat(one.fileno()), os.fstat(other.fileno()))


def _all(name: str, data: bytes) -> list[Read]:
    return [_entry(name, at, line) for at, line in enumerate(data.split(b"\n"), 1) if line.strip()]


def _entry(name: str, at: int, line: bytes) -> Read:
    entry = _parse(line)
    return Unread(name, at, entry) if isinstance(entry, str) else entry


def _parse(line: bytes) -> dict[str, Any] | str:
    """The entry, or why it is none."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return "is no JSON: torn by a crash, or not the journal's"
    at = entry.get("at") if isinstance(entry, dict) else None
    if not isinstance(entry, dict) or not isinstance(entry.get("what"), str):
        return "is not an entry of a journal"
    if isinstance(at, bool) or not isinstance(at, int | float) or not 0 <= at < 1e11:
        return "has no time, so it is not an entry of a journal"
    return entry
