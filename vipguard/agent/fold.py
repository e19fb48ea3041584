"""How does an event change what the agent knows? Folding only records; `step.py` decides."""

from __future__ import annotations

from ..checks import writer
from ..model.away import slowest_s
from ..model.changed import replace
from ..model.evidence import AddressEvidence, Answer, Channel, ProcessId, ServerEvidence, ServerFacts
from ..model.gtid import GtidSet
from ..model.heartbeat import Behind
from ..model.maintenance import CLUSTER, of_node
from ..model.memory import KeptClean
from ..model.sight import GoodLag, PeerSight, Sight, is_writer, wrote_aside
from . import behind, flavor, standdown
from .acks import see_own, see_writer
from .event import (
    AddressSeen,
    CopySeen,
    Event,
    Heard,
    KeepalivedSeen,
    ProcessExiting,
    ReaderSeen,
    Reconfigured,
    StoodDownSeen,
    Tick,
    TrackSeen,
)
from .last_word import suspect
from .world import Reference, Resting, Starting, World, Writing

STREAM_S = 10.0  # a stream of transactions without a pause as long as this is one that had caught up

LATE = 2.0  # probes: what was not looked at in time is not unanswered


def fold(world: World, event: Event, now_s: float) -> World:
    """The world after `event` was recorded. Reports of effects are folded by `step`, which knows their meaning."""
    match event:
        case Tick(gap_s):
            return _tick(world, gap_s, now_s)
        case AddressSeen(evidence):
            return see_address(world, evidence)
        case KeepalivedSeen(evidence):
            return replace(world, keepalived=evidence)
        case Heard():
            return _hear(world, event)
        case ProcessExiting(process):
            return _exiting(world, process, now_s)
        case TrackSeen(value):
            return world if value == world.track else replace(world, track=value, track_s=now_s)
        case ReaderSeen(name, seen):
            known = world.readers.get(name)
            if known is None:
                return world
            return replace(world, readers={**world.readers, name: replace(known, seen=seen)})
        case CopySeen(copy):
            due = True if world.copying is not None and copy is None else world.join_due
            return replace(world, copying=copy, join_due=due)
        case StoodDownSeen(word):
            return standdown.see(world, word)
        case Reconfigured(policy):
            peers = {node.name: world.peers.get(node.name, PeerSight(node)) for node in policy.peers}
            peers = {node.name: replace(peers[node.name], node=node) for node in policy.peers}
            witnesses = {address: world.witnesses.get(address) for address in policy.witnesses}
            return replace(world, policy=policy, peers=peers, witnesses=witnesses)
        case _:
            return world


def _tick(world: World, gap_s: float, now_s: float) -> World:
    """After standing still for a whole lease nothing was observed meanwhile: no silence counts from before, and no
    worker is late because nobody was there to hear its report."""
    world = replace(world, ticks=world.ticks + 1, gap_s=gap_s)
    if gap_s > LATE * world.policy.limits.probe_s:
        world = replace(world, steady_s=now_s)
    if gap_s <= world.policy.limits.lease_s:
        return world
    flights = {key: replace(flight, until_s=flight.until_s + gap_s) for key, flight in world.flights.items()}
    world = _was_blind(world, gap_s)
    return replace(world, watching_s=now_s, silent_since_s=None, unseen_since_s=None, flights=flights)


def _was_blind(world: World, for_s: float) -> World:
    good = world.good_lag
    return world if good is None else replace(world, good_lag=replace(good, blind_s=good.blind_s + for_s))


def see_address(world: World, evidence: AddressEvidence) -> World:
    """Newer evidence wins; an older look that comes in late is dropped."""
    if world.address is not None and evidence.seen_at_s < world.address.seen_at_s:
        return world
    return replace(world, address=evidence)


