"""What does a row event say of a row? Its columns, and the condition by which a server finds just that row.

Only what can be compared exactly is; any other column makes the change unfit (`Unfit`), never equal by guess.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

Kind = str  # insert, update, delete
Cell = bytes | None
_INTS = {1: 1, 2: 2, 9: 3, 3: 4, 8: 8}
_FIXED = {**_INTS, 4: 4, 5: 8, 13: 1, 10: 3}
_TWO = {15, 253, 254, 247, 248, 246, 16, 141}
_ONE = {4, 5, 252, 245, 255, 17, 18, 19, 140, 249, 250, 251}
_TIMES = {17: 4, 18: 5, 19: 3}
_DECIMAL_BYTES = (0, 1, 1, 2, 2, 3, 3, 4, 4, 4)


class Unfit(ValueError):
    """A column that cannot be compared with what a table holds."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table as a table map event describes it: types and their metadata, in order."""

    id: int
    schema: str
    name: str
    types: tuple[int, ...]
    metas: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """One row: `before` is None for an insert, `after` for a delete. `whole`: every column is there."""

    table: Table
    kind: Kind
    before: tuple[Cell, ...] | None
    after: tuple[Cell, ...] | None
    whole: bool


@dataclass(frozen=True, slots=True)
class Column:
    """As information_schema.COLUMNS tells it."""

    name: str
    data_type: str
    column_type: str
    charset: str | None
    generated: bool


def read_table(body: bytes) -> Table:
    """A table map event without its header and checksum."""
    at = 8
    schema = body[at + 1 : at + 1 + body[at]].decode()
    at += body[at] + 2
    name = body[at + 1 : at + 1 + body[at]].decode()
    at += body[at] + 2
    count, at = _length(body, at)
    types = tuple(body[at : at + count])
    at += count
    _, at = _length(body, at)
    metas: list[int] = []
    for kind in types:
        size = 2 if kind in _TWO else 1 if kind in _ONE else 0
        # two bytes that mean two things are kept in the order of the file
        metas.append(
            int.from_bytes(body[at : at + size], "big" if kind in (254, 246, 247, 248) else "little")
        )
        at += size
    return Table(int.from_bytes(body[:6], "little"), schema, name, types, tuple(metas))


def read_changes(table: Table, kind: Kind, body: bytes, at: int) -> list[Change]:
    """The rows of a row event, from `at` (behind its post-header) on. Unfit for a type whose length is unknown."""
    count, at = _length(body, at)
    if count != len(table.types):
        raise ValueError(
            f"{table.schema}.{table.name}: {count} columns in the rows, {len(table.types)} in the table"
        )
    width = (count + 7) // 8
    present = [_bits(body[at : at + width], count)]
    at += width
    if kind == "update":
        present.append(_bits(body[at : at + width], count))
        at += width
    changes: list[Change] = []
    while at < len(body):
        images: list[tuple[Cell, ...]] = []
        start = at
        for columns in present:
            image, at = _image(table, columns, body, at)
            images.append(image)
        if at == start:
            raise ValueError(f"{table.schema}.{table.name}: a row without columns")
        before = None if kind == "insert" else images[0]
        after = None if kind == "delete" else images[-1]
        changes.append(Change(table, kind, before, after, all(map(all, present))))
    return changes


