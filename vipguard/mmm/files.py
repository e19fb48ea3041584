"""What do MMM's files say? Its own small syntax: blocks, directives, includes, comments.

As lib/Common/Config.pm of MMM 2.2.1 reads it, with what that does silently (an end tag that closes another block, a
block that is never closed, a file that includes itself) refused. Raises ConfigError, which names file and line, and
never repeats a line: it may hold a password.
"""

from __future__ import annotations

import difflib
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from vipguard.errors import ConfigError
from vipguard.mmm.directives import BLOCKS, NAMED, TOP, VERBATIM

FILE_BYTES_MAX = 1_000_000
FILES_MAX = 50
DIRECTORIES = ("/etc/mysql-mmm", "/etc/mmm", "/etc")  # where MMM looks for an include

_OPEN = re.compile(r"<\s*(\w+)(?:\s+([\w.:-]+))?\s*(/?)>", re.ASCII)
_CLOSE = re.compile(r"</\s*(\w+)\s*>", re.ASCII)
_DIRECTIVE = re.compile(r"(\S+)\s+(.*)", re.DOTALL)
_MMM1 = "write <{0} …> and </{0}> round its directives: this is the syntax of MMM 1, and MMM 2's is read"


@dataclass(frozen=True, slots=True)
class Entry:
    """A directive's value, and where it stands, as FILE:LINE."""

    value: str
    place: str

    @property
    def items(self) -> tuple[str, ...]:
        return tuple(filter(None, (item.strip() for item in self.value.split(","))))


@dataclass(slots=True)
class Block:
    """`<kind name>`; where a block is written twice its directives are put together, the last one counts."""

    kind: str
    name: str
    place: str
    entries: dict[str, Entry] = field(default_factory=dict)


@dataclass(slots=True)
class Settings:
    """All that the files say. `remarks` is what was read in spite of a mistake: place, directive, sentence."""

    entries: dict[str, Entry] = field(default_factory=dict)
    blocks: dict[str, dict[str, Block]] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)
    remarks: list[tuple[str, str, str]] = field(default_factory=list)

    def named(self, kind: str) -> dict[str, Block]:
        """The blocks of one kind, with what `<kind default>` says filled in; without that one."""
        blocks = dict(self.blocks.get(kind, {}))
        default = blocks.pop("default", None)
        given = default.entries if default else {}
        return {name: Block(kind, name, one.place, {**given, **one.entries}) for name, one in blocks.items()}

    def every(self) -> Iterator[tuple[str, str, Entry]]:
        """Kind of block ("" outside), directive, entry."""
        for name, entry in self.entries.items():
            yield "", name, entry
        for kind, blocks in self.blocks.items():
            for block in blocks.values():
                for name, entry in block.entries.items():
                    yield kind, name, entry


def wrong(place: str, problem: str, remedy: str) -> ConfigError:
    place, problem, remedy = (
        "".join(c if c.isprintable() else " " for c in text) for text in (place, problem, remedy)
    )
    return ConfigError(problem, file=place, remedy=remedy)


def read(paths: Iterable[str]) -> Settings:
    """The files and what they include, each once. Raises ConfigError."""
    settings = Settings()
    seen: set[str] = set()
    for path in paths:
        _read(settings, path, path, seen, ())
    return settings


def _read(settings: Settings, path: str, called: str, seen: set[str], chain: tuple[str, ...]) -> None:
    real = os.path.realpath(path)
    if real in chain:
        raise wrong(called, "is included by itself", "take that include out")
    if real in seen:
        return
    seen.add(real)
    if len(seen) > FILES_MAX:
        raise wrong(called, f"is the file number {FILES_MAX + 1}", "name the files of one cluster only")
    text = _decoded(_content(path, called))
    name = os.path.basename(path)
    settings.files.append("".join(c if c.isascii() and c.isprintable() else "?" for c in name))

    def include(target: str, place: str) -> None:
        found = _find(target, os.path.dirname(path), place)
        _read(settings, found, place, seen, (*chain, real))

    parse(settings, settings.files[-1], text, include)


def _content(path: str, called: str) -> bytes:
    """`called`: what the operator sees of it, the path that was named or the place of the include."""
    what = "" if called == path else f"includes {os.path.basename(path)}, which "
    try:
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise wrong(called, f"{what}is no regular file", "name MMM's configuration files")
            content = file.read(FILE_BYTES_MAX + 1)
    except FileNotFoundError:
        raise wrong(called, f"{what}does not exist", "name MMM's files, such as mmm_common.conf") from None
    except PermissionError:
        raise wrong(called, f"{what}may not be read by you", "run this as root: the files hold passwords") from None
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
        raise wrong(called, f"{what}cannot be read ({reason})", "name MMM's configuration files") from exc
    if len(content) > FILE_BYTES_MAX:
        raise wrong(called, f"{what}is larger than a megabyte", "name MMM's configuration files")
    return content


