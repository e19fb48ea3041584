"""What is due of somebody's word that this node's server is to stay closed?

An order stands until its end is said. A writer that another hand closed (`SET GLOBAL read_only = 1`) stays closed too:
the word is then the agent's own, and ends by itself when another node writes, or that hand opens the server again.
"""

from __future__ import annotations

from ..model.changed import replace
from ..model.effect import KeepWord
from ..model.evidence import ServerFacts
from ..model.standdown import HAND, StoodDown
from .draft import Draft
from .world import Resting, World, Writing

RULE = "closed-by-another-hand"
KEEP_S = 2.0
#: A close of vipguard's own, ordered before this node became the writer again, may come through that late.
SETTLED_S = 2.0
PEERS_S = 1.5  # times the deadline of a look: who has not answered by then does not tell who closed this server


def see(world: World, word: StoodDown | None) -> World:
    """What the file says. A word of the agent's own that is still on its way there is newer, whichever way."""
    if world.word_due or word == world.stood_down:
        return world
    return replace(world, stood_down=word)


def end(draft: Draft) -> None:
    """The operator says so; the file is gone already."""
    draft.set(stood_down=None, word_due=False)


def keep(draft: Draft) -> None:
    """Each tick: say a change of the word once, and bring the agent's own to the disk."""
    world = draft.world
    word = world.stood_down
    if word is not None and word.by_hand and not world.word_due and _is_over(draft):
        draft.note("stood-down", "another-node-writes", by=word.by)
        draft.set(stood_down=None, word_due=True)
    elif word is None:
        if "stood-down" in world.said:
            draft.forget("stood-down")
            draft.note("stood-down", "stand-down-ended")
    elif not word.readable:
        draft.say("stood-down", "stand-down-unreadable", "error")
    else:
        draft.say("stood-down", RULE if word.by_hand else "stood-down", "error" if word.by_hand else "warning",
                  by=word.by, reason=word.reason)  # fmt: skip
    if draft.world.word_due:
        draft.send(KeepWord(KEEP_S, draft.world.stood_down))


def kept(draft: Draft, effect: KeepWord) -> None:
    """It is on the disk; another word since then is due again."""
    if effect.word == draft.world.stood_down:
        draft.set(word_due=False)
    draft.forget("word")


def _is_over(draft: Draft) -> bool:
    """Who closed it did not want it to write, and another node does: it is a standby like any other."""
    return isinstance(draft.world.phase, Resting) and bool(draft.sight.writers)


def opened_by_hand(draft: Draft) -> None:
    """Who closed the server takes that back. It is closed like any that another hand opened; then the rules decide."""
    word = draft.world.stood_down
    if word is not None and word.by_hand:
        draft.note("stood-down", "opened-by-another-hand", by=word.by)
        draft.set(stood_down=None, word_due=True)


def found_closed(draft: Draft, phase: Writing, facts: ServerFacts) -> bool:
    """The writer's server is closed, wholly or by read_only alone, and not by this agent. True while that is being
    looked into, and when somebody's hand did it: the word is recorded then, and closing is due.

    It was no hand where the process is another one, a peer has or had the claim on this node, or writes: who takes over
    closes the old writer first. So every peer is asked once more after the close was seen.
    """
    world, sight = draft.world, draft.sight
    before = world.server_before.facts if world.server_before is not None else None
    if phase.shut_s is None:
        if before is None or before.process != facts.process or before.closed or "CloseServer" in world.flights:
            return False
        if draft.now_s - phase.since_s < SETTLED_S or _claimed(before, world):
            return False
        draft.set(phase=replace(phase, shut_s=draft.now_s))
        return True
    if sight.claimed_by_other or sight.writers:
        return False
    waited_s = draft.now_s - phase.shut_s
    asked = (p.evidence is not None and p.evidence.asked_at_s > phase.shut_s for p in sight.peers.values())
    if not all(asked) and waited_s < PEERS_S * world.policy.limits.deadline_s:
        return True
    how = "read_only was set" if facts.closed else "read_only was set, without super_read_only"
    draft.set(stood_down=StoodDown(0, HAND, how), word_due=True, phase=replace(phase, shut_s=None))
    return True


def _claimed(facts: ServerFacts, world: World) -> bool:
    return facts.claim_lock is not None and facts.claim_lock != world.claims.get(world.policy.node)
