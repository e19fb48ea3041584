"""How are replication's threads stopped, started and waited for here? After vipguard's act/replication.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from vipguard.model import effect as do
from vipguard.model.evidence import RelayEvidence

from . import lacking
from .asking import Ask, Fail
from .looking import Steps, must
from .mysqld import Mysqld, Session

if TYPE_CHECKING:
    from .agent import Agent



def acting(agent: Agent, act: Callable[[Mysqld, Session], Any], until_s: float, takes_s: float = 0.0003) -> Steps:
    """On the acting session; once more if that was lost, for these statements may be sent twice."""
    reply = yield Ask(agent.acting, act, until_s, takes_s)
    if reply.kind == "lost":
        reply = yield Ask(agent.acting, act, until_s, takes_s)
    return must(reply, "act")


def replication(agent: Agent, effect: do.Effect) -> Steps:
    def act(server: Mysqld, session: Session) -> None:
        if isinstance(effect, do.StopReceiving):
            if effect.aside is not None:
                server.set_aside(effect.aside)
            if not server.stop_io():
                raise Fail("received and unapplied would be lost", refused=True)
        else:
            lacking.joining(agent.host.cluster.laws, agent.host)
            if isinstance(effect, do.StartReplication):
                server.start_sql()
            server.start_io()

    takes_s = agent.engine.between(0.001, 0.015)
    until_s = agent.engine.now + effect.deadline_s
    yield from acting(agent, act, until_s, takes_s)


def relay(agent: Agent, effect: do.Effect) -> Steps:
    def act(server: Mysqld, session: Session) -> RelayEvidence:
        if isinstance(effect, do.RescueRelay):
            if server.io_wanted:
                raise Fail("its replication runs", refused=True)
            server.rescue()
        numbers = {txn.source: txn.number for txn in server.disk.relay}
        return RelayEvidence(server.pid, agent.engine.now, server.gtid(numbers))

    until_s = agent.engine.now + effect.deadline_s
    return (yield from acting(agent, act, until_s, agent.engine.between(0.001, 0.3)))


def receive(agent: Agent, effect: do.Receive) -> Steps:
    until_s = agent.engine.now + effect.deadline_s
    while True:
        have, runs = yield from acting(
            agent, lambda s, _: (s.gtid().union(s.gtid(s.received)), s.io_wanted), until_s
        )
        if have.contains(effect.target):
            return have
        if not runs:
            raise Fail("no IO thread runs", refused=True)
        if agent.engine.now > until_s - 0.02:
            raise Fail("did not come in time")
        yield 0.02


def point(agent: Agent, effect: do.Point) -> Steps:
    until_s = agent.engine.now + effect.deadline_s
    yield from _point_at(agent, effect.node, until_s)


def _point_at(agent: Agent, node: str, until_s: float) -> Steps:
    def act(server: Mysqld, session: Session) -> bool:
        if server.io_wanted:
            raise Fail("its IO thread runs", refused=True)
        if server.sql_wanted and server.disk.relay:
            return False
        server.point(agent.host.cluster.hosts[node])
        return True

    while not (yield from acting(agent, act, until_s, agent.engine.between(0.002, 0.02))):
        if agent.engine.now > until_s - 0.02:
            raise Fail("not applied in time")
        yield 0.02


def fetch(agent: Agent, effect: do.Fetch) -> Steps:
    until_s = agent.engine.now + effect.deadline_s
    if agent.host.follows != effect.node:
        yield from acting(agent, lambda s, _: s.stop_io(), until_s)
        yield from _point_at(agent, effect.node, until_s)
    yield from acting(agent, lambda s, _: s.start_io(), until_s)
    while True:
        have, received, applies = yield from acting(
            agent, lambda s, _: (s.gtid(), s.gtid().union(s.gtid(s.received)), s.sql_wanted), until_s
        )
        if have.contains(effect.target):
            break
        if received.contains(effect.target) and not applies:
            raise Fail("its SQL thread does not run", refused=True)
        if agent.engine.now > until_s - 0.02:
            raise Fail("did not come in time")
        yield 0.02
    yield from acting(agent, lambda s, _: s.stop_io(), until_s)
    yield from _point_at(agent, effect.home, until_s)
    return (yield from acting(agent, lambda s, _: s.gtid(), until_s))


def drain(agent: Agent, effect: do.Drain) -> Steps:
    until_s = agent.engine.now + effect.deadline_s
    while True:
        gtid, left, runs = yield from acting(
            agent, lambda s, _: (s.gtid(), len(s.disk.relay), s.sql_wanted), until_s
        )
        if not left:
            return gtid
        if not runs:
            raise Fail("its SQL thread does not run", refused=True)
        if agent.engine.now > until_s - 0.02:
            raise Fail("not drained in time")
        yield 0.02
