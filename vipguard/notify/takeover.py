"""The VIP is here and the server is closed: what is due now, until this node is the writer or gives up?

`due` looks at the record of this takeover and at fresh evidence and names the next effects. Only results and
observations move it on, so running it twice, late, or after a pause is the normal path. The order that counts: claim,
then judge the peers, then receive what they have, stop receiving, drain; meanwhile reserve the epoch and make the
session that opens; last a look that is newer than that session; then open.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..model import forks
from ..model.effect import (
    AskArp,
    Care,
    Claim,
    ClosePeer,
    Drain,
    Effect,
    Look,
    Open,
    PrepareOpen,
    ProbePeer,
    Receive,
    Remember,
    RunHooks,
    StopReceiving,
)
from ..model.evidence import Answer, EpochRow
from ..model.gtid import GtidSet
from ..model.ledger import Opening
from ..model.memory import KeptLag
from ..model.sight import PeerSight, Sight
from . import domains, proof, refused, replicas
from .peers import PeerClass, classify
from .record import Due, Takeover, refuse
from .semi_sync import settle
from .silent import ARP_S, await_silent

__all__ = ["ADVERTS_MISSED", "Due", "Takeover", "adverts_leave", "classes", "due", "due_before_the_vip", "reserve"]

LEAVING_S = 0.05  # keepalived says that it gives the VIP up some milliseconds before the VIP is gone
STOP_S = 3.0  # MySQL's IO thread takes 2 s to stop while it connects to a host that swallows packets
ADVERTS_MISSED = 3.0  # what a VRRP backup waits before it takes over (RFC 5798, 6.1)


def classes(takeover: Takeover, sight: Sight) -> dict[str, PeerClass]:
    """Every peer's class by what was seen since this takeover began."""
    found = {}
    for name, peer in sight.peers.items():
        found[name] = classify(
            peer,
            since_s=takeover.began_s,
            relation=sight.relation(peer),
            arp=takeover.arp,
            vip=sight.policy.vip.ip,
            down=proof.of(takeover.proof, peer, sight) is not None,
            refused=name in takeover.proof.refused,
        )
    return found


def due(takeover: Takeover, sight: Sight) -> Due:
    """The next step of `takeover` by the present `sight`. Pure; the caller bounds each wait by `within_s`."""
    if takeover.opened:  # what failed beside it, a claim on a silent node, is no reason to leave it open and go
        return Due("taken-over", "the server is open and the epoch row is written", complete=True)
    if takeover.failed is not None:
        return refuse(*takeover.failed)
    if takeover.veto is not None:
        return refuse("hook-veto", takeover.veto)
    found = classes(takeover, sight)
    for stage in (_claim, _apart, _judge, _await_silent):
        step = stage(takeover, sight, found)
        if step is not None:
            return step
    return _make_ready(takeover, sight, found)


def due_before_the_vip(takeover: Takeover, sight: Sight) -> Due | None:
    """What the target of a planned move may do as soon as every peer is closed; None while one is not."""
    found = classes(takeover, sight)
    if any(kind is not PeerClass.CLOSED for kind in found.values()):
        return None
    return _make_ready(takeover, sight, found, opening=False)


def _claim(takeover: Takeover, sight: Sight, found: Mapping[str, PeerClass]) -> Due | None:
    """Claims in order of node name, on every node that answers; the ARP questions go out beside the first."""
    limits, me = sight.policy.limits, sight.policy.node
    effects: list[Effect] = []
    for addresses in ((sight.policy.vip.ip,), tuple(peer.node.address for peer in sight.peers.values())):
        if not all(address in takeover.arp for address in addresses):
            effects.append(AskArp(ARP_S * 10, addresses, ARP_S))
    effects += replicas.looks(takeover, sight)
    if any(kind is PeerClass.UNSEEN and name not in takeover.claims for name, kind in found.items()):
        effects.append(refused.ask_gone(takeover, sight))  # else a dying server's sockets would be waited for
    own = sight.server.facts if sight.server is not None else None
    told = own.gone if own is not None else frozenset[str]()
    for node in sight.policy.candidates:
        if node.name in takeover.claims or (
            node.name != me and not _claimable(takeover, sight.peers[node.name], told)
        ):
            continue
        effects.append(Claim(limits.deadline_s, node.name))
        return Due("claim", f"claiming {node.name}", tuple(effects), within_s=2 * limits.deadline_s)
    unseen = [name for name, kind in found.items() if kind is PeerClass.UNSEEN]
    if unseen:
        effects += [ProbePeer(limits.deadline_s, name) for name in unseen]
        return Due("peers", f"looking at {', '.join(unseen)}", tuple(effects), within_s=2 * limits.deadline_s)
    return None


