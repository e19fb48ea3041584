"""How is a frozen value changed? As `dataclasses.replace` does it, for values without slots without their constructor.

A world of 60 fields is changed some times in each step: its constructor would take most of a step's time. What a value
worked out of its fields once (`worked_out`) is not taken along.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cache
from typing import Any, Generic, TypeVar, overload

Value = TypeVar("Value")
Found = TypeVar("Found")

_new = object.__new__


def replace(value: Value, **changes: Any) -> Value:
    """`value` with `changes`; TypeError for a name that is no field. Without slots it has no
    `__post_init__` and nothing beside its fields but what was `worked_out`."""
    kind = type(value)
    held = getattr(value, "__dict__", None)
    if held is None:
        return dataclasses.replace(value, **changes)  # type: ignore[type-var]
    names = kind.__dataclass_fields__.keys()  # type: ignore[attr-defined]
    if not changes.keys() <= names:
        raise TypeError(f"{kind.__name__} has no {', '.join(sorted(changes.keys() - names))}")
    made = _new(kind)
    made.__dict__.update(held, **changes)
    for name in _worked_out(kind):  # type: ignore[arg-type]
        made.__dict__.pop(name, None)
    return made


@cache
def _worked_out(kind: type) -> tuple[str, ...]:
    """The names of what its values work out."""
    return tuple(name for one in kind.__mro__ for name, what in vars(one).items() if isinstance(what, worked_out))


class worked_out(Generic[Found]):
    """A property of a frozen value without slots, worked out when it is first asked for and kept beside the fields.

    As `functools.cached_property`, without its lock: who works it out twice finds the same.
    """

    def __init__(self, ask: Callable[[Any], Found]) -> None:
        self._ask, self._name, self.__doc__ = ask, ask.__name__, ask.__doc__

    @overload
    def __get__(self, value: None, kind: type) -> worked_out[Found]: ...

    @overload
    def __get__(self, value: object, kind: type) -> Found: ...

    def __get__(self, value: object | None, kind: type) -> Found | worked_out[Found]:
        if value is None:
            return self
        found = value.__dict__[self._name] = self._ask(value)
        return found
