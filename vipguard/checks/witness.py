"""Does anybody out there answer: a witness, or another node?"""

from __future__ import annotations

from ..model.finding import NO_THRESHOLDS, Finding, Outcome, Perf, Thresholds
from ..model.sight import Sight


def check(sight: Sight, thresholds: Thresholds = NO_THRESHOLDS) -> Finding:
    """OK when a witness answered within `lease_s`; WARNING when only peers did, or none is configured."""
    lease_s = sight.policy.limits.lease_s
    fresh = [
        name for name, at_s in sight.witnesses.items() if at_s is not None and sight.now_s - at_s < lease_s
    ]
    perf = (Perf("witnesses", len(fresh), "", thresholds.warning, thresholds.critical),)
    if fresh:
        text = f"{len(fresh)} of {len(sight.witnesses)} witnesses answer"
        return Finding("witness", thresholds.outcome(len(fresh)), "witness-answers", text, perf)
    if sight.outside_s is not None and sight.now_s - sight.outside_s < lease_s:
        text = (
            "no witness answers, but a peer does"
            if sight.witnesses
            else "no witness is configured; a peer answers"
        )
        return Finding("witness", Outcome.WARNING, "only-peers-answer", text, perf)
    if not sight.isolated:
        unseen = (Perf("witnesses", None, "", thresholds.warning, thresholds.critical),)
        return Finding(
            "witness", Outcome.UNKNOWN, "witness-not-seen", "not watched for a whole lease yet", unseen
        )
    text = f"no witness and no peer answered for {lease_s:g} s"
    return Finding("witness", Outcome.CRITICAL, "isolated", text, perf)