def _claimable(takeover: Takeover, peer: PeerSight, told: frozenset[str]) -> bool:
    """Not one that was silent last, and not one that has refused or shut us out since this takeover began; nor one
    whose server is gone by its agent's word: its sockets may live on."""
    seen = peer.evidence
    if peer.node.name in takeover.proof.gone | (takeover.proof.hinted or frozenset()) | told:
        return seen is not None and seen.answer is Answer.ANSWERED and seen.asked_at_s >= takeover.began_s
    if seen is None or seen.asked_at_s < takeover.began_s:
        return seen is None or seen.answer is not Answer.SILENT
    return seen.answer is Answer.ANSWERED


def _judge(takeover: Takeover, sight: Sight, found: Mapping[str, PeerClass]) -> Due | None:
    limits = sight.policy.limits
    legit = [name for name, kind in found.items() if kind is PeerClass.LEGIT]
    if legit and takeover.arp_s - takeover.began_s < LEAVING_S:
        asks = (AskArp(ARP_S * 10, (sight.policy.vip.ip,), ARP_S),)
        again = sight.now_s - takeover.arp_s >= ARP_S
        effects = (*(asks if again else ()), *(ProbePeer(limits.deadline_s, name, after_s=ARP_S) for name in legit))
        text = f"{legit[0]} has the VIP too, and may be about to lose it"
        return Due("peer-leaving", text, effects, within_s=2 * limits.deadline_s)
    if legit:
        return refuse("peer-legit", f"{legit[0]} is the writer by right: open, and its lock held")
    to_close = [name for name, kind in found.items() if kind is PeerClass.OPEN_OTHERWISE]
    if to_close:
        bound_s = limits.close_s + 2 * limits.deadline_s
        care = Care.SPARE if sight.policy.lossless else Care.NONE
        effects = tuple(ClosePeer(bound_s, name, care) for name in to_close)
        return Due("close-peers", f"closing {', '.join(to_close)}", effects, within_s=2 * bound_s)
    return None


def _apart(takeover: Takeover, sight: Sight, found: Mapping[str, PeerClass]) -> Due | None:
    """Of two histories that went apart no taker chooses: only the operator, or what both did while they were open. And
    who has what the node lacks that goes on from here does not even close that one."""
    if sight.promoted:
        return None
    apart = [peer for peer in sight.forked if found.get(peer.node.name) is PeerClass.CLOSED]
    if apart:
        return refuse("forked", forks.tell(apart[0], sight))
    for name, peer in sight.peers.items():
        alone = sight.alone(peer)
        if found.get(name) is PeerClass.DOWN:
            continue  # what it had when it was last seen is old: since then it sent more here, and died
        if name in found and sight.goes_on(peer) and alone is not None and not alone.is_empty:
            return refuse("diverged", f"this node has {alone.count()} transactions that {name} lacks: {alone}")
    return None


def _await_silent(takeover: Takeover, sight: Sight, found: Mapping[str, PeerClass]) -> Due | None:
    step = refused.await_refused(takeover, sight, found) or refused.await_own_word(takeover, sight, found)
    step = step or await_silent(takeover, sight, found, lambda: _make_ready(takeover, sight, found, opening=False))
    if step is None or step.refuse:
        return step
    return replace(step, effects=(*step.effects, refused.ask_gone(takeover, sight, refused.SILENT_AGAIN_S)))