def _decoded(content: bytes) -> str:
    """MMM does not care; what is not UTF-8 stands in comments, in Latin-1 for whoever wrote it."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _find(target: str, beside: str, place: str) -> str:
    name = target if target.endswith(".conf") else f"{target}.conf"
    places = [os.path.join(directory, name) for directory in (beside, *DIRECTORIES)]
    for path in places:
        # ValueError: a zero byte in the name
        try:
            if os.path.exists(path):
                return path
        except ValueError:
            break
    looked = ", ".join([beside or "this directory", *DIRECTORIES])
    problem = f'includes "{name[:80]}", which is in none of {looked}'
    raise wrong(place, problem, "put it beside the file that includes it")


# -- one file


def parse(settings: Settings, name: str, text: str, include: Callable[[str, str], None]) -> None:
    """Adds what `text` says; `include` is called with a target and its place. Raises ConfigError."""
    block: Block | None = None
    place = name
    for number, line in enumerate(text.split("\n"), 1):
        place, line = f"{name}:{number}", line.strip()
        if not line or line.startswith("#"):
            continue
        if line.startswith("</"):
            _close(line, block, place)
            block = None
        elif line.startswith("<"):
            block = _open(settings, line, block, place)
        elif found := _DIRECTIVE.fullmatch(line):
            directive, value = found.groups()
            if directive == "include":
                include(value, place)
            else:
                _put(settings, block, directive, value, place)
        else:
            known = line in TOP or any(line in names for names in BLOCKS.values())
            what = f"{line} has no value" if known else "is neither a block nor a directive with a value nor a comment"
            raise wrong(place, what, "correct that line")
    if block is not None:
        raise wrong(
            place, f"ends within <{block.kind}{_called(block)}>, which {block.place} opens",
            f"add </{block.kind}>, or the rest of a file that was cut off",
        )  # fmt: skip


def _called(block: Block) -> str:
    return f" {block.name}" if block.name else ""


def _close(line: str, block: Block | None, place: str) -> None:
    found = _CLOSE.fullmatch(line)
    if not found:
        raise wrong(place, "begins like the end of a block and is none", "write for example </host>")
    if block is None:
        raise wrong(place, f"closes {found[1][:60]}, and no block is open", "take it out")
    if found[1] != block.kind:
        problem = f"closes {found[1][:60]}, but <{block.kind}{_called(block)}> of {block.place} is open"
        raise wrong(place, problem, f"write </{block.kind}>")


def _open(settings: Settings, line: str, within: Block | None, place: str) -> Block | None:
    found = _OPEN.fullmatch(line)
    if not found:
        raise wrong(place, "begins like a block and is none", "write for example <host db1>")
    kind, name, empty = found[1], found[2] or "", bool(found[3])
    if within is not None:
        problem = f"opens {kind[:60]} within <{within.kind}{_called(within)}>, which {within.place} opens"
        raise wrong(place, problem, f"close it first with </{within.kind}>")
    if kind not in BLOCKS:
        near = difflib.get_close_matches(kind.lower()[:60], BLOCKS, n=1, cutoff=0.5)
        remedy = f"did you mean <{near[0]}>?" if near else f"known are {', '.join(BLOCKS)}"
        raise wrong(place, f"<{kind[:60]}> is no block of MMM", remedy)
    if kind in NAMED and not name:
        raise wrong(place, f"<{kind}> has no name", f"write for example <{kind} db1>")
    if kind not in NAMED and name:
        raise wrong(place, f"<{kind}> takes no name", f"write <{kind}>")
    block = settings.blocks.setdefault(kind, {}).setdefault(name, Block(kind, name, place))
    return None if empty else block


def _put(settings: Settings, block: Block | None, name: str, value: str, place: str) -> None:
    value = value.strip()
    if block is None and name in BLOCKS:
        raise wrong(place, f"{name} is a block in MMM 2", _MMM1.format(name))
    if name not in VERBATIM and (comment := re.search(r"\s#|^#", value)):
        value = value[: comment.start()].rstrip()
        settings.remarks.append((place, name, "what follows # is read as a comment; MMM took it into the value"))
    if not value:
        raise wrong(place, "has a directive without a value", "correct that line")
    entries = settings.entries if block is None else block.entries
    if name in entries and entries[name].value != value and name in (TOP if block is None else BLOCKS[block.kind]):
        settings.remarks.append((place, name, f"replaces what {entries[name].place} says, as it did in MMM"))
    entries[name] = Entry(value, place)
