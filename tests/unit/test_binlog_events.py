"""Events of a binary log as values: what is read of them, and that nothing they hold can do harm."""

from __future__ import annotations

import struct
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vipguard.model.binlog import Collector, summary
from vipguard.model.gtid import GtidSet
from vipguard.model.rows import Column, Table, Unfit, condition, decimal, moment, read_changes, read_table

SOURCE = uuid.UUID("11111111-2222-3333-4444-555555555555")
FORMAT = bytes(19) + bytes(60) + b"\0" + bytes(4)  # no checksums
PAIR = Table(7, "app", "t", (3, 15), (0, 100))  # INT, VARCHAR
NUMBER, TEXT = Column("id", "int", "int", None, False), Column("v", "varchar", "varchar(25)", "utf8mb4", False)


def event(kind: int, body: bytes, server: int = 1) -> bytes:
    return struct.pack("<IBIIIH", 1, kind, server, 19 + len(body), 0, 0) + body


def fed(*events: bytes, wanted: str = f"{SOURCE}:5-6") -> Collector:
    collector = Collector("mysql", GtidSet.parse("mysql", wanted))
    for one in (event(15, FORMAT[19:]), *events):
        collector.feed(one)
    return collector


def gtid(number: int) -> bytes:
    return event(33, b"\0" + SOURCE.bytes + struct.pack("<q", number) + bytes(20))


def query(text: str) -> bytes:
    return event(2, struct.pack("<IIBHH", 0, 0, 0, 0, 0) + b"\0" + text.encode())


TABLE_MAP = event(
    19, (7).to_bytes(6, "little") + b"\1\0" + b"\3app\0" + b"\1t\0" + b"\2\3\x0f" + b"\2\x64\0" + b"\3"
)
ROW = b"\0" + struct.pack("<i", 42) + b"\2hi"
WRITE = event(30, (7).to_bytes(6, "little") + b"\1\0" + b"\2\0" + b"\2" + b"\3" + ROW)
XID = event(16, bytes(8))


def test_only_wanted_transactions_are_kept_with_their_rows() -> None:
    found = fed(gtid(4), query("BEGIN"), TABLE_MAP, WRITE, XID, gtid(5), query("BEGIN"), TABLE_MAP, WRITE, XID).found
    assert list(found) == [f"{SOURCE}:5"]
    one = found[f"{SOURCE}:5"]
    assert summary(one) == "app.t: 1 insert" and one.statements[0].events == (TABLE_MAP, WRITE)
    assert one.statements[0].changes[0].after == (struct.pack("<i", 42), b"hi") and one.statements[0].changes[0].whole


UNFIT = [(5, "INSERT_ID"), (38, "XA"), (39, "JSON"), (40, "compressed"), (17, "LOAD DATA"), (99, "unknown")]


@pytest.mark.parametrize(("kind", "word"), UNFIT)
def test_what_cannot_be_replayed_is_named(kind: int, word: str) -> None:
    assert word in fed(gtid(5), event(kind, bytes(30))).found[f"{SOURCE}:5"].unfit


def test_a_statement_is_no_row_change_and_an_empty_transaction_is_none() -> None:
    assert "DROP TABLE" in fed(gtid(5), query("DROP TABLE t")).found[f"{SOURCE}:5"].unfit
    empty = fed(gtid(5), query("BEGIN"), query("COMMIT")).found[f"{SOURCE}:5"]
    assert summary(empty) == "no rows" and not empty.unfit


def test_a_gtid_of_mariadb_has_its_server_in_the_header() -> None:
    collector = Collector("mariadb", GtidSet.parse("mariadb", "1-3-101..102"))
    collector.feed(event(162, struct.pack("<QIB", 102, 1, 0), server=3))
    collector.feed(event(162, struct.pack("<QIB", 100, 1, 0), server=3))
    assert list(collector.found) == ["1-3-102"]


KINDS = st.sampled_from([2, 15, 16, 19, 23, 24, 25, 30, 31, 32, 33, 42, 162])


@given(st.lists(st.tuples(KINDS, st.binary(max_size=60))))
def test_garbage_is_a_value_error_at_most(events: list[tuple[int, bytes]]) -> None:
    collector = fed(gtid(5), TABLE_MAP)
    for kind, body in events:
        try:
            collector.feed(event(kind, body) if kind != 15 else event(15, body + bytes(5)))
        except ValueError:
            continue


@given(st.binary(max_size=40))
def test_rows_that_are_torn_are_a_value_error(body: bytes) -> None:
    try:
        read_changes(PAIR, "update", body, 0)
    except (ValueError, IndexError, KeyError):
        return


def test_a_table_without_columns_ends() -> None:
    empty = read_table(bytes(8) + b"\1a\0\1b\0\0\0")
    with pytest.raises(ValueError, match="without columns"):
        read_changes(empty, "insert", b"\0xyz", 0)


# -- conditions


def test_conditions_are_exact() -> None:
    assert condition(PAIR, 0, struct.pack("<i", -5), NUMBER) == "`id` = -5"
    unsigned = Column("id", "int", "int unsigned", None, False)
    assert condition(PAIR, 0, b"\xff\xff\xff\xff", unsigned) == "`id` = 4294967295"
    assert condition(PAIR, 0, None, NUMBER) == "`id` IS NULL"
    text = condition(PAIR, 1, "ü".encode(), TEXT)
    assert text == "`v` = CONVERT(X'c3bc' USING utf8mb4) AND CAST(`v` AS BINARY) = X'c3bc'"


@pytest.mark.parametrize(("kind", "data_type"), [(245, "json"), (12, "datetime"), (254, "uuid"), (252, "vector")])
def test_what_cannot_be_compared_is_unfit_and_never_equal(kind: int, data_type: str) -> None:
    table = Table(1, "app", "t", (kind,), (0xFE10 if kind == 254 else 2,))
    with pytest.raises(Unfit):
        condition(table, 0, b"\0" * 8, Column("c", data_type, data_type, None, False))


@pytest.mark.parametrize(
    ("packed", "precision", "scale", "text"),
    [
        ("810dfb38d204d2", 14, 4, "1234567890.1234"),  # the example of MySQL's decimal2bin
        ("7ef204c72dfb2d", 14, 4, "-1234567890.1234"),
        ("8000", 3, 0, "0"),
        ("80", 2, 0, "0"),
        ("8005", 4, 2, "0.05"),
    ],
)
def test_decimals(packed: str, precision: int, scale: int, text: str) -> None:
    assert decimal(bytes.fromhex(packed), precision, scale) == text


def test_moments() -> None:
    assert moment(10, 0, ((2026 << 9) | (2 << 5) | 28).to_bytes(3, "little")) == "2026-02-28"
    assert moment(19, 0, (0x800000 + (12 << 12 | 34 << 6 | 56)).to_bytes(3, "big")) == "12:34:56"
    assert moment(19, 2, ((0x800000 << 8) - (1 << 8 | 10)).to_bytes(4, "big")) == "-00:00:01.10"
    assert moment(17, 6, struct.pack(">I", 0) + b"\0\0\0") == "0000-00-00 00:00:00.000000"
    assert moment(17, 3, struct.pack(">I", 86400) + b"\x04\xd2") == "1970-01-02 00:00:00.123"
