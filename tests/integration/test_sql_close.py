"""Closing a server, from its own host and from a peer, with whatever may stand in the way."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pymysql
import pytest
from lawful import in_time
from scratch import Pair, Server, took_s

from vipguard.act.server import CloseResult, Opener, close_server
from vipguard.errors import Absent, CouldNotDo, Silent
from vipguard.lab.wait import wait_until
from vipguard.session import Connector, Deadline, Session, Tls

pytestmark = pytest.mark.lab
DEADLINE_S = 3.0


def close(server: Server, *keep: Session, peer: bool = False, deadline_s: float = DEADLINE_S) -> CloseResult:
    mysql = server.mysql()
    connect = Connector.peer(server.address, mysql, Tls.of(mysql)) if peer else Connector.local(mysql)
    started = time.monotonic()
    try:
        return close_server(connect, frozenset(one.connection_id for one in keep), deadline_s)
    finally:
        in_time(took_s(started), deadline_s + 0.5)


def application(server: Server) -> pymysql.Connection:
    """A client as an application is one: it has no privilege that read_only does not bind."""
    server.sql(
        "SET sql_log_bin=0",
        "CREATE USER IF NOT EXISTS app@localhost IDENTIFIED BY 'app'",
        "GRANT ALL ON test.* TO app@localhost",
    )
    return server.connect(user="app", password="app")


@contextmanager
def in_background(connection: pymysql.Connection, statement: str) -> Iterator[None]:
    """A statement that takes long; it ends when its session is killed."""

    def run() -> None:
        with suppress(Exception):
            connection.cursor().execute(statement)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        thread.join(15)
        assert not thread.is_alive()


def is_running(server: Server, word: str) -> bool:
    return any(word in (row["Info"] or "") for row in server.sql("SHOW FULL PROCESSLIST"))


@pytest.mark.parametrize("peer", [False, True])
def test_an_open_server_is_closed_and_its_clients_are_ended(pair: Pair, peer: bool) -> None:
    client = application(pair.a)
    client.cursor().execute("INSERT INTO test.t (n) VALUES (1)")
    result = close(pair.a, peer=peer)
    assert pair.a.closed
    assert result.killed == 1
    assert result.left == 0
    assert not result.gtid.is_empty
    with pytest.raises(pymysql.MySQLError):
        client.cursor().execute("SELECT 1")
    with pytest.raises(pymysql.MySQLError, match="read-only"):
        application_again(pair.a).cursor().execute("INSERT INTO test.t (n) VALUES (2)")


def application_again(server: Server) -> pymysql.Connection:
    return server.connect(user="app", password="app")


def test_closing_a_closed_server_is_nothing_new(pair: Pair) -> None:
    first = close(pair.b)
    assert close(pair.b).gtid == first.gtid
    assert pair.b.status()["Replica_IO_Running"] == "Yes", "replication goes on"


def test_its_set_is_the_final_one(pair: Pair) -> None:
    pair.a.sql(*["INSERT INTO test.t (n) VALUES (1)"] * 5)
    result = close(pair.a)
    own = pair.a.session()
    from vipguard.act.replication import look

    assert look(own, Deadline(2))[0] == result.gtid


def test_a_locked_table_does_not_hold_it_up(pair: Pair) -> None:
    locker = application(pair.a)
    locker.cursor().execute("LOCK TABLES test.t WRITE")
    assert close(pair.a).killed == 1
    assert pair.a.closed


def test_a_long_update_does_not_hold_it_up(pair: Pair) -> None:
    pair.a.sql("INSERT INTO test.t (n) VALUES (1)")
    with in_background(application(pair.a), "UPDATE test.t SET n = n + 1 WHERE SLEEP(10) = 0"):
        wait_until(lambda: is_running(pair.a, "SLEEP(10)"), 5)
        assert close(pair.a).killed == 1
    assert pair.a.sql("SELECT n FROM test.t") == [{"n": 1}]


def test_many_clients_are_ended(pair: Pair) -> None:
    clients = [application(pair.a) for _ in range(30)]
    for client in clients[:5]:
        client.cursor().execute("BEGIN")
        client.cursor().execute("INSERT INTO test.t (n) VALUES (1)")
    result = close(pair.a)
    assert result.killed == 30
    assert result.left == 0
    assert pair.a.sql("SELECT * FROM test.t") == []


def test_full_to_the_last_connection_it_makes_room(pair: Pair) -> None:
    application(pair.a).close()
    pair.a.sql("SET GLOBAL max_connections=10")
    clients = []
    with pytest.raises(pymysql.MySQLError):
        while True:
            clients.append(application_again(pair.a))
    assert close(pair.a).killed >= 8
    pair.a.sql("SET GLOBAL max_connections=60")
    assert pair.a.closed


def test_replication_and_what_is_spared_live_on(pair: Pair) -> None:
    spared = pair.a.session()
    from_afar = pair.a.peer_session()
    from_afar.query("SELECT GET_LOCK('x', 0)", deadline=Deadline(1))
    close(pair.a, spared)
    assert spared.query("SELECT 1", deadline=Deadline(1)) == [(1,)]
    assert from_afar.query("SELECT IS_USED_LOCK('x') = CONNECTION_ID()", deadline=Deadline(1)) == [(1,)]
    pair.a.open()
    pair.a.sql("INSERT INTO test.t (n) VALUES (1)")
    pair.wait_same()


@pytest.mark.parametrize("peer", [False, True])
def test_an_opener_that_was_prepared_before_opens_nothing_after(pair: Pair, peer: bool) -> None:
    opener = Opener.prepare(pair.a.connector(), "lock", Deadline(2))
    close(pair.a, peer=peer)
    with pytest.raises(CouldNotDo):
        opener.open(Deadline(2))
    assert pair.a.closed
    assert pair.a.value("IS_USED_LOCK('lock')") is None


@pytest.mark.parametrize("peer", [False, True])
def test_a_server_that_hangs_is_silent(pair: Pair, peer: bool) -> None:
    with pair.a.stopped(), pytest.raises(Silent):
        close(pair.a, peer=peer, deadline_s=0.3)


def test_a_server_that_begins_to_hang_in_the_middle_is_silent(pair: Pair) -> None:
    made: list[Session] = []

    def connect(deadline: Deadline) -> Session:
        made.append(pair.a.session())
        if len(made) == 2:
            made[0]._wire.ask = lambda statements: time.sleep(0.5) or made[0]._wire._receive()  # type: ignore[method-assign, assignment]
        return made[-1]

    with pytest.raises(Silent):
        close_server(connect, frozenset(), 0.3)
    assert not any(session.is_open for session in made)


def test_a_server_that_is_not_there_is_absent(pair: Pair) -> None:
    pair.a.kill()
    with pytest.raises(Absent):
        close(pair.a)


def test_an_account_without_the_privilege_leaves_it_as_it_was(pair: Pair) -> None:
    grant = "READ ONLY ADMIN" if pair.flavor == "mariadb" else "SYSTEM_VARIABLES_ADMIN"
    pair.a.sql(f"REVOKE {grant} ON *.* FROM vipguard@localhost")
    with pytest.raises(CouldNotDo, match="privilege") as raised:
        close(pair.a)
    assert raised.value.refused
    assert not pair.a.closed


def test_what_cannot_be_cleared_in_time_leaves_no_set_behind_that_comes_through_later(mysql: Pair) -> None:
    """root is a SYSTEM_USER there, whom an account without that may not end: its lock stands."""
    mysql.a.sql("SET sql_log_bin=0", "REVOKE SYSTEM_USER ON *.* FROM vipguard@localhost")
    root = mysql.a.connect()
    root.cursor().execute("LOCK TABLES test.t WRITE")
    with pytest.raises(CouldNotDo, match="deadline") as raised:
        close(mysql.a, deadline_s=0.5)
    assert raised.value.refused
    assert not is_running(mysql.a, "super_read_only =")
    root.cursor().execute("INSERT INTO test.t (n) VALUES (1)")
    root.close()
    assert not mysql.a.closed


def test_roots_lock_is_ended_like_any_other(pair: Pair) -> None:
    root = pair.a.connect()
    root.cursor().execute("LOCK TABLES test.t WRITE")
    assert close(pair.a).killed == 1
    with pytest.raises(pymysql.MySQLError):
        root.cursor().execute("INSERT INTO test.t (n) VALUES (1)")


def test_a_client_that_may_not_be_ended_is_counted(mysql: Pair) -> None:
    mysql.a.sql("SET sql_log_bin=0", "REVOKE SYSTEM_USER ON *.* FROM vipguard@localhost")
    root = mysql.a.connect()
    result = close(mysql.a)
    assert (result.killed, result.left) == (0, 1)
    with pytest.raises(pymysql.MySQLError, match="super-read-only"):
        root.cursor().execute("INSERT INTO test.t (n) VALUES (1)")
    root.close()
