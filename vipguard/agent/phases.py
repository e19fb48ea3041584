"""How does the agent pass from one phase to the next, and what goes with it?"""

from __future__ import annotations

from dataclasses import replace

from ..checks import stall
from ..model.effect import Announce, Care, DropOpener, Release, Remember
from ..model.gtid import GtidSet
from ..model.memory import Completed
from ..notify import semi_sync
from ..notify.loss import account
from ..notify.takeover import Takeover
from . import hooks
from . import semi_sync as acks
from .draft import Draft
from .world import Closing, Handing, HoldOff, Resting, Starting, Taking, World, Writing

BACK_OFF_S = 1.0
AGAIN_S = 0.1  # between two attempts to kill
CLOSE_AGAIN_S = 0.02  # between two closes that fail at once: a connection may become free well within `close_s`
LEGIT_BACK_OFF_S_MAX = 60.0
MUTE_BACK_OFF_S_MAX = 30.0  # while adverts do not leave: it can be the only node that is left
CLAIM_SEEN_S = 0.3  # three rounds of the writer's agent, which announces the VIP anew when the claim ends
#: Less free than that, and a write may be standing half done: a file system refuses its last blocks before it counts
#: them all, and a transaction is written in pieces. MariaDB's close would end such a write and tear its binary log.
NO_ROOM_BYTES = 1_048_576
BACK_OFF_STEP_S = 0.5  # more for each node further down the list, so that two takers do not meet again


def rest(draft: Draft, what: str, rule: str) -> None:
    """The server is closed or gone, and nothing is under way."""
    draft.note(what, rule)
    hooks.after_close(draft, rule)
    if isinstance(draft.world.phase, Taking | Writing | Closing):
        draft.send(DropOpener(0.5))
    draft.set(phase=Resting(draft.now_s))
    release(draft)


def closed(draft: Draft, phase: Closing) -> None:
    """The close came through, by read_only or by kill; in a planned move the VIP stays until the target has all."""
    facts = draft.world.server.facts if draft.world.server else None
    if phase.to is not None and facts is not None and facts.closed:
        draft.send(DropOpener(0.5))
        draft.set(phase=Handing(phase.to, facts.gtid, draft.now_s))
        return
    again = phase.rule == "not-taken-over" and _unfinished(draft.world)
    if not again and phase.rule in ("adverts-stopped", "not-taken-over", "open-lock-taken", "holder-disk-unfit"):
        hold_off(draft, phase.rule, phase.text)
    rest(draft, "handed-back", phase.rule)
    if again:  # from the beginning, and with the VIP, until all is seen that a takeover asks for
        draft.set(phase=Starting(draft.now_s), errant=None if facts is None else GtidSet.empty(facts.flavor))


def _unfinished(world: World) -> bool:
    """Did a guard of this node end in the middle of a takeover? What clients wrote since it opened is in no other
    node's history, and may be in no row of this one's: nobody shall open before this node takes over anew."""
    memory = world.memory
    done = memory.completed.epoch if memory.completed is not None else 0
    return memory.open and memory.stopped == world.boot_id and memory.epoch > done


def must_kill(draft: Draft, rule: str) -> bool:
    """Do commits wait on a node that is cut off or superseded? Whatever else ends them acknowledges or shows them.
    Or does a write wait for room? Whatever else ends it leaves half of it in the binary log. Or for a disk that stands?
    Read-only binds no commit that is under way, and it may wake up later."""
    if no_room(draft) or stall.stalled(draft.sight):
        return True
    semi = semi_sync.own(draft.sight)
    return semi is not None and semi.waiting > 0 and semi_sync.care(draft.sight, rule) is Care.STRICT


def no_room(draft: Draft) -> bool:
    disk = draft.world.disk
    return disk is not None and disk.free_bytes is not None and disk.free_bytes < NO_ROOM_BYTES


def why_kill(draft: Draft) -> str:
    """The rule by which a close that `must_kill` kills."""
    if no_room(draft):
        return "no-room-to-close"
    return "disk-stalled" if stall.stalled(draft.sight) else "commits-wait-superseded"


def begin_closing(draft: Draft, rule: str, text: str) -> None:
    draft.note("closing", rule, "warning", text=text)
    draft.set(phase=Closing(rule, text, draft.now_s, kill=must_kill(draft, rule)))
    release(draft)


def release(draft: Draft) -> None:
    """Known for our own until it is seen given back: a look meanwhile must not take it for another's."""
    for node in draft.world.claims:
        draft.send(Release(0.5, node))


def given_back(draft: Draft, node: str) -> None:
    """Released, or gone with its session; what was seen before that tells of nobody else's."""
    server, held = draft.world.server, draft.world.claims.get(node)
    facts = server.facts if server is not None and node == draft.world.policy.node else None
    if server is not None and facts is not None and held is not None and facts.claim_lock == held:
        draft.set(server=replace(server, facts=replace(facts, claim_lock=None)))
    draft.set(claims={name: held for name, held in draft.world.claims.items() if name != node})