def see_server(world: World, evidence: ServerEvidence) -> World:
    """A round of the local server: silence is timed, the last good lag kept, the sets compared."""
    if evidence.asked_at_s < world.exited_s:
        return world  # asked of a process that has gone since
    if world.server is not None and evidence.asked_at_s < world.server.asked_at_s:
        return world
    silent_since_s = unseen_since_s = None
    # a refusal where this agent was never answered may be its configuration's: it kills nobody
    answered_once = world.server_before is not None or (world.server is not None and world.server.answered)
    leaving = evidence.answer is Answer.ABSENT and world.process_lives and answered_once
    if evidence.answer is Answer.SILENT or leaving:
        silent_since_s = evidence.asked_at_s if world.silent_since_s is None else world.silent_since_s
    if evidence.answer in (Answer.SILENT, Answer.BLIND):
        unseen_since_s = evidence.asked_at_s if world.unseen_since_s is None else world.unseen_since_s
    if evidence.facts is not None:
        world = _see_boot(flavor.see_own(world, evidence.facts), evidence.facts)
    before = world.server if world.server is not None and world.server.answered else world.server_before
    before = before if before is None or evidence.facts is None or _alike(before, evidence) else None
    same = before is not None and before.facts is not None and evidence.facts is not None
    same = same and before.facts.gtid == evidence.facts.gtid  # type: ignore[union-attr]
    since_s = world.gtid_since_s if same and world.gtid_since_s is not None else evidence.seen_at_s
    world = replace(world, server=evidence, server_before=before, gtid_since_s=since_s)
    world = replace(world, silent_since_s=silent_since_s, unseen_since_s=unseen_since_s)
    if evidence.facts is None:
        return world
    world = replace(world, behind=behind.own(world, evidence))
    world = _recall(_see_process(world, evidence.facts.process))
    world = _see_gone(world, evidence.facts, evidence.seen_at_s)
    world = _see_filtered(_keep_good_lag(world, evidence))
    return _compare(_see_maintenance(see_own(world, evidence), evidence.facts))


def _alike(one: ServerEvidence, other: ServerEvidence) -> bool:
    return one.facts is None or other.facts is None or one.facts.flavor == other.facts.flavor


def _see_boot(world: World, facts: ServerFacts) -> World:
    """A server whose process is not known, and that was away: it was booted, and starting its replication is due."""
    away = world.server is not None and world.server.answer is Answer.ABSENT
    return replace(world, join_due=True) if away and facts.process is None and world.server_before else world


def _see_process(world: World, process: ProcessId | None) -> World:
    """A new server process boots with its replication stopped: starting it is due again. One that is not known may be
    another than before, which must be neither killed for it nor taken for its end."""
    if process == world.process:
        return world
    if process is None:
        return replace(world, process=None)
    fresh = world.known is not None and world.known != process
    return replace(world, process=process, known=process, join_due=True if fresh else world.join_due)


def _see_maintenance(world: World, facts: ServerFacts) -> World:
    """A lossless writer goes on without a node in maintenance, so what that node has received proves nothing later."""
    world = replace(world, maintenance=facts.maintenance)
    if of_node(facts.maintenance, world.policy.node) is None or world.acks.receiving is None:
        return world
    return replace(world, acks=replace(world.acks, receiving=None))


def _keep_good_lag(world: World, evidence: ServerEvidence) -> World:
    facts = evidence.facts
    if facts is not None and isinstance(world.phase, Writing) and not facts.closed:
        mine = GoodLag(0.0, evidence.asked_at_s, _suspects(world, None), world.policy.node)
        return replace(world, good_lag=mine)
    channels = facts.channels if facts else None
    if not channels:
        return world
    running = all(channel.io == "running" for channel in channels)
    if world.join_due is None and not any(_being_rescued(channel) for channel in channels):
        world = replace(world, join_due=all(c.io == "stopped" and not c.sql_running for c in channels))
    writer = _seen_writer(world)
    if world.behind is not None:
        if world.behind.live and writer is not None and writer.evidence is not None:
            return _good(world, world.behind.lag_s, writer.evidence.asked_at_s, world.behind.node)
        return world
    if not running or (slowest := slowest_s(channels)) is None:
        return world
    if writer is not None and writer.evidence is not None:
        return _good(world, slowest, writer.evidence.asked_at_s, writer.node.name)
    return _good(world, slowest, _source_seen_s(world, evidence), None)


