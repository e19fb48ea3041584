"""How is a server closed and opened here? Statement by statement, as vipguard's act/server.py does it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from vipguard.agent.event import Prepared
from vipguard.model import effect as do
from vipguard.model.ledger import Opening

from .applying import acting
from .asking import Ask, Conn, Fail
from .looking import Steps, look, must
from .mysqld import Mysqld, Session, Txn

if TYPE_CHECKING:
    from .agent import Agent



def close(agent: Agent, conn: Conn, keep: int | None, deadline_s: float, who: str, care: do.Care) -> Steps:
    """Two statements: end the stale sessions of the guard, then read_only; it fails past the deadline."""
    host, until_s = conn.target, agent.engine.now + deadline_s
    killed = 0

    def end_own(server: Mysqld, me: Session) -> None:
        for session in list(server.sessions.values()):
            if session.guard and session.local and session.id != keep and session is not me:
                server.drop(session)

    def close_now(server: Mysqld, me: Session) -> do.Closed:
        nonlocal killed
        server.set_closed(True, who)
        for session in list(server.sessions.values()):
            if not session.guard:
                server.drop(session)
                killed += 1
        return do.Closed(server.gtid(), killed)

    try:
        must((yield Ask(conn, end_own, until_s)), "close")
        if host.close_blocked or (host.mysqld is not None and host.mysqld.stalled):  # read-only waits for commits
            yield max(0.0, until_s - agent.engine.now)
            raise Fail("close: blocked")
        waiting = must((yield Ask(conn, lambda server, me: server.acks.waiting, until_s)), "close")
        while waiting and care is not do.Care.NONE:
            if care is do.Care.STRICT:
                raise Fail("commits wait")
            yield 0.01
            waiting = must((yield Ask(conn, lambda server, me: server.acks.waiting, until_s)), "close")
        takes_s = agent.engine.between(0.0005, 0.03)
        return must((yield Ask(conn, close_now, until_s, takes_s)), "close")
    finally:
        conn.hang_up()


def close_server(agent: Agent, effect: do.CloseServer) -> Steps:
    conn = Conn(agent, agent.host)
    return (yield from close(agent, conn, agent.probe.id, effect.deadline_s, "its agent", effect.care))


def close_peer(agent: Agent, effect: do.ClosePeer) -> Steps:
    peer = agent.peers[effect.node]
    conn = Conn(agent, peer.target)
    yield from close(agent, conn, peer.id, effect.deadline_s, agent.host.name, effect.care)
    return (yield from look(agent, peer, agent.world.policy.limits.deadline_s, False))


def prepare_open(agent: Agent, effect: do.PrepareOpen) -> Steps:
    agent.opener.hang_up()
    conn, name = Conn(agent, agent.host), agent.world.policy.open_lock
    until_s = agent.engine.now + effect.deadline_s
    granted = must((yield Ask(conn, lambda server, s: server.lock(name, s), until_s)), "prepare")
    if not granted:
        conn.hang_up()
        raise Fail("another session holds the open lock", refused=True)
    agent.opener = conn
    return Prepared(conn.id or 0, agent.engine.now)


def drop_opener(agent: Agent, effect: do.DropOpener) -> Steps:
    yield 0.0001
    agent.opener.hang_up()


def open_server(agent: Agent, effect: do.Open) -> Steps:
    conn = agent.opener
    if conn.session is None or conn.id != effect.opener:
        raise Fail("the session that was to open is gone", refused=True)
    until_s = agent.engine.now + effect.deadline_s

    limit_s = min(until_s, effect.until_s)
    if agent.engine.now >= limit_s:
        raise Fail("too late", refused=True)

    def open_now(server: Mysqld, session: Session) -> bool:
        if agent.engine.now >= limit_s:
            server.set_closed(True, "a late opening")
            return False
        agent.host.cluster.laws.opening(agent.host, effect)
        server.set_closed(False, f"its agent, epoch {effect.row.epoch}")
        return True

    takes_s = agent.engine.between(0.0005, 0.005)
    if not must((yield Ask(conn, open_now, limit_s, takes_s)), "open"):
        raise Fail("the server came to it too late", refused=True)

    yield from write(agent, conn, until_s, **_rows(agent, effect.opening))


def _rows(agent: Agent, opening: Opening) -> dict[str, Any]:
    at_s = round(agent.engine.now, 6)
    return {"opening": replace(opening, at_s=at_s)} if agent.host.knows_ledger else {"epoch": opening.row}


def write_opening(agent: Agent, effect: do.WriteOpening) -> Steps:
    """The server itself sees whether it may, when it comes to it."""
    conn, name = Conn(agent, agent.host), agent.world.policy.open_lock

    def may(server: Mysqld, session: Session) -> None:
        if server.closed or server.holder(name) != effect.opener:
            raise Fail("not open any more", refused=True)

    try:
        until_s = agent.engine.now + effect.deadline_s
        yield from write(agent, conn, until_s, may=may, **_rows(agent, effect.opening))
    finally:
        conn.hang_up()


def write(agent: Agent, conn: Conn, until_s: float, may: Any = None, **row: Any) -> Steps:
    """One transaction of the guard's own; it comes back when a replica has it, where commits wait for one."""

    def commit(server: Mysqld, session: Session) -> Txn:
        if server.closed:
            raise Fail("read-only", refused=True)
        if may is not None:
            may(server, session)
        return server.commit(session, **row)

    txn = must((yield Ask(conn, commit, until_s, 0.001)), "write")
    while not txn.acknowledged:
        if agent.engine.now > until_s - 0.01:
            conn.hang_up()
            raise Fail("no acknowledgement")
        must((yield Ask(conn, lambda server, session: None, until_s)), "write")
        yield 0.005


def set_source(agent: Agent, effect: do.SetSource) -> Steps:
    def act(server: Mysqld, session: Session) -> None:
        if not effect.on and server.closed and server.acks.waiting:
            raise Fail("commits wait on the closed server", refused=True)
        server.acks.switch(effect.on)

    conn = Conn(agent, agent.host)
    try:
        must((yield Ask(conn, act, agent.engine.now + effect.deadline_s, 0.001)), "switch semi-sync")
    finally:
        conn.hang_up()


def mute(agent: Agent, effect: do.Mute) -> Steps:
    def act(server: Mysqld, session: Session) -> None:
        server.acks.mute = True

    yield from acting(agent, act, agent.engine.now + effect.deadline_s)


def write_mark(agent: Agent, effect: do.WriteMark) -> Steps:
    conn = Conn(agent, agent.host)
    try:
        yield from write(agent, conn, agent.engine.now + effect.deadline_s, mark=effect.mark)
    finally:
        conn.hang_up()
