"""A server that closes itself at a moment to come, unless that is called off in time."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

import pytest
from scratch import Pair, Server

from vipguard.act.lease import Lease
from vipguard.act.server import close_server
from vipguard.errors import CouldNotDo
from vipguard.lab.wait import wait_until
from vipguard.session import Connector, Deadline, Session

pytestmark = pytest.mark.lab


def ordered(server: Server, seconds: float) -> Lease:
    """The server is to close itself so long from now."""
    lease = Lease(Connector.local(server.mysql()))
    lease.arm(lambda: seconds, Deadline(1.0))
    return lease


def closed_within(server: Server, within_s: float) -> bool:
    with contextlib.suppress(Exception):
        wait_until(lambda: server.closed, within_s, lambda: "read-only")
        return True
    return False


def waits(server: Server) -> list[str]:
    rows = server.sql("SHOW PROCESSLIST")
    return [str(row["Info"]) for row in rows if "SLEEP" in str(row["Info"])]


def test_it_closes_at_its_moment_while_others_read_and_write(pair: Pair) -> None:
    server = pair.a
    server.sql("CREATE TABLE IF NOT EXISTS test.lease (id INT PRIMARY KEY)")
    lease, began_s = ordered(server, 0.6), time.monotonic()
    while time.monotonic() - began_s < 0.4:
        server.sql("REPLACE INTO test.lease VALUES (1)", "SELECT @@global.read_only")
        assert not server.closed
    assert len(waits(server)) == 1
    assert closed_within(server, 2.0) and time.monotonic() - began_s >= 0.55
    assert waits(server) == []
    lease.disarm(Deadline(1.0))


def test_called_off_it_changes_nothing_and_leaves_no_session(pair: Pair) -> None:
    server = pair.a
    lease = ordered(server, 0.5)
    lease.disarm(Deadline(1.0))
    assert waits(server) == [] and not closed_within(server, 0.8)
    lease.disarm(Deadline(1.0))


def test_another_close_and_an_opening_meanwhile_wait_for_nothing(pair: Pair) -> None:
    """A close ends the order, as it ends whatever else of the guard's is under way."""
    server = pair.a
    ordered(server, 0.7)
    began_s = time.monotonic()
    close_server(Connector.local(server.mysql()), frozenset(), 1.0)
    assert time.monotonic() - began_s < 0.5 and waits(server) == []
    server.open()
    assert not closed_within(server, 0.9)


def test_it_comes_although_the_guard_that_ordered_it_ended(pair: Pair) -> None:
    server = pair.a
    lease = ordered(server, 0.4)
    session = lease._waiting
    assert session is not None
    session.close()
    assert closed_within(server, 2.0)


def test_a_moment_that_has_passed_is_ordered_no_more(pair: Pair) -> None:
    with pytest.raises(CouldNotDo) as caught:
        ordered(pair.a, -0.1)
    assert caught.value.refused and waits(pair.a) == []


def test_a_second_order_replaces_the_first(pair: Pair) -> None:
    lease = ordered(pair.a, 0.4)
    left: Callable[[], float] = lambda: 30.0  # noqa: E731
    lease.arm(left, Deadline(1.0))
    assert len(waits(pair.a)) == 1 and not closed_within(pair.a, 0.8)
    lease.disarm(Deadline(1.0))


def test_it_is_called_off_where_no_further_connection_is_to_be_had(pair: Pair) -> None:
    """The order itself may have taken the last one."""
    connect = Connector.local(pair.a.mysql())
    left: list[Session] = []

    def scarce(deadline: Deadline) -> Session:
        if len(left) == 2:
            raise CouldNotDo("Too many connections")
        left.append(connect(deadline))
        return left[-1]

    lease = Lease(scarce)
    lease.arm(lambda: 0.5, Deadline(1.0))
    lease.disarm(Deadline(1.0))
    assert waits(pair.a) == [] and not closed_within(pair.a, 0.8)


def test_nothing_is_ordered_where_it_could_not_be_called_off(pair: Pair) -> None:
    connect = Connector.local(pair.a.mysql())
    taken: list[Session] = []

    def one(deadline: Deadline) -> Session:
        if taken:
            raise CouldNotDo("Too many connections")
        taken.append(connect(deadline))
        return taken[-1]

    with pytest.raises(CouldNotDo):
        Lease(one).arm(lambda: 0.4, Deadline(1.0))
    assert waits(pair.a) == [] and not closed_within(pair.a, 0.7)
