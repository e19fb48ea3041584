"""Who serves the reader addresses? Each on its own: may this node hold it, and must it be given to another one?

keepalived decides who takes an address that nobody has. An address moves back to a node that comes before its holder
only by the holder's hand: it sees that one's lock, ends its clients' connections, and lets go. So no client is left on
a connection that nobody answers, and two nodes never have the address at once.
"""

from __future__ import annotations

from dataclasses import replace

from ..checks import reader as check
from ..model.effect import MarkWriter, OfReader, RemoveReader, ResetReaders, WriteReaderTrack
from ..model.policy import Policy
from ..model.reader import Reader
from ..model.reading import Giving, ReaderState
from ..model.sight import Sight, is_writer
from ..model.verdict import Eligibility, Verdict
from .draft import Draft
from .event import Failed
from .world import Closing, Handing, Invited, Resting, Starting, Taking, World, Writing

RESET_S, WRITE_S, REMOVE_S = 1.0, 1.0, 1.0
TAKEN_S = 1.0  # on top of VRRP's own time: by then somebody advertises what was given, or nobody will
AGAIN_S, AGAIN_S_MAX = 5.0, 300.0
#: without an advert for so long an address was left behind by a keepalived that is stopped
STOPPED_S, STOPPED_ADVERTS = 1.0, 10
TAKEN_ADVERTS = 3
NOWHERE_S = 10.0


def begin(policy: Policy) -> dict[str, ReaderState]:
    """The state of a resident agent that has seen nothing yet."""
    return {reader.name: ReaderState() for reader in policy.own_readers}


def fixed(policy: Policy) -> tuple[Reader, ...]:
    """What a running agent can't take up when it changes: all but the limits."""
    return tuple(replace(reader, lag_s_max=0.0, return_s=0.0) for reader in policy.readers)


def keep(draft: Draft) -> None:
    """Everything that is due for every reader address of this node."""
    if not draft.world.readers or isinstance(draft.world.phase, Starting):
        return
    _role(draft)
    # the target of a planned move stopped its IO thread itself, before the VIP came; it applies what it received
    sight = replace(draft.sight, invited=isinstance(draft.world.phase, Taking | Invited))
    for reader in draft.world.policy.own_readers:
        if reader.name in draft.world.readers:
            _keep(draft, sight, reader)


def offered(draft: Draft) -> tuple[str, ...]:
    """The addresses that another holder may give to this node: it has been well for long enough, and has them not.

    Nor has it just lost one: nodes that do not agree who comes first would give it to and fro.
    """
    world = draft.world
    return tuple(
        reader.name
        for reader in world.policy.own_readers
        if (state := world.readers.get(reader.name)) is not None
        and not state.seen.here
        and state.seen.track == "1"
        and _waits(state)
        and state.verdict is not None
        and state.verdict.eligibility is Eligibility.ELIGIBLE
        and wait_s(world, reader, draft.now_s) == 0.0
        and (state.left_s is None or draft.now_s - state.left_s >= reader.return_s)
    )


def _waits(state: ReaderState) -> bool:
    """Is keepalived ready to take it? An agent that was started later has not heard its last word."""
    return state.seen.state in ("BACKUP", "MASTER") or (state.seen.state is None and state.seen.passed)


def wait_s(world: World, reader: Reader, now_s: float) -> float:
    """For how long it must be well still. Each further loss within the damping's window doubles the time."""
    state, damping = world.readers[reader.name], world.policy.damping
    if state.well_s is None:
        return reader.return_s
    recent = sum(now_s - at_s < damping.window_s for at_s in state.losses) if damping.losses_max else 0
    whole_s = min(
        reader.return_s * 2.0 ** max(0, min(recent, 20) - 1), max(damping.window_s, reader.return_s)
    )
    return max(0.0, state.well_s + whole_s - now_s)


def holder(world: World, reader: Reader, now_s: float) -> str | None:
    """The node that has the address, by its presence here or by adverts; "" for one that cannot be told; None: nobody
    is seen."""
    state = world.readers.get(reader.name)
    if state is None:
        return None
    if state.seen.here:
        return world.policy.node
    fresh_s = STOPPED_ADVERTS * world.policy.vip.advert_s + world.policy.limits.probe_s
    senders = [ip for ip, (at_s, priority) in state.seen.heard.items() if priority and now_s - at_s < fresh_s]
    if not senders:
        return None
    names = {node.address: node.name for node in world.policy.peers}
    others = [name for name in reader.nodes if name != world.policy.node]
    unknown = others[0] if len(others) == 1 else ""  # adverts over IPv6 come from a link-local address
    newest = max(senders, key=lambda ip: state.seen.heard[ip][0])
    return names.get(newest, unknown)