def hold_off(draft: Draft, rule: str, text: str) -> None:
    """Leave the VIP to others for a while that differs from node to node."""
    names = [node.name for node in draft.world.policy.nodes]
    back_off_s = BACK_OFF_S + BACK_OFF_STEP_S * names.index(draft.world.policy.node)
    if rule == "peer-legit":
        back_off_s = min(LEGIT_BACK_OFF_S_MAX, back_off_s * 2.0**draft.world.sent_away)
        draft.set(sent_away=min(draft.world.sent_away + 1, 10))
    if rule in ("adverts-timeout", "adverts-stopped"):  # only who has the VIP can see whether they leave
        back_off_s = min(MUTE_BACK_OFF_S_MAX, back_off_s * 2.0**draft.world.mute)
        draft.set(mute=min(draft.world.mute + 1, 10))
    draft.say("refused", rule, "warning", text=text, back_off_s=back_off_s)
    draft.set(hold_off=HoldOff(rule, text, draft.now_s + back_off_s))


def see_legit(draft: Draft) -> None:
    """Who was sent away stays away for longer each time, and only while the one that did it is seen to write."""
    world = draft.world
    if not world.sent_away or isinstance(world.phase, Taking) or draft.sight.writers:
        return
    held = world.hold_off
    draft.set(sent_away=0, hold_off=None if held is not None and held.rule == "peer-legit" else held)


def let_go(draft: Draft) -> None:
    """Give back what claims are left. Who was sent away keeps them until its VIP has left and the writer saw them: each
    VIP that came here drew the clients along, and the writer draws them back when the claim ends."""
    world, held = draft.world, draft.world.hold_off
    assert isinstance(world.phase, Resting)
    away = held is not None and held.rule == "peer-legit" and draft.now_s < held.until_s
    if not away or (not draft.sight.vip_here and draft.now_s - world.phase.since_s >= CLAIM_SEEN_S):
        release(draft)


def abandon(draft: Draft, rule: str, text: str, blame: bool = True) -> None:
    """Give the takeover up; an opening that is under way may still come through, and one that has is newer than the
    last look: the server is closed then."""
    phase = draft.world.phase
    opening = "Open" in draft.world.flights or (isinstance(phase, Taking) and phase.takeover.opened)
    facts = draft.world.server.facts if draft.world.server else None
    draft.note("takeover-abandoned", rule, "warning", text=text)
    if blame:
        hold_off(draft, rule, text)
    draft.send(DropOpener(0.5))
    if isinstance(phase, Taking):
        acks.given_up(draft, phase.takeover)
    if opening or (facts is not None and not facts.closed):
        begin_closing(draft, rule, text)
    else:
        draft.set(phase=Resting(draft.now_s))
        let_go(draft)


def complete(draft: Draft, takeover: Takeover) -> None:
    """The epoch row is written: this node is the writer."""
    world = draft.world
    assert takeover.reserved is not None
    done = Completed(takeover.reserved, world.boot_id, world.process)
    draft.note(
        "takeover-complete",
        "taken-over",
        epoch=takeover.reserved,
        took_ms=round((draft.now_s - takeover.began_s) * 1000, 1),
        drained=str(takeover.drained),
    )
    if takeover.drained is not None:
        loss = account(takeover.drained, draft.sight, takeover.reopens)
        level = "info" if loss.rule in ("lost-none", "lost-no-acknowledged") else "warning"
        unseen_ms = None if loss.unseen_s is None else round(loss.unseen_s * 1000, 1)
        gtids = str(loss.lacking) if loss.lacking is not None else ""
        draft.note("may-be-lost", loss.rule, level, text=loss.text, gtids=gtids, unseen_ms=unseen_ms)
    nothing = GtidSet.empty(takeover.drained.flavor) if takeover.drained is not None else None
    writing = Writing(takeover.reserved, takeover.opener, draft.now_s)
    # a mark of an earlier writer says nothing of what is written from here on, should another open meanwhile
    draft.set(acks=replace(draft.world.acks, receiving=None))
    draft.set(phase=writing, hold_off=None, diverged=None, errant=nothing, promoted_until_s=None, mute=0)
    fenced = bool(world.rivals) and all(peer.out for peer in world.rivals.values())
    solo = fenced or (world.memory.solo and not any(peer.answered for peer in world.rivals.values()))
    if world.policy.lossless:
        solo = world.memory.solo  # it was settled before the opening
    draft.set(solo_ordered=solo)  # written again until it is on disk, should another memory be on its way there
    draft.send(Announce(2.0))
    hooks.after_open(draft, takeover.reserved)
    memory = replace(world.memory, epoch=takeover.reserved, completed=done, solo=solo, open=True, diverged=None)
    draft.send(Remember(2.0, memory))
    release(draft)
