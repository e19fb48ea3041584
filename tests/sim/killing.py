"""May this server be killed? Law 5: only one that hangs, and only while somebody else could write in its place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vipguard.agent.world import Writing
from vipguard.model import effect as do

if TYPE_CHECKING:
    from .agent import Agent
    from .host import Host

SEEN_S = 1.0  # what ended that shortly before may not have been seen yet


def watch(host: Host) -> None:
    """Ten times a second: when was its server last one that might not answer in time?"""
    server = host.mysqld
    if server is None or not server.running or server.leaving or server.no_socket or host.server_s > 0:
        host.ailing_s = host.engine.now
    if host.worker_late_s > 0 or host.paused:
        host.ailing_s = host.engine.now


def look(agent: Agent, effect: do.KillServer) -> None:
    """A writer that is killed as hung; one that could not be closed is another matter."""
    host, now, hang_s = agent.host, agent.engine.now, agent.world.policy.limits.hang_s
    server, laws = host.mysqld, host.cluster.laws
    watch(host)
    if not isinstance(agent.world.phase, Writing) or server is None or server.pid != effect.process:
        return
    stands_s = now - host.disk_stalled_s if host.disk_stalled else 0.0
    went_on = not host.disk_stalled and now - host.disk_stalled_s < SEEN_S
    if now - host.ailing_s > SEEN_S and not went_on and stands_s < hang_s - 0.01:
        laws.broken(f"law 5: {host.name} kills a server that answers, and whose disk stood for {stands_s:.2f} s")
    others = [other for other in host.cluster.hosts.values() if other is not host and not other.node.is_replica]
    if not any(_could_write(other, now, hang_s) for other in others):
        laws.broken(f"law 5: {host.name} kills its server, and no other node could write in its place")


def _could_write(other: Host, now: float, hang_s: float) -> bool:
    """As far as a peer can know: by what its agent said not long before."""
    stood_s = now - other.disk_stalled_s if other.disk_stalled else 0.0
    server = other.mysqld
    died = server is None or not server.alive
    return stood_s < hang_s and not (died and other.server_ended_s < now - SEEN_S)
