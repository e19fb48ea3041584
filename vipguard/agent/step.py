"""What is due now? `step(world, event, now_s) -> (world, flights)`: pure, the same for every event.

First the event is recorded (`fold`), then everything that is due of the whole world is worked out: the phase, the VIP's
verdict, the track file, replication, the next looks. Nothing here waits, reads a clock or touches a socket.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ..checks import stall, writer
from ..model.effect import CloseServer, Fetch, KillServer, PrepareOpen, RemoveVip, ResetClients, WriteTrack
from ..model.evidence import Answer
from ..model.sight import Sight
from ..model.verdict import Eligibility
from ..notify.handback import Standing as Belief
from ..notify.handback import why_close
from ..notify.semi_sync import care
from ..notify.takeover import Takeover, due
from . import (
    contact,
    duplicate,
    heartbeat,
    inherited,
    joining,
    judge,
    last_word,
    ledger,
    looks,
    move,
    orders,
    outcome,
    phases,
    proofs,
    readers,
    semi_sync,
    standdown,
)
from .draft import Draft
from .event import Command, Did, Event, Tick
from .fold import fold
from .world import Closing, Flight, Handing, Invited, Resting, Starting, Taking, World, Writing


def step(world: World, event: Event, now_s: float) -> tuple[World, tuple[Flight, ...]]:
    """The next world, and the flights (effects with their numbers) that are to start, in order."""
    return due_after(fold(world, event, now_s), event, now_s)


def due_after(world: World, event: Event, now_s: float) -> tuple[World, tuple[Flight, ...]]:
    """What is due once `event` is recorded in `world`; the same world where that is nothing."""
    draft = Draft(world, now_s)
    if isinstance(event, Did):
        outcome.report(draft, event)
    elif isinstance(event, Command):
        orders.obey(draft, event.name)
    outcome.expire(draft)
    phases.see_legit(draft)
    move.forget(draft)
    _advance(draft)
    contact.keep(draft, event)
    judge.judge(draft)
    readers.keep(draft)
    joining.join(draft)
    semi_sync.keep(draft)
    ledger.keep(draft)
    heartbeat.keep(draft, event)
    last_word.keep(draft)
    if isinstance(event, Tick):
        orders.keep(draft)
        duplicate.keep(draft)
        looks.look(draft)
        draft.set(gap_s=0.0)
    return draft.world, tuple(draft.orders)


def _advance(draft: Draft) -> None:
    """Let each phase do what is due; one that ends hands over to the next in the same step."""
    for _ in range(6):
        before = draft.world.phase
        _PHASES[type(before)](draft)
        if type(draft.world.phase) is type(before):
            return


def _starting(draft: Draft) -> None:
    """Decide nothing before the server, the addresses and every peer were seen or had their time; a closed server has
    time for its disk too: a VIP that is here already would be refused because nobody has looked at it yet."""
    world, limits = draft.world, draft.world.policy.limits
    late = draft.now_s - world.began_s > 2 * limits.deadline_s
    peers = all(peer.evidence is not None for peer in world.peers.values())
    if world.address is None or world.server is None or not (peers or late):
        return
    facts, sight = world.server.facts, draft.sight
    done = world.memory.completed or inherited.by_its_row(world, sight)
    if facts is None:
        _start_unseen(draft, sight, late)
        return
    if facts.closed:
        if world.disk is None and not late:
            looks.look_at_disk(draft)
            return
        phases.rest(draft, "started", "agent-started")
        return
    told = done is not None and done.process is not None and facts.process is not None  # else blind, and not another
    foreign = done is None or done.boot_id != world.boot_id or (told and done.process != facts.process)
    if done is None or foreign or not sight.vip_here or world.policy.me.is_replica:
        _close(
            draft, "not-taken-over", "the server is writable, and no completed takeover of this node says why"
        )
        return
    epoch = done.epoch
    if facts.epoch is not None and (facts.epoch.node, facts.epoch.boot_id) == (world.policy.node, world.boot_id):
        epoch = max(epoch, facts.epoch.epoch)  # it raised its epoch, and died before that was on its disk
    known_by = "takeover-completed-before" if world.memory.completed else "epoch-row-of-this-boot"
    draft.note("adopted", known_by, "info" if world.memory.completed else "warning", epoch=epoch)
    if facts.process is None:
        draft.note("process", "process-unknown", "warning", text="the writer's process is not known to this agent")
    draft.set(phase=Writing(epoch, None, draft.now_s), errant=None)


def _start_unseen(draft: Draft, sight: Sight, late: bool) -> None:
    """The server tells nothing: the memory of this boot says whether it may be open, and which process that is."""
    world, done = draft.world, draft.world.memory.completed
    assert world.server is not None
    mine = done if done is not None and done.boot_id == world.boot_id and world.memory.open else None
    absent = world.server.answer is Answer.ABSENT
    if mine is None:
        if absent or not sight.vip_here or late:
            phases.rest(draft, "started", "agent-started")
    elif late or absent:  # refused: its process is gone, which is seen at once, or it lives and may commit
        draft.set(process=world.process or mine.process)
        if sight.vip_here:
            draft.note("adopted", "takeover-completed-before-unseen", "warning", reason=world.server.reason)
            draft.set(phase=Writing(mine.epoch, None, draft.now_s))
        else:
            _close(draft, "vip-gone", "the VIP left while no agent was there, and the server may be open")


def _resting(draft: Draft) -> None:
    phases.let_go(draft)
    world, sight = draft.world, draft.sight
    assert isinstance(world.phase, Resting)
    facts = world.server.facts if world.server and world.server.asked_at_s >= world.phase.since_s else None
    why = why_close(Belief(None), sight) if facts is not None and not facts.closed else None
    if world.copying is not None and world.copying.working and not sight.vip_here:
        why = None  # MySQL's clone empties a server only without super_read_only; read_only stays
    if why is not None:
        standdown.opened_by_hand(draft)
        _close(draft, *why)
        return
    if not sight.vip_here:
        move.consider(draft)
        return
    if world.keepalived.alive is False or (sight.parked and sight.parked[0] == "adverts-stopped"):
        draft.send(ResetClients(0.6, world.process))
        draft.send(RemoveVip(1.0))
        return
    if facts is None or _kept_out(sight) or sight.copying or sight.isolated or not world.may_open:
        return
    if sight.was_writer and _looks_again(world, draft.now_s):
        return  # what the others did while nobody looked decides
    if sight.claimed_by_other:
        phases.hold_off(draft, "claimed", "another node claimed this one to take the VIP over")
        return
    unfit = _unfit(world, sight)
    if unfit is not None:
        phases.hold_off(draft, *unfit)
        return
    draft.note("takeover-begins", "vip-here", epoch=sight.highest_epoch + 1)
    takeover = Takeover(draft.now_s, world.boot_id, sight.was_writer, solo_before=world.memory.solo)
    draft.set(phase=Taking(takeover, "begin", draft.now_s), hold_off=None)
    draft.forget("refused")


def _kept_out(sight: Sight) -> bool:
    if sight.policy.me.is_replica:
        return True
    by_operator = sight.in_maintenance is not None or sight.paused is not None
    return sight.parked is not None or sight.stood_down is not None or (by_operator and not sight.promoted)


def _unfit(world: World, sight: Sight) -> tuple[str, str] | None:
    """Why not to begin. Of a writer that closed itself the replica side says nothing; whether somebody else may have
    written since counts."""
    if sight.was_writer and not sight.policy.lossless:
        return writer.unfit_after_reign(sight)
    return writer.unfit(sight)


def _looks_again(world: World, now_s: float) -> bool:
    """Have not all peers been asked since a pause, and may they still answer?"""
    asked = all(p.evidence is not None and p.evidence.asked_at_s >= world.watching_s for p in world.rivals.values())
    return not asked and now_s - world.watching_s < 2 * world.policy.limits.deadline_s


def _taking(draft: Draft) -> None:
    world, sight, phase = draft.world, draft.sight, draft.world.phase
    assert isinstance(phase, Taking)
    facts = world.server.facts if world.server else None
    if world.server is not None and world.server.answer is Answer.ABSENT:
        phases.abandon(draft, "server-absent", "the server went away during the takeover")
    elif not sight.vip_here:
        phases.abandon(draft, "vip-gone", "the VIP left during the takeover", blame=False)
    elif world.gap_s > world.policy.limits.lease_s:
        phases.abandon(draft, "paused", f"this host or its guard stood still for {world.gap_s:.3f} s")
    elif sight.isolated:
        phases.abandon(draft, "isolated", "no witness and no peer answers any more")
    elif sight.stood_down is not None:
        phases.abandon(draft, "stood-down", f"this node's server is to stay closed, by {sight.stood_down}", blame=False)
    elif sight.in_maintenance is not None and not sight.promoted:
        phases.abandon(draft, "maintenance", f"this node is in maintenance, by {sight.in_maintenance}")
    elif facts is not None and not facts.closed and "Open" not in world.flights and not phase.takeover.opened:
        phases.abandon(draft, "opened-by-another-hand", "the server became writable during the takeover")
    else:
        _go_on(draft, phase, sight)


def _go_on(draft: Draft, phase: Taking, sight: Sight) -> None:
    if any(isinstance(flight.effect, Fetch) for flight in draft.world.flights.values()):
        return  # it may start what must stand before the opening; its deadline bounds it
    if "Open" in draft.world.flights:
        return  # its row, seen here or on a peer that follows already, is no other node's; what is shows when it writes
    phase = proofs.keep(draft, phase)
    now = due(phase.takeover, sight)
    if now.refuse:
        phases.abandon(draft, now.waiting, now.text)
        return
    if now.complete:
        phases.complete(draft, phase.takeover)
        return
    if now.waiting != phase.waiting:
        elapsed_ms = round((draft.now_s - phase.takeover.began_s) * 1000, 1)
        draft.note("takeover-step", now.waiting, text=now.text, at_ms=elapsed_ms)
        phase = replace(phase, waiting=now.waiting, waiting_since_s=draft.now_s)
        draft.set(phase=phase)
    if now.within_s is not None and draft.now_s - phase.waiting_since_s > now.within_s:
        phases.abandon(draft, f"{now.waiting}-timeout", f"{now.text}: not done within {now.within_s:g} s")
        return
    if now.waiting == "open" and _track_moves(draft.world):
        return  # what is under way there could take the VIP, or the clients, from a server that is open
    for effect in now.effects:
        draft.send(effect)


def _track_moves(world: World) -> bool:
    """Is something under way in the track file's lane that was meant for a closed server?"""
    under_way = [flight.effect for flight in world.flights.values() if flight.effect.lane == WriteTrack.lane]
    return any(not isinstance(effect, WriteTrack) or effect.value == "0" for effect in under_way)


