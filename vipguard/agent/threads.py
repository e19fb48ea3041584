"""Who stopped the replication threads, and when is their start tried again?

A START that does not stay is repeated after a pause that doubles, and is told once. What would make it another case
ends the pause: another source, a source that came back or was started anew, somebody else's START.
"""

from __future__ import annotations

from ..checks import replication, stopped
from ..model.changed import replace
from ..model.effect import (
    Drain,
    Fetch,
    Point,
    RescueRelay,
    StartReceiving,
    StartReplication,
    StopReceiving,
)
from ..model.evidence import ServerFacts
from ..model.memory import KeptThreads
from ..model.policy import MARIADB
from ..model.sight import Sight, epoch_of
from .draft import Draft
from .world import Resting, Trying, World, Writing

PAUSE_S, PAUSE_S_MAX = 1.0, 60.0
DONE_S = 10.0  # or as long as the last pause: then the start has succeeded
TICKS_PER_S = 100.0  # USER_HZ, in which /proc counts (proc(5))
_ACTS = (StartReplication, StartReceiving, StopReceiving, Point, Fetch, Drain, RescueRelay)


def keep(draft: Draft) -> None:
    """Record what the newest look at the server tells of its threads."""
    world = draft.world
    facts = world.server.facts if world.server else None
    if facts is None or not facts.channels or world.server is None or not isinstance(world.phase, Resting | Writing):
        return
    asked_s = world.server.asked_at_s
    if asked_s == world.trying.seen_s:
        return  # most steps come of something else
    if asked_s < world.phase.since_s or asked_s <= max(world.joined_s, world.trying.tried_s) or _acts(world):
        return
    _see_who(draft, facts, asked_s)
    _see_whether_it_stays(draft, facts, asked_s)


def again(world: World, facts: ServerFacts) -> bool:
    """Did they replicate, until an error or the want of a source stopped their IO threads?"""
    standing = [channel for channel in facts.channels or () if not stopped.runs(channel)]
    return bool(standing) and not world.stopped_by_hand and all(stopped.may_be_tried(c) for c in standing)


def due(draft: Draft) -> bool:
    """May replication be started now?"""
    trying = draft.world.trying
    return draft.now_s - trying.tried_s >= pause_s(trying.tries)


def pause_s(tries: int) -> float:
    """What passes after so many starts that did not stay."""
    return min(PAUSE_S_MAX, PAUSE_S * 2.0 ** (min(tries, 30) - 1)) if tries else 0.0


def tried(draft: Draft) -> None:
    """A START is on its way."""
    world, trying = draft.world, draft.world.trying
    if world.server is not None and world.server.facts is not None:  # by which it may be started now
        about, ids = _about(draft.sight, world.server.facts)
        trying = replace(trying, about=about, ids=ids)
    sent = replace(trying, tries=trying.tries + 1, tried_s=draft.now_s, ran_since_s=None, stands=False)
    draft.set(trying=sent)


def stopped_by_us(draft: Draft) -> None:
    """vipguard stopped the threads, or changed their source: what comes is another case."""
    draft.set(trying=Trying())


def _acts(world: World) -> bool:
    return any(isinstance(flight.effect, _ACTS) for flight in world.flights.values())


# -- who stopped them


def _see_who(draft: Draft, facts: ServerFacts, asked_s: float) -> None:
    world, channels = draft.world, facts.channels or ()
    if facts.process is None:
        return
    if world.copying is not None:  # what a copy stopped, or set up anew, nobody stopped
        draft.set(threads=None)
        return
    kept = world.threads
    if kept is not None and (kept.boot_id, kept.process) != (world.boot_id, facts.process):
        kept = None
    trying = world.trying
    if kept is None and any(channel.io != "stopped" for channel in channels):
        kept = KeptThreads(world.boot_id, facts.process)
    ran_s = trying.io_ran_s if trying.process == facts.process else None
    if all(channel.io == "running" for channel in channels):
        ran_s = asked_s
    sql = all(channel.sql_running for channel in channels)
    if kept is not None and all(stopped.runs(channel) or stopped.failed(channel) for channel in channels):
        kept = replace(kept, by_hand=False) if kept.by_hand else kept
    elif kept is not None and kept.by_hand and sql and not trying.sql and draft.sight.io_stopped_by_us:
        kept = replace(kept, by_hand=False)  # the SQL thread was started again; the other stands by our own order
    elif kept is not None and not kept.by_hand and _by_hand(draft, facts, ran_s):
        kept = replace(kept, by_hand=True)
        draft.note("rejoin", "stopped-by-hand", "warning", text=words(facts))
    searching = any(channel.io == "connecting" for channel in channels)
    seen = replace(trying, process=facts.process, io_ran_s=ran_s, searching=searching, sql=sql, seen_s=asked_s)
    draft.set(trying=seen, threads=kept)


