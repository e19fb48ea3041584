"""Does somebody else answer for the VIP while this node holds it? An alert, with the hardware addresses.

The holder asks at a slow pace, as RFC 5227 has it for a conflict that comes later; no answer ever moves the VIP. What
another host drew to itself meanwhile is drawn back by an announcement.
"""

from __future__ import annotations

from dataclasses import replace

from ..model.effect import Announce, FindDuplicate
from .draft import Draft
from .world import Duplicate, Writing

EVERY_S = 5.0
AGAIN_S = 1.0  # while there is one: its end is news too
WAIT_S = 0.2
ANNOUNCE_S = 2.0
QUIET_ROUNDS = 2  # without an answer before it counts as gone: one packet may be lost


def keep(draft: Draft) -> None:
    """On the tick: ask, first of all when the node has become the writer."""
    world, seen = draft.world, draft.world.duplicate
    if not isinstance(world.phase, Writing):
        if seen != Duplicate():
            draft.set(duplicate=Duplicate())
        return
    claimed = draft.sight.claimed_by_other
    if claimed != seen.claimed:
        seen = replace(seen, claimed=claimed)
        draft.set(duplicate=seen)
        if not claimed:  # by a node that got the VIP too, and announced it
            draft.note("announced", "claim-ended")
            draft.send(Announce(ANNOUNCE_S))
    every_s = AGAIN_S if seen.macs else EVERY_S
    if seen.asked_s is None or draft.now_s - seen.asked_s >= every_s:
        draft.set(duplicate=replace(seen, asked_s=draft.now_s))
        draft.send(FindDuplicate(WAIT_S + 1.0, WAIT_S))


def found(draft: Draft, macs: tuple[str, ...]) -> None:
    """Tell when somebody begins to answer, when it is another one, and when nobody does any more."""
    if not isinstance(draft.world.phase, Writing):
        return
    seen, vip = draft.world.duplicate, draft.world.policy.vip.ip
    if macs:
        if set(macs) - set(seen.macs):
            text = f"{', '.join(macs)} answers for {vip} too: two hosts have the VIP"
            draft.note("duplicate-address", "duplicate-address", "error", text=text, macs=" ".join(macs))
            draft.send(Announce(ANNOUNCE_S))
        draft.set(duplicate=replace(seen, macs=macs, quiet=0))
    elif seen.macs and seen.quiet + 1 >= QUIET_ROUNDS:
        draft.note("duplicate-address", "duplicate-address-gone", macs=" ".join(seen.macs))
        draft.send(Announce(ANNOUNCE_S))
        draft.set(duplicate=replace(seen, macs=(), quiet=0))
    elif seen.macs:
        draft.set(duplicate=replace(seen, quiet=seen.quiet + 1))
