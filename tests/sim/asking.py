"""How does a statement reach a server, and what may become of it? Late, lost, done though nobody heard of it.

A worker's generator yields an `Ask` and is sent a `Reply`. The statement is carried out when the server comes to it,
even if the worker has given up by then, unless its session was ended before.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .mysqld import Mysqld, Session

if TYPE_CHECKING:
    from .agent import Agent
    from .host import Host

LATE_S = 0.05


class Fail(Exception):
    """A step that failed; `refused`: it certainly did not happen."""

    def __init__(self, text: str, refused: bool = False) -> None:
        super().__init__(text)
        self.text, self.refused = text, refused


@dataclass(slots=True)
class Reply:
    kind: str  # ok, timeout, absent, lost, blind
    value: Any = None


class Conn:
    """A place for one session of the agent's on one server."""

    def __init__(self, agent: Agent, target: Host) -> None:
        self.agent, self.target = agent, target
        self.local = agent.host is target
        self.server: Mysqld | None = None
        self.session: Session | None = None

    @property
    def id(self) -> int | None:
        return self.session.id if self.session is not None else None

    def hang_up(self) -> None:
        """The server sees the end of the connection after what was sent over it; not while packets are dropped."""
        server, session = self.server, self.session
        self.server = self.session = None
        if server is None or session is None or not server.alive:
            return
        me, other = self.agent.host.name, self.target.name
        net = self.agent.host.network
        if self.local or (net.passes(me, other, "sql") and not net.refuses(me, other)):
            server.at(0.0005, server.drop, session)


class Ask:
    """One statement: `act(server, session)` takes `takes_s` of the server's time; no answer counts after `until_s`."""

    def __init__(
        self, conn: Conn, act: Callable[[Mysqld, Session], Any], until_s: float, takes_s: float = 0.0003
    ) -> None:
        self.conn, self.act, self.until_s, self.takes_s = conn, act, until_s, takes_s
        self.agent, self.host = conn.agent, conn.target
        self.engine = self.agent.engine
        self.done = False
        self.resume: Callable[[Reply], None] = lambda reply: None

    def start(self, resume: Callable[[Reply], None]) -> None:
        self.resume = resume
        self.agent.at(max(0.0, self.until_s - self.engine.now), self._timeout)
        if not self.conn.local and self.host.network.refuses(self.agent.host.name, self.host.name):
            self.engine.at(self._latency_s(), self._reset)
        elif self.conn.local or self._passes(there=True):
            self.engine.at(self._latency_s(), self._arrive)

    def _latency_s(self) -> float:
        if self.conn.local:
            return self.engine.between(0.00005, 0.0003)
        slow_s = self.host.network.slow_s + (0.2 if self.engine.chance(self.host.network.lost_share) else 0.0)
        return self.engine.between(0.0002, 0.001) + slow_s

    def _passes(self, there: bool) -> bool:
        one, other = self.agent.host.name, self.host.name
        return self.host.network.passes(one if there else other, other if there else one, "sql")

    def _arrive(self) -> None:
        if not self.host.powered or self.host.paused:
            return
        server = self.host.mysqld
        if server is None or not server.alive:
            self._answer(Reply("absent"))
            return
        session = self.conn.session
        if session is not None and (self.conn.server is not server or not session.alive):
            self._answer(Reply("lost"))
            return
        if session is None and (server.leaving or (server.no_socket and self.conn.local)):
            self._answer(Reply("absent"))
            return
        server.waiting[self._ended] = None
        takes_s = self.takes_s + self.host.server_s * self.engine.between(0.5, 1.0)
        server.at(takes_s, self._execute, server, session)

    def _reset(self) -> None:
        self.agent.at(0.0, self._finish, Reply("absent" if self.conn.session is None else "lost"))

    def _ended(self) -> None:
        self._answer(Reply("lost"))

    def _execute(self, server: Mysqld, session: Session | None) -> None:
        server.waiting.pop(self._ended, None)
        if session is None:
            if self.done or not self.agent.alive:
                return  # there was no session yet, so the statement was never sent
            if server.denies:
                self._answer(Reply("blind"))
                return
            session = server.connect(self.agent.host.name, guard=True, local=self.conn.local)
            self.conn.server, self.conn.session = server, session
        elif not session.alive:
            self._answer(Reply("lost"))
            return
        if server.denies:
            self._answer(Reply("blind"))
            return
        session.used_s = self.engine.now
        try:
            reply = Reply("ok", self.act(server, session))
        except Fail as exc:
            reply = Reply("refused", exc)
        self._answer(reply)

    def _answer(self, reply: Reply) -> None:
        if self.conn.local:
            self.agent.at(0.00005, self._finish, reply)
        elif self._passes(there=False):
            self.agent.at(self._latency_s(), self._finish, reply)

    def _timeout(self) -> None:
        if not self.done:
            self.conn.hang_up()
            self._finish(Reply("late" if self.engine.now > self.until_s + LATE_S else "timeout"))

    def _finish(self, reply: Reply) -> None:
        if self.done:
            return
        self.done = True
        if reply.kind in ("lost", "absent", "blind"):
            self.conn.hang_up()
        self.resume(reply)
