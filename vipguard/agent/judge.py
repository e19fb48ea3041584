"""What does this node say of itself now? The verdict, and the track file after it, which keepalived obeys."""

from __future__ import annotations

from ..checks import vrrp, writer
from ..model.effect import ResetClients, WriteTrack
from ..model.verdict import Eligibility, Standing, Verdict
from . import damping
from .draft import Draft
from .world import Closing, Handing, Starting, World, Writing

ASK_AFTER_S, ASK_AGAIN_S = 2.0, 30.0


def _standing(world: World) -> Standing:
    if isinstance(world.phase, Writing | Closing):
        return "holder"
    vip = world.address is not None and world.address.vip_present
    if isinstance(world.phase, Starting):
        return "holder" if vip else "candidate"
    return "taking" if vip else "candidate"


def judge(draft: Draft) -> None:
    """The verdict, and the track file after it. An open node, and a closing one, keeps the VIP until it is closed
    (law 3)."""
    world = draft.world
    sight = draft.sight
    verdict = draft.judge(_standing(world))
    _tell(draft, world.verdict, verdict)
    damping.watch(draft, sight, verdict)
    if verdict != world.verdict:
        draft.set(verdict=verdict)
    vip = world.address is None or world.address.vip_present
    if not world.may_open and world.track is not None:
        return  # a one-shot beside an agent that has the lock: that agent may be well and only slow, and says it anew
    if isinstance(world.phase, Closing | Handing) or (
        isinstance(world.phase, Starting) and vip and world.track is not None
    ):
        return
    may = verdict.may or (verdict.rule in writer.OF_KEEPALIVED and writer.for_track(sight, verdict.standing).may)
    wanted = "1" if may and not isinstance(world.phase, Starting) and not _asks(draft, verdict) else "0"
    if wanted == "0" and isinstance(world.phase, Writing):
        return
    draft.set(track_asked=wanted)
    if world.track != wanted:
        moved = world.hold_off is not None and world.hold_off.rule == "switchover"  # its clients were reset before
        if wanted == "0" and vip and "WriteTrack" not in world.flights and not moved:
            draft.send(ResetClients(0.6, world.process))
        draft.send(WriteTrack(1.0, wanted))


def _asks(draft: Draft, verdict: Verdict) -> bool:
    """Says 0 for a moment, when keepalived has said nothing at all: what it follows it must tell then. It may have read
    two changes as none."""
    world, seen = draft.world, draft.world.keepalived
    if verdict.standing != "candidate" or seen.state is not None or not seen.writer:
        return False
    asked_s = world.vrrp_asked_s
    if asked_s is not None and draft.now_s - asked_s < vrrp.SETTLE_S:
        return True
    if vrrp.starting(draft.sight) or (asked_s is not None and draft.now_s - asked_s < ASK_AGAIN_S):
        return False
    one_s = draft.sight.track_one_since_s
    if one_s is None or draft.now_s - one_s < ASK_AFTER_S:
        return False
    draft.set(vrrp_asked_s=draft.now_s)
    return True


def _tell(draft: Draft, old: Verdict | None, new: Verdict) -> None:
    if old is not None and (old.rule, old.standing) == (new.rule, new.standing):
        return
    numbers: dict[str, object] = dict(new.numbers)
    numbers = {"standing": new.standing, "eligibility": new.eligibility.value, "text": new.text, **numbers}
    # a holder whose server said nothing in one round may just be late; what else leaves it the VIP needs somebody
    unwell = new.standing == "holder" and new.eligibility is Eligibility.UNDETERMINED
    level = "warning" if unwell and new.rule != "holder-server-silent" else "info"
    draft.note("verdict", new.rule, level, **numbers)