def _good(world: World, lag_s: float, at_s: float, writer: str | None) -> World:
    """An older sight of the writer than the one that is known says nothing new, but that less was missing. Of a node
    that will never have all of the writer's no lag is good, also not for the agent after this one."""
    good = world.good_lag
    if world.filtered_from is not None or (good is not None and at_s < good.at_s):
        return world
    if good is not None and writer is None:
        lag_s = min(good.lag_s, lag_s) if at_s == good.at_s else lag_s
        blind_s = good.blind_s if at_s == good.at_s else 0.0
        return replace(world, good_lag=replace(good, lag_s=lag_s, at_s=at_s, blind_s=blind_s))
    return replace(world, good_lag=GoodLag(lag_s, at_s, _suspects(world, writer), writer))


def _suspects(world: World, writer: str | None) -> frozenset[str]:
    """Who may write from now on, and not be seen: the writer, and any candidate that is not known to be out. One that
    is down has to see the writer before it can be eligible."""
    return frozenset(
        name
        for name, peer in world.rivals.items()
        if name == writer or not (peer.out or (peer.gone_s is not None and not peer.answered))
    )


def _seen_writer(world: World) -> PeerSight | None:
    """The writer by right, as it was seen last, if that was since the present watch began."""
    sight = Sight(now_s=0.0, policy=world.policy, server=world.server, peers=world.rivals)
    for peer in sight.newest_writers:
        if peer.evidence is not None and peer.evidence.asked_at_s >= world.watching_s:
            return peer
    return None


def _source_seen_s(world: World, evidence: ServerEvidence) -> float:
    """When the IO thread last had something from the writer, which nobody sees otherwise. Replication's own heartbeat
    says that nothing was left to send; a transaction only goes on what was seen a moment ago, else it may be the first
    of a long backlog. At the first look of all a running thread has had one within its net timeout."""
    before, facts, good = world.server_before, evidence.facts, world.good_lag
    if good is None:
        return evidence.asked_at_s
    if before is None or before.facts is None or facts is None or before.facts.process != facts.process:
        return good.at_s
    writer = world.rivals.get(good.writer) if good.writer is not None else None
    if world.watching_s > good.at_s or (writer is not None and writer.facts is not None and writer.facts.closed):
        return good.at_s  # it may have ended meanwhile, and another have written
    if writer is None or any(channel.source_host != writer.node.address for channel in facts.channels or ()):
        return good.at_s
    beats = facts.io_beats is not None and before.facts.io_beats is not None and facts.io_beats > before.facts.io_beats
    lately = before.asked_at_s - good.at_s <= STREAM_S and before.facts.channels is not None
    goes_on = lately and all(channel.io == "running" for channel in before.facts.channels or ())
    came = _received(facts) != _received(before.facts)
    return max(good.at_s, before.asked_at_s) if beats or (came and goes_on) else good.at_s


def _received(facts: ServerFacts) -> tuple[GtidSet | None, ...]:
    return tuple(channel.received for channel in facts.channels or ())


def _being_rescued(channel: Channel) -> bool:
    """Does it only apply, and is not at its end? Then an agent before this one may have let it, and whether it goes on
    to stand, or an operator stopped its IO thread, shows afterwards."""
    return channel.io == "stopped" and channel.sql_running and channel.applied is not True


def see_peer(world: World, name: str, evidence: ServerEvidence) -> World:
    """A round of a peer's server. Any answer, a refusal too, is a sign of life, as of when it was asked for. A refusal
    is no answer from outside: this host's own firewall could have given it."""
    peer = world.peers.get(name)
    if peer is None or (peer.evidence is not None and evidence.asked_at_s < peer.evidence.asked_at_s):
        return world
    eligible, channels, alive_s = peer.eligible, peer.channels, peer.alive_s
    told = evidence
    evidence, apart = flavor.comparable(told, flavor.own(world))
    lagging = behind.of_peer(world, name, evidence)
    if evidence.facts is not None:
        channels = channels if evidence.facts.channels is None else evidence.facts.channels
        if channels is not None:  # what says most of it, its agent's lock, is seen in each round
            known = replace(evidence, facts=replace(evidence.facts, channels=channels))
            eligible = _fit(world, known, name, lagging)
    elif evidence.answer is not Answer.ANSWERED:
        eligible, channels = None, None
    if told.answer in (Answer.ANSWERED, Answer.ABSENT) or told.spoke:
        alive_s = max(alive_s or 0.0, evidence.seen_at_s)
    if evidence.answer is Answer.ANSWERED:
        world = _reached(world, evidence.asked_at_s)
    last = evidence if evidence.answered else peer.last
    seen = replace(peer, evidence=evidence, last=last, eligible=eligible, channels=channels, alive_s=alive_s)
    apart = apart if told.answered else peer.other_flavor
    silent = evidence.answer in (Answer.ABSENT, Answer.SILENT)
    seen = replace(seen, before=peer.evidence, behind=lagging, gone_s=peer.gone_s if silent else None)
    seen = replace(seen, other_flavor=apart)
    if eligible is True and peer.eligible is not True:
        seen = replace(seen, fit_since_s=evidence.seen_at_s)
    world = replace(world, peers={**world.peers, name: seen})
    return _compare(_see_reference(see_writer(world, seen), seen))


