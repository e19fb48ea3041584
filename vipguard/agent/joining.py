"""Is replication to be started now? Only where this agent or a restart stopped it; an operator's STOP stays."""

from __future__ import annotations

from ..notify import rejoin, relay
from ..notify.join import Join
from .draft import Draft
from .world import Resting, Writing


def join(draft: Draft) -> None:
    """Start what may be started, say why nothing is, and keep why this node is apart."""
    world, sight = draft.world, draft.sight
    facts = world.server.facts if world.server else None
    if (
        facts is None
        or world.copying
        or not world.may_open
        or not (world.join_due or sight.promoted or relay.half_rescued(facts))
    ):
        return
    if not isinstance(world.phase, Resting | Writing):
        return
    if world.server is None or world.server.asked_at_s < max(world.phase.since_s, world.joined_s):
        return
    found: Join | None = None
    if isinstance(world.phase, Writing):
        found = rejoin.writer(sight) if world.join_due else None
    elif not sight.vip_here and not sight.claimed_by_other:
        found = rejoin.standby(sight) if world.join_due else relay.before_start(sight)
    if found is None:
        return
    if found.rule == "diverged":
        draft.set(diverged=f"{found.text}: {found.apart}")
    elif found.rule in ("join", "joined"):  # whatever else is waited for compares nothing
        draft.set(diverged=None)
    if found.rule != "join-compare-again":
        level = "error" if found.apart is not None else "info"
        draft.say("rejoin", found.rule, level, text=found.text, gtids=str(found.apart) if found.apart else "")
    if found.rule == "joined":
        draft.set(join_due=False)
    elif found.effect is not None:
        draft.send(found.effect)
