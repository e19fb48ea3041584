"""What does only the agent know of what a check asks? What takes time to know, and one look cannot."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from vipguard.errors import CouldNotLook, VipguardError
from vipguard.model.finding import Finding

if TYPE_CHECKING:
    from vipguard.model.evidence import DiskEvidence
    from vipguard.model.policy import Policy
    from vipguard.model.sight import Sight

# What takes time to know, only the agent knows: the lag by the heartbeat, and before the source went, the comparison
# before the writer went, that a takeover stopped the IO thread, the disk of a server that is down, a write that waits.
_REMEMBERED = {
    "lag": ("lag-never-seen", "lag-seen", "lag-null", "lag-last-good"),
    "errant": ("errant-not-compared",),
    "replication": ("io-thread-stopped", "sql-thread-stopped", "source-given-up"),
    "disk": ("disk-not-seen", "disk-free"),
    "semi_sync": ("unmarked", "mark-on-its-way", "commits-under-way", "source-off"),
}


def with_agents_memory(policy: Policy, finding: Finding, sight: Sight, within_s: float) -> Sight | None:
    """The sight with what the agent remembers added to it; None where that doesn't help, or nobody answers."""
    name = finding.check
    if finding.rule not in _REMEMBERED.get(name, ()):
        return None
    from vipguard import client
    from vipguard.model.evidence import DiskEvidence
    from vipguard.model.gtid import GtidSet
    from vipguard.model.heartbeat import Behind
    from vipguard.model.sight import GoodLag

    try:
        own = own_node(client.status(policy.paths.agent_socket, within_s))
    except VipguardError:
        return None
    facts = sight.server.facts if sight.server else None
    if name == "lag" and own.get("lag_s") is not None:
        lag_s, rule, of = float(own["lag_s"]), own.get("lag_rule"), own.get("lag_of")
        if rule == "lag-last-good" or of is not None:
            good, behind = GoodLag(lag_s, sight.now_s, frozenset()), Behind(lag_s, str(of), rule == "lag-heartbeat")
            return replace(sight, good_lag=good, behind=None if of is None else behind)
    if name == "errant" and own.get("errant") is not None and facts is not None:
        return replace(sight, errant=GtidSet.parse(facts.flavor, own["errant"]))
    if name == "replication" and (own.get("io_stopped_by_takeover") or own.get("stopped_by_hand")):
        by_us, by_hand = bool(own.get("io_stopped_by_takeover")), bool(own.get("stopped_by_hand"))
        return replace(sight, io_stopped_by_us=by_us, stopped_by_hand=by_hand)
    if name == "disk" and own.get("disk_free_bytes") is not None:
        seen = sight.disk if sight.disk is not None and sight.disk.free_bytes is not None else None
        told = DiskEvidence(sight.now_s, own["disk_free_bytes"], None, own.get("disk_writable"))
        return replace(sight, disk=_with_stall(seen or told, own), watching_since_s=0.0)
    if name == "semi_sync" and own.get("semi_sync") is not None:
        return _with_acks(sight, own["semi_sync"])
    return None


def _with_stall(disk: DiskEvidence, own: dict[str, Any]) -> DiskEvidence:
    """What the agent's own writes to it met."""
    waits_s, still_s = float(own.get("disk_waits_s") or 0.0), float(own.get("disk_still_s") or 0.0)
    disk = replace(disk, sync_error=str(own.get("disk_unsynced") or ""))
    if not waits_s:
        return disk
    return replace(disk, waits_since_s=disk.seen_at_s - waits_s, still_since_s=disk.seen_at_s - still_s)


def _with_acks(sight: Sight, said: dict[str, Any]) -> Sight:
    """What the agent says of semi-sync: since when commits wait, whether this node is solo, which mark it received."""
    from vipguard.model.gtid import GtidSet
    from vipguard.model.sight import Receiving

    wanted = GtidSet.empty("mariadb") if said.get("mark_on_its_way") else None
    marked, live = said.get("marked") is True, said.get("receiving") is True
    receiving = Receiving(None, 0.0, 0.0, live=live, wanted=wanted, marked=marked)
    return replace(
        sight,
        receiving=receiving,
        commits_wait_since_s=sight.now_s - float(said.get("commits_wait_s") or 0.0),
        memory=replace(sight.memory, solo=said.get("solo") is True),
    )


def own_node(status: dict[str, Any]) -> dict[str, Any]:
    """This node in an agent's status. Raises CouldNotLook where it isn't there."""
    nodes = status.get("nodes")
    own = (
        next((n for n in nodes if isinstance(n, dict) and n.get("here")), None)
        if isinstance(nodes, list)
        else None
    )
    if own is None:
        raise CouldNotLook("the agent's status does not tell of this node")
    return dict(own)