def _see_gone(world: World, facts: ServerFacts, at_s: float) -> World:
    """Whose agents say here that their servers are gone, and since when; a refusal alone says nothing. It stands until
    a server answers there again, which has to see this node before it may write: its host may be gone by then."""
    new = [name for name, peer in world.peers.items() if name in facts.gone and peer.gone_s is None]
    if not new:
        return world
    return replace(world, peers={**world.peers, **{n: replace(world.peers[n], gone_s=at_s) for n in new}})


def _see_reference(world: World, peer: PeerSight) -> World:
    """The writer's newest opening, which stood in its ledger at the round before, so that its set has it by now."""
    facts, before = peer.facts, peer.before
    seen = peer.evidence
    if facts is None or before is None or before.facts is None or seen is None or not is_writer(seen):
        return world
    ledger, known = before.facts.ledger, world.reference
    row = ledger.newest if ledger is not None else None
    if ledger is None or row is None or (known is not None and known.row == row):
        return world
    rows = frozenset(one.row for one in ledger.openings)
    return replace(world, reference=Reference(peer.node.name, row, facts.gtid, rows, seen.seen_at_s))


def _see_filtered(world: World) -> World:
    """Who wrote what this server will never have, though replication runs? Its set has all that was the writer's, and
    its rows lack an opening of those: the set is of the round before the rows. Or it lacks what it wrote itself once:
    it was put back to an older state, and replication brings no server its own transactions."""
    server, before, known = world.server, world.server_before, world.reference
    facts, found = server.facts if server else None, None
    if known is not None and server is not None and facts is not None and facts.flavor == known.gtid.flavor:
        told = before.facts if before is not None else None
        if told is not None and told.flavor == facts.flavor and told.gtid.contains(known.gtid):
            denied = facts.ledger is not None and not all(facts.history.covers(row) for row in known.rows)
            found = known.node if denied else None
        elif server.asked_at_s >= known.seen_s:
            own = known.gtid.minus(facts.gtid).written_by(facts.server_id, facts.uuid)
            found = None if own.is_empty else known.node
    return world if world.filtered_from == found else replace(world, filtered_from=found)


def _fit(world: World, evidence: ServerEvidence, name: str, lagging: Behind | None) -> bool:
    told = evidence.facts.maintenance if evidence.facts else ()
    if of_node(told, name) or of_node(told, CLUSTER):
        return False
    seen_now = GoodLag(0.0, evidence.seen_at_s, frozenset())  # whether it sees its source is its own agent's business
    sight = Sight(
        now_s=evidence.seen_at_s, policy=world.policy, server=evidence, behind=lagging, good_lag=seen_now
    )
    return writer.fit_from_afar(sight)


