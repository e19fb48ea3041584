"""How is the heartbeat written here? As vipguard's act/heartbeat.py does it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vipguard.model import effect as do
from vipguard.model.heartbeat import STALE, Row

from .asking import Ask
from .looking import Steps, must
from .mysqld import Mysqld, Session

if TYPE_CHECKING:
    from .agent import Agent


def _nobody() -> None:
    """No client is told of a beat."""


def beat(agent: Agent, effect: do.Beat) -> Steps:
    """The server itself sees whether it may, when it comes to it; the commit is done, or waits, a moment later."""
    policy = agent.world.policy

    def write(server: Mysqld, session: Session) -> None:
        if server.closed or server.holder(policy.open_lock) != effect.opener or agent.engine.now >= effect.until_s:
            return
        now_us, me = server.clock_us(), server.host.server_id
        last = server.disk.beats.get(me)
        begun = last is not None and 0 <= now_us - last.beat_us <= STALE * policy.limits.heartbeat_s * 1e6
        server.commit(session, _nobody, beat=Row(me, now_us, last.since_us if begun and last else now_us))

    if agent.engine.now < effect.until_s:
        must((yield Ask(agent.beater, write, agent.engine.now + effect.deadline_s, 0.001)), "beat")
