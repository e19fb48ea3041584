"""How is a frozen value changed? As `dataclasses.replace` does it, for values without slots without their constructor.

A world of 60 fields is changed some times in each step: its constructor would take most of a step's time.
"""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

Value = TypeVar("Value")

_new = object.__new__


def replace(value: Value, **changes: Any) -> Value:
    """`value` with `changes`; TypeError for a name that is no field. Without slots it has no
    `__post_init__` and nothing beside its fields."""
    fields = getattr(value, "__dict__", None)
    if fields is None:
        return dataclasses.replace(value, **changes)  # type: ignore[type-var]
    if not changes.keys() <= fields.keys():
        raise TypeError(f"{type(value).__name__} has no {', '.join(sorted(changes.keys() - fields.keys()))}")
    made = _new(type(value))
    made.__dict__.update(fields, **changes)
    return made
