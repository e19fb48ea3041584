"""How does a worker look at a server here, and what does it make of the reply?"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from vipguard.agent.event import Looked
from vipguard.model import effect as do
from vipguard.model.evidence import Answer, DiskEvidence, ServerEvidence, ServerFacts

from .asking import Ask, Conn, Fail, Reply
from .mysqld import Mysqld, Session

if TYPE_CHECKING:
    from .agent import Agent

Steps = Generator[Any, Any, Any]


def must(reply: Reply, what: str) -> Any:
    if reply.kind == "ok":
        return reply.value
    if reply.kind == "refused":
        raise reply.value
    raise Fail(f"{what}: {reply.kind}", refused=reply.kind == "blind")


def look(
    agent: Agent, conn: Conn, deadline_s: float, channels: bool = True, fit: bool | None = None
) -> Steps:
    """`fit`: its session takes the lock that says so, or gives it back."""
    name = agent.host.policy.fit_lock

    def ask(server: Mysqld, session: Session) -> ServerFacts:
        if fit is not None:
            (server.lock if fit else server.unlock)(name, session)
        return server.facts(session, channels, conn.local)

    asked_s = agent.engine.now
    until_s = asked_s + deadline_s
    for attempt in range(3):
        if attempt == 2:
            yield 0.005
        reply = yield Ask(conn, ask, until_s)
        now = agent.engine.now
        if reply.kind == "ok":
            return ServerEvidence(Answer.ANSWERED, asked_s, now, reply.value)
        if reply.kind == "absent":
            return ServerEvidence(Answer.ABSENT, asked_s, now, reason="refused")
        if reply.kind in ("blind", "late"):
            return ServerEvidence(Answer.BLIND, asked_s, now, reason=reply.kind)
        if reply.kind == "timeout":
            return ServerEvidence(Answer.SILENT, asked_s, now, reason="silent")
    return ServerEvidence(Answer.SILENT, asked_s, agent.engine.now, reason="lost")


def probe_server(agent: Agent, effect: do.ProbeServer) -> Steps:
    return (yield from look(agent, agent.probe, effect.deadline_s, fit=effect.fit))


def probe_peer(agent: Agent, effect: do.ProbePeer) -> Steps:
    if effect.after_s:
        yield effect.after_s
    return (yield from look(agent, agent.peers[effect.node], effect.deadline_s, effect.channels))


def probe_disk(agent: Agent, effect: do.ProbeDisk) -> Steps:
    """A write of the agent's own waits as long as a commit does, and has come back when the disk goes on."""
    host, engine = agent.host, agent.engine
    free = 1_000_000 if host.disk_full else 10_000_000_000
    if agent.disk_waits_s is None or (host.disk_stalled and agent.disk_waits_s < host.disk_stalled_s):
        agent.disk_waits_s = engine.now
    yield 0.2 if host.disk_stalled else 0.001
    if not host.disk_stalled:
        agent.disk_waits_s = None
        return DiskEvidence(engine.now, free, 20_000_000_000, True)
    return DiskEvidence(
        engine.now, free, 20_000_000_000, True, waits_since_s=agent.disk_waits_s, still_since_s=agent.disk_waits_s
    )


def look_once_more(agent: Agent, effect: do.Look) -> Steps:
    asked_s = agent.engine.now
    address = agent.address()
    server = yield from look(agent, agent.probe, effect.deadline_s)
    return Looked(asked_s, address, server)