def _image(table: Table, columns: Sequence[bool], body: bytes, at: int) -> tuple[tuple[Cell, ...], int]:
    shown = sum(columns)
    nulls = iter(_bits(body[at : at + (shown + 7) // 8], shown))
    at += (shown + 7) // 8
    cells: list[Cell] = []
    for kind, meta, here in zip(table.types, table.metas, columns, strict=True):
        if not here or next(nulls):
            cells.append(None)
            continue
        start, size = _extent(kind, meta, body, at)
        if start + size > len(body):
            raise ValueError(f"{table.schema}.{table.name}: a row ends within a column")
        cells.append(body[start : start + size])
        at = start + size
    return tuple(cells), at


def _extent(kind: int, meta: int, body: bytes, at: int) -> tuple[int, int]:
    """Where the value begins, and its bytes."""
    if kind in _FIXED:
        return at, _FIXED[kind]
    if kind in _TIMES:
        return at, _TIMES[kind] + (meta + 1) // 2
    if kind == 246:
        return at, _decimal_size(meta >> 8, meta & 0xFF)
    if kind == 16:
        return at, ((meta & 0xFF) + (meta >> 8) * 8 + 7) // 8
    prefix = 0
    if kind in (15, 253):
        prefix = 1 if meta < 256 else 2
    elif kind == 254:
        real, longest = string_type(meta)
        if real in (247, 248):
            return at, longest
        prefix = 1 if longest < 256 else 2
    elif kind in (252, 255, 245):
        prefix = meta
    if not prefix:
        raise Unfit(f"a column of type {kind}")
    return at + prefix, int.from_bytes(body[at : at + prefix], "little")


def string_type(meta: int) -> tuple[int, int]:
    """The real type behind type 254, and its length (of an ENUM or SET: its bytes)."""
    first, second = meta >> 8, meta & 0xFF
    if first & 0x30 != 0x30:
        return first | 0x30, second | ((first & 0x30) ^ 0x30) << 4
    return first, second


def condition(table: Table, at: int, cell: Cell, column: Column) -> str:
    """The SQL that is true of a row whose column number `at` holds just this. Raises Unfit."""
    name = "`" + column.name.replace("`", "``") + "`"
    if cell is None:
        return f"{name} IS NULL"
    kind, meta = table.types[at], table.metas[at]
    if kind in _INTS:
        signed = "unsigned" not in column.column_type
        return f"{name} = {int.from_bytes(cell, 'little', signed=signed)}"
    if kind == 13:
        return f"{name} = {1900 + cell[0] if cell[0] else 0}"
    if kind in (4, 5):
        return f"{name} = {struct.unpack('<f' if kind == 4 else '<d', cell)[0]:.17e}"
    if kind == 246:
        return f"{name} = {decimal(cell, meta >> 8, meta & 0xFF)}"
    if kind == 16:
        return f"{name} + 0 = {int.from_bytes(cell, 'big')}"
    if kind in (10, 17, 18, 19):
        return f"CAST({name} AS CHAR) = '{moment(kind, meta, cell)}'"
    if kind == 254 and string_type(meta)[0] in (247, 248):
        return f"{name} + 0 = {int.from_bytes(cell, 'little')}"
    if kind in (15, 253, 254, 252):
        return _text(name, cell, column)
    raise Unfit(f"column {column.name} of type {column.data_type}")


def _text(name: str, cell: bytes, column: Column) -> str:
    literal = f"X'{cell.hex()}'"
    if column.charset:
        # the first may use an index, the second is exact
        return f"{name} = CONVERT({literal} USING {column.charset}) AND CAST({name} AS BINARY) = {literal}"
    if column.data_type == "binary":
        size = int((re.search(r"\d+", column.column_type) or ["1"])[0])
        return f"{name} = X'{cell.ljust(size, bytes(1)).hex()}'"
    if column.data_type in ("varbinary", "tinyblob", "blob", "mediumblob", "longblob"):
        return f"{name} = {literal}"
    raise Unfit(f"column {column.name} of type {column.data_type}")


def moment(kind: int, meta: int, cell: bytes) -> str:
    """A date, time or timestamp as the server writes it, timestamps in UTC. `meta`: digits of the fraction."""
    if kind == 10:
        value = int.from_bytes(cell, "little")
        return f"{value >> 9:04d}-{value >> 5 & 15:02d}-{value & 31:02d}"
    size = (meta + 1) // 2
    if kind == 19:
        return _time(cell, size, meta)
    whole, rest = cell[: len(cell) - size], cell[len(cell) - size :]
    fraction = _fraction(int.from_bytes(rest, "big"), size, meta)
    if kind == 17:
        seconds = int.from_bytes(whole, "big")
        if not seconds:
            return f"0000-00-00 00:00:00{fraction}"
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}{fraction}"
    value = int.from_bytes(whole, "big") - 0x8000000000
    day, clock = value >> 17, value & 0x1FFFF
    date = f"{(day >> 5) // 13:04d}-{(day >> 5) % 13:02d}-{day & 31:02d}"
    return f"{date} {clock >> 12:02d}:{clock >> 6 & 63:02d}:{clock & 63:02d}{fraction}"


def _time(cell: bytes, size: int, digits: int) -> str:
    value = int.from_bytes(cell, "big") - (0x800000 << 8 * size)
    sign, value = ("-", -value) if value < 0 else ("", value)
    clock, rest = value >> 8 * size, value & ((1 << 8 * size) - 1)
    text = f"{clock >> 12 & 0x3FF:02d}:{clock >> 6 & 63:02d}:{clock & 63:02d}"
    return f"{sign}{text}{_fraction(rest, size, digits)}"


def _fraction(value: int, size: int, digits: int) -> str:
    if not digits:
        return ""
    return "." + f"{value * (10000, 100, 1)[size - 1]:06d}"[:digits]


def _decimal_size(precision: int, scale: int) -> int:
    whole = precision - scale
    return whole // 9 * 4 + _DECIMAL_BYTES[whole % 9] + scale // 9 * 4 + _DECIMAL_BYTES[scale % 9]


def decimal(cell: bytes, precision: int, scale: int) -> str:
    """A packed DECIMAL: groups of nine digits in four bytes, the first bit turned over, all bits when negative."""
    negative = not cell[0] & 0x80
    data = bytes([cell[0] ^ 0x80, *cell[1:]])
    if negative:
        data = bytes(byte ^ 0xFF for byte in data)
    whole, at, digits = precision - scale, 0, ""
    groups = [whole % 9, *[9] * (whole // 9), None, *[9] * (scale // 9), scale % 9]
    for group in groups:
        if group is None:
            digits = (digits.lstrip("0") or "0") + ("." if scale else "")
        elif group:
            size = _DECIMAL_BYTES[group]
            digits += f"{int.from_bytes(data[at : at + size], 'big'):0{group}d}"
            at += size
    return ("-" if negative else "") + digits


def _length(body: bytes, at: int) -> tuple[int, int]:
    """A length-coded integer, and where it ends."""
    first = body[at]
    if first < 0xFB:
        return first, at + 1
    size = {0xFC: 2, 0xFD: 3, 0xFE: 8}[first]
    return int.from_bytes(body[at + 1 : at + 1 + size], "little"), at + 1 + size


def _bits(data: bytes, count: int) -> list[bool]:
    return [bool(data[number // 8] & 1 << number % 8) for number in range(count)]
