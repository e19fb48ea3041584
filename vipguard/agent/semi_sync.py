"""What is due of semi-sync? The sitting writer's source follows its memory's `solo`; a closed node's is off.

The order that counts, for the sitting writer: a standby is there, solo is off the disk, the source is on, the mark is
written. Back again only by the operator's word: solo is on the disk, the source is off, the mark says so.
"""

from __future__ import annotations

from dataclasses import replace

from ..model.effect import Mute, Remember, SetSource, WriteMark
from ..model.evidence import Mark, SemiSync, ServerFacts
from ..model.maintenance import of_node
from ..model.sight import PeerSight, Sight
from ..notify import semi_sync
from ..notify.record import Takeover
from .draft import Draft
from .world import Resting, Writing

ALERT_S = 1.0  # commits that wait for so long, and none acknowledged meanwhile
MARK_S = 2.0
MUTE_S = 5.0


def keep(draft: Draft) -> None:
    """What is due by the last look at the server, if it is newer than the phase and the last change."""
    world = draft.world
    server = world.server
    if not world.policy.lossless or server is None or server.facts is None:
        return
    if not isinstance(world.phase, Resting | Writing):
        return
    if server.asked_at_s < world.phase.since_s or server.asked_at_s <= world.acks.tried_s:
        return
    semi = server.facts.semi_sync
    if semi is None:
        draft.say("semi-sync", "semi-sync-missing", "error", remedy="put `vipguard render mysql` in force")
    elif world.policy.me.is_replica:
        if acknowledges(draft.sight, server.facts):
            _mute(draft)
    elif isinstance(world.phase, Writing) and not server.facts.closed:
        _alert(draft, semi)
        _writer(draft, world.phase, server.facts, semi)
    elif memory_is_stale(draft):
        draft.send(Remember(semi_sync.REMEMBER_S, replace(world.memory, solo=False)))
    elif server.facts.closed and semi.source_enabled and not draft.sight.claimed_by_other:
        # a closed server's applier must wait for nobody, and no commit of a client is left; but MySQL may say nothing
        # to anybody for a second meanwhile, and who takes over asks it just now
        _set(draft, False)


def acknowledges(sight: Sight, facts: ServerFacts) -> bool:
    """Is this a replica that acknowledges what it receives, and must not?"""
    semi = facts.semi_sync
    muted = semi is None or not (semi.replica_enabled or semi.replica_on)
    return sight.policy.lossless and sight.policy.me.is_replica and not muted


def _mute(draft: Draft) -> None:
    """Its IO thread begins anew for that: if this is broken off in between, whoever looks next has to know why."""
    world = draft.world
    channels = world.server.facts.channels if world.server and world.server.facts else None
    if any(channel.io != "stopped" for channel in channels or ()):
        draft.set(join_due=True)
        if not draft.sight.io_stopped_by_us:
            draft.send(Remember(semi_sync.REMEMBER_S, replace(world.memory, stopped=world.boot_id)))
            return
    draft.set(acks=replace(world.acks, tried_s=draft.now_s))
    draft.send(Mute(MUTE_S))


def may_be_alone(draft: Draft) -> bool:
    """Has no standby acknowledged for so long that one that was cut off knows that it may not have everything?"""
    world = draft.world
    if not world.policy.lossless or not isinstance(world.phase, Writing):
        return True
    since_s = max(world.acks.there_s, world.watching_s, world.phase.since_s)
    return draft.now_s - since_s >= semi_sync.SOLO_AFTER_S


def memory_is_stale(draft: Draft) -> bool:
    """Is `solo` left on a node that was not the last to write? Only the last writer can have been alone."""
    memory, sight = draft.world.memory, draft.sight
    epoch = memory.completed.epoch if memory.completed is not None else 0
    return memory.solo and not isinstance(draft.world.phase, Writing) and sight_epoch(sight) > epoch


def sight_epoch(sight: Sight) -> int:
    return max(sight.own_epoch, sight.peers_epoch)


def given_up(draft: Draft, takeover: Takeover) -> None:
    """A takeover that did not open leaves no `solo` behind that it recorded."""
    memory = draft.world.memory
    if draft.world.policy.lossless and memory.solo and not takeover.solo_before:
        draft.send(Remember(semi_sync.REMEMBER_S, replace(memory, solo=False)))


