"""What proves that a server which refuses this node is gone for all? Its agent's word, or its host without the VIP.

A refusal by itself proves nothing: a firewall refuses as well, for this node alone. Its own agent knows that the
process is gone, and says so by a lock on this node's server. Or the host shows that it is there, on the VIP's link,
while nobody on it answers for the VIP: then its guard has closed the server since, if there was anything to close.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ..model.evidence import Answer
from ..model.policy import Policy
from ..model.sight import PeerSight, Sight


@dataclass(frozen=True, slots=True)
class Proof:
    """What a takeover found out of the peers that do not answer.

    `hinted`: whose agents said that their server is gone, before this node had the claim on its own server; None: not
    asked yet. `gone`: who said so after that. No process of such a peer opens any more without
    that claim, so it stands until the takeover ends. `refused`: who has refused a connection since it began. `bare`:
    for each address that answered on the VIP's link while nobody else did for the VIP, when it first did and last.
    """

    hinted: frozenset[str] | None = None
    gone: frozenset[str] = frozenset()
    refused: frozenset[str] = frozenset()
    bare: Mapping[str, tuple[float, float]] = field(default_factory=dict)


def addresses(peer: PeerSight) -> tuple[str, ...]:
    """Those by which a peer's host can be known on the VIP's link."""
    own = peer.node.address
    return (own,) if peer.link_address in (None, own) else (own, peer.link_address or own)


def bare_s(policy: Policy) -> float:
    """For how long a host must show no VIP: its guard, late by less than its lease, sees the VIP leave, and closes the
    server, or kills it."""
    limits = policy.limits
    return limits.lease_s + limits.close_s + max(limits.probe_s, policy.vip.advert_s)


def asked_link(proof: Proof, answers: Mapping[str, bool | None], vip: str, at_s: float) -> Proof:
    """After one question for the VIP and for peers' addresses together; an answer that was lost ends nothing."""
    if vip not in answers or len(answers) < 2:
        return proof
    if answers[vip] is not False:
        return replace(proof, bare={}) if proof.bare else proof
    seen = {ip: (proof.bare.get(ip, (at_s, at_s))[0], at_s) for ip, there in answers.items() if there and ip != vip}
    return replace(proof, bare={**proof.bare, **seen}) if seen else proof


def asked_gone(proof: Proof, names: frozenset[str], claimed: bool) -> Proof:
    """After the own server was asked who says that his is gone; `claimed`: while this node held the claim on it."""
    hinted = (proof.hinted or frozenset()) | names
    return replace(proof, hinted=hinted, gone=proof.gone | names if claimed else proof.gone)


def see(proof: Proof, sight: Sight, since_s: float) -> Proof:
    """Who has refused since then is remembered: of a firewall that rejects, some packets are merely lost."""
    new = frozenset(
        name
        for name, peer in sight.peers.items()
        if (seen := peer.evidence) is not None and seen.answer is Answer.ABSENT and seen.asked_at_s >= since_s
    )
    return proof if new <= proof.refused else replace(proof, refused=proof.refused | new)


def of(proof: Proof, peer: PeerSight, sight: Sight) -> str | None:
    """By which rule this peer's server is gone; None: nothing proves it. `fence.required` trusts no guard of another
    host, which may be dead."""
    name = peer.node.name
    if name in proof.gone:
        return "gone-by-its-agent"
    if sight.policy.fence.required or name not in proof.refused:
        return None
    spans = [proof.bare[ip] for ip in addresses(peer) if ip in proof.bare]
    if any(last_s - first_s >= bare_s(sight.policy) for first_s, last_s in spans):
        return "gone-by-its-host"
    return None
