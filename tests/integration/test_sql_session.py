"""Sessions: what every way of failing is called, and that nothing outlasts its deadline."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from lawful import in_time
from scratch import Pair, took_s

from vipguard.errors import Absent, CouldNotLook, Silent
from vipguard.model.policy import Mysql
from vipguard.session import Connector, Deadline, Denied, Lost, Session, SqlError, Tls
from vipguard.session.session import open_peer
from vipguard.session.wire import Wire

pytestmark = pytest.mark.lab
Play = Callable[[socket.socket], None]


@contextmanager
def actor(path: Path, play: Play) -> Iterator[Mysql]:
    """Something that listens on a unix socket and does `play` with each connection."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(5)

    def serve() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=run, args=(connection,), daemon=True).start()

    def run(connection: socket.socket) -> None:
        with suppress(OSError), connection:
            play(connection)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield Mysql(socket=str(path), password="x")
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def packet(payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "little") + b"\0" + payload


def failure(mysql: Mysql, within_s: float = 0.3) -> Exception:
    started = time.monotonic()
    with pytest.raises((Absent, Silent, CouldNotLook, Lost)) as raised:
        Session.local(mysql, Deadline(within_s))
    in_time(took_s(started), within_s + 1.0)
    return raised.value


def test_no_socket_file_is_absent(tmp_path: Path) -> None:
    assert isinstance(failure(Mysql(socket=str(tmp_path / "none"))), Absent)


def test_a_left_over_socket_file_is_absent(tmp_path: Path) -> None:
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(tmp_path / "s"))
    left.close()
    assert isinstance(failure(Mysql(socket=str(tmp_path / "s"))), Absent)


def test_accepted_and_no_greeting_is_silent(tmp_path: Path) -> None:
    with actor(tmp_path / "s", lambda connection: time.sleep(2)) as mysql:
        assert isinstance(failure(mysql), Silent)


def test_a_full_backlog_is_silent(tmp_path: Path) -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "s"))
    listener.listen(0)
    with listener, socket.socket(socket.AF_UNIX) as first:
        first.connect(str(tmp_path / "s"))
        started = time.monotonic()
        assert isinstance(failure(Mysql(socket=str(tmp_path / "s"))), Silent)
        assert took_s(started) > 0.2, "it is waited for as long as the deadline allows"


def test_a_greeting_that_dribbles_is_silent(tmp_path: Path) -> None:
    def dribble(connection: socket.socket) -> None:
        connection.sendall((74).to_bytes(3, "little") + b"\0")
        for _ in range(70):
            connection.sendall(b"\x0a")
            time.sleep(0.05)

    with actor(tmp_path / "s", dribble) as mysql:
        assert isinstance(failure(mysql), Silent)


def test_closed_at_once_is_lost(tmp_path: Path) -> None:
    with actor(tmp_path / "s", lambda connection: None) as mysql:
        assert isinstance(failure(mysql), Lost)


def test_too_many_connections_is_blind(tmp_path: Path) -> None:
    refusal = packet(b"\xff" + struct.pack("<H", 1040) + b"#08004Too many connections")
    with actor(tmp_path / "s", lambda connection: connection.sendall(refusal)) as mysql:
        error = failure(mysql)
    assert isinstance(error, Denied)
    assert error.errno == 1040


@pytest.mark.parametrize("words", [packet(b""), packet(b"\x0a5.7"), packet(b"SSH-2.0-x\r\n"), b"\xff" * 40])
def test_what_is_no_database_is_blind_or_silent_and_never_a_crash(tmp_path: Path, words: bytes) -> None:
    def say(connection: socket.socket) -> None:
        connection.sendall(words)
        time.sleep(1)

    with actor(tmp_path / "s", say) as mysql:
        assert isinstance(failure(mysql), CouldNotLook | Silent)


