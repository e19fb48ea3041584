"""Has this node contact with anybody outside, and what if its guard is late when it has lost it?

A writer that is cut off must be closed when its lease ends, and the others rely on it. So as soon as a round of looks
went unanswered, its guard orders the server to close itself at that moment: a server keeps time whether or not a
guard gets a processor. The order is called off when somebody answers. It is given by a guard that was on time itself:
one that comes back from a pause has not looked yet.
"""

from __future__ import annotations

from ..model.effect import ArmClose, DisarmClose
from .draft import Draft
from .event import Event, Tick
from .world import Closing, Writing, suspect_s

ARM_S = 0.2
DISARM_S = 0.5
TOLD_S = 2.0


def keep(draft: Draft, event: Event) -> None:
    """Order the close of an open server whose lease runs out, or call it off. Ordered on a tick alone, when all that
    came in is recorded."""
    world = draft.world
    ends_s, armed_s = draft.sight.lease_ends_s, world.armed_s
    if armed_s is not None:
        if ends_s > armed_s or not isinstance(world.phase, Writing | Closing):
            draft.set(armed_s=None)
            draft.send(DisarmClose(DISARM_S))
            if isinstance(world.phase, Writing):
                draft.note("lease", "close-called-off")
        return
    due = isinstance(world.phase, Writing) and suspect_s(world) <= draft.now_s < ends_s
    if due and isinstance(event, Tick) and "ArmClose" not in world.flights and "DisarmClose" not in world.flights:
        draft.set(armed_s=ends_s, ordered_s=ends_s)
        draft.send(ArmClose(ARM_S, ends_s))
        draft.note("lease", "close-ordered", in_ms=round((ends_s - draft.now_s) * 1000, 1))


def closed_itself(draft: Draft) -> bool:
    """Is it by that order that the server is found closed?"""
    ordered_s = draft.world.ordered_s
    return ordered_s is not None and ordered_s <= draft.now_s < ordered_s + TOLD_S
