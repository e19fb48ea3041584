"""Prints the table of docs/metrics.md."""

from __future__ import annotations

from .metrics import page

print(page(), end="")
