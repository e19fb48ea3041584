"""What does this verdict add to the record of losses? More than so many within a window park the node.

Only an observed fault counts, of a node that was eligible before: not its own hold-off, nor the operator's word.
"""

from __future__ import annotations

from dataclasses import replace

from ..checks import writer
from ..model.damping import Damping
from ..model.sight import Sight
from ..model.verdict import Eligibility, Verdict
from .draft import Draft
from .world import Starting

WRITER_SEEN_S = 0.1  # how fine the last sight of a writer is kept


def watch(draft: Draft, sight: Sight, verdict: Verdict) -> None:
    """Record it. It changes the verdict of the next step at the earliest."""
    if isinstance(draft.world.phase, Starting):
        return
    before = draft.world.damping
    state = _see_epoch(_see_writer(before, sight), sight)
    if verdict.eligibility is Eligibility.ELIGIBLE:
        # who is eligible only because there is no writer has no replication to lose when one appears
        state = state if state.fit is True or sight.entitled else replace(state, fit=True)
    elif verdict.eligibility is Eligibility.INELIGIBLE:
        if state.fit is True and verdict.rule not in writer.NO_FAULTS:
            state = _lose(draft, state, verdict.rule)
        state = state if state.fit is False else replace(state, fit=False)
    if state is not before:
        draft.set(damping=state)


def lift(draft: Draft) -> None:
    """The operator's word: what was lost does not count any more."""
    draft.note("ordered", "undamped-by-operator", "info", losses=len(draft.world.damping.losses))
    draft.set(damping=replace(draft.world.damping, losses=(), until_s=None))


def _lose(draft: Draft, state: Damping, rule: str) -> Damping:
    policy, now_s = draft.world.policy.damping, draft.now_s
    losses = (*(at_s for at_s in state.losses if now_s - at_s < policy.window_s), now_s)
    numbers = {"losses": len(losses), "losses_max": policy.losses_max, "window_s": policy.window_s}
    draft.note("eligibility-lost", rule, "info", **numbers)
    if not policy.losses_max or len(losses) <= policy.losses_max:
        return replace(state, losses=losses)
    draft.note("flapping", "damped", "warning", text="parked while another node writes", **numbers)
    return replace(state, losses=losses[-2 * policy.losses_max :], until_s=now_s + policy.window_s)


def _see_writer(state: Damping, sight: Sight) -> Damping:
    seen_s = state.writer_seen_s
    if not sight.writers or (seen_s is not None and sight.now_s - seen_s < WRITER_SEEN_S):
        return state
    return replace(state, writer_seen_s=sight.now_s)


def _see_epoch(state: Damping, sight: Sight) -> Damping:
    known = max(sight.own_epoch, sight.peers_epoch)
    if state.epoch is None:
        return replace(state, epoch=known)
    return replace(state, epoch=known, epoch_at_s=sight.now_s) if known > state.epoch else state