def _compare(world: World) -> World:
    """What this node has and the writer lacks; without a writer, what the peers of its epoch or a later one lack: where
    such a peer has nothing more, what was errant beside the writer, and is not there.

    To contain is true whenever it was read; to lack counts only where this node's set was read before the other's.
    """
    if not isinstance(world.phase, Starting | Resting) or world.server is None or world.server.facts is None:
        return world
    sight = world.sight(0.0)
    writers = sight.newest_writers
    others = writers[:1] or tuple(p for p in sight.peers.values() if not p.answered or sight.counts(p))
    lacking: GtidSet | None = None
    oldest = world.server
    for peer in others:
        if peer.evidence is None or peer.evidence.facts is None or not peer.answered:
            return world
        mine, theirs = world.server, peer.evidence
        if mine.seen_at_s > theirs.asked_at_s and world.server_before is not None:
            mine = world.server_before
        if mine.facts is None or theirs.facts is None:
            return world
        oldest = min(oldest, mine, key=lambda seen: seen.asked_at_s)
        beyond = mine.facts.gtid.minus(theirs.facts.gtid, wrote=mine.facts.server_id if writers else None)
        if not writers and mine.facts.gtid.contains(theirs.facts.gtid):
            if world.errant is None or world.errant.is_empty:
                continue
            beyond = wrote_aside(mine.facts, theirs.facts, world.policy.node)
        if beyond.is_empty:
            continue
        if mine.seen_at_s > theirs.asked_at_s:
            return world
        lacking = beyond
    clean = KeptClean(world.boot_id, _own(oldest.facts)) if lacking is None and oldest.facts else None
    errant = lacking or GtidSet.empty(world.server.facts.flavor)
    return replace(world, errant=errant, compared=True, clean=clean)


def _own(facts: ServerFacts) -> str:
    return str(facts.gtid.written_by(facts.server_id, facts.uuid))


def _recall(world: World) -> World:
    """What an agent before this one found stands as long as the server has written nothing by itself since."""
    facts, kept = world.server.facts if world.server else None, world.memory.clean
    if world.errant is not None or facts is None or kept is None or kept.boot_id != world.boot_id:
        return world
    if _own(facts) != kept.own or not isinstance(world.phase, Starting | Resting):
        return world
    return replace(world, errant=GtidSet.empty(facts.flavor))


def _hear(world: World, event: Heard) -> World:
    witnesses, peers = dict(world.witnesses), dict(world.peers)
    took_s = world.witness_took_s
    for address, (answered_s, sent_s) in event.pings.items():
        world = _reached(world, sent_s)
        if address in witnesses:
            witnesses[address], took_s = sent_s, answered_s - sent_s
    for name, peer in peers.items():
        pinged = event.pings.get(peer.node.address)
        if (link := _link_address(world, event, peer)) is not None:
            peers[name] = peer = replace(peer, link_address=link)
        advert_s = event.adverts.get(peer.node.address) or event.adverts.get(peer.link_address or "")
        alive_s = max(peer.alive_s or 0.0, pinged[0] if pinged else 0.0, advert_s or 0.0)
        if alive_s > (peer.alive_s or 0.0):
            peers[name] = replace(peer, alive_s=alive_s, advert_s=advert_s if advert_s else peer.advert_s)
    return replace(world, witnesses=witnesses, witness_took_s=took_s, peers=peers)


def _reached(world: World, asked_s: float) -> World:
    """Somebody outside answered what was asked then. After a whole lease of isolation nobody's silence counts from
    before it: the peers may have been well all the time."""
    heard_s = world.watching_s if world.outside_s is None else max(world.outside_s, world.watching_s)
    if asked_s - heard_s >= world.policy.limits.lease_s:
        world = replace(_was_blind(world, asked_s - heard_s), watching_s=asked_s)
    return replace(world, outside_s=max(world.outside_s or 0.0, asked_s))


def _link_address(world: World, event: Heard, peer: PeerSight) -> str | None:
    """Where the adverts of this node's priority come from, which no other node has; None where that is known."""
    priority = peer.node.priority
    found = [sender for sender, said in event.priorities.items() if said == priority and sender in event.adverts]
    if not found or sum(node.priority == priority for node in world.policy.candidates) != 1:
        return None
    newest = max(found, key=lambda sender: event.adverts[sender])
    others = {node.address for node in world.policy.nodes if node != peer.node}
    return None if newest in others or newest == peer.link_address else newest


def _exiting(world: World, process: ProcessId, now_s: float) -> World:
    if process == suspect(world):
        world = replace(world, process=process)
    if process != world.process:
        return world
    gone = ServerEvidence(Answer.ABSENT, now_s, now_s, reason="its process is exiting")
    return see_gone(world, process, gone)


def see_gone(world: World, process: ProcessId, gone: ServerEvidence) -> World:
    """That server process commits nothing any more, whatever its sockets say."""
    before = world.server if world.server is not None and world.server.answered else world.server_before
    world = replace(world, server=gone, server_before=before, exited=process, exited_s=gone.seen_at_s)
    return replace(world, silent_since_s=None, unseen_since_s=None)