def _writing(draft: Draft) -> None:
    world, sight, phase = draft.world, draft.sight, draft.world.phase
    assert isinstance(phase, Writing)
    if world.server is not None and world.server.answer is Answer.ABSENT and not sight.leaving:
        draft.note("writer-lost", "holder-server-absent", "warning", reason=world.server.reason)
        phases.rest(draft, "handed-back", "holder-server-absent")
        return
    why = why_close(Belief(phase.epoch, world.gap_s), sight)
    if why is not None:
        _close(draft, *why)
        return
    if sight.hung and world.policy.fence.kill_hung and sight.peer_eligible and world.process is not None:
        draft.say("kill", "hung-server", "warning", hang_s=world.policy.limits.hang_s)
        draft.send(KillServer(1.0, world.process))
        return
    unfit = draft.judge("holder")
    facts = world.server.facts if world.server else None
    if unfit.rule == "holder-disk-stalled" and world.process is not None and not (facts and facts.closed):
        draft.say("kill", "disk-stalled", "warning", text=unfit.text)
        draft.send(KillServer(1.0, world.process))
        return
    if unfit.eligibility is Eligibility.INELIGIBLE and not sight.hung:
        _close(draft, unfit.rule, unfit.text)
        return
    if facts is None or world.server is None or world.server.asked_at_s < phase.since_s:
        return
    if (facts.closed or facts.half_closed) and contact.closed_itself(draft):
        if facts.closed:  # else that close still waits for what is being written
            phases.rest(draft, "found-closed", "closed-by-its-lease")
    elif (facts.closed or facts.half_closed) and standdown.found_closed(draft, phase, facts):
        if draft.world.stood_down is not None:
            text = f"somebody closed the server ({draft.world.stood_down.reason}), so it stays closed"
            _close(draft, standdown.RULE, text)
    elif facts.closed:
        phases.rest(draft, "found-closed", standdown.RULE)
    elif phase.shut_s is not None:
        draft.set(phase=replace(phase, shut_s=None))
    elif phase.opener is None or facts.open_lock != phase.opener:
        _regain(draft, phase, facts.open_lock)
    elif not phases.no_room(draft) and not stall.suspect(sight) and move.begin(draft, phase):
        _closing(draft)


