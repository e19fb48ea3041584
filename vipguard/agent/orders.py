"""What does the operator's word change? Commands from the local socket, and what is kept in memory meanwhile."""

from __future__ import annotations

from ..model.changed import replace
from ..model.effect import Remember
from ..model.evidence import Answer
from ..model.memory import Completed, KeptLag
from . import damping, semi_sync, standdown
from .draft import Draft
from .world import Invited, Resting, Taking, World, Writing

PROMOTED_S = 60.0  # an order that could not be carried out by then is forgotten
KEEP_LAG_S = 5.0
KEEP_LAG_CHANGE_S = 1.0
REMEMBER_S = 2.0


def obey(draft: Draft, command: str) -> None:
    """`promote` overrides what keeps this node from taking over, for a minute; `solo` is written to the memory;
    `undamp` forgets the losses for which the node is parked; `lift` disregards the present rows of maintenance for as
    long as this agent runs; `stand-up` ends the word by which the server stays closed."""
    if command == "promote":
        draft.note("ordered", "promoted-by-operator", "warning", seconds=PROMOTED_S)
        draft.set(promoted_until_s=draft.now_s + PROMOTED_S, hold_off=None)
    elif command == "stand-up":
        standdown.end(draft)
    elif command == "undamp":
        damping.lift(draft)
    elif command == "lift":
        draft.note("ordered", "lifted-by-operator", "warning", rows=len(draft.world.maintenance))
        draft.set(lifted=draft.world.maintenance)
    elif command == "solo" and not isinstance(draft.world.phase, Writing):
        draft.note("ordered", "solo-is-the-writers", "warning", text="this node does not write (any more)")
    elif command == "solo":
        draft.note("ordered", "solo-by-operator", "warning")
        draft.set(solo_ordered=True)
        keep(draft)


def keep(draft: Draft) -> None:
    """On the tick: the last good lag goes to disk now and then, and solo ends when another node is back. A takeover
    whose completion did not get there is written again: by it the next agent knows an open server for its own."""
    standdown.keep(draft)
    world, memory = draft.world, draft.world.memory
    if isinstance(world.phase, Taking | Invited):
        return  # the takeover has its own
    if world.solo_ordered:  # when it may count, and until it is on disk: another memory may just be on its way there
        if memory.solo or not isinstance(world.phase, Writing):
            draft.set(solo_ordered=False)
        elif semi_sync.may_be_alone(draft):
            draft.send(Remember(REMEMBER_S, replace(memory, solo=True)))
    stopping = "StopReceiving" in world.flights  # of a takeover that was given up: it will stand by our order
    if memory.stopped == world.boot_id and world.join_due is False and not stopping:
        draft.send(Remember(REMEMBER_S, replace(memory, stopped=None)))
    if memory.open and isinstance(world.phase, Resting) and _seen_closed(draft, world.phase.since_s):
        draft.send(Remember(REMEMBER_S, replace(memory, open=False)))
    openings = tuple(sorted(draft.sight.known_openings))
    seen = {"maintenance": world.maintenance, "diverged": world.diverged, "threads": world.threads}
    told = replace(memory, openings=openings, **seen)
    good, kept = world.good_lag, memory.lag
    if isinstance(world.phase, Resting) and good is not None:
        lag = KeptLag(world.boot_id, good.lag_s, good.at_s)
        if kept is None or kept.boot_id != world.boot_id or _tells_more(lag, kept):
            told = replace(told, lag=lag)
    if isinstance(world.phase, Resting) and world.compared and world.clean != memory.clean:
        told = replace(told, clean=world.clean)
    if told != memory:
        draft.send(Remember(REMEMBER_S, told))
    known = world.process is not None or memory.completed is None or memory.completed.epoch != _epoch(world)
    if isinstance(world.phase, Writing) and known:
        done = Completed(world.phase.epoch, world.boot_id, world.process)
        if memory.completed != done or not memory.open:
            epoch = max(memory.epoch, done.epoch)
            draft.send(Remember(REMEMBER_S, replace(memory, epoch=epoch, completed=done, open=True)))
    if (
        isinstance(world.phase, Writing)
        and memory.solo
        and not world.policy.lossless
        and _somebody_is_back(draft)
    ):
        draft.note("solo-ends", "another-node-is-back")
        draft.send(Remember(REMEMBER_S, replace(memory, solo=False)))


def _epoch(world: World) -> int | None:
    return world.phase.epoch if isinstance(world.phase, Writing) else None


def _tells_more(lag: KeptLag, kept: KeptLag) -> bool:
    """Newer, or quite another: a node that has just caught up must not be too far behind for the next agent."""
    return lag.at_s - kept.at_s >= KEEP_LAG_S or abs(lag.lag_s - kept.lag_s) >= KEEP_LAG_CHANGE_S


def _seen_closed(draft: Draft, since_s: float) -> bool:
    server = draft.world.server
    if server is None or server.asked_at_s < since_s:
        return False
    gone = server.answer is Answer.ABSENT and not draft.world.process_lives
    return gone or (server.facts is not None and server.facts.closed)


def _somebody_is_back(draft: Draft) -> bool:
    mine = draft.world.server.facts if draft.world.server else None
    for peer in draft.sight.peers.values():
        theirs = peer.evidence.facts if peer.evidence and peer.answered else None
        if mine is not None and theirs is not None and mine.gtid.contains(theirs.gtid):
            return True
    return False