def _make_ready(
    takeover: Takeover, sight: Sight, found: Mapping[str, PeerClass], opening: bool = True
) -> Due:
    """Reserve, prepare, receive, stop, drain: side by side where independent; then look; then open."""
    limits = sight.policy.limits
    effects: list[Effect] = []
    reserved = _epoch(takeover, sight)
    if not takeover.remembered:
        effects.append(reserve(takeover, sight))
    if takeover.opener is None:
        effects.append(PrepareOpen(limits.deadline_s, domain=domains.domain(sight)))
    hooks = (_before_open(sight, reserved),) if opening and not takeover.hooked else ()
    step = _catch_up(takeover, sight, found)
    if step is not None and step.refuse:
        return step
    if step is not None:
        return Due(step.waiting, step.text, (*effects, *hooks, *step.effects), step.within_s)
    if effects:
        text = "reserving the epoch and making the session that opens"
        return Due("prepare", text, (*effects, *hooks), within_s=3.0)
    if not opening:
        return Due("ready", "ready to open")
    if max(sight.peers_epoch, sight.own_epoch) >= reserved:
        return refuse("epoch-overtaken", f"another node reached epoch {sight.highest_epoch} meanwhile")
    ahead = _ahead(takeover, sight, found)
    if ahead is not None:
        return refuse("peer-has-more", f"{ahead} came back with transactions that are no longer received here")
    semi_sync = settle(sight, found) if sight.policy.lossless else None
    if semi_sync is not None:
        return semi_sync
    if hooks:
        return Due("before-open-hooks", "waiting for the hooks before the opening", hooks)
    stale = _stale(sight, found)
    looks: tuple[Effect, ...] = tuple(ProbePeer(limits.deadline_s, name, channels=True) for name in stale)
    if takeover.looked_s is None or takeover.looked_s < takeover.prepared_s:
        looks = (Look(limits.deadline_s), *looks)
    if looks:
        return Due("look", "looking once more before opening", looks, within_s=3 * limits.deadline_s)
    return _open(takeover, sight, reserved)


def _stale(sight: Sight, found: Mapping[str, PeerClass]) -> list[str]:
    """The nodes that may have received more since they were asked, from a peer that says nothing here: they were asked
    last before that was put out, was gone, or had surely closed itself."""
    quiet_s = 0.0
    for name, kind in found.items():
        peer = sight.peers[name]
        if peer.out:
            since_s = peer.fenced_s
        elif kind is PeerClass.DOWN:
            since_s = sight.now_s if peer.gone_s is None else peer.gone_s
        else:
            since_s = sight.silent_until_s(peer) if kind is PeerClass.SILENT and not sight.promoted else None
        quiet_s = max(quiet_s, since_s or 0.0)
    closed = {name: sight.peers[name] for name, kind in found.items() if kind is PeerClass.CLOSED}
    asked = {name: peer.evidence for name, peer in (closed | dict(sight.replicas)).items() if peer.answered}
    return [name for name, seen in asked.items() if seen is not None and seen.asked_at_s < quiet_s]


def _before_open(sight: Sight, reserved: int) -> RunHooks:
    """Side by side with the drain; the last look comes after both."""
    facts = (("EPOCH", str(reserved)), ("RULE", "before-open-hooks"), ("TEXT", "this node prepares to open"))
    return RunHooks(sight.policy.hooks.deadline_s, "before-open", facts)


def _epoch(takeover: Takeover, sight: Sight) -> int:
    """The one that it has reserved, or would now."""
    return takeover.reserved if takeover.reserved is not None else sight.highest_epoch + 1


def reserve(takeover: Takeover, sight: Sight) -> Remember:
    """The epoch, written before the IO thread is stopped: without it a new agent could not tell why it stands."""
    good, boot_id = sight.good_lag, takeover.boot_id
    reserved = _epoch(takeover, sight)
    lag = KeptLag(boot_id, good.lag_s, good.at_s) if good is not None else sight.memory.lag
    return Remember(2.0, replace(sight.memory, epoch=reserved, lag=lag, stopped=boot_id, open=True))


def _ahead(takeover: Takeover, sight: Sight, found: Mapping[str, PeerClass]) -> str | None:
    """A closed peer that has more than was drained, and counts: seen only after receiving stopped."""
    for name, kind in found.items():
        if kind is not PeerClass.CLOSED or takeover.drained is None:
            continue
        if _lacks(sight.peers[name], sight, takeover.drained) is not None:
            return name
    return None


