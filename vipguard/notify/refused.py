"""What is due while a peer refuses connections, and nothing proves that its server is gone?

Time proves nothing here. A peer that refuses this node need not be cut off, so it need not close itself.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..model.effect import AskArp, AskGone, Effect
from ..model.sight import Sight
from ..model.silence import own_word_s
from . import proof
from .peers import PeerClass
from .record import Due, Takeover, refuse
from .silent import ARP_S, fence_off

GONE_AGAIN_S = 0.003  # between two looks for the word of a peer's agent
SILENT_AGAIN_S = 0.02  # of a silent peer, whose time runs meanwhile
PROOF_S = 0.3  # longer than a host must show itself: until its first answer, and where one is lost
HELD_S = 0.05  # who has the VIP shows it at once; keepalived needs some milliseconds to remove it


def ask_gone(takeover: Takeover, sight: Sight, after_s: float = GONE_AGAIN_S) -> AskGone:
    """Who of the others says that his server is gone? At once, then again and again."""
    return AskGone(
        sight.policy.limits.deadline_s, tuple(sight.peers), 0.0 if takeover.proof.hinted is None else after_s
    )


def ask_link(takeover: Takeover, sight: Sight, names: list[str]) -> tuple[Effect, ...]:
    """Who answers for the VIP, and for these peers' addresses, on the VIP's link? In one question, again and again."""
    vip = sight.policy.vip.ip
    known = [ip for name in names for ip in proof.addresses(sight.peers[name])]
    asked = [ip for ip in known if takeover.arp.get(ip, True) is not None]
    if not asked or takeover.arp.get(vip, True) is None or sight.now_s - takeover.arp_s < ARP_S:
        return ()
    return (AskArp(ARP_S * 10, (vip, *asked), ARP_S),)


def await_refused(takeover: Takeover, sight: Sight, found: Mapping[str, PeerClass]) -> Due | None:
    """A proof, or the fence; else the VIP goes to somebody who sees more."""
    names = [name for name, kind in found.items() if kind is PeerClass.REFUSED and not sight.peers[name].out]
    if not names or sight.promoted:
        return None
    waited_s, text = sight.now_s - takeover.began_s, f"{', '.join(names)} refuses connections"
    held = takeover.arp.get(sight.policy.vip.ip) is True
    if waited_s < (HELD_S if held else proof.bare_s(sight.policy) + PROOF_S):
        effects = (ask_gone(takeover, sight), *ask_link(takeover, sight, names))
        return Due("peer-refused", f"{text}: is its server gone, or does a firewall refuse?", effects)
    if sight.policy.fence.command:
        step = fence_off(takeover, sight, [sight.peers[name] for name in names], lambda: Due("ready", ""))
        if step is not None:
            return step
    return refuse(
        "peer-refused", f"{text}, and nothing proves that its server is gone: it may be open, for others than this node"
    )


def await_own_word(takeover: Takeover, sight: Sight, found: Mapping[str, PeerClass]) -> Due | None:
    """This node's agent said that its server was gone, before it was started again. A peer that does not answer may
    not know yet that this is over, and take it for a proof."""
    if sight.said_gone_s is None or sight.now_s - sight.said_gone_s >= own_word_s(sight.policy):
        return None
    answered = (PeerClass.CLOSED, PeerClass.OPEN_OTHERWISE, PeerClass.LEGIT)
    deaf = [name for name, kind in found.items() if kind not in answered and not sight.peers[name].out]
    deaf = [name for name in deaf if name not in takeover.proof.gone]
    if not deaf:
        return None
    return Due("own-word", f"{', '.join(deaf)} may still have this node's word that its server is gone")
