"""What did this node know when it last ran? Its memory as one JSON file, replaced whole and fsynced.

A torn or foreign file is set aside and reported, never trusted: the node then knows nothing and acts so.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import msgspec

from ..errors import CouldNotDo
from ..model.memory import Memory
from .pen import Pen, replace

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Kept:
    """What stands in the file: whose memory it is, and the writer VIP that its agent looked after ("": not told)."""

    format: int
    cluster: str
    node: str
    memory: Memory
    vip: str = ""


def save(
    path: str,
    cluster: str,
    node: str,
    memory: Memory,
    vip: str = "",
    pen: Pen | None = None,
    within_s: float | None = None,
) -> None:
    """Write `memory` so that a crash leaves the old or the new file, by `pen` where there is one. Raises CouldNotDo:
    not `refused` where it was not done `within_s`, and may be later."""
    text = (msgspec.json.encode(Kept(_FORMAT, cluster, node, memory, vip)) + b"\n").decode()
    try:
        if pen is None:
            replace(path, text)
        else:
            pen.replace(path, text, within_s)
    except OSError as exc:
        late = isinstance(exc, TimeoutError)
        raise CouldNotDo(f"cannot write the state file {path}: {exc.strerror}", refused=not late) from exc


def load(path: str, cluster: str, node: str) -> tuple[Memory, str]:
    """The memory, and a sentence of what was wrong with the file ("" for nothing wrong, or no file).

    A file that can't be understood, or that belongs to another node or cluster, is renamed to PATH.set-aside.
    """
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        return Memory(), ""
    except OSError as exc:
        return Memory(), f"cannot read the state file {path}: {exc.strerror}"
    try:
        found = msgspec.json.decode(data, type=Kept)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        return Memory(), _set_aside(path, f"is torn or not vipguard's ({exc})")
    if (found.format, found.cluster, found.node) != (_FORMAT, cluster, node):
        return Memory(), _set_aside(path, f"belongs to node {found.node!r} of cluster {found.cluster!r}")
    return found.memory, ""


def find(path: str) -> Kept | None:
    """Whatever stands there, of whatever node; None where there is no file, or none that can be understood."""
    try:
        found = msgspec.json.decode(Path(path).read_bytes(), type=Kept)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None
    return found if found.format == _FORMAT else None


def _set_aside(path: str, problem: str) -> str:
    aside = f"{path}.set-aside"
    try:
        os.rename(path, aside)
    except OSError as exc:
        return f"the state file {path} {problem} and could not be set aside: {exc.strerror}"
    return f"the state file {path} {problem}; it was set aside as {aside}"
