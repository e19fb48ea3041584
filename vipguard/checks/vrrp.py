"""Would keepalived give this node the VIP now? What its process, its notify lines and its FIFO tell.

Nothing here decides what the track file says: a keepalived in FAULT for another reason could not be seen to leave it
while the file says 0 as well.
"""

from __future__ import annotations

from ..model.sight import Sight
from ..model.verdict import Eligibility

NO, UNSEEN = Eligibility.INELIGIBLE, Eligibility.UNDETERMINED
SETTLE_S = 1.0  # keepalived says what it does within milliseconds; its script for us runs every two seconds
Decision = tuple[Eligibility, str, tuple[tuple[str, float | int | str | None], ...]]


def not_seen(sight: Sight) -> Decision | None:
    if sight.keepalived.alive is not None:
        return None
    pid_file = sight.policy.vrrp.pid_file
    text = f"no keepalived is seen here: none by {pid_file}, none by its name, and nobody has the FIFO open"
    return UNSEEN, text, ()


def stands_still(sight: Sight) -> Decision | None:
    return (NO, "keepalived is stopped (SIGSTOP): it takes nothing over", ()) if sight.keepalived.stands else None


def starting(sight: Sight) -> Decision | None:
    seen, delay_s = sight.keepalived, sight.policy.vrrp.startup_delay_s
    if seen.started_s is None or sight.now_s - seen.started_s >= delay_s:
        return None
    left_s = round(seen.started_s + delay_s - sight.now_s, 1)
    text = f"keepalived started a moment ago and takes nothing over for another {left_s:g} s (vrrp_startup_delay)"
    return UNSEEN, text, (("left_s", left_s),)


def foreign(sight: Sight) -> Decision | None:
    """It lives, and runs something else than what is rendered for this node."""
    seen, fifo = sight.keepalived, sight.policy.paths.fifo
    if seen.unheld_since_s is not None and sight.now_s - seen.unheld_since_s >= SETTLE_S:
        return NO, f"keepalived lives, and does not have {fifo} open: it runs another configuration", ()
    if seen.writer and seen.state is None and answers_late(sight):
        text = f"keepalived says nothing of the instance {sight.policy.instance} when the track file changes"
        return NO, f"{text}: it runs another configuration", ()
    if seen.state == "MASTER" and not sight.vip_here and _lasts(sight, seen.state_at_s):
        return NO, f"keepalived is MASTER and {sight.policy.vip.ip} is not here: it has another address", ()
    return None


def unheard(sight: Sight) -> Decision | None:
    if not sight.keepalived.writer or sight.keepalived.state is not None:
        return None
    return UNSEEN, "keepalived has not said yet in which state it is", ()


def fault(sight: Sight) -> Decision | None:
    """By what the track file says it should have left FAULT."""
    seen, one_s = sight.keepalived, sight.track_one_since_s
    if seen.state not in ("FAULT", "STOP") or one_s is None or not _lasts(sight, max(one_s, seen.state_at_s or 0.0)):
        return None
    why = "another reason than vipguard's track file: an interface, or a script; its log names it"
    return NO, f"keepalived is in {seen.state}, for {why}", (("state", seen.state),)


def answers_late(sight: Sight) -> bool:
    """Was the track file changed under a keepalived that was well begun, and it has not said a word of it?"""
    changed_s, started_s = sight.track_changed_s, sight.keepalived.started_s
    if changed_s is None or (started_s is not None and changed_s < started_s + SETTLE_S):
        return False
    return _lasts(sight, changed_s)


def _lasts(sight: Sight, since_s: float | None) -> bool:
    return since_s is not None and sight.now_s - since_s >= SETTLE_S
