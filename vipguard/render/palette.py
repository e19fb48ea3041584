"""Which colours have pictures and pages? Named once, for a light and a dark reader; and how text comes into XML.

Every text colour is readable on `paper`, `ground` and its own soft ground by WCAG's 4.5 to 1: a test computes it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import escape

#: `accent` is the writer's, and of nothing else; `good`, `odd` and `bad` never come without a sign or a word.
LIGHT: Mapping[str, str] = {
    "ground": "#f3f5f8",
    "paper": "#ffffff",
    "ink": "#17202b",
    "dim": "#55616e",
    "line": "#d3dae2",
    "edge": "#76828f",
    "accent": "#1857b8",
    "on-accent": "#ffffff",
    "accent-soft": "#e9f0fb",
    "good": "#17692f",
    "good-soft": "#e8f4ea",
    "odd": "#8a4b00",
    "odd-soft": "#fdf2de",
    "bad": "#ae1f17",
    "bad-soft": "#fdebe9",
}
DARK: Mapping[str, str] = {
    "ground": "#0e1318",
    "paper": "#161c23",
    "ink": "#e7ecf1",
    "dim": "#a2afbc",
    "line": "#2f3a46",
    "edge": "#8593a1",
    "accent": "#86b7f7",
    "on-accent": "#0b1a2d",
    "accent-soft": "#172940",
    "good": "#79d293",
    "good-soft": "#14291b",
    "odd": "#f1b762",
    "odd-soft": "#302410",
    "bad": "#ff9288",
    "bad-soft": "#391b1a",
}


def literal(css: str, palette: Mapping[str, str]) -> str:
    """`css` with the palette's colours instead of its variables, for readers that know no variables."""
    return re.sub(r"var\(--([a-z-]+)\)", lambda found: palette[found[1]], css)


def variables(palette: Mapping[str, str]) -> str:
    """The palette as CSS variables."""
    return "".join(f"--{name}:{value};" for name, value in palette.items())


def xml(words: object) -> str:
    """Escaped for text and attributes, without what XML forbids."""
    return escape("".join(char if char.isprintable() else " " for char in str(words)))
