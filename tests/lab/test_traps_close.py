"""The VIP is taken from a writer whose server does not let itself be closed: closed or dead before another opens."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

import pymysql
import pytest
from guarded import TRACK, Guarded
from lawful import in_that_order, in_time, nothing_lost

from vipguard.lab import Node, faults, wait_until
from vipguard.lab.node import CONFIG_FILE

Blocker = Callable[[Node], contextlib.AbstractContextManager[None]]


@contextlib.contextmanager
def _session(node: Node, user: str, *statements: str) -> Iterator[pymysql.Connection[object]]:
    account = {} if user == "root" else {"user": user, "password": user}
    connection = node.mysqld.connect(timeout_s=60, **account)
    try:
        for statement in statements:
            connection.cursor().execute(statement)
        yield connection
    finally:
        with contextlib.suppress(Exception):
            connection._force_close()  # type: ignore[attr-defined]


@contextlib.contextmanager
def _running(node: Node, statement: str, word: str) -> Iterator[None]:
    """A statement that does not end by itself, seen in the list of sessions."""
    with _session(node, "app") as connection:

        def run() -> None:
            with contextlib.suppress(pymysql.MySQLError, OSError, AttributeError):
                connection.cursor().execute(statement)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        deadline = time.monotonic() + 5
        while not any(word in str(row["Info"]) for row in node.mysqld.sql("SHOW PROCESSLIST")):
            in_time(time.monotonic() - deadline, 0, "the statement does not run")
            time.sleep(0.02)
        time.sleep(0.2)
        yield
    thread.join(5)


@contextlib.contextmanager
def lock_tables_write(node: Node) -> Iterator[None]:
    with _session(node, "app", "LOCK TABLES app.t WRITE"):
        yield


@contextlib.contextmanager
def long_update(node: Node) -> Iterator[None]:
    with _running(node, "UPDATE app.t SET node = node + SLEEP(0.5) LIMIT 60", "UPDATE app.t"):
        yield


@contextlib.contextmanager
def flush_with_read_lock_by_root(node: Node) -> Iterator[None]:
    with _session(node, "root", "FLUSH TABLES WITH READ LOCK"):
        yield


@contextlib.contextmanager
def ddl_that_waits(node: Node) -> Iterator[None]:
    """An ALTER behind a transaction that has read the table."""
    with (
        _session(node, "app", "BEGIN", "SELECT COUNT(*) FROM app.t"),
        _running(node, "ALTER TABLE app.t ADD COLUMN extra INT", "ALTER TABLE"),
    ):
        yield


@contextlib.contextmanager
def stopped_keepalived(node: Node) -> Iterator[None]:
    """SIGTERM: the VIP goes at once, and nobody was asked."""
    node.keepalived.terminate()
    try:
        yield
    finally:
        node.start_keepalived()


@contextlib.contextmanager
def track_file_of_another_hand(node: Node) -> Iterator[None]:
    """keepalived is in FAULT a moment later, and takes the VIP away; written again where the agent was faster."""

    def taken_away() -> bool:
        node.write(TRACK, "0\n")
        return not node.has_vip()

    wait_until(taken_away, 5, lambda: "keepalived to see the 0")
    yield


CASES = [
    (stopped_keepalived, lock_tables_write),
    (stopped_keepalived, flush_with_read_lock_by_root),
    (stopped_keepalived, ddl_that_waits),
    (track_file_of_another_hand, long_update),
    (track_file_of_another_hand, flush_with_read_lock_by_root),
]


@pytest.mark.parametrize(("loss", "blocker"), CASES, ids=lambda f: f.__name__)
def test_a_writer_that_loses_its_vip_is_closed_in_time_in_spite_of(
    guarded: Guarded, loss: Blocker, blocker: Blocker
) -> None:
    writer, standby = guarded.writer, guarded.standby
    before = guarded.write_settled(60)
    with blocker(writer), loss(writer):
        guarded.wait_writer(standby)
        closed_ns = last(guarded, writer, "writable", False)
        in_that_order(guarded, closed_ns, last(guarded, standby, "writable", True))
        in_time(closed_ns - last(guarded, writer, "vip", False), 1e9, "close_s, and a kill that it may take")
        nothing_lost(before, standby)
        guarded.write(5)
    guarded.lab.wait(lambda: guarded.lab.trouble() == "", 20, "a healthy pair")
    assert guarded.lab.writer() is standby
    columns = standby.mysqld.sql("SHOW COLUMNS FROM app.t")
    assert [row["Field"] for row in columns] == ["id", "node"], "the ALTER came through nowhere"


def last(guarded: Guarded, node: Node, what: str, now: bool) -> int:
    """When the node's last change of this kind was seen; a dead server counts as closed. The watcher sees it when it
    looks next."""

    def found() -> list[int]:
        changes = (change for change in guarded.watcher.changes if (change.node, change.what) == (node.name, what))
        return [change.ns for change in changes if bool(change.now) is now]

    guarded.lab.wait(found, 5, f"{node.name} to be seen {what} {now}")
    return found()[-1]


def test_a_server_that_cannot_be_closed_in_time_is_killed_before_another_opens(guarded: Guarded) -> None:
    """`close_s` is so short that no close is done within it."""
    writer, standby = guarded.writer, guarded.standby
    before, pid = guarded.write_settled(60), guarded.writer.mysqld.pid
    shorter = writer.read(CONFIG_FILE).replace("[limits]", "[limits]\nclose_s = 0.02")
    with guarded.configured(writer, shorter):
        writer.agent.signal(1)
        guarded.wait_said(writer, "rule=configuration-taken-up")
        with faults.stop_mysqld(writer), stopped_keepalived(writer):
            guarded.wait_writer(standby, within_s=15)
            guarded.wait_said(writer, "event=kill", "rule=not-closed-in-time")
            assert writer.mysqld.pid != pid
        nothing_lost(before, standby)