def _lacks(peer: PeerSight, sight: Sight, have: GtidSet) -> GtidSet | None:
    """What that closed peer has and must come here; None: nothing. The operator who promotes this node has chosen."""
    if sight.promoted and sight.apart(peer):
        return None
    lacking = sight.lacks(peer, have)
    return None if lacking is None or lacking.is_empty else lacking


def _catch_up(takeover: Takeover, sight: Sight, found: Mapping[str, PeerClass]) -> Due | None:
    """Have what any reachable node has that no opening left behind, stop receiving, apply the rest."""
    limits = sight.policy.limits
    mine = sight.server.facts.gtid if sight.server and sight.server.facts else None
    if mine is None:
        return Due("own-server", "waiting for the local server to answer", within_s=limits.hang_s)
    beside = _beside(takeover, sight, found)
    if not takeover.stopped:
        for name, kind in found.items():
            if kind is not PeerClass.CLOSED or name in beside:
                continue
            have = mine if takeover.received is None else mine.union(takeover.received)
            if (lacking := _lacks(sight.peers[name], sight, have)) is not None:
                receive = Receive(1.0, lacking)
                return Due("receive", f"receiving what {name} has", (receive,), within_s=limits.drain_s_max)
        stop: tuple[Effect, ...] = (StopReceiving(STOP_S, sight.aside),) if takeover.remembered else ()
        stop = (*stop, *replicas.looks(takeover, sight))  # a planned move has not asked them yet
        return Due("stop-receiving", "stopping the IO thread", stop, within_s=STOP_S + limits.deadline_s)
    if takeover.drained is None:
        return Due("drain", "applying what was received", (Drain(1.0),), within_s=limits.drain_s_max)
    return replicas.fetch(takeover, sight, beside)


def _beside(takeover: Takeover, sight: Sight, found: Mapping[str, PeerClass]) -> list[str]:
    """The closed peers of a circle of which nothing comes by itself: this node's only source is another one, and is
    gone. Once nothing is received any more, that is so of all."""
    closed = [name for name, kind in found.items() if kind is PeerClass.CLOSED]
    if takeover.stopped:
        return closed if len(sight.peers) > 1 else []
    channels = sight.server.facts.channels if sight.server and sight.server.facts else None
    if channels is None or len(channels) != 1:
        return []
    source = sight.source_of(channels[0])
    return [] if source is None or source.answered else [name for name in closed if name != source.node.name]


def _open(takeover: Takeover, sight: Sight, reserved: int) -> Due:
    """The conditions of the moment, by the look that is newer than the opener; each failed one gives up."""
    facts = sight.server.facts if sight.server else None
    if facts is None or takeover.opener is None:
        return refuse("server-lost", "the local server did not answer the last look")
    if not sight.vip_here:
        return refuse("vip-gone", "the VIP left during the takeover")
    if sight.keepalived.alive is False:
        return refuse("keepalived-dead", "keepalived died during the takeover")
    if not adverts_leave(sight):
        return Due(
            "adverts", "waiting for keepalived's adverts to leave", within_s=10 * sight.policy.vip.advert_s
        )
    if any(channel.io != "stopped" for channel in facts.channels or ()):
        return refuse("receives-again", "somebody started the IO thread again during the takeover")
    if facts.claim_lock != takeover.claims.get(sight.policy.node):
        return refuse("claim-lost", "the claim on this node's server was lost")
    for name, connection in takeover.claims.items():
        seen = sight.peers[name].evidence if name in sight.peers else None
        if seen is not None and seen.facts is not None and seen.facts.claim_lock != connection:
            return refuse("claim-lost", f"the claim on {name} was lost")
    row = EpochRow(reserved, sight.policy.node, takeover.boot_id)
    opening = Opening(row, overrules=sight.known_openings)
    effect = Open(sight.policy.limits.deadline_s * 2, takeover.opener, opening, sight.lease_ends_s)
    return Due(
        "open", f"opening with epoch {reserved}", (effect,), within_s=sight.policy.limits.deadline_s * 3
    )


def adverts_leave(sight: Sight) -> bool:
    """Has keepalived sent an advert within what a backup waits? Judged at the moment we last looked for adverts."""
    seen = sight.keepalived
    if seen.advert_left_s is None or seen.looked_at_s is None:
        return False
    return seen.looked_at_s - seen.advert_left_s < ADVERTS_MISSED * sight.policy.vip.advert_s