def _regain(draft: Draft, phase: Writing, holder: int | None) -> None:
    """The session with the open lock is gone, or this agent is new: an open server without its lock is fair game."""
    if holder is not None and phase.opener is not None and holder != phase.opener:
        _close(draft, "open-lock-taken", "another session holds this node's open lock")
        return
    draft.send(PrepareOpen(draft.world.policy.limits.deadline_s, adopt=True))


def _closing(draft: Draft) -> None:
    """Close on one connection while another kills what blocks; past `close_s` kill the server (law 3)."""
    world, phase, limits = draft.world, draft.world.phase, draft.world.policy.limits
    assert isinstance(phase, Closing)
    if phase.to is not None:
        why = why_close(Belief(phase.epoch, world.gap_s), draft.sight)
        if why is not None:  # it is no planned move any more
            _close(draft, *why)
            return
        if not phase.cut:
            move.cut(draft)
            return
    server = world.server
    asked_since = server is not None and server.asked_at_s > phase.since_s
    if asked_since and server is not None and server.answer is Answer.ABSENT and not world.process_lives:
        phases.closed(draft, phase)
        return
    if "KillServer" in world.flights or "CloseServer" in world.flights:
        return
    opening = "Open" in world.flights  # it could come through after the look
    if (
        asked_since
        and not opening
        and server is not None
        and server.facts is not None
        and server.facts.closed
    ):
        phases.closed(draft, phase)
        return
    left_s = phase.since_s + limits.close_s - draft.now_s
    if left_s > 0 and not phase.kill:
        if draft.now_s >= phase.again_s:
            draft.send(CloseServer(max(left_s, limits.close_s / 2), care(draft.sight, phase.rule)))
    elif phase.to is not None:
        move.not_closed(draft, phase)
    elif draft.now_s >= phase.again_s:
        draft.set(phase=replace(phase, again_s=draft.now_s + phases.AGAIN_S))
        if world.process is not None:
            rule = phases.why_kill(draft) if phase.kill else "not-closed-in-time"
            draft.note("kill", rule, "warning", close_s=limits.close_s)
            draft.send(KillServer(1.0, world.process))
        else:
            draft.send(CloseServer(limits.close_s, care(draft.sight, phase.rule)))


def _close(draft: Draft, rule: str, text: str) -> None:
    draft.note("closing", rule, "warning", text=text)
    kill = phases.must_kill(draft, rule)
    draft.set(phase=Closing(rule, text, draft.now_s, kill=kill), said={**draft.world.said, "closing": rule})
    _closing(draft)


_PHASES: dict[type, Callable[[Draft], None]] = {
    Starting: _starting,
    Resting: _resting,
    Taking: _taking,
    Writing: _writing,
    Closing: _closing,
    Invited: move.invited,
    Handing: move.handing,
}
