"""How far behind the writer is each node, by the heartbeat's rows in its last round and in the writer's before it?"""

from __future__ import annotations

from ..checks import lag
from ..model.evidence import ServerEvidence
from ..model.heartbeat import Behind
from ..model.sight import Sight, is_writer
from .world import World


def own(world: World, evidence: ServerEvidence) -> Behind | None:
    """Of this node by its round `evidence`. What was known of a writer that does not answer any more stays."""
    known = world.behind
    if is_writer(evidence):
        return None
    if (writer := _writer(world, evidence)) is not None:
        node, read = writer
        if read is None:  # not read before this round: what was known of it is not too old
            return known if known is not None and known.node == node else None
        return _behind(world, node, read, evidence)
    peer = world.peers.get(known.node) if known is not None else None
    if known is None or peer is None or peer.answered:
        return None
    return Behind(known.lag_s, known.node, live=False)


def of_peer(world: World, name: str, evidence: ServerEvidence) -> Behind | None:
    """Of a peer by its round `evidence`."""
    writer = _writer(world, evidence)
    if writer is None or writer[0] == name or writer[1] is None:
        return None
    return _behind(world, writer[0], writer[1], evidence)


def _behind(world: World, node: str, writers: ServerEvidence, evidence: ServerEvidence) -> Behind | None:
    theirs, facts = writers.facts, evidence.facts
    if theirs is None or facts is None:
        return None
    lag_s = lag.behind_s(theirs, theirs.beats, facts, world.policy.limits.heartbeat_s)
    return None if lag_s is None else Behind(round(lag_s, 3), node)


def _writer(world: World, evidence: ServerEvidence) -> tuple[str, ServerEvidence | None] | None:
    """The writer as it was seen before `evidence`: read later it would seem further ahead than it was."""
    if is_writer(world.server):
        return world.policy.node, _before(evidence, world.server, world.server_before)
    writers = Sight(now_s=0.0, policy=world.policy, server=world.server, peers=world.rivals).newest_writers
    if not writers:
        return None
    return writers[0].node.name, _before(evidence, writers[0].evidence, writers[0].before)


def _before(evidence: ServerEvidence, *seen: ServerEvidence | None) -> ServerEvidence | None:
    return next((one for one in seen if is_writer(one) and one.seen_at_s <= evidence.asked_at_s), None)  # type: ignore[union-attr]
