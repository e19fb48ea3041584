"""Is this the value that the key wants? Typed reading of TOML tables, and the sentences that name file and key."""

from __future__ import annotations

import difflib
import ipaddress
import math
import re
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from vipguard.errors import ConfigError
from vipguard.model.policy import Texts
from vipguard.model.witness import Witness
from vipguard.model.witness import parse as parse_witness

NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
Table = dict[str, Any]
_WANTED = {str: "a string in quotes", int: "a whole number", float: "a number", bool: "true or false"}
_MAY_BE_ZERO = (
    "startup_delay_s", "lag_s_max", "arp_s_max", "losses_max", "recovery_block_s", "return_s", "heartbeat_s",
)  # fmt: skip
_NOT_KEYS = ("password",)  # read from password_file
_S = TypeVar("_S")


class At:
    """A place in one file: makes the sentences that name it."""

    def __init__(self, file: str, path: str = "") -> None:
        self.file, self.path = file, path

    def __truediv__(self, key: str) -> At:
        plain = re.fullmatch(r"[A-Za-z0-9_.-]{1,60}", key)
        name = key if plain else f'"{key[:60]}"'
        return At(self.file, _one_line(f"{self.path}.{name}" if self.path else name))

    def wrong(self, problem: str, remedy: str) -> ConfigError:
        return ConfigError(_one_line(problem), file=self.file, key=self.path, remedy=_one_line(remedy))


def known(at: At, table: Table, keys: tuple[str, ...]) -> None:
    """Every key of `table` is one of `keys`, or the error names the nearest of them."""
    for key in table:
        if key not in keys:
            near = difflib.get_close_matches(key.lower()[:60], keys, n=1, cutoff=0.5)
            remedy = f"did you mean {near[0]!r}?" if near else f"remove it; known here are {', '.join(keys)}"
            raise (at / key).wrong("is an unknown key", remedy)


def section(at: At, shape: type[_S], table: Table) -> _S:
    """A table as the dataclass `shape`, whose fields are the keys, with their types and defaults."""
    hints = {key: hint for key, hint in get_type_hints(shape).items() if key not in _NOT_KEYS}
    known(at, table, tuple(hints))
    return shape(**{key: value(at / key, hints[key], given) for key, given in table.items()})


def value(at: At, hint: Any, given: Any) -> Any:
    """`given` as the type `hint` says; an integer serves as a number, a bool never does."""
    if get_origin(hint) is Literal:
        if not isinstance(given, str) or given not in get_args(hint):
            choices = " or ".join(f'"{choice}"' for choice in get_args(hint))
            raise at.wrong(f"is {shown(given)}", f"write {choices}")
        return given
    if hint == Texts:
        return _texts(at, given)
    if hint is float and isinstance(given, int) and not isinstance(given, bool):
        given = float(given) if abs(given) < 10**15 else math.inf
    if type(given) is not hint:
        raise at.wrong(f"is {shown(given)}", f"write {_WANTED[hint]}")
    if hint is str and not (given and given.isprintable()):
        raise at.wrong("is empty or has control characters", "write a plain text")
    if hint in (int, float) and not (math.isfinite(given) and given > 0):
        if given == 0 and at.path.rpartition(".")[2] in _MAY_BE_ZERO:
            return given
        zero = ", or 0" if at.path.rpartition(".")[2] in _MAY_BE_ZERO else ""
        raise at.wrong(f"is {shown(given)}", f"write a number above zero{zero}")
    return given


def _texts(at: At, given: Any) -> Texts:
    if not isinstance(given, dict):
        raise at.wrong(
            f"is {shown(given)}", f"write [{at.path}] on a line of its own, and KEY = VALUE below it"
        )
    found = []
    for key, item in given.items():
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", key):
            raise (at / key).wrong("is no key", "use up to 64 letters, digits and . _ -")
        if isinstance(item, bool):
            item = "1" if item else "0"
        elif isinstance(item, int) and abs(item) < 10**15:
            item = str(item)
        if not isinstance(item, str) or not item.isprintable() or len(item) > 4096:
            raise (at / key).wrong(
                f"is {shown(item)}", "write a text of one line, a whole number, true or false"
            )
        found.append((key, item))
    return tuple(found)


def need(at: At, table: Table, key: str, hint: Any, example: str) -> Any:
    """The value of a key that must be there."""
    if key not in table:
        raise (at / key).wrong("is missing", f"write for example {key} = {example}")
    return value(at / key, hint, table[key])


def address(at: At, text: str) -> str:
    """An IPv4 or IPv6 address that a host can have, in its shortest form."""
    try:
        found = ipaddress.ip_address(text)
    except ValueError as exc:
        remedy = "write an IPv4 or IPv6 address without prefix; names are not looked up in the middle of a failover"
        raise at.wrong(f"is {shown(text)}", remedy) from exc
    if found.is_multicast or found.is_unspecified or found.is_reserved:
        raise at.wrong(f"is {shown(text)}, which no host can have", "write the host's own address")
    return str(found)


def witness(at: At, text: str) -> str:
    """A witness's name: an address that is pinged, or an address with a port that is connected to."""
    try:
        found = parse_witness(text)
    except ValueError as exc:
        if re.fullmatch(r"\[.*\]:.*|[^:]*:[^:]*", text):
            remedy = 'write "ADDRESS:PORT", for IPv6 "[ADDRESS]:PORT"; names are not looked up'
            raise at.wrong(f"is {shown(text)}", remedy) from exc
        return address(at, text)
    return Witness(address(at, found.address), found.port).name


def shown(given: Any) -> str:
    """What the operator wrote, short enough for a sentence."""
    if isinstance(given, str):
        return f'"{given[:60]}"'
    if isinstance(given, bool):
        return str(given).lower()
    # str() of an int of thousands of digits raises ValueError
    if isinstance(given, int) and abs(given) >= 10**15:
        return "a huge number"
    if isinstance(given, int | float):
        return str(given)
    if isinstance(given, dict | list):
        return "a table" if isinstance(given, dict) else "a list"
    return "a date or time"


def _one_line(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)