def _writer(draft: Draft, phase: Writing, facts: ServerFacts, semi: SemiSync) -> None:
    sight, memory = draft.sight, draft.world.memory
    mark = facts.mark if facts.mark is not None and facts.mark.epoch == phase.epoch else None
    there = semi_sync.replica(sight)
    if there is not None:
        draft.set(acks=replace(draft.world.acks, there_s=draft.now_s))
    if memory.solo and there is not None:
        draft.say("semi-sync", "replica-is-back", node=there.node.name)
        draft.set(solo_ordered=False)  # else the word, written again on the next tick, would count when this one goes
        draft.send(Remember(semi_sync.REMEMBER_S, replace(memory, solo=False)))
    elif not memory.solo and there is None and _all_out(sight):
        draft.note("semi-sync", "every-standby-is-out", "warning", nodes=",".join(sight.peers))
        draft.send(Remember(semi_sync.REMEMBER_S, replace(memory, solo=True)))
    elif memory.solo and semi.source_enabled:
        if not sight.claimed_by_other:
            _set(draft, False)
    elif memory.solo:
        draft.say("semi-sync", "solo", "warning", text="alone: writes are acknowledged without a standby")
        if mark is not None and mark.on:
            _mark(draft, Mark(phase.epoch, mark.number + 1, on=False))
    elif not semi.source_enabled:
        # never on in this epoch, as after a change from async: no standby counts on it yet
        if mark is not None or there is not None:
            _set(draft, True)
        else:
            draft.say("semi-sync", "source-off", "error", text="not lossless yet: no standby acknowledges")
    elif draft.world.acks.marked_epoch != phase.epoch and there is not None:
        number = facts.mark.number + 1 if facts.mark is not None else 1
        _mark(draft, Mark(phase.epoch, number, on=True))


def _all_out(sight: Sight) -> bool:
    """Is every other node positively out? Silence and refusal are not that."""
    return bool(sight.peers) and all(peer.out or _out_by_operator(sight, peer) for peer in sight.peers.values())


def _out_by_operator(sight: Sight, peer: PeerSight) -> bool:
    """In maintenance, by this server's word and by its own when it was seen last: then it does not take over, and what
    it has received proves nothing to it when the operator ends that."""
    name, last = peer.node.name, peer.last.facts if peer.last is not None else None
    if of_node(sight.maintenance, name) is None or last is None or not last.closed:
        return False
    return of_node(last.maintenance, name) is not None


def _alert(draft: Draft, semi: SemiSync) -> None:
    """Commits that wait are said loudly, once, and so is their end."""
    wait_s = draft.sight.commits_wait_s
    if wait_s >= ALERT_S:
        silent = [name for name, peer in draft.sight.peers.items() if not peer.answered]
        draft.say(
            "commits",
            "commits-wait",
            "error",
            text=f"{semi.waiting} commits wait for a standby's acknowledgement",
            waiting=semi.waiting,
            wait_s=round(wait_s, 1),
            silent=",".join(silent),
            remedy="bring the standby back; is it out for sure: `vipguard solo`",
        )
    elif "commits" in draft.world.said and draft.world.acks.waiting_since_s is None:
        draft.forget("commits")
        draft.note("commits", "commits-go-on")


def _set(draft: Draft, on: bool) -> None:
    draft.set(acks=replace(draft.world.acks, tried_s=draft.now_s))
    draft.send(SetSource(semi_sync.SET_S, on))


def _mark(draft: Draft, mark: Mark) -> None:
    draft.set(acks=replace(draft.world.acks, tried_s=draft.now_s))
    draft.send(WriteMark(MARK_S, mark))


def source_set(draft: Draft, on: bool) -> None:
    """The effect read it back. Only that is newer than the last look, so nothing else is due before the next one."""
    draft.note("semi-sync", "source-on" if on else "source-off-now")
    draft.set(acks=replace(draft.world.acks, marked_epoch=None, tried_s=draft.now_s))
    draft.forget("semi-sync")
    server = draft.world.server
    if server is not None and server.facts is not None and server.facts.semi_sync is not None:
        semi = replace(server.facts.semi_sync, source_enabled=on, source_on=on)
        draft.set(server=replace(server, facts=replace(server.facts, semi_sync=semi)))


def mark_written(draft: Draft, mark: Mark) -> None:
    draft.note("semi-sync", "mark-on" if mark.on else "mark-off", epoch=mark.epoch, number=mark.number)
    marked_epoch = mark.epoch if mark.on else None
    draft.set(acks=replace(draft.world.acks, marked_epoch=marked_epoch, tried_s=draft.now_s))
