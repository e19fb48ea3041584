"""How does a server close itself here at a moment to come? As vipguard's act/lease.py has it ordered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vipguard.model import effect as do

from .asking import Ask, Conn, Fail
from .looking import Steps, must
from .mysqld import Mysqld, Session

if TYPE_CHECKING:
    from .agent import Agent


def arm(agent: Agent, effect: do.ArmClose) -> Steps:
    """Its session is the server's: it stays when the agent ends."""
    yield from disarm(agent, effect)
    conn = agent.leasing = Conn(agent, agent.host)

    def wait(server: Mysqld, session: Session) -> None:
        if agent.engine.now >= effect.until_s:
            raise Fail("its moment has passed", refused=True)
        server.at(effect.until_s - agent.engine.now, _close, server, session)

    must((yield Ask(conn, wait, agent.engine.now + effect.deadline_s)), "order the close")


def _close(server: Mysqld, session: Session) -> None:
    """Read-only waits for what is being committed, as ever."""
    if not session.alive:
        return
    if server.host.close_blocked or server.stalled or server.acks.waiting:
        server.at(0.01, _close, server, session)
    else:
        server.set_closed(True, "itself, by its lease")


def disarm(agent: Agent, effect: do.Effect) -> Steps:
    waiting = agent.leasing.session
    if waiting is None:
        yield 0.0001
        return
    conn = Conn(agent, agent.host)
    try:
        until_s = agent.engine.now + effect.deadline_s
        must((yield Ask(conn, lambda server, me: server.drop(waiting), until_s, 0.002)), "call the close off")
    finally:
        conn.hang_up()
        agent.leasing.session = None
