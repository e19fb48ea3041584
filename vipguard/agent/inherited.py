"""Whose takeover opened a server, where no memory tells? Its epoch row may: node, boot and epoch stand in it."""

from __future__ import annotations

from ..model.memory import Completed
from ..model.sight import Sight
from .world import World


def by_its_row(world: World, sight: Sight) -> Completed | None:
    """The takeover that this node completed since the host booted, by the row of the open server itself.

    Only where the memory is lost: torn, or in another `paths.state`. A node that remembers knows better; a row of
    another node or boot, and a peer that is open, say nothing for this one.
    """
    facts, memory = world.server.facts if world.server else None, world.memory
    if facts is None or facts.epoch is None or facts.process is None:
        return None
    if memory.epoch or memory.completed is not None:
        return None
    row = facts.epoch
    if (row.node, row.boot_id) != (world.policy.node, world.boot_id) or facts.other_cluster is not None:
        return None
    if sight.peers_epoch > row.epoch:
        return None
    for peer in sight.peers.values():
        theirs = peer.evidence.facts if peer.evidence is not None else None
        if theirs is not None and not theirs.closed:
            return None
    return Completed(row.epoch, row.boot_id, facts.process)
