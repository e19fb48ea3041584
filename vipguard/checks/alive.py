"""Does the local server answer?"""

from __future__ import annotations

from ..model.evidence import Answer
from ..model.finding import NO_THRESHOLDS, Finding, Outcome, Perf, Thresholds
from ..model.sight import Sight

_RULES = {
    Answer.ABSENT: (Outcome.CRITICAL, "server-absent", "the server is not running"),
    Answer.SILENT: (Outcome.CRITICAL, "server-silent", "the server took the connection and said nothing"),
    Answer.BLIND: (Outcome.UNKNOWN, "server-blind", "could not look at the server"),
}


def check(sight: Sight, thresholds: Thresholds = NO_THRESHOLDS) -> Finding:
    """OK when the server answered; the number is the seconds that took, not known otherwise."""
    server = sight.server
    if server is None:
        return Finding("alive", Outcome.UNKNOWN, "server-not-seen", "the server was not asked yet")
    took_s = round(server.seen_at_s - server.asked_at_s, 6)
    answered = server.answer is Answer.ANSWERED
    perf = (Perf("time", took_s if answered else None, "s", thresholds.warning, thresholds.critical),)
    if not answered or server.facts is None:
        outcome, rule, text = _RULES.get(server.answer, _RULES[Answer.BLIND])
        return Finding("alive", outcome, rule, f"{text}: {server.reason}" if server.reason else text, perf)
    text = f"{server.facts.flavor} {server.facts.version} answered in {took_s * 1000:.1f} ms"
    return Finding("alive", thresholds.outcome(took_s), "server-answers", text, perf)