def test_a_closed_port_is_absent_and_a_name_is_refused(mariadb: Pair) -> None:
    mysql = mariadb.a.mysql(port=1)
    with pytest.raises(Absent):
        Session.peer("127.0.0.1", mysql, Tls.of(mysql), Deadline(1))
    with pytest.raises(CouldNotLook, match="not an IP address"):
        Session.peer("db1.example", mysql, Tls.of(mysql), Deadline(1))


def test_a_wrong_password_is_blind(pair: Pair) -> None:
    assert isinstance(failure(pair.a.mysql(password="wrong"), 3.0), Denied)


def test_a_socket_that_we_may_not_use_is_blind(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert isinstance(failure(Mysql(socket=str(tmp_path / "file" / "s"))), CouldNotLook)


def test_rows_come_as_values_and_arguments_are_quoted(pair: Pair) -> None:
    session = pair.a.session()
    nasty = 'it\'s 100 % \\ "quoted"'
    assert session.query("SELECT %s, 1, NULL", (nasty,), deadline=Deadline(2)) == [(nasty, 1, None)]
    assert session.rows_as_dicts("SELECT 7 AS n", deadline=Deadline(2)) == [{"n": 7}]
    assert session.flavor == pair.flavor
    assert session.connection_id == session.query("SELECT CONNECTION_ID()", deadline=Deadline(2))[0][0]
    session.close()
    session.close()
    assert not session.is_open
    assert session.fileno() == -1


def test_several_statements_go_in_one_packet(pair: Pair) -> None:
    session = pair.a.session()
    wide = "x" * 70000
    assert session.ask(["SELECT 1", "DO 0", f"SELECT NULL, '{wide}', ''"], Deadline(2)) == [
        [[b"1"]],
        [],
        [[None, wide.encode(), b""]],
    ]
    assert session.attempt_all(["DO 0", "KILL 999999999", "DO 0"], Deadline(2)) == [0, 1094, 0]
    assert session.ask(["SELECT 2"], Deadline(2)) == [[[b"2"]]]
    session.close()


def test_an_error_closes_the_session_and_carries_its_number(pair: Pair) -> None:
    session = pair.a.session()
    with pytest.raises(SqlError) as raised:
        session.query("SELECT nonsense", deadline=Deadline(2))
    assert raised.value.errno == 1054
    assert raised.value.refused
    assert not session.is_open
    with pytest.raises(Lost):
        session.query("SELECT 1", deadline=Deadline(2))


def test_a_missing_grant_is_blind(pair: Pair) -> None:
    with pytest.raises(Denied):
        pair.a.session().query("SELECT * FROM mysql.user", deadline=Deadline(2))


def test_a_statement_past_its_deadline_is_silent(pair: Pair) -> None:
    started = time.monotonic()
    session = pair.a.session()
    with pytest.raises(Silent):
        session.query("SELECT SLEEP(5)", deadline=Deadline(0.2))
    with pytest.raises(Silent):
        pair.a.session().ask(["SELECT SLEEP(5)"], Deadline(0.2))
    in_time(took_s(started), 3)


def test_a_killed_session_is_lost(pair: Pair) -> None:
    session = pair.a.session()
    pair.a.sql(f"KILL {session.connection_id}")
    with pytest.raises(Lost):
        session.query("SELECT 1", deadline=Deadline(2))


@pytest.mark.parametrize("way", ["session", "peer_session"])
def test_a_hung_server_is_silent_and_answers_again(pair: Pair, way: str) -> None:
    session = getattr(pair.b, way)()
    with pair.b.stopped():
        started = time.monotonic()
        with pytest.raises(Silent):
            session.query("SELECT 1", deadline=Deadline(0.2))
        with pytest.raises(Silent):
            getattr(pair.b, way)(0.2)
        in_time(took_s(started), 2)
    assert getattr(pair.b, way)().query("SELECT 1", deadline=Deadline(5)) == [(1,)]


@pytest.mark.parametrize("local", [True, False])
def test_a_connector_waits_on_one_connection_while_the_server_hangs(pair: Pair, local: bool) -> None:
    mysql = pair.b.mysql()
    made = Connector.local(mysql) if local else Connector.peer(pair.b.address, mysql, Tls.of(mysql))
    before = int(pair.b.sql("SHOW GLOBAL STATUS LIKE 'Connections'")[0]["Value"])
    with pair.b.stopped():
        for _ in range(10):
            with pytest.raises(Silent):
                made(Deadline(0.02))
    session = made(Deadline(5))
    assert session.query("SELECT 1", deadline=Deadline(5)) == [(1,)]
    after = int(session.query("SHOW GLOBAL STATUS LIKE 'Connections'", deadline=Deadline(5))[0][1])
    assert after == before + 1
    session.close()


def test_a_connector_begins_anew_when_the_server_died(mariadb: Pair) -> None:
    made = mariadb.b.connector()
    with mariadb.b.stopped(), pytest.raises(Silent):
        made(Deadline(0.02))
    mariadb.b.kill()
    with pytest.raises(Absent):
        made(Deadline(1))
    mariadb.b.start()
    assert made(Deadline(2)).is_open


def cipher(session: Session) -> str:
    found: str = session.query("SHOW SESSION STATUS LIKE 'Ssl_cipher'", deadline=Deadline(2))[0][1]
    return found


def test_preferred_tls_is_used_where_it_is_offered(mysql: Pair, mariadb: Pair) -> None:
    assert cipher(mysql.b.peer_session())
    assert not cipher(mariadb.b.peer_session())
    assert not cipher(mysql.b.session()), "the unix socket needs none"


def test_required_tls_is_refused_where_it_is_not_offered(mysql: Pair, mariadb: Pair) -> None:
    assert cipher(mysql.b.peer_session(tls="required"))
    with pytest.raises(CouldNotLook, match="offers no TLS"):
        mariadb.b.peer_session(tls="required")


def test_verified_tls_trusts_its_own_authority_only(mysql: Pair) -> None:
    authority = str(mysql.b.directory / "data" / "ca.pem")
    assert cipher(mysql.b.peer_session(tls="verify", tls_ca=authority))
    with pytest.raises(CouldNotLook, match="TLS failed"):
        mysql.b.peer_session(tls="verify")
    with pytest.raises(CouldNotLook, match="tls_ca"):
        mysql.b.peer_session(tls="verify", tls_ca="/nowhere.pem")


def test_the_end_of_a_peers_certificate_is_known_over_tls_alone(mysql: Pair, mariadb: Pair) -> None:
    (told,) = mysql.b.sql("SHOW GLOBAL STATUS LIKE 'Ssl_server_not_after'")
    ends = datetime.strptime(told["Value"], "%b %d %H:%M:%S %Y GMT").replace(tzinfo=UTC)
    assert mysql.b.peer_session(tls="preferred").certificate_until_s == ends.timestamp()
    assert mariadb.b.peer_session(tls="preferred").certificate_until_s is None
    assert mysql.b.session().certificate_until_s is None


def test_without_tls_the_password_goes_encrypted_with_the_servers_key(mysql: Pair) -> None:
    mysql.b.sql("FLUSH PRIVILEGES")  # empties the cache of caching_sha2_password: full authentication is due
    deadline = Deadline(5)
    wire = Wire(open_peer(mysql.b.address, mysql.b.mysql(), deadline), mysql.b.mysql(), "plain", deadline)
    assert wire.ask([b"SELECT 1"]) == [[[b"1"]]]
    wire.abandon()


def test_the_servers_process_is_known_on_this_host_only(pair: Pair) -> None:
    process = pair.b.session().server_process()
    assert process is not None
    assert process.pid == pair.b.pid
    assert pair.b.peer_session().server_process() is None


def test_some_python_that_listens_is_no_server_process(tmp_path: Path) -> None:
    from vipguard.session.process import process_id

    with actor(tmp_path / "s", lambda connection: time.sleep(1)), socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(tmp_path / "s"))
        assert process_id(sock) is None
