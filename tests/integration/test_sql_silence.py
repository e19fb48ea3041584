"""What keeps a healthy server from answering, and what the probe makes of it: nothing but silence is silence."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import pymysql
import pytest
from scratch import Pair, Server, free_port

from vipguard.lab.wait import wait_until
from vipguard.model.evidence import Answer, ServerEvidence
from vipguard.probe.server import ServerProbe
from vipguard.session import Connector, Tls, boottime_s

pytestmark = pytest.mark.lab
DEADLINE_S = 0.5  # as limits.deadline_s
LONG = "SELECT BENCHMARK(100000000, MD5('x'))"


def local(pair: Pair, server: Server) -> ServerProbe:
    return ServerProbe(server.connector(), pair.policy)


def remote(pair: Pair, server: Server) -> ServerProbe:
    mysql = server.mysql()
    return ServerProbe(Connector.peer(server.address, mysql, Tls.of(mysql)), pair.policy)


def look(probe: ServerProbe) -> ServerEvidence:
    seen = probe.look(DEADLINE_S, boottime_s)
    time.sleep(0.05)
    return seen


def sessions(server: Server) -> int:
    return sum(row["User"] == "vipguard" for row in server.sql("SHOW PROCESSLIST"))


def answers(probe: ServerProbe) -> None:
    wait_until(lambda: look(probe).answer is Answer.ANSWERED, 10, lambda: f"{look(probe)}")


@contextlib.contextmanager
def configured(pair: Pair, server: Server, *lines: str) -> Iterator[None]:
    """The server restarted with more in its my.cnf; killed at the end, and as it was."""
    file = server.directory / "my.cnf"
    before = file.read_text()
    server.kill()
    file.write_text(before + "".join(f"{line}\n" for line in lines))
    try:
        server.start()
        server.sql("SET GLOBAL read_only = 0")
        yield
    finally:
        server.kill()
        file.write_text(before)


@contextlib.contextmanager
def busy(server: Server, count: int) -> Iterator[None]:
    """So many clients, each in a statement that takes a processor for long."""
    clients = [server.connect(read_timeout=120) for _ in range(count)]
    try:
        for client in clients:
            client._execute_command(3, LONG)  # type: ignore[attr-defined] # COM_QUERY, not waited for
        time.sleep(0.5)
        yield
    finally:
        for client in clients:
            with contextlib.suppress(Exception):
                client._force_close()  # type: ignore[attr-defined]


@contextlib.contextmanager
def locked(server: Server, how: str) -> Iterator[None]:
    """vipguard's table, by a lock or by DDL that waits for a transaction."""
    with contextlib.closing(server.connect()) as holder, contextlib.closing(server.connect(read_timeout=60)) as ddl:
        cursor = holder.cursor()
        if how == "LOCK TABLES":
            cursor.execute("LOCK TABLES vipguard.epoch WRITE")
        else:
            cursor.execute("BEGIN")
            cursor.execute("SELECT * FROM vipguard.epoch")
            statement = "ALTER TABLE vipguard.epoch COMMENT 'x'" if how == "ALTER" else "FLUSH TABLES vipguard.epoch"
            ddl._execute_command(3, statement)  # type: ignore[attr-defined]
            time.sleep(0.3)
        try:
            yield
        finally:
            with contextlib.suppress(pymysql.MySQLError):
                cursor.execute("UNLOCK TABLES")
                cursor.execute("ROLLBACK")
            with contextlib.suppress(Exception):
                ddl._force_close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("how", ["LOCK TABLES", "ALTER"])
@pytest.mark.parametrize("peer", [False, True], ids=["local", "peer"])
def test_a_lock_on_vipguards_tables_makes_the_probe_blind_and_costs_the_server_no_sessions(
    pair: Pair, how: str, peer: bool
) -> None:
    probe = (remote if peer else local)(pair, pair.a)
    assert look(probe).answer is Answer.ANSWERED
    before = sessions(pair.a)
    with locked(pair.a, how):
        seen = [look(probe) for _ in range(8)]
        assert {one.answer for one in seen[1:]} == {Answer.BLIND}, seen
        assert all(one.spoke for one in seen[1:])
        assert any("metadata lock" in one.reason for one in seen), seen
        assert sessions(pair.a) <= before + 2
        if not peer:
            assert seen[0].answer is Answer.BLIND, "not silent for one round either"
    answers(probe)
    probe.close()


def test_no_connection_left_is_not_silence(pair: Pair) -> None:
    fresh = local(pair, pair.a)
    held = []
    try:
        with contextlib.suppress(pymysql.MySQLError):
            while True:
                held.append(pair.a.connect())
        assert look(fresh).answer in (Answer.BLIND, Answer.ANSWERED)
    finally:
        for one in held:
            one._force_close()  # type: ignore[attr-defined]
    answers(fresh)
    fresh.close()


def test_a_stopped_server_is_silent_however_closely_it_is_asked(pair: Pair) -> None:
    probe = local(pair, pair.a)
    assert look(probe).answer is Answer.ANSWERED
    with pair.a.stopped():
        for _ in range(4):
            seen = look(probe)
            assert seen.answer is Answer.SILENT and not seen.spoke, seen
    answers(probe)
    probe.close()


def test_a_stopped_server_is_silent_for_a_prober_that_never_saw_it(pair: Pair) -> None:
    probe = local(pair, pair.a)
    with pair.a.stopped():
        assert [look(probe).answer for _ in range(3)] == [Answer.SILENT] * 3
    answers(probe)
    probe.close()


@pytest.mark.parametrize("extra", [False, True], ids=["without-extra-port", "with-extra-port"])
def test_a_pool_of_threads_that_has_none_left_is_not_silence(pair: Pair, extra: bool) -> None:
    if pair.flavor != "mariadb":  # MySQL's community edition has no pool of threads
        assert pair.a.value("@@global.thread_handling") == "one-thread-per-connection"
        return
    more = [f"extra_port={free_port()}", "extra_max_connections=10"] if extra else []
    pool = ["thread_handling=pool-of-threads", "thread_pool_size=2", "thread_pool_max_threads=6", "max_connections=300"]
    with configured(pair, pair.a, *pool, *more):
        probe = local(pair, pair.a)
        answers(probe)
        with busy(pair.a, 100):
            seen = [look(probe) for _ in range(8)]
            assert Answer.SILENT not in {one.answer for one in seen}, seen
            assert Answer.BLIND in {one.answer for one in seen}, f"its pool was not full: {seen}"
            words = "keeps for administrators" if extra else "pool of threads"
            assert any(words in one.reason for one in seen), seen
            newcomer = [look(local(pair, pair.a)) for _ in range(3)]
            assert Answer.SILENT not in {one.answer for one in newcomer}, newcomer
        probe.close()


def test_three_hundred_busy_clients_are_not_silence(pair: Pair) -> None:
    with configured(pair, pair.a, "max_connections=400"):
        probe = local(pair, pair.a)
        answers(probe)
        with busy(pair.a, 300):
            seen = [look(probe) for _ in range(12)]
            assert Answer.SILENT not in {one.answer for one in seen}, seen
        probe.close()


def test_mysqls_port_for_administrators_is_asked_as_well(pair: Pair) -> None:
    if pair.flavor != "mysql":
        assert pair.a.sql("SHOW VARIABLES LIKE 'admin_port'") == []
        return
    port = free_port()
    with configured(pair, pair.a, "admin_address=127.0.0.1", f"admin_port={port}", "create_admin_listener_thread=ON"):
        probe = local(pair, pair.a)
        answers(probe)
        assert probe._proof is not None and probe._proof._port == ("127.0.0.1", port)
        probe.close()
