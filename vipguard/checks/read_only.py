"""Is the server closed, and should it be? A node without the VIP must be; the holder that took over must not."""

from __future__ import annotations

from ..model.finding import NO_THRESHOLDS, Finding, Outcome, Perf, Thresholds
from ..model.sight import Sight


def check(sight: Sight, thresholds: Thresholds = NO_THRESHOLDS) -> Finding:
    """CRITICAL when writable without the VIP, WARNING when read-only with it; the number is 1 for closed."""
    facts = sight.server.facts if sight.server else None
    if facts is None:
        return Finding("read_only", Outcome.UNKNOWN, "read-only-not-seen", "the server was not seen")
    perf = (Perf("closed", float(facts.closed), "", thresholds.warning, thresholds.critical),)
    if sight.address is None:
        text = f"the server is {'read-only' if facts.closed else 'writable'}; whether the VIP is here was not seen"
        return Finding("read_only", Outcome.UNKNOWN, "vip-not-seen", text, perf)
    if facts.closed and sight.vip_here:
        text = "the VIP is here and the server is read-only"
        return Finding("read_only", Outcome.WARNING, "vip-without-writable", text, perf)
    if not facts.closed and not sight.vip_here:
        text = "the server is writable and the VIP is not here"
        return Finding("read_only", Outcome.CRITICAL, "writable-without-vip", text, perf)
    text = "read-only, and the VIP is elsewhere" if facts.closed else "writable, and the VIP is here"
    outcome = thresholds.outcome(float(facts.closed))
    return Finding("read_only", outcome, "closed" if facts.closed else "open", text, perf)
