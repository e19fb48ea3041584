"""Reading MariaDB's relay log from its bytes: whole transactions, whatever the file ends with."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vipguard.model.gtid import GtidSet
from vipguard.model.relay_log import MAGIC, Group, Place, groups, missing

GTID, QUERY, XID, FORMAT, ROWS, ENCRYPTION = 162, 2, 16, 15, 23, 164
STANDALONE = 1


def event(kind: int, body: bytes = b"", server: int = 1) -> bytes:
    return struct.pack("<IBIIIH", 0, kind, server, 19 + len(body), 0, 0) + body


def gtid(number: int, domain: int = 1, flags: int = 0) -> bytes:
    return event(GTID, struct.pack("<QIB", number, domain, flags) + bytes(6))


def query(text: str, checksum: bytes = b"") -> bytes:
    return event(QUERY, bytes(13) + b"test\0" + text.encode() + checksum)


def transaction(number: int, domain: int = 1) -> bytes:
    return gtid(number, domain) + event(ROWS, bytes(40)) + event(XID, bytes(8))


HEAD = MAGIC + event(FORMAT, bytes(80))


def found(*files: bytes) -> list[str]:
    return [str(group.gtid) for group in whole(*files)]


def whole(*files: bytes) -> list[Group]:
    named = [(f"relay.{number:06d}", data) for number, data in enumerate(files, 1)]
    return [group for group in groups(named) if group is not None]


def test_a_whole_transaction_has_its_gtid_and_its_places() -> None:
    (group,) = whole(HEAD + transaction(7))
    assert group == Group(
        GtidSet.parse("mariadb", "1-1-7..7"),
        Place("relay.000001", len(HEAD)),
        Place("relay.000001", len(HEAD + transaction(7))),
    )


@given(st.integers(0, len(transaction(2)) - 1))
def test_half_a_transaction_at_the_end_is_left_out_wherever_it_ends(cut: int) -> None:
    assert found(HEAD + transaction(1) + transaction(2)[:cut]) == ["1-1-1"]


@given(st.binary(max_size=200))
def test_garbage_after_a_transaction_never_raises_and_never_hides_it(rubbish: bytes) -> None:
    try:
        assert found(HEAD + transaction(1) + rubbish)[:1] == ["1-1-1"]
    except ValueError as exc:
        assert "encrypted" in str(exc)


@pytest.mark.parametrize("checksum", [b"", b"\1\2\3\4"])
def test_a_transaction_may_end_with_a_statement(checksum: bytes) -> None:
    rows = gtid(1) + event(ROWS, bytes(40))
    for word in ("COMMIT", "ROLLBACK"):
        assert found(HEAD + rows + query(word, checksum)) == ["1-1-1"]
    assert found(HEAD + rows + query("INSERT INTO t VALUES ('COMMIT')", checksum)) == []


def test_a_statement_alone_is_a_transaction() -> None:
    assert found(HEAD + gtid(3, flags=STANDALONE) + query("CREATE TABLE t (id INT)")) == ["1-1-3..3"]


def test_a_transaction_may_go_on_in_the_next_file() -> None:
    assert found(HEAD + gtid(1) + event(ROWS, bytes(40)), HEAD + event(XID, bytes(8))) == ["1-1-1"]
    assert found(HEAD + gtid(1) + event(ROWS, bytes(40)), HEAD + transaction(2)) == ["1-1-2..2"]


def test_what_is_no_relay_log_or_encrypted_is_said() -> None:
    with pytest.raises(ValueError, match="no relay log"):
        found(b"something else altogether")
    with pytest.raises(ValueError, match="encrypted"):
        found(HEAD + event(ENCRYPTION, bytes(20)))
    assert found(b"", MAGIC) == []


@given(st.lists(st.tuples(st.sampled_from([1, 2]), st.booleans()), max_size=12))
def test_runs_hold_exactly_what_is_missing_and_nothing_that_is_there(plan: list[tuple[int, bool]]) -> None:
    """Compared with walking over the list by hand."""
    numbers: dict[int, int] = {1: 0, 2: 0}
    data, own, lacking = HEAD, GtidSet.empty("mariadb"), []
    for domain, applied in plan:
        numbers[domain] += 1
        one = GtidSet.parse("mariadb", f"{domain}-1-{numbers[domain]}..{numbers[domain]}")
        data += transaction(numbers[domain], domain)
        if applied:
            own = own.union(one)
        else:
            lacking.append(one)
    runs = missing(whole(data), own)
    together = GtidSet.empty("mariadb")
    for run in runs:
        together = together.union(run.gtids)
        inside = data[run.start.at : run.end.at]
        assert [group.gtid for group in whole(HEAD + inside) if own.contains(group.gtid)] == []
    assert together.count() == len(lacking)
    assert all(together.contains(one) for one in lacking)
