"""What will stand in the new vipguard.toml? The values that MMM's files gave, before they are text."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Node:
    """`priority` 0: it never becomes the writer."""

    name: str
    address: str
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Reader:
    """One address of a role that is not the writer's. `address` is in CIDR form."""

    role: str
    address: str
    nodes: tuple[str, ...]
    prefer: str = ""


@dataclass(slots=True)
class Draft:
    """The values of the new configuration; empty or None: the files do not say it."""

    files: list[str]
    cluster: str = ""
    this: str = ""
    role: str = ""
    vip: str = ""
    interface: str = ""
    nodes: list[Node] = field(default_factory=list)
    readers: list[Reader] = field(default_factory=list)
    port: int = 3306
    replication_user: str = ""
    lag_s_max: float | None = None
    losses_max: int | None = None
    window_s: float | None = None
    witnesses: list[str] = field(default_factory=list)
    notes: list[tuple[str, str, str]] = field(default_factory=list)  # place, directive, sentence

    def note(self, place: str, about: str, sentence: str) -> None:
        self.notes.append((place, about, sentence))