def _by_hand(draft: Draft, facts: ServerFacts, ran_s: float | None) -> bool:
    """Of a process that did replicate. What vipguard stopped itself counts only when its SQL thread stands too, which
    ran a moment ago."""
    world, channels = draft.world, facts.channels or ()
    trying = world.trying
    lately = trying.process == facts.process and trying.seen_s >= world.joined_s
    if draft.sight.io_stopped_by_us:
        return lately and trying.sql and any(not c.sql_running and not c.sql_errno for c in channels)
    if facts.flavor == MARIADB and all(_untouched(facts, number) for number in range(len(channels))):
        return False
    assert facts.process is not None
    began_s = facts.process.start_ticks / TICKS_PER_S if ran_s is None else ran_s
    searched_s_max = draft.now_s - began_s if lately and trying.searching else None
    return any(stopped.by_hand(channel, searched_s_max) for channel in channels)


def _untouched(facts: ServerFacts, number: int) -> bool:
    """Nothing came by this channel since it was set up, or set up anew by a fresh copy: nobody stopped it."""
    channel = (facts.channels or ())[number]
    received = channel.received
    return channel.io == "stopped" and not channel.sql_running and received is not None and received.is_empty


def words(facts: ServerFacts) -> str:
    """What stands, and what to type."""
    channels = facts.channels or ()
    both = any(c.io == "stopped" for c in channels) and any(not c.sql_running for c in channels)
    one = "IO thread" if any(c.io == "stopped" for c in channels) else "SQL thread"
    what = "its threads stand" if both else f"its {one} stands"
    return f"somebody stopped replication here ({what}), and it stays so; to start it: {replication.start(facts)}"


# -- does a start stay?


def _see_whether_it_stays(draft: Draft, facts: ServerFacts, asked_s: float) -> None:
    trying, channels = draft.world.trying, facts.channels or ()
    about, ids = _about(draft.sight, facts)
    restarted = any(new < old for new, old in zip(ids, trying.ids, strict=False)) and len(ids) == len(trying.ids)
    if about != trying.about or restarted:
        trying = replace(trying, about=about, tries=0)
    trying = replace(trying, ids=ids, seen_s=asked_s)
    if all(stopped.runs(channel) for channel in channels):
        if trying.stands and trying.failed:
            trying = replace(trying, tries=0)  # somebody else started it
        since_s = asked_s if trying.ran_since_s is None else trying.ran_since_s
        trying = replace(trying, ran_since_s=since_s, stands=False)
        if (trying.tries or trying.failed) and asked_s - since_s >= max(DONE_S, pause_s(trying.tries)):
            trying = _settled(draft, trying)
    else:
        trying = replace(trying, ran_since_s=None, stands=True)
        if trying.tries and not draft.sight.io_stopped_by_us and not draft.world.stopped_by_hand:
            trying = _failed(draft, trying, facts)
    if trying != draft.world.trying:
        draft.set(trying=trying)


def _failed(draft: Draft, trying: Trying, facts: ServerFacts) -> Trying:
    channels = facts.channels or ()
    io = [f"{c.io_errno} {c.io_error}".strip() for c in channels if c.io == "stopped" and c.io_errno]
    sql = [f"{c.sql_errno} {c.sql_error}".strip() for c in channels if not c.sql_running and c.sql_errno]
    errors = [*io, *sql]
    why = f"replication does not stay started: {'; '.join(errors) or 'its threads stand'}"
    if not trying.failed:
        text = f"{why}; it is tried again, after {PAUSE_S:g} s and ever longer, up to {PAUSE_S_MAX:g} s"
        draft.note("replication", "start-fails", "error", text=text)
    return replace(trying, failed=why)


def _settled(draft: Draft, trying: Trying) -> Trying:
    if trying.failed:
        draft.note("replication", "start-stays", text="replication has been running for a while again")
    return replace(trying, tries=0, tried_s=0.0, failed="")


def _about(sight: Sight, facts: ServerFacts) -> tuple[tuple[object, ...], tuple[int, ...]]:
    """What a start depends on: this server's process, and whom it would receive from, as that one shows. And the ids of
    this agent's sessions there, which begin anew with each server."""
    about: list[object] = [facts.process]
    ids: list[int] = []
    for channel in facts.channels or ():
        source = sight.source_of(channel)
        theirs = source.evidence.facts if source is not None and source.evidence is not None else None
        closed = theirs.closed if theirs is not None else None
        epoch = epoch_of(source.evidence) if source is not None else 0
        about.append((channel.source_host, channel.source_port, source is not None and source.answered, closed, epoch))
        if theirs is not None:
            ids.append(theirs.connection_id)
    return tuple(about), tuple(ids)
