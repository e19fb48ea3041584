"""Transactions that only one node has, replayed on the writer: every type of column; contradictions are refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from scratch import PASSWORD, Pair, Server

from vipguard.act import accept
from vipguard.errors import CouldNotDo
from vipguard.lab.wait import wait_until
from vipguard.model.binlog import Transaction, summary
from vipguard.model.gtid import GtidSet
from vipguard.model.policy import Mysql, Node, Policy
from vipguard.session import Deadline, dialect_of

TYPES = {
    "i8": "TINYINT", "u8": "TINYINT UNSIGNED", "i16": "SMALLINT", "i24": "MEDIUMINT", "i32": "INT", "i64": "BIGINT",
    "u64": "BIGINT UNSIGNED", "f": "FLOAT", "d": "DOUBLE", "n": "DECIMAL(20,6)", "n2": "DECIMAL(9,0)",
    "n3": "DECIMAL(5,5)", "b1": "BIT(1)", "b17": "BIT(17)", "y": "YEAR", "dt": "DATE", "t0": "TIME", "t3": "TIME(3)",
    "t6": "TIME(6)", "dt0": "DATETIME", "dt2": "DATETIME(2)", "dt6": "DATETIME(6)", "ts0": "TIMESTAMP NULL",
    "ts5": "TIMESTAMP(5) NULL", "c": "CHAR(10) CHARACTER SET utf8mb4", "c2": "CHAR(200) CHARACTER SET utf8mb4",
    "v": "VARCHAR(50) CHARACTER SET latin1", "v2": "VARCHAR(300) CHARACTER SET utf8mb4", "bi": "BINARY(8)",
    "vb": "VARBINARY(300)", "tt": "TINYTEXT", "tx": "TEXT CHARACTER SET utf8mb4", "bl": "LONGBLOB",
    "e": "ENUM('one','two','three')", "s": "SET('a','b','c')",
}  # fmt: skip
ROWS = [
    dict.fromkeys(TYPES, "NULL"),
    {
        "i8": "-128", "u8": "255", "i16": "-32768", "i24": "-8388608", "i32": "-2147483648",
        "i64": "-9223372036854775808",
        "u64": "18446744073709551615", "f": "0.1", "d": "-1.7976931348623157e308", "n": "-12345678901234.567891",
        "n2": "999999999", "n3": "-0.00001", "b1": "b'1'", "b17": "b'10000000000000001'", "y": "2026",
        "dt": "'2026-02-28'",
        "t0": "'-838:59:59'", "t3": "'-00:00:00.001'", "t6": "'12:34:56.789012'", "dt0": "'9999-12-31 23:59:59'",
        "dt2": "'1000-01-01 00:00:00.01'", "dt6": "'2026-11-21 09:40:00.123456'", "ts0": "'2026-11-21 09:40:00'",
        "ts5": "'2038-01-01 00:00:00.00001'", "c": "'ä€ '", "c2": "REPEAT('€', 200)", "v": "'grüße  '",
        "v2": "REPEAT('x', 300)",
        "bi": "X'0102030000000000'", "vb": "X'00FF00'", "tt": "'it''s'", "tx": "REPEAT('ü', 20000)",
        "bl": "REPEAT(X'00', 70000)",
        "e": "'three'", "s": "'a,c'",
    },
    {
        "i8": "127", "u8": "0", "i16": "1", "i24": "8388607", "i32": "0", "i64": "1", "u64": "0", "f": "-3.4e38",
        "d": "1e-300",
        "n": "0.000001", "n2": "-1", "n3": "0.99999", "b1": "b'0'", "b17": "b'1'", "y": "1901", "dt": "'1000-01-01'",
        "t0": "'838:59:59'", "t3": "'00:00:00'", "t6": "'-12:34:56.000001'", "dt0": "'1970-01-01 00:00:00'",
        "dt2": "'2026-12-31 23:59:59.99'", "dt6": "'2026-01-01 00:00:00'", "ts0": "'1971-01-01 00:00:01'",
        "ts5": "'2026-11-21 09:40:00'", "c": "''", "c2": "'\\\\'", "v": "''", "v2": "''", "bi": "X'2020202020202020'",
        "vb": "''",
        "tt": "''", "tx": "''", "bl": "''", "e": "'one'", "s": "''",
    },
]  # fmt: skip


class Apart:
    """b has gone its own way: what it has and a lacks, and how to give it to a."""

    def __init__(self, pair: Pair) -> None:
        self.pair, self.a, self.b = pair, pair.a, pair.b
        self.policy: Policy = replace(pair.policy, node="b", mysql=pair.b.mysql())
        self.writer: Node = pair.policy.nodes[0]
        self.account: Mysql = replace(pair.a.mysql(), user="admin")
        grants = accept.NEEDED[pair.flavor].removesuffix(" ON *.*")
        for server in pair.servers:
            server.open()
            server.sql(
                "SET sql_log_bin=0",
                f"CREATE USER IF NOT EXISTS admin@'127.0.0.1' IDENTIFIED BY '{PASSWORD.replace(chr(39), chr(39) * 2)}'",
                f"GRANT {grants} ON *.* TO admin@'127.0.0.1'",
            )
        pair.b.close()

    def begin(self, *common: str) -> None:
        """`common` is on both; from now on they are apart."""
        self.a.sql(*common)
        self.pair.wait_same()
        same = "SELECT MAX(n) AS n FROM test.t"
        self.a.sql("INSERT INTO test.t (n) VALUES (4711)")
        wait_until(lambda: self.b.sql(same) == self.a.sql(same), 10)
        for server in (self.a, self.b):
            server.replica("STOP")
        self.a.sql("INSERT INTO test.t (n) VALUES (1)")

    def on_b(self, *statements: str) -> None:
        self.b.open()
        self.b.sql(*statements)
        self.b.close()

    def lacking(self) -> GtidSet:
        return self.gtid(self.b).minus(self.gtid(self.a))

    def gtid(self, server: Server) -> GtidSet:
        session = server.session()
        dialect = dialect_of(session.flavor)
        row = session.ask((dialect.own_gtid(),), Deadline(5))[0][0]
        session.close()
        return dialect.read_gtid(row)

    def export(self) -> list[Transaction]:
        return accept.export(self.policy, self.lacking(), Deadline(20))

    def apply(self) -> None:
        accept.apply(self.policy, self.writer, self.account, self.export(), Deadline(20))

    def same(self, *tables: str) -> None:
        for table in tables:
            assert self.rows(self.a, table) == self.rows(self.b, table)

    @staticmethod
    def rows(server: Server, table: str) -> Sequence[dict[str, Any]]:
        return server.sql(f"SELECT * FROM {table} ORDER BY id")


@pytest.fixture
def apart(pair: Pair) -> Apart:
    return Apart(pair)


def types_table() -> list[str]:
    columns = ", ".join(f"{name} {kind}" for name, kind in TYPES.items())
    return [
        "SET sql_mode = ''",
        f"CREATE TABLE test.k (id INT PRIMARY KEY, {columns}) ENGINE=InnoDB ROW_FORMAT=DYNAMIC",
        *(
            f"INSERT INTO test.k (id, {', '.join(row)}) VALUES ({number}, {', '.join(row.values())})"
            for number, row in enumerate(ROWS)
        ),
    ]


def test_rows_of_every_type_are_found_as_they_were_and_changed(apart: Apart) -> None:
    apart.begin(*types_table())
    turned = [f"{name} = {value}" for name, value in ROWS[1].items()]
    apart.on_b(
        "SET sql_mode = ''",
        f"UPDATE test.k SET {', '.join(turned)} WHERE id = 2",
        "DELETE FROM test.k WHERE id = 1",
        "UPDATE test.k SET i32 = 5, v2 = 'was null' WHERE id = 0",
        "INSERT INTO test.k (id, i32) VALUES (7, 7)",
        "UPDATE test.k SET i32 = 8 WHERE id = 7",  # of a row that an earlier of them made
    )
    transactions = apart.export()
    assert [summary(one) for one in transactions][:2] == ["test.k: 1 update", "test.k: 1 delete"]
    apart.apply()
    apart.same("test.k")
    lacks = apart.lacking()
    if apart.pair.flavor == "mysql":
        assert lacks.is_empty, "the writer has them with their GTIDs"
    else:
        assert not lacks.is_empty, "the writer made a transaction of its own of them"


CONTRADICTIONS = {
    "a key that is taken": ("INSERT INTO test.x VALUES (3, 'b')", "INSERT INTO test.x VALUES (3, 'a')", "1062"),
    "a row that is gone": (
        "UPDATE test.x SET v = 'b' WHERE id = 1", "DELETE FROM test.x WHERE id = 1", "no row any more"
    ),
    "a row that changed": (
        "UPDATE test.x SET v = 'b' WHERE id = 1", "UPDATE test.x SET v = 'a' WHERE id = 1", "no row any more"
    ),
    "a row that was changed and is to go": (
        "DELETE FROM test.x WHERE id = 2", "UPDATE test.x SET v = 'a' WHERE id = 2", "no row any more"
    ),
    "a table that is gone": ("DELETE FROM test.x WHERE id = 2", "DROP TABLE test.x", "not there"),
    "a table with another column": (
        "DELETE FROM test.x WHERE id = 2", "ALTER TABLE test.x ADD COLUMN more INT", "had 2 columns"
    ),
    "a schema change": ("ALTER TABLE test.x ADD COLUMN more INT", "DO 1", "ALTER TABLE"),
    "no primary key": ("UPDATE test.y SET v = 'b'", "DO 1", "no primary key"),
}  # fmt: skip


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_a_contradiction_is_an_error_and_changes_nothing(apart: Apart, case: str) -> None:
    here, there, word = CONTRADICTIONS[case]
    apart.begin(
        "CREATE TABLE test.x (id INT PRIMARY KEY, v VARCHAR(10)) ENGINE=InnoDB",
        "INSERT INTO test.x VALUES (1, 'one'), (2, 'two')",
        "CREATE TABLE test.y (v VARCHAR(10)) ENGINE=InnoDB",
        "INSERT INTO test.y VALUES ('one')",
    )
    apart.on_b("INSERT INTO test.x VALUES (100, 'fine')", here)
    apart.a.sql(there)
    before = apart.gtid(apart.a)
    with pytest.raises(CouldNotDo, match=word) as failure:
        apart.apply()
    assert failure.value.refused
    assert apart.gtid(apart.a) == before, "the writer's history is as it was"
    if "DROP" not in there:
        assert not apart.a.sql("SELECT 1 FROM test.x WHERE id = 100")


def test_a_lock_of_a_client_is_not_waited_for(apart: Apart) -> None:
    apart.begin(
        "CREATE TABLE test.x (id INT PRIMARY KEY, v VARCHAR(10)) ENGINE=InnoDB", "INSERT INTO test.x VALUES (1, 'one')"
    )
    apart.on_b("UPDATE test.x SET v = 'b' WHERE id = 1")
    with apart.a.connect() as client, client.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("SELECT * FROM test.x WHERE id = 1 FOR UPDATE")
        with pytest.raises(CouldNotDo, match="holds a lock"):
            apart.apply()


def test_without_the_privileges_it_says_which(apart: Apart) -> None:
    apart.begin("CREATE TABLE test.x (id INT PRIMARY KEY) ENGINE=InnoDB")
    apart.on_b("INSERT INTO test.x VALUES (1)")
    with pytest.raises(CouldNotDo, match=r"needs (BINLOG REPLAY|REPLICATION_APPLIER)"):
        accept.apply(apart.policy, apart.writer, apart.a.mysql(), apart.export(), Deadline(10))


def test_what_only_vipguard_wrote_is_no_change_of_data(apart: Apart) -> None:
    apart.begin()
    apart.on_b("REPLACE INTO vipguard.epoch VALUES ('scratch', 3, 'b', 'boot', NOW(6))")
    apart.apply()
    assert not apart.a.sql("SELECT 1 FROM vipguard.epoch WHERE epoch = 3")
    assert apart.pair.flavor == "mariadb" or apart.lacking().is_empty


def test_transactions_of_several_files_are_found_in_their_order(apart: Apart) -> None:
    apart.begin("CREATE TABLE test.x (id INT PRIMARY KEY) ENGINE=InnoDB")
    for number in range(4):
        apart.on_b(f"INSERT INTO test.x VALUES ({number})", "FLUSH LOCAL BINARY LOGS")
    assert len(apart.export()) == 4
    apart.apply()
    apart.same("test.x")
    unknown = "2-2-999999..999999" if apart.pair.flavor == "mariadb" else f"{apart.b.value('@@server_uuid')}:999999"
    with pytest.raises(CouldNotDo, match="no longer have"):
        accept.export(apart.policy, GtidSet.parse(apart.pair.flavor, unknown), Deadline(20))
