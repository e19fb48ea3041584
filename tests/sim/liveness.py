"""Is there a writer again once the faults have ended, or does a rule say that a person has to speak?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vipguard.agent.world import World

if TYPE_CHECKING:
    from .cluster import Cluster

#: By these a cluster may rightly have no writer, or no commit, though everything is repaired. Each of them "waits for a
#: person" in docs/guarantees.md, and what to do stands in docs/rules.md.
WAITS_FOR_A_PERSON = ("diverged", "commits-wait", "stood-down")


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
    return tuple(rule for rule in WAITS_FOR_A_PERSON if rule in said)


def verdicts(cluster: Cluster) -> str:
    """Each node's own word."""
    told = []
    for host in cluster.hosts.values():
        verdict = host.agent.world.verdict if host.agent is not None else None
        told.append(f"{host.name} {verdict.rule if verdict else None}")
    return ", ".join(told)
