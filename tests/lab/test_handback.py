"""A writer that must close does so within `close_s`, whatever blocks it; a server opened by another hand is closed."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

import pymysql
import pytest
from guarded import Guarded
from lawful import in_time, nothing_lost

from vipguard.lab import Node, faults


@contextlib.contextmanager
def locked_for_writing(node: Node) -> Iterator[None]:
    connection = node.mysqld.connect(user="app", password="app", timeout_s=60)
    try:
        connection.cursor().execute("LOCK TABLES app.t WRITE")
        yield
    finally:
        with contextlib.suppress(pymysql.MySQLError, OSError):
            connection.close()


@contextlib.contextmanager
def long_update(node: Node) -> Iterator[None]:
    """One statement that would run for half a minute, and has changed rows already."""
    connection = node.mysqld.connect(user="app", password="app", timeout_s=60)

    def run() -> None:
        with contextlib.suppress(pymysql.MySQLError, OSError):
            connection.cursor().execute("UPDATE app.t SET node = node + SLEEP(0.5) LIMIT 60")

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    time.sleep(0.2)
    try:
        yield
    finally:
        with contextlib.suppress(Exception):
            connection._force_close()  # type: ignore[attr-defined]
        thread.join(5)


@contextlib.contextmanager
def open_transaction(node: Node) -> Iterator[None]:
    connection = node.mysqld.connect(user="app", password="app", timeout_s=60)
    try:
        cursor = connection.cursor()
        cursor.execute("BEGIN")
        cursor.execute("INSERT INTO app.t (id, node) VALUES (-3, 0)")
        yield
        with contextlib.suppress(pymysql.MySQLError, OSError):
            cursor.execute("COMMIT")
            pytest.fail("a transaction of the old writer was committed after it had closed")
    finally:
        with contextlib.suppress(pymysql.MySQLError, OSError):
            connection.close()


@pytest.mark.parametrize("blocker", [locked_for_writing, long_update, open_transaction], ids=lambda f: f.__name__)
def test_a_handback_is_done_in_time_in_spite_of(
    guarded: Guarded, blocker: Callable[[Node], contextlib.AbstractContextManager[None]]
) -> None:
    writer, standby, pid = guarded.writer, guarded.standby, guarded.writer.mysqld.pid
    before = guarded.write_settled(70)
    with blocker(writer), faults.kill_keepalived(writer):
        guarded.wait_writer(standby)
        guarded.wait_said(writer, "event=closed", "rule=read-only-verified")
        assert not guarded.said(writer, "event=closed", "killed=0"), "its session was ended"
        assert not guarded.said(writer, "event=kill") and writer.mysqld.pid == pid
        nothing_lost(before, standby)
        assert writer.mysqld.read_only() is True
    guarded.wait_track(writer, "1", within_s=10)
    assert not standby.mysqld.sql("SELECT 1 FROM app.t WHERE id = -3")


def test_a_standby_opened_by_another_hand_is_closed_at_once(guarded: Guarded) -> None:
    lab, standby = guarded.lab, guarded.standby
    guarded.two_writers_ms_max = 600.0
    opened = time.monotonic()
    standby.mysqld.sql(f"SET GLOBAL {standby.mysqld.closing} = 0", "SET GLOBAL read_only = 0")
    guarded.wait_said(standby, "event=closing", "rule=not-taken-over")
    lab.wait(lambda: standby.mysqld.read_only() is True, 5, "it to be closed")
    in_time(time.monotonic() - opened, 2)
    guarded.wait_track(standby, "1", within_s=10)
    assert lab.writer() is guarded.writer and not guarded.dropped_vip(guarded.writer)


def test_a_writer_closed_by_another_hand_is_not_opened_behind_their_back(guarded: Guarded) -> None:
    """Somebody closed it: it ends with one writer that took over by the rules, and nothing is missing there."""
    lab, writer = guarded.lab, guarded.writer
    before = guarded.write_settled()
    writer.mysqld.sql(f"SET GLOBAL {writer.mysqld.closing} = 1")
    guarded.wait_said(writer, "rule=closed-by-another-hand")
    lab.wait(lambda: lab.writer() is not None, 10, "one writer")
    now = lab.writer()
    assert now is not None
    nothing_lost(before, now)
    guarded.wait_said(now, "event=takeover-complete")


def test_the_clients_of_a_closed_writer_are_told_at_once(guarded: Guarded) -> None:
    """No session of the old writer hangs on: an ordinary client is on the new one within a second or two."""
    with guarded.lab.client(rate=100, read_timeout_s=20) as client, faults.kill_keepalived(guarded.writer):
        guarded.wait_writer(guarded.standby)
        client.wait_acks(20)
    seen = client.seen()
    assert len({server for _, server in seen.connections}) == 2
    in_time(seen.outage_ms(), 3000)
    nothing_lost(client, guarded.standby)
