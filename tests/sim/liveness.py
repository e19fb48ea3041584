"""Is there a writer again once the faults have ended, or does a rule say that a person has to speak?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vipguard.agent.world import World, Writing

if TYPE_CHECKING:
    from .cluster import Cluster
    from .host import Host
    from .mysqld import Numbers

#: By these a cluster may rightly have no writer, or no commit, though everything is repaired. Each of them "waits for a
#: person" in docs/guarantees.md, and what to do stands in docs/rules.md.
WAITS_FOR_A_PERSON = ("diverged", "commits-wait", "stood-down", "forked")


def healthy(cluster: Cluster) -> bool:
    """One writer by right, the VIP on it, nobody else open, and the others follow it."""
    writers = cluster.laws.writers()
    if len(writers) != 1 or not writers[0].vip:
        return False
    agent = writers[0].agent
    holders = [host for host in cluster.hosts.values() if host.vip]
    followed = all(_follows(cluster, host, writers[0]) for host in cluster.hosts.values())
    return agent is not None and isinstance(agent.world.phase, Writing) and len(holders) == 1 and followed


def _follows(cluster: Cluster, host: Host, writer: Host) -> bool:
    """Is a node, unless it is down or went apart, never left behind: a replica follows the writer, and what any
    candidate follows does so in the end?"""
    if host is writer or host.mysqld is None or not host.mysqld.running or host.agent is None:
        return True
    if host.agent.world.diverged is not None:
        return True
    if host.node.is_replica:
        return host.follows == writer.name and host.mysqld.io_wanted
    passed = {host.name}
    while host.follows != writer.name and not cluster.lossless:
        if host.follows in passed:
            return False
        passed.add(host.follows)
        host = host.source
    return True


def whole(cluster: Cluster) -> bool:
    """Does every node receive again, or say that it has something alone, which is true?"""
    writers = cluster.laws.writers()
    have = writers[0].disk.have if writers else {}
    return all(
        host in writers
        or host.mysqld is None
        or (host.mysqld.io_wanted and host.mysqld.sql_wanted)
        or _has_alone(host, have)
        or (cluster.lossless and _has_alone(host.source, have))  # which it is never pointed away from
        for host in cluster.hosts.values()
    )


def _has_alone(host: Host, have: Numbers) -> bool:
    """Does it say so, and is it true?"""
    world = host.agent.world if host.agent is not None else None
    errant = world is not None and world.errant is not None and not world.errant.is_empty
    says = world is None or world.diverged is not None or errant
    return says and any(number > have.get(server, 0) for server, number in host.disk.have.items())


def rules(world: World) -> set[str]:
    """By what a node says that it is no writer."""
    verdict, found = world.verdict, set(world.said.values())
    if verdict is not None:
        found.add(verdict.rule)
    if world.diverged is not None:
        found.add("diverged")
    return found


def waits(cluster: Cluster) -> tuple[str, ...]:
    """The rules of the nodes that wait for a person; none where nobody does."""
    said: set[str] = set()
    for host in cluster.hosts.values():
        if host.agent is not None:
            said |= rules(host.agent.world)
    if not forked(cluster):
        said.discard("forked")
    return tuple(rule for rule in WAITS_FOR_A_PERSON if rule in said)


def forked(cluster: Cluster) -> bool:
    """Do two candidates say so, and has each a reign of which the other has nothing?"""
    candidates = [host for host in cluster.hosts.values() if not host.node.is_replica and host.agent is not None]
    saying = [host for host in candidates if host.agent is not None and "forked" in rules(host.agent.world)]
    lines = [{reign for reign in cluster.laws.histories.line(h.disk.have) if not reign.by_hand} for h in saying]
    return any(one - other and other - one for one in lines for other in lines)


def verdicts(cluster: Cluster) -> str:
    """Each node's own word."""
    told = []
    for host in cluster.hosts.values():
        verdict = host.agent.world.verdict if host.agent is not None else None
        told.append(f"{host.name} {verdict.rule if verdict else None}")
    return ", ".join(told)