def answer(world: World, name: str) -> str | None:
    """To keepalived's wrapper: may the instance of that reader address be healthy? None for one that is not here."""
    state = world.readers.get(name)
    if state is None:
        return None
    rule = state.verdict.rule if state.verdict is not None else "starting"
    return "3 starting" if state.asked is None else f"{0 if state.asked == '1' else 1} {rule}"


def is_the_writer(world: World) -> bool:
    return isinstance(world.phase, Writing | Closing | Handing)


def _role(draft: Draft) -> None:
    """Tell keepalived whether this node is the writer, and remember until when it was."""
    world, writer = draft.world, is_the_writer(draft.world)
    if isinstance(world.phase, Writing) and world.process_lives:
        draft.set(wrote_s=draft.now_s)
    elif world.wrote_s is not None and not world.process_lives:
        draft.set(wrote_s=None)  # another process may have lost what that one had
    value = "1" if writer else "0"
    if value != world.writer_mark:
        draft.send(MarkWriter(WRITE_S, value))


def _keep(draft: Draft, sight: Sight, reader: Reader) -> None:
    world, state = draft.world, draft.world.readers[reader.name]
    state = _see_nobody(draft, reader, _see_move(draft, reader, state))
    wrote_s = None if world.wrote_s is None else draft.now_s - world.wrote_s
    # one that closes may have been paused, and another may have written meanwhile: only the clock can tell
    writer = isinstance(world.phase, Writing | Handing)
    reading = check.Reading(sight, reader, state.seen.here, writer, wrote_s, world.diverged)
    verdict = check.judge(reading)
    _tell(draft, reader, state.verdict, verdict)
    state = replace(_damp(draft, reader, state, verdict), verdict=verdict)
    state = _give(draft, sight, reader, state)
    _set(draft, reader.name, state)
    if _left_behind(draft, state):
        draft.say(
            f"left:{reader.name}", "reader-left-behind", "warning", reader=reader.name, address=reader.ip
        )
        draft.send(ResetReaders(RESET_S, reader.name, world.process))
        draft.send(RemoveReader(REMOVE_S, reader.name))
    else:
        draft.forget(f"left:{reader.name}")
    _track(draft, reader, "1" if verdict.may and state.giving is None else "0")


def _set(draft: Draft, name: str, state: ReaderState) -> None:
    draft.set(readers={**draft.world.readers, name: state})


def _see_move(draft: Draft, reader: Reader, state: ReaderState) -> ReaderState:
    """An address that left by itself leaves its connections behind: they are ended on the server's side at least."""
    if state.seen.here and state.here_s is None:
        draft.note("reader-came", "reader-here", reader=reader.name, address=reader.ip)
        return replace(state, here_s=draft.now_s, came=state.came + 1)
    if not state.seen.here and state.here_s is not None and state.seen.address is not None:
        to = state.giving.node if state.giving is not None else None
        held_s = round(draft.now_s - state.here_s, 1)
        draft.note(
            "reader-left", "reader-elsewhere", reader=reader.name, address=reader.ip, to=to, held_s=held_s
        )
        if to is None and state.asked == "1":
            draft.send(ResetReaders(RESET_S, reader.name, draft.world.process))
        return replace(state, here_s=None, left_s=draft.now_s, went=state.went + 1)
    return state


def _see_nobody(draft: Draft, reader: Reader, state: ReaderState) -> ReaderState:
    """Clients are refused while nobody has it: that is told once, when it lasts."""
    if state.seen.looked_at_s is None or holder(draft.world, reader, draft.now_s) is not None:
        draft.forget(f"nowhere:{reader.name}")
        return state if state.nowhere_s is None else replace(state, nowhere_s=None)
    if state.nowhere_s is None:
        return replace(state, nowhere_s=draft.now_s)
    if draft.now_s - state.nowhere_s >= NOWHERE_S:
        text = "no node is seen to have it: clients are refused"
        draft.say(
            f"nowhere:{reader.name}", "reader-nowhere", "warning", reader=reader.name, address=reader.ip, text=text
        )
    return state


def _tell(draft: Draft, reader: Reader, old: Verdict | None, new: Verdict) -> None:
    if old is not None and old.rule == new.rule:
        return  # that the address came or went is told beside
    numbers: dict[str, object] = dict(new.numbers)
    said = {"standing": new.standing, "eligibility": new.eligibility.value, "text": new.text}
    draft.note("reader", new.rule, "info", reader=reader.name, **said, **numbers)


def _damp(draft: Draft, reader: Reader, state: ReaderState, verdict: Verdict) -> ReaderState:
    """What is not seen for a moment is no loss; nor is what follows from a change of the writer."""
    if verdict.eligibility is Eligibility.ELIGIBLE:
        return state if state.well_s is not None else replace(state, well_s=draft.now_s)
    if verdict.eligibility is not Eligibility.INELIGIBLE or state.well_s is None:
        return state
    phase, window_s = draft.world.phase, draft.world.policy.damping.window_s
    settled = isinstance(phase, Resting) and draft.now_s - phase.since_s > reader.return_s
    if verdict.rule in check.NO_FAULTS or not settled:
        return replace(state, well_s=None)
    losses = (*(at_s for at_s in state.losses if draft.now_s - at_s < window_s), draft.now_s)[-20:]
    draft.note("reader-lost", verdict.rule, reader=reader.name, losses=len(losses), window_s=window_s)
    return replace(state, well_s=None, losses=losses)


