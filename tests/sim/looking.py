"""How does a worker look at a server here, and what does it make of the reply?"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
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
    agent: Agent,
    conn: Conn,
    deadline_s: float,
    channels: bool = True,
    fit: bool | None = None,
    gone: bool | None = None,
) -> Steps:
    """`fit`, `gone`: its session takes the lock that says so, or gives it back."""
    policy = agent.host.policy

    def ask(server: Mysqld, session: Session) -> ServerFacts:
        for name, wanted in ((policy.fit_lock, fit), (policy.gone_lock(policy.node), gone)):
            if wanted is not None:
                (server.lock if wanted else server.unlock)(name, session)
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
    return (yield from look(agent, agent.peers[effect.node], effect.deadline_s, effect.channels, gone=effect.gone))


def gone(agent: Agent, peers: Iterable[str]) -> Callable[[Mysqld, Session], frozenset[str]]:
    """Whose locks count: a lock does while its session was asked something less than two seconds ago."""

    def ask(server: Mysqld, session: Session) -> frozenset[str]:
        held = {name: server.locks.get(agent.host.policy.gone_lock(name)) for name in peers}
        return frozenset(n for n, s in held.items() if s is not None and agent.engine.now - s.used_s < 2.0)

    return ask


def ask_gone(agent: Agent, effect: do.AskGone) -> Steps:
    if effect.after_s:
        yield effect.after_s
    conn, until_s = Conn(agent, agent.host), agent.engine.now + effect.deadline_s
    try:
        return must((yield Ask(conn, gone(agent, effect.peers), until_s)), "ask who is gone")
    finally:
        conn.hang_up()


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
