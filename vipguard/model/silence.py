"""How long must a peer have been silent to have closed itself, if it is cut off?"""

from __future__ import annotations

from math import ceil

from .policy import Policy

#: So many probes after the last answer, a writer knows that a round went unanswered, and orders its close.
NOTICED = 1.5


def silence_s(policy: Policy) -> float:
    """From the last sign of life that came to the last that could have, up to one interval of looking; then until a
    writer has noticed, for its guard may be late from there on; its lease; its close."""
    limits = policy.limits
    unseen_s = max(limits.probe_s, policy.vip.advert_s) + NOTICED * limits.probe_s
    return unseen_s + limits.lease_s + limits.close_s


def word_s(policy: Policy) -> int:
    """How old an agent's word may be that its server is gone, in whole seconds as a server counts them (begun ones: it
    is less than one more). It is said again with each look."""
    return max(1, ceil(2 * policy.limits.probe_s))


def own_word_s(policy: Policy) -> float:
    """So long after this node last said that its own server is gone, nobody takes it for true any more; a word that
    was on its way is said within a second."""
    return word_s(policy) + 2.0