def _give(draft: Draft, sight: Sight, reader: Reader, state: ReaderState) -> ReaderState:
    """Begin to give way, or see that it came through, or take it back where nobody took it."""
    giving = state.giving
    if giving is not None:
        taken = any(p and at_s > giving.since_s for at_s, p in state.seen.heard.values())
        if taken and not state.seen.here:
            return replace(state, giving=None, untaken=0)
        if draft.now_s - giving.since_s <= TAKEN_S + TAKEN_ADVERTS * draft.world.policy.vip.advert_s:
            return state
        again_s = min(AGAIN_S_MAX, AGAIN_S * 2.0**state.untaken)
        draft.note(
            "reader-gives",
            "reader-not-taken",
            "warning",
            reader=reader.name,
            node=giving.node,
            again_s=again_s,
        )
        untaken = min(state.untaken + 1, 10)
        return replace(state, giving=None, untaken=untaken, again_s=draft.now_s + again_s)
    if not state.seen.here or sight.paused is not None or draft.now_s < state.again_s:
        return state
    node = _before_us(draft.world, reader)
    if node is None:
        return state
    draft.note("reader-gives", "reader-gives-way", reader=reader.name, address=reader.ip, node=node)
    return replace(state, giving=Giving(node, draft.now_s))


def _before_us(world: World, reader: Reader) -> str | None:
    """The first of the nodes that come before this one and may be given the address, by their agents' locks."""
    node = world.policy.node
    priorities = {
        name: reader.priority(name, is_writer(peer.evidence))
        for name, peer in world.peers.items()
        if name in reader.nodes and peer.answered and peer.evidence is not None
        and peer.evidence.facts is not None and reader.name in peer.evidence.facts.reads
    }  # fmt: skip
    mine = reader.priority(node, is_the_writer(world))
    return max(
        (name for name in priorities if priorities[name] > mine), key=priorities.__getitem__, default=None
    )


def _left_behind(draft: Draft, state: ReaderState) -> bool:
    """By a keepalived that is dead, or stopped: its adverts do not leave any more."""
    if not state.seen.here or state.here_s is None:
        return False
    if draft.world.keepalived.alive is False:
        return True
    if state.seen.looked_at_s is None:
        return False
    quiet_s = state.seen.looked_at_s - max(state.here_s, state.seen.left_at_s or 0.0, draft.world.watching_s)
    return quiet_s > max(STOPPED_S, STOPPED_ADVERTS * draft.world.policy.vip.advert_s)


def _track(draft: Draft, reader: Reader, wanted: str) -> None:
    """The connections are ended before the address leaves, as long as the resets can leave too."""
    state = draft.world.readers[reader.name]
    if state.asked != wanted:
        _set(draft, reader.name, replace(state, asked=wanted))
    if state.seen.track == wanted:
        return
    write = WriteReaderTrack(WRITE_S, reader.name, wanted)
    if wanted == "0" and state.seen.here and write.key not in draft.world.flights:
        draft.send(ResetReaders(RESET_S, reader.name, draft.world.process))
    draft.send(write)


def did(draft: Draft, effect: OfReader | MarkWriter, failure: Failed | None) -> None:
    """Record a worker's report."""
    key = f"failed:{effect.key}"
    if failure is not None:
        rules = {WriteReaderTrack: "reader-track-unwritable", ResetReaders: "reader-not-reset"}
        rules |= {RemoveReader: "reader-not-removed", MarkWriter: "writer-mark-unwritable"}
        level = "error" if isinstance(effect, WriteReaderTrack) else "warning"
        draft.say(key, rules[type(effect)], level, reason=failure.text)
        if isinstance(effect, WriteReaderTrack):
            _see_track(draft, effect.name, None)
        return
    draft.forget(key)
    if isinstance(effect, MarkWriter):
        draft.set(writer_mark=effect.value)
    elif isinstance(effect, WriteReaderTrack):
        _see_track(draft, effect.name, effect.value)
        draft.note("reader-track-file", "written", "debug", reader=effect.name, value=effect.value)
    elif isinstance(effect, RemoveReader):
        draft.note("reader-removed", "reader-left-behind", "warning", reader=effect.name)


def _see_track(draft: Draft, name: str, value: str | None) -> None:
    state = draft.world.readers[name]
    _set(draft, name, replace(state, seen=replace(state.seen, track=value)))
