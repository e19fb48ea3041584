"""What does a keepalived.conf say? Its statements as a tree, read as keepalived reads them.

keepalived.conf(5): a `#` or `!` begins a comment, quotes hold words together, braces make blocks, `include` takes in
other files. What depends on `@host` conditions and `$` definitions is read as it stands.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from vipguard.errors import CouldNotLook

# a quoted string, a brace, a comment, a word: in this order
_TOKEN = re.compile(r"\"(?P<quoted>[^\"]*)\"|(?P<brace>[{}])|(?P<comment>[#!].*)|(?P<word>[^\s\"{}]+)")
_DEPTH_MAX = 10
_BYTES_MAX = 1_000_000


@dataclass(slots=True)
class Block:
    """A statement: its words, and what stands in its braces. The root has no words."""

    words: tuple[str, ...] = ()
    children: list[Block] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.words[1] if len(self.words) > 1 else ""

    def all(self, *keywords: str) -> list[Block]:
        return [child for child in self.children if child.words and child.words[0] in keywords]

    def first(self, *keywords: str) -> Block | None:
        return next(iter(self.all(*keywords)), None)

    def value(self, *keywords: str) -> str | None:
        """The word after the keyword, of the last such statement: the one that counts. "" for a bare keyword."""
        found = self.all(*keywords)
        return found[-1].name if found else None

    def has(self, *keywords: str) -> bool:
        return bool(self.all(*keywords))


def read(path: str) -> Block:
    """The file with everything it includes. Raises CouldNotLook for a file that cannot be read."""
    root = Block()
    _parse(_load(Path(path), 0), root)
    return root


def parse(text: str) -> Block:
    """The tree of a text by itself."""
    root = Block()
    _parse(iter(text.splitlines()), root)
    return root


def _load(path: Path, depth: int) -> Iterator[str]:
    try:
        with path.open("rb") as file:
            text = file.read(_BYTES_MAX).decode("utf-8", "replace")
    except OSError as exc:
        raise CouldNotLook(f"cannot read {path}: {exc.strerror}") from exc
    for line in text.splitlines():
        words = line.split()
        if len(words) == 2 and words[0].startswith("include") and depth < _DEPTH_MAX:
            for name in sorted(glob.glob(str(Path(path.parent, words[1].strip('"'))))):
                yield from _load(Path(name), depth + 1)
        else:
            yield line


def _parse(lines: Iterator[str], root: Block) -> None:
    open_blocks = [root]
    for line in lines:
        statement: list[str] = []
        for token in _TOKEN.finditer(line):
            if token["comment"] is not None:
                break
            if token["brace"] == "{":
                _open(open_blocks, statement)
                statement = []
            elif token["brace"] == "}":
                _add(open_blocks[-1], statement)
                statement = []
                if len(open_blocks) > 1:
                    open_blocks.pop()
            else:
                statement.append(token["word"] if token["quoted"] is None else token["quoted"])
        _add(open_blocks[-1], statement)


def _open(open_blocks: list[Block], statement: list[str]) -> None:
    """A block begins; a brace on a line of its own belongs to the statement above."""
    inside = open_blocks[-1]
    block = _add(inside, statement) or (inside.children[-1] if inside.children else _add(inside, ["{"]))
    if block is not None:
        open_blocks.append(block)


def _add(block: Block, statement: list[str]) -> Block | None:
    if not statement:
        return None
    block.children.append(Block(tuple(statement)))
    return block.children[-1]
