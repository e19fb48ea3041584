"""What does the agent tell about the reader addresses? For the socket's `status`, as plain data."""

from __future__ import annotations

from typing import Any

from ..model.reader import Reader
from ..model.sight import Sight, is_writer
from . import readers
from .world import World


def snapshot(world: World, sight: Sight) -> list[dict[str, Any]]:
    """One entry a reader address, in the configuration's order, those of other nodes too.

    `holder`: the node that has it, "" for another one that cannot be told which, null where nobody is seen. `here`:
    null where this node was not looked at. `wait_s`: for how long this node must be well still before it is given it.
    `nodes`: who may hold it, by VRRP's present priority; `may_be_given`: by its agent's lock, null for this
    node and where it was not seen.
    """
    return [_one(world, sight, reader) for reader in world.policy.readers]


def _one(world: World, sight: Sight, reader: Reader) -> dict[str, Any]:
    state = world.readers.get(reader.name)
    seen, verdict = (state.seen, state.verdict) if state is not None else (None, None)
    return {
        "name": reader.name,
        "address": str(reader.address),
        "router_id": reader.router_id,
        "prefer": reader.prefer,
        "writer": reader.writer,
        "lag_s_max": reader.lag_s_max,
        "mine": world.policy.node in reader.nodes,
        "here": seen.here if seen is not None and seen.address is not None else None,
        "here_s": None if state is None or state.here_s is None else round(sight.now_s - state.here_s, 1),
        "holder": readers.holder(world, reader, sight.now_s),
        "vrrp": seen.state if seen is not None else None,
        "eligibility": verdict.eligibility.value if verdict else None,
        "rule": verdict.rule if verdict else None,
        "text": verdict.text if verdict else None,
        "track_file": seen.track if seen is not None else None,
        "giving_to": state.giving.node if state is not None and state.giving is not None else None,
        "wait_s": round(readers.wait_s(world, reader, sight.now_s), 1) if state is not None else None,
        "losses": len(state.losses) if state is not None else None,
        "came": state.came if state is not None else None,
        "went": state.went if state is not None else None,
        "nodes": [_node(world, reader, name) for name in reader.nodes],
    }


def _node(world: World, reader: Reader, name: str) -> dict[str, Any]:
    if name == world.policy.node:
        return {"node": name, "priority": reader.priority(name, readers.is_the_writer(world)), "may_be_given": None}
    peer = world.peers.get(name)
    facts = peer.evidence.facts if peer is not None and peer.evidence is not None and peer.answered else None
    return {
        "node": name,
        "priority": reader.priority(name, is_writer(peer.evidence if peer is not None else None)),
        "may_be_given": None if facts is None else reader.name in facts.reads,
    }
