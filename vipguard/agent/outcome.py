"""What does a worker's report change? Results and failures of effects, recorded in the draft of a world.

A report whose flight is no longer the current one of its key came too late: it tells nothing that may be relied on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..model.effect import (
    Announce,
    ArmClose,
    AskArp,
    AskGone,
    Beat,
    Care,
    Claim,
    Closed,
    ClosePeer,
    CloseServer,
    DisarmClose,
    Drain,
    DropOpener,
    Effect,
    ExamineRelay,
    FencePeer,
    Fetch,
    FindDuplicate,
    KeepWord,
    KillServer,
    Look,
    MarkWriter,
    Mute,
    OfReader,
    Open,
    Point,
    PrepareOpen,
    ProbeDisk,
    ProbePeer,
    ProbeServer,
    Receive,
    Release,
    Remember,
    RemoveVip,
    RescueRelay,
    ResetClients,
    RunHooks,
    SetSource,
    ShutGate,
    StartReceiving,
    StartReplication,
    StopReceiving,
    WriteMark,
    WriteOpening,
    WriteTrack,
)
from ..model.evidence import Answer, DiskEvidence, RelayEvidence, ServerEvidence
from ..model.gtid import GtidSet
from ..notify import proof
from ..notify.takeover import Takeover
from . import duplicate, hooks, ledger, move, phases, proofs, readers, standdown, threads
from . import semi_sync as acks
from .draft import Draft
from .event import Claimed, Did, Failed, Looked, Prepared
from .fold import see_address, see_gone, see_peer, see_server
from .world import Closing, Invited, Taking, Writing

#: due again by themselves
AGAIN = (Receive, Fetch, Drain, Announce, FindDuplicate, ProbeServer, ProbePeer, ProbeDisk, Look, Beat)
COUNTED = (
    Claim,
    AskArp,
    StopReceiving,
    Drain,
    PrepareOpen,
    Remember,
    Look,
    Open,
    ClosePeer,
    Receive,
    SetSource,
)


def report(draft: Draft, did: Did) -> None:
    """Record one report, unless its flight was given up."""
    flight = draft.world.flights.get(did.effect.key)
    if flight is None or flight.number != did.flight:
        return
    land(draft, did.effect.key)
    if isinstance(did.effect, OfReader | MarkWriter):
        readers.did(draft, did.effect, did.result if isinstance(did.result, Failed) else None)
    elif isinstance(did.result, Failed):
        failed(draft, did, did.result)
    else:
        succeeded(draft, did)


def land(draft: Draft, key: str) -> None:
    draft.landed = draft.world.flights[key]
    draft.set(flights={k: v for k, v in draft.world.flights.items() if k != key})


def _takeover(draft: Draft) -> Takeover | None:
    """The takeover that the landed flight belongs to: none when it began after the flight did."""
    phase, landed = draft.world.phase, draft.landed
    if not isinstance(phase, Taking | Invited) or (landed is not None and landed.since_s < phase.takeover.began_s):
        return None
    return phase.takeover


def expire(draft: Draft) -> None:
    """A flight without a report by its deadline may have happened: it counts as failed, not as undone."""
    for key, flight in list(draft.world.flights.items()):
        if draft.now_s > flight.until_s:
            land(draft, key)
            late = Did(flight.number, flight.effect, None)
            within_s = flight.effect.deadline_s
            draft.say(f"late:{key}", "worker-late", "warning", what="late", of=key, deadline_s=within_s)
            failure = Failed("no report within its deadline")
            if isinstance(flight.effect, OfReader | MarkWriter):
                readers.did(draft, flight.effect, failure)
            else:
                failed(draft, late, failure)


def succeeded(draft: Draft, did: Did) -> None:
    effect, result = did.effect, did.result
    draft.forget(f"late:{effect.key}")
    match effect, result:
        case ProbeServer(), ServerEvidence():
            draft.world = see_server(draft.world, result)
        case ProbePeer(), ServerEvidence():
            draft.world = see_peer(draft.world, effect.node, result)
        case ProbeDisk(), DiskEvidence():
            draft.set(disk=result)
        case Look(), Looked():
            draft.world = see_server(see_address(draft.world, result.address), result.server)
            _record(draft, looked_s=result.asked_at_s)
        case CloseServer(), Closed():
            draft.note("closed", "read-only-verified", killed=result.killed, gtid=str(result.gtid))
            _see_closed(draft, result)
            if isinstance(draft.world.phase, Closing):
                phases.closed(draft, draft.world.phase)
        case KillServer(), _:
            gone = ServerEvidence(Answer.ABSENT, draft.now_s, draft.now_s, reason="killed")
            draft.world = see_gone(draft.world, effect.process, gone)
        case WriteTrack(), _:
            if draft.world.track != effect.value:
                draft.set(track=effect.value, track_s=draft.now_s, track_changed_s=draft.now_s)
            draft.forget("track-file")
            draft.note("track-file", "written", value=effect.value)
        case Remember(), _:
            reserving = effect.memory.epoch > draft.world.memory.epoch
            draft.set(memory=effect.memory)
            draft.forget("memory")
            if reserving:
                _record(draft, reserved=effect.memory.epoch, remembered=True)
        case KeepWord(), _:
            standdown.kept(draft, effect)
        case ExamineRelay() | RescueRelay(), RelayEvidence():
            _relay(draft, effect, result)
        case StartReplication() | StartReceiving(), _:
            draft.set(joined_s=draft.now_s, relay=None)
            if not draft.world.trying.failed:
                both = isinstance(effect, StartReplication)
                draft.note("replication", "started", threads="both" if both else "io")
            if draft.world.memory.stopped is not None:
                draft.send(Remember(2.0, replace(draft.world.memory, stopped=None)))
        case Point(), _:
            draft.set(joined_s=draft.now_s, join_due=True, relay=None)
            threads.stopped_by_us(draft)
            draft.note("replication", "pointed", source=effect.node)
        case FencePeer(), _:
            draft.note("fenced", "fence-done", "warning", node=effect.node)
            peer = draft.world.peers[effect.node]
            draft.set(peers={**draft.world.peers, effect.node: replace(peer, fenced_s=draft.now_s)})
        case SetSource(), _:
            acks.source_set(draft, effect.on)
        case Mute(), _:
            draft.note("semi-sync", "replica-muted", "warning")
        case WriteMark(), _:
            acks.mark_written(draft, effect.mark)
        case WriteOpening(), _:
            ledger.written(draft, effect)
        case RunHooks(), _:
            _record(draft, **hooks.ended(draft, effect, None))
        case Release(), _:
            phases.given_back(draft, effect.node)
        case ResetClients(), _ if isinstance(draft.world.phase, Closing):
            draft.set(phase=replace(draft.world.phase, cut=True, since_s=draft.now_s))
        case ShutGate(), _:
            move.gate_shut(draft)
        case RemoveVip(), _:
            draft.note("vip-removed", "left-over-vip", "warning")
        case _:
            _taken_step(draft, did)


def _relay(draft: Draft, effect: Effect, seen: RelayEvidence) -> None:
    """What was left in the relay log, seen or brought in; its failures too, as evidence that it could not be."""
    before = draft.world.relay
    if isinstance(effect, RescueRelay):
        draft.set(joined_s=draft.now_s)
        gtids = str(before.unapplied) if before is not None and before.unapplied is not None else ""
        draft.note("rescued", "received-applied", "warning", gtids=gtids)
    elif seen.unapplied is not None and not seen.unapplied.is_empty:
        text, count = str(seen.unapplied), seen.unapplied.count()
        draft.note("received-unapplied", "relay-log-examined", "warning", count=count, gtids=text)
    draft.set(relay=seen)


def _relay_failed(draft: Draft, effect: Effect, failure: Failed) -> None:
    draft.say(f"failed:{effect.key}", "relay-not-read" if isinstance(effect, ExamineRelay) else "rescue-failed",
              "error", reason=failure.text)  # fmt: skip
    if isinstance(effect, RescueRelay) and not failure.refused:
        return  # at its deadline it is not at its end; the next one goes on
    facts = draft.world.server.facts if draft.world.server else None
    left = draft.sight.unapplied
    seen = RelayEvidence(facts.process if facts else None, draft.now_s, left, failure.text)
    draft.set(relay=seen)


def _see_closed(draft: Draft, result: Closed) -> None:
    """The close verified it: that is newer than the last probe."""
    server = draft.world.server
    if server is not None and server.facts is not None:
        facts = replace(server.facts, closed=True, gtid=result.gtid)
        draft.set(joined_s=draft.now_s)  # the threads were not looked at
        draft.set(server=replace(server, facts=facts, asked_at_s=draft.now_s, seen_at_s=draft.now_s))


def _taken_step(draft: Draft, did: Did) -> None:
    """Results that move a takeover on."""
    effect, result = did.effect, did.result
    match effect, result:
        case Claim(), Claimed():
            _claimed(draft, effect.node, result)
        case ClosePeer(), ServerEvidence():
            draft.note("peer-closed", effect.node)
            draft.world = see_peer(draft.world, effect.node, result)
        case AskArp(), Mapping():
            if (takeover := _takeover(draft)) is not None:
                known = proof.asked_link(takeover.proof, result, draft.world.policy.vip.ip, draft.now_s)
                _record(draft, arp={**takeover.arp, **result}, arp_s=draft.now_s, proof=known)
        case AskGone(), frozenset():
            _asked_gone(draft, result)
        case FindDuplicate(), tuple():
            duplicate.found(draft, result)
        case PrepareOpen(), Prepared():
            if isinstance(draft.world.phase, Writing):
                draft.set(phase=replace(draft.world.phase, opener=result.connection, since_s=draft.now_s))
            elif not _record(draft, opener=result.connection, prepared_s=result.at_s):
                draft.send(DropOpener(0.5))
        case Receive(), GtidSet():
            _record(draft, received=result)
        case StopReceiving(), _:
            if effect.aside is not None:
                gtids, count = str(effect.aside), effect.aside.count()
                text = "received from a node that wrote it by itself, and not applied: it is not received any more"
                draft.note("replication", "errant-set-aside", "warning", text=text, count=count, gtids=gtids)
            draft.set(join_due=True, joined_s=draft.now_s)
            threads.stopped_by_us(draft)
            _record(draft, stopped=True)
        case Drain(), GtidSet():
            _record(draft, drained=result)
        case Fetch(), GtidSet():
            draft.note("fetched", effect.node, gtids=str(effect.target), count=effect.target.count())
            _record(draft, drained=result)
        case Open(), _:
            if not _record(draft, opened=True):
                draft.note("opened-too-late", "stale-open", "warning")
                phases.begin_closing(draft, "stale-open", "an opening came through after its takeover was given up")
        case _:
            pass


def _asked_gone(draft: Draft, names: frozenset[str]) -> None:
    takeover, landed = _takeover(draft), draft.landed
    if takeover is not None and landed is not None:
        claimed = takeover.claimed_s is not None and landed.since_s >= takeover.claimed_s
        _record(draft, proof=proof.asked_gone(takeover.proof, names, claimed))


def _claimed(draft: Draft, node: str, result: Claimed) -> None:
    if node == draft.world.policy.node:
        draft.world = see_server(draft.world, result.evidence)
    else:
        draft.world = see_peer(draft.world, node, result.evidence)
    if result.connection is not None:
        draft.set(claims={**draft.world.claims, node: result.connection})
        takeover = _takeover(draft)
        if takeover is None:
            draft.send(Release(0.5, node))
            return
        own = node == draft.world.policy.node
        claimed_s = draft.now_s if own else takeover.claimed_s
        known = proof.asked_gone(takeover.proof, result.gone, claimed=True) if own else takeover.proof
        _record(draft, claims={**takeover.claims, node: result.connection}, claimed_s=claimed_s, proof=known)
    elif result.evidence.answered:
        _record(draft, failed=("claim-denied", f"another node holds the claim on {node}"))


def _record(draft: Draft, **changes: object) -> bool:
    """Note progress of the takeover that the landed flight belongs to; False when it belongs to none."""
    phase, takeover = draft.world.phase, _takeover(draft)
    if not isinstance(phase, Taking | Invited) or takeover is None:
        return False
    takeover = replace(takeover, **changes)  # type: ignore[arg-type]
    draft.set(phase=replace(phase, takeover=takeover))
    return True


def failed(draft: Draft, did: Did, failure: Failed) -> None:
    """A failed step of a takeover ends it; an opening that may have happened is closed at once."""
    effect, phase = did.effect, draft.world.phase
    if isinstance(effect, Release):
        phases.given_back(draft, effect.node)
    if isinstance(effect, Claim):
        draft.send(Release(0.5, effect.node))  # it may hold the lock; its lane carries this out after it
    if isinstance(effect, StopReceiving):
        draft.set(join_due=True)  # it may have stopped
        threads.stopped_by_us(draft)
    match effect:
        case CloseServer(care=Care.STRICT) if isinstance(phase, Closing):
            draft.note("close-failed", "commits-wait", "warning", reason=failure.text)
            draft.set(phase=replace(phase, kill=True))
        case CloseServer() | KillServer():
            _not_closed(draft, effect, failure)
        case ExamineRelay() | RescueRelay():
            _relay_failed(draft, effect, failure)
        case WriteTrack():
            draft.set(track=None)
            draft.say("track-file", "track-file-unwritable", "error", reason=failure.text)
        case KeepWord():
            draft.say("word", "stand-down-unwritable", "error", reason=failure.text)
        case Remember() if not isinstance(phase, Taking):
            draft.say("memory", "memory-unwritable", "error", reason=failure.text)
        case ProbeDisk():
            draft.set(disk=DiskEvidence(draft.now_s, None, None, None))
            draft.say(f"failed:{effect.key}", "disk-not-looked-at", "warning", reason=failure.text)
        case _ if isinstance(effect, AGAIN) and not failure.refused:
            draft.say(f"failed:{effect.key}", "not-yet", "debug", reason=failure.text)
        case PrepareOpen() if isinstance(phase, Writing):
            draft.say("open-lock", "open-lock-not-regained", "warning", reason=failure.text)
        case RunHooks():
            _record(draft, **hooks.ended(draft, effect, failure))
        case ArmClose() | DisarmClose():
            draft.say(f"failed:{effect.key}", "not-yet", "debug", reason=failure.text)
        case AskGone():
            draft.say(f"failed:{effect.key}", "not-yet", "debug", reason=failure.text)
            _asked_gone(draft, frozenset())
        case Claim() if proofs.gone(draft, effect.node):
            draft.say(f"failed:{effect.key}", "not-yet", "debug", reason=failure.text)
        case FencePeer():
            draft.note("fenced", "fence-failed", "error", node=effect.node, reason=failure.text)
            if isinstance(phase, Taking):
                _record(draft, unfenced={**phase.takeover.unfenced, effect.node: failure.text})
        case Fetch() if failure.refused:
            draft.note("fetch-failed", effect.node, "error", reason=failure.text)
            if isinstance(phase, Taking):
                _record(draft, unfetched={**phase.takeover.unfetched, effect.node: failure.text})
        case Open():
            draft.note("open-failed", "open-may-have-happened", "error", reason=failure.text)
            phases.hold_off(draft, "open-failed", failure.text)
            phases.begin_closing(draft, "open-failed", failure.text)
        case ShutGate():
            move.gate_shut(draft)
        case ResetClients() if isinstance(phase, Closing):
            draft.set(phase=replace(phase, cut=True, since_s=draft.now_s))
        case _ if isinstance(effect, COUNTED) and isinstance(phase, Taking | Invited):
            _record(draft, failed=(f"{_kebab(type(effect).__name__)}-failed", failure.text))
        case _:
            draft.say(f"failed:{effect.key}", "effect-failed", "warning", reason=failure.text)


def _not_closed(draft: Draft, effect: Effect, failure: Failed) -> None:
    """Said once a reason in one closing; the next attempt waits a little, and the kill for no more than its time."""
    phase = draft.world.phase
    since_s = phase.since_s if isinstance(phase, Closing) else None
    why = f"{since_s} {effect.key} {failure.text}"
    if draft.world.said.get("close-failed") != why:
        draft.set(said={**draft.world.said, "close-failed": why})
        draft.note("close-failed", _kebab(type(effect).__name__), "error", reason=failure.text)
    if isinstance(phase, Closing):
        again_s = min(draft.now_s + phases.CLOSE_AGAIN_S, phase.since_s + draft.world.policy.limits.close_s)
        draft.set(phase=replace(phase, again_s=max(phase.again_s, again_s)))


def _kebab(name: str) -> str:
    return "".join(f"-{c.lower()}" if c.isupper() and i else c.lower() for i, c in enumerate(name))
