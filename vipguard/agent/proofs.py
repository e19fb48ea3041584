"""What has a takeover found out of the peers that do not answer? Kept in its record, and told once."""

from __future__ import annotations

from dataclasses import replace

from ..notify import proof
from .draft import Draft
from .world import Invited, Taking


def keep(draft: Draft, phase: Taking) -> Taking:
    """Before the plan is asked what is due: the phase with the record as it is now."""
    sight, takeover = draft.sight, phase.takeover
    seen = proof.see(takeover.proof, sight, takeover.began_s)
    if seen is not takeover.proof:
        phase = replace(phase, takeover=replace(takeover, proof=seen))
        draft.set(phase=phase)
    for name, peer in sight.peers.items():
        rule = proof.of(seen, peer, sight)
        if rule is None:
            draft.forget(f"gone:{name}")
            continue
        draft.say(f"gone:{name}", rule, what="peer-gone", node=name)
        known = draft.world.peers[name]
        if known.gone_s is None and not known.answered:
            draft.set(peers={**draft.world.peers, name: replace(known, gone_s=draft.now_s)})
    return phase


def gone(draft: Draft, node: str) -> bool:
    """Is it of no account that this node's server did not do what was asked of it?"""
    phase = draft.world.phase
    if not isinstance(phase, Taking | Invited):
        return False
    told = phase.takeover.proof
    return node in told.gone or (told.hinted is not None and node in told.hinted)
