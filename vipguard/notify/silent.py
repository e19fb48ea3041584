"""When may this node open although a peer says nothing?

A witness shows that this node is not cut off; it cannot decide between two. So the peer's own lease must have run out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..model.effect import AskArp, FencePeer
from ..model.sight import PeerSight, Sight
from .peers import PeerClass
from .record import Due, Takeover, refuse

ARP_S = 0.02  # one probe's wait for a foreign answer
ARP_AGAIN_S = 0.1


def await_silent(
    takeover: Takeover, sight: Sight, found: Mapping[str, PeerClass], ready: Callable[[], Due]
) -> Due | None:
    """A silent peer that is cut off closes itself after lease and close; nobody is sure of it before.

    `ready` says what can be under way meanwhile, because it does not depend on that peer.
    """
    silent = [
        sight.peers[name]
        for name, kind in found.items()
        if kind is PeerClass.SILENT and not sight.peers[name].out
    ]
    if not silent or sight.promoted:
        return None
    if sight.policy.fence.command:
        step = fence_off(takeover, sight, silent, ready)
        if step is not None:
            return step
    names, limits = ", ".join(peer.node.name for peer in silent), sight.policy.limits
    if sight.policy.silent_peer == "wait":
        return refuse("silent-peer-wait", f'{names} is silent and silent_peer is "wait"')
    if not sight.witnesses:
        return refuse("silent-peer-no-witness", f"{names} is silent and no witness is configured")
    until_s = max(sight.silent_until_s(peer) for peer in silent)
    if sight.now_s < until_s:
        bound_s = 2 * (limits.lease_s + limits.close_s) + limits.deadline_s
        if sight.now_s - takeover.began_s > bound_s:
            text = f"{names} gives signs of life and its server does not answer: it may be open, and is not cut off"
            return refuse("silent-peer-alive", text)
        text = f"{names} is silent: waiting until it has closed itself"
        return Due("silent-peer", text, ready().effects)
    if not sight.witnessed:
        text = f"{names} is silent and no witness answers: this node may be the one that is cut off"
        return Due("silent-peer-unwitnessed", text, within_s=limits.lease_s + limits.close_s)
    if takeover.arp.get(sight.policy.vip.ip) is True:
        waited_s = sight.now_s - max(until_s, takeover.began_s)
        if waited_s < limits.arp_s_max:
            again = sight.now_s - takeover.arp_s >= ARP_AGAIN_S
            effects = (AskArp(ARP_S * 10, (sight.policy.vip.ip,), ARP_S),) if again else ()
            return Due("foreign-arp", f"somebody else answers for {sight.policy.vip.ip}", effects)
    return None


def fence_off(takeover: Takeover, sight: Sight, silent: list[PeerSight], ready: Callable[[], Due]) -> Due | None:
    """Put every one of these peers out first. None: it failed, and other ways are allowed.

    Only a peer that was asked once more since the takeover began is fenced, and only by a node that a witness has
    answered since: one that is cut off itself must not put the healthy writer out by another path.
    """
    limits, fence = sight.policy.limits, sight.policy.fence
    failed = [text for peer in silent if (text := takeover.unfenced.get(peer.node.name)) is not None]
    if failed and fence.required:
        return refuse("fence-failed", f"{failed[0]}, and fence.required is true")
    due = [peer for peer in silent if peer.node.name not in takeover.unfenced]
    if not due:
        return None
    names = ", ".join(peer.node.name for peer in due)
    if any(peer.evidence is None or peer.evidence.asked_at_s < takeover.began_s for peer in due):
        text = f"{names} is asked once more before it is fenced"
        return Due("fence-look", text, ready().effects, within_s=3 * limits.deadline_s)
    if sight.witnesses and not any(
        at_s is not None and at_s >= takeover.began_s for at_s in sight.witnesses.values()
    ):
        text = f"no witness has answered since {names} went silent: this node may be the one that is cut off"
        return Due("fence-unwitnessed", text, ready().effects, within_s=2 * limits.lease_s)
    effects = tuple(FencePeer(fence.deadline_s, peer.node.name) for peer in due)
    return Due("fence", f"putting {names} out by {fence.command}", (*effects, *ready().effects))
