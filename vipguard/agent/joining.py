"""Is replication to be started now, or to follow another node? Only where this agent or a restart stopped it, or
where it runs, or stopped of itself; an operator's STOP stays."""

from __future__ import annotations

from dataclasses import replace

from ..checks import stopped
from ..model.effect import Remember, StartReceiving, StartReplication, StopReceiving
from ..model.evidence import ServerFacts
from ..notify import follow, rejoin, relay
from . import threads
from .draft import Draft
from .semi_sync import acknowledges
from .world import Resting, World, Writing

QUIET = ("join", "listen", "joined", "listen-waits", "join-waits")  # while a start that failed is tried again


def join(draft: Draft) -> None:
    """Start what may be started, say why nothing is, and keep why this node is apart."""
    threads.keep(draft)
    world, sight = draft.world, draft.sight
    facts = world.server.facts if world.server else None
    wanted = facts is not None and _wanted(world, facts)
    if (
        facts is None
        or world.copying
        or not world.may_open
        or not (world.join_due or sight.promoted or relay.half_rescued(facts) or wanted)
    ):
        return
    if not isinstance(world.phase, Resting | Writing):
        return
    if world.server is None or world.server.asked_at_s < world.phase.since_s or "StopReceiving" in world.flights:
        return
    if world.server.asked_at_s <= world.joined_s:
        return
    if acknowledges(sight, facts):
        return  # it is muted first
    writing = isinstance(world.phase, Writing)
    if not writing and (sight.vip_here or sight.claimed_by_other):
        return
    found = rejoin.unheard(sight) if writing or sight.was_writer else None
    if found is None and world.stopped_by_hand and not (sight.promoted or relay.half_rescued(facts)):
        return
    if found is None and (world.join_due or wanted):
        found = follow.another(sight)
    if found is None and (world.join_due or threads.again(world, facts)):
        found = rejoin.writer(sight) if writing else rejoin.standby(sight)
    elif found is None and not writing and not wanted:
        found = relay.before_start(sight)
    if found is None:
        return
    if found.rule == "diverged":
        draft.set(diverged=f"{found.text}: {found.apart}")
    elif found.rule in ("join", "joined", "follow-writer"):  # whatever else is waited for compares nothing
        draft.set(diverged=None)
    if found.rule not in ("join-compare-again", "follow-compare-again") and not (
        world.trying.failed and found.rule in QUIET
    ):
        level = "error" if found.apart is not None else "info"
        draft.say("rejoin", found.rule, level, text=found.text, gtids=str(found.apart) if found.apart else "")
    if found.rule == "joined":
        draft.set(join_due=False)
        if sight.io_stopped_by_us:  # it was to be stopped, and was not: a later STOP is an operator's
            draft.send(Remember(2.0, replace(world.memory, stopped=None)))
    elif found.effect is not None:
        if isinstance(found.effect, StopReceiving):
            draft.set(join_due=True)  # also where it was taken for joined while the memory of this stop was written
            if not sight.io_stopped_by_us or _forgets(world):  # a new agent could not tell who stopped it
                draft.send(Remember(2.0, replace(world.memory, stopped=world.boot_id)))
                return
        if isinstance(found.effect, StartReplication | StartReceiving):
            if found.effect.key in world.flights or not threads.due(draft):
                return
            threads.tried(draft)
        draft.send(found.effect)


def _forgets(world: World) -> bool:
    """Is a memory on its way to the disk that says of no stop?"""
    flight = world.flights.get("Remember")
    effect = flight.effect if flight is not None else None
    return isinstance(effect, Remember) and effect.memory.stopped != world.boot_id


def _wanted(world: World, facts: ServerFacts) -> bool:
    """Does it replicate as far as it can: no thread of it was stopped by a hand?"""
    channels = facts.channels or ()
    running = bool(channels) and all(stopped.runs(channel) for channel in channels)
    return running or threads.again(world, facts)
