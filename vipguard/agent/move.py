"""What is due of a planned move? The writer's part (close without killing, hand over or go back) and the target's."""

from __future__ import annotations

from dataclasses import replace

from ..model.effect import DropOpener, PrepareClose, PrepareOpen, ProbePeer, ResetClients, ShutGate
from ..model.evidence import Answer
from ..notify import domains, switchover
from ..notify.proof import Proof
from ..notify.takeover import Takeover, due_before_the_vip, reserve
from . import phases
from .draft import Draft
from .world import Closing, Handing, HoldOff, Invited, Resting, Taking, Writing

LOOK_S = 0.003  # between two looks of the target at the writer: faster ones take processor time from the close
HANDING_LOOK_S = 0.001  # and of the closed writer at the target, for which all clients wait
LET_GO_S = 2.0  # the target takes over meanwhile; if it does not, this node is a candidate again


def forget(draft: Draft) -> None:
    """An order that was declined, or failed once, is not taken up again; the next one is."""
    facts = draft.world.server.facts if draft.world.server else None
    mine = facts.moving_to if facts is not None else None
    if draft.world.declined and mine is None and switchover.ordering(draft.sight) is None:
        draft.set(declined=False)


# -- the writer


def begin(draft: Draft, phase: Writing) -> bool:
    """Take an order up: True when the writer is closing now."""
    node = switchover.target(draft.sight)
    if node is None or draft.world.declined or draft.sight.paused is not None:
        if phase.ordered_s is not None:
            draft.set(phase=replace(phase, ordered_s=None))
        return False
    ordered_s = draft.now_s if phase.ordered_s is None else phase.ordered_s
    waits = draft.now_s - ordered_s < switchover.NEAR_S
    if waits and not switchover.near(node, draft.world.server_before, draft.sight):
        draft.set(phase=replace(phase, ordered_s=ordered_s))
        return False
    draft.note("switchover-begins", "ordered", node=node, epoch=phase.epoch)
    closing = Closing("switchover", f"the writer moves to {node}", draft.now_s, to=node, epoch=phase.epoch)
    draft.set(phase=closing)
    return True


def cut(draft: Draft) -> None:
    """The sessions of the close are made while clients are still served, and refused as newcomers; then all are cut."""
    if "ResetClients" not in draft.world.flights:
        draft.send(PrepareClose(draft.world.policy.limits.deadline_s))
        draft.send(ResetClients(0.6, draft.world.process))


def not_closed(draft: Draft, phase: Closing) -> None:
    """It could not be closed in time without killing it: it stays the writer."""
    rule, text = "not-closed-in-time", f"the server was not closed within {draft.world.policy.limits.close_s:g} s"
    draft.note("switchover-abandoned", rule, "warning", text=text)
    draft.set(phase=Writing(phase.epoch, None, draft.now_s), declined=True)


def handing(draft: Draft) -> None:
    world, sight, phase = draft.world, draft.sight, draft.world.phase
    assert isinstance(phase, Handing)
    server = world.server
    newer = server is not None and server.asked_at_s > phase.since_s
    if server is not None and newer and server.answer is Answer.ABSENT and not sight.leaving:
        draft.note("writer-lost", "handing-server-absent", "warning", reason=server.reason)
        phases.rest(draft, "handed-back", "handing-server-absent")
    elif server is not None and newer and server.facts is not None and not server.facts.closed:
        phases.begin_closing(draft, "opened-by-another-hand", "the server became writable during the move")
    elif not sight.vip_here:
        phases.rest(draft, "handed-over", "vip-gone")
    elif phase.back_s is not None:
        if not sight.claimed_by_other or draft.now_s - phase.back_s > switchover.RELEASED_S:
            phases.rest(draft, "handed-back", "switchover-abandoned")
    elif (why := switchover.why_go_back(phase.node, phase.since_s, sight)) is not None:
        draft.note("switchover-abandoned", why[0], "warning", text=why[1])
        draft.set(phase=replace(phase, back_s=draft.now_s), declined=True)
    elif switchover.has_all(phase.node, phase.gtid, sight):
        took_ms = round((draft.now_s - phase.since_s) * 1000, 1)
        draft.set(hold_off=HoldOff("switchover", f"the writer moves to {phase.node}", draft.now_s + LET_GO_S))
        draft.set(declined=True)
        draft.note("switchover-step", "target-has-all", node=phase.node, after_ms=took_ms, gtid=str(phase.gtid))
        phases.rest(draft, "handed-over", "switchover")
    else:
        draft.send(ProbePeer(world.policy.limits.deadline_s, phase.node, after_s=HANDING_LOOK_S))


# -- the target


def gate_shut(draft: Draft) -> None:
    """Or it could not be, and clients are told what they are told in any takeover."""
    if isinstance(draft.world.phase, Invited):
        draft.set(phase=replace(draft.world.phase, shut=True))


def consider(draft: Draft) -> None:
    """A candidate that is asked to be the writer claims every node, its own included."""
    world, sight = draft.world, draft.sight
    peer, verdict = switchover.ordering(sight), world.verdict
    if peer is None or world.declined or not world.may_open or verdict is None:
        return
    if verdict.standing != "candidate" or not verdict.may or sight.claimed_by_other:
        return
    draft.note("switchover-begins", "invited", node=peer.node.name)
    takeover = Takeover(draft.now_s, world.boot_id, draft.sight.was_writer, solo_before=world.memory.solo)
    draft.set(phase=Invited(takeover, draft.now_s))


def invited(draft: Draft) -> None:
    world, sight, phase = draft.world, draft.sight, draft.world.phase
    assert isinstance(phase, Invited)
    if sight.vip_here:
        draft.note("takeover-begins", "switchover", epoch=phase.takeover.reserved or sight.highest_epoch + 1)
        takeover = replace(phase.takeover, began_s=draft.now_s, arp={}, arp_s=0.0, proof=Proof())
        draft.set(phase=Taking(takeover, "begin", draft.now_s), declined=True)
        return
    why = switchover.why_leave(phase.takeover, phase.since_s, sight)
    if why is None and world.verdict is not None and not world.verdict.may:
        why = world.verdict.rule, world.verdict.text
    if why is not None:
        draft.note("switchover-abandoned", why[0], "warning", text=why[1])
        draft.send(DropOpener(0.5))
        draft.set(phase=Resting(draft.now_s), declined=True)
        phases.release(draft)
        return
    if phase.takeover.opener is None:
        draft.send(PrepareOpen(world.policy.limits.deadline_s, domain=domains.domain(sight)))
        return
    if not phase.shut:  # before the VIP can come: whoever came with it would be told that the server is read-only
        draft.send(ShutGate(0.5))
        return
    claim = switchover.next_claim(phase.takeover, sight)
    if claim is not None:
        draft.send(claim)
        return
    if not phase.takeover.remembered:
        draft.send(reserve(phase.takeover, sight))
    ready = due_before_the_vip(phase.takeover, sight)
    if ready is None or ready.waiting != "ready":  # how soon the writer's close is seen is what the clients wait for
        for name in sight.peers:
            draft.send(ProbePeer(world.policy.limits.deadline_s, name, after_s=LOOK_S))
    if ready is not None and not ready.refuse:
        for effect in ready.effects:
            draft.send(effect)
