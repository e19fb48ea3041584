"""Do two nodes go by the same configuration? What must be the same on all, as one digest a section.

Nodes speak only SQL to each other, and a closed server takes no row. So an agent holds named locks on its own server
whose names are these digests, and whoever has the same configuration finds them held there.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

from .policy import Policy

_DIGITS = 12


def digests(policy: Policy) -> dict[str, str]:
    """By section. Left out is what may differ from host to host: paths, files, the interface, hooks, the witnesses."""
    vip, fence = policy.vip, policy.fence
    sections: dict[str, object] = {
        "nodes": policy.nodes,
        "vip": (str(vip.address), vip.router_id, vip.advert_s, policy.vrrp.unicast),
        "mysql": (policy.mysql.port, policy.mysql.user, policy.mysql.tls),
        "limits": (policy.limits, policy.damping, policy.disk),
        "readers": tuple(replace(reader, interface="") for reader in policy.readers),
        "safety": (policy.silent_peer, policy.durability, fence.required, fence.kill_hung),
    }
    return {
        name: hashlib.sha256(f"{policy.cluster} {name} {value!r}".encode()).hexdigest()[:_DIGITS]
        for name, value in sections.items()
    }


def agent_lock(policy: Policy) -> str:
    """Held by the agent on its own server for as long as it looks at it."""
    return f"vipguard.agent.{policy.cluster}"


def locks(policy: Policy) -> dict[str, str]:
    """The name of the lock that says that a section is the same, by section."""
    return {name: f"vipguard.like.{name}.{digest}" for name, digest in digests(policy).items()}


def signs(policy: Policy) -> tuple[str, ...]:
    """All that an agent holds."""
    return (agent_lock(policy), *locks(policy).values())
