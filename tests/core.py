"""The agent's pure core, driven by hand: one `Core` holds the world and answers what it asks for as it is told.

Its surroundings are plain attributes (`facts`, `peer`, `vip`, …); `look` lets the core see them, `go` carries out what
it ordered, in order, until one of the given effects is due.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from healthy import CHANNEL, FACTS, GTIDS, POLICY, WRITER_FACTS

from vipguard.agent.event import (
    AddressSeen,
    Claimed,
    Did,
    Event,
    Failed,
    Heard,
    KeepalivedSeen,
    Looked,
    Prepared,
    Tick,
    TrackSeen,
)
from vipguard.agent.step import step
from vipguard.agent.world import Flight, World, begin
from vipguard.model import effect as do
from vipguard.model.evidence import (
    AddressEvidence,
    Answer,
    DiskEvidence,
    KeepalivedEvidence,
    ProcessId,
    ServerEvidence,
    ServerFacts,
)
from vipguard.model.memory import Memory
from vipguard.model.policy import Policy

PROCESS = ProcessId(4242, 99)
OWN_CLAIM, PEER_CLAIM, OPENER, PROBER = 31, 32, 33, 34
CLOSED_FACTS = replace(FACTS, process=PROCESS)
PEER_FACTS = WRITER_FACTS
NOTHING_KEPT = Memory()


class Core:
    """db1's agent. `facts` None: its server refuses connections; `answer` says otherwise. `peer` likewise for db2."""

    def __init__(self, policy: Policy = POLICY, memory: Memory = NOTHING_KEPT, boot_id: str = "boot-1") -> None:
        self.now = 1000.0
        self.world: World = begin(policy, boot_id, self.now, memory)
        self.facts: ServerFacts | None = CLOSED_FACTS
        self.answer = Answer.ANSWERED
        self.peer: ServerFacts | None = PEER_FACTS
        self.peer_answer = Answer.ANSWERED
        self.vip, self.link_up = False, True
        self.alive: bool | None = True
        self.advert_s: float | None = None
        self.vrrp: dict[str, Any] = {}  # what keepalived shows besides
        self.track: str | None = "0"
        self.pings = True
        self.arp: dict[str, bool | None] = {"10.73.0.12": True, "10.73.0.100": False}
        self.drained = GTIDS
        self.stalled_s: float | None = None  # since when the disk stands
        self.flights: list[Flight] = []
        self.notes: list[do.Note] = []
        self.heard: dict[str, float] = {}
        self.gone: frozenset[str] = frozenset()  # whose agents say, on this node's server, that theirs is gone

    # -- events

    def step(self, event: Event) -> None:
        self.world, flights = step(self.world, event, self.now)
        for flight in flights:
            if isinstance(flight.effect, do.Note):
                self.notes.append(flight.effect)
            else:
                self.flights.append(flight)

    def wait(self, seconds: float) -> None:
        """Time passes, with a tick and a look round every tenth of a second."""
        until_s = self.now + seconds
        while self.now < until_s - 1e-9:
            self.now = min(until_s, self.now + 0.1)
            self.look()

    def look(self, gap_s: float = 0.1) -> None:
        """A tick whose probes come back at once."""
        self.see()
        self.step(Tick(gap_s))
        for kind in (do.ProbeServer, do.ProbePeer, do.ProbeDisk, do.AskGone):
            if self.sent(kind):
                self.do(kind)

    def see(self) -> None:
        """What the tick's watchers tell: adverts, pings, the track file."""
        if self.vip and self.alive and self.advert_s is None:
            advert_s: float | None = self.now - 0.02
        else:
            advert_s = self.advert_s
        keepalived = KeepalivedEvidence(alive=self.alive, advert_left_s=advert_s, looked_at_s=self.now)
        self.step(KeepalivedSeen(replace(keepalived, **self.vrrp)))
        pings = {}
        if self.pings:
            pings["10.73.0.1"] = (self.now - 0.05, self.now - 0.06)
            if self.peer_answer is not Answer.SILENT:
                pings["10.73.0.12"] = (self.now - 0.05, self.now - 0.06)
        self.step(Heard(pings, dict(self.heard)))
        self.step(TrackSeen(self.track))

    def move_vip(self, here: bool) -> None:
        self.vip = here
        self.see()
        self.step(AddressSeen(self.address()))

    # -- what the surroundings look like

    def address(self) -> AddressEvidence:
        return AddressEvidence(self.now, self.vip, self.link_up)

    def server(self, **changes: Any) -> ServerEvidence:
        facts = replace(self.facts, **changes) if self.facts is not None else None
        answer = self.answer if facts is not None or self.answer is not Answer.ANSWERED else Answer.ABSENT
        return ServerEvidence(answer, self.now, self.now, facts if answer is Answer.ANSWERED else None)

    def peers_server(self, **changes: Any) -> ServerEvidence:
        facts = replace(self.peer, **changes) if self.peer is not None else None
        answer = self.peer_answer if facts is not None or self.peer_answer is not Answer.ANSWERED else Answer.ABSENT
        return ServerEvidence(answer, self.now, self.now, facts if answer is Answer.ANSWERED else None)

    # -- effects

    def sent(self, kind: type[do.Effect]) -> list[do.Effect]:
        """The effects of this kind that are under way."""
        return [flight.effect for flight in self.flights if isinstance(flight.effect, kind)]

    def take(self, kind: type[do.Effect]) -> Flight:
        """The oldest flight of this kind; it will not be answered any more unless by `report`."""
        flight = next(flight for flight in self.flights if isinstance(flight.effect, kind))
        self.flights.remove(flight)
        return flight

    def report(self, flight: Flight, result: object) -> None:
        self.step(Did(flight.number, flight.effect, result))

    def fail(self, kind: type[do.Effect], text: str = "it failed", refused: bool = False) -> None:
        self.report(self.take(kind), Failed(text, refused))

    def do(self, kind: type[do.Effect]) -> None:
        """Carry the oldest of this kind out, as a healthy world does."""
        flight = self.take(kind)
        self.report(flight, self._result(flight.effect))
        if kind is do.RemoveVip:
            self.move_vip(False)

    def go(self, *until: type[do.Effect]) -> None:
        """Carry everything out, in order, until an effect of `until` is due or nothing is under way."""
        for _ in range(200):
            due = [f for f in self.flights if not isinstance(f.effect, until)] if until else self.flights
            due = [f for f in due if not (isinstance(f.effect, do.AskGone) and f.effect.after_s)]
            if any(isinstance(f.effect, until) for f in self.flights) or not due:
                return
            self.do(type(due[0].effect))
            self.now += 0.001
        raise AssertionError("it never comes to rest")

    def _result(self, effect: do.Effect) -> object:
        match effect:
            case do.ProbeServer():
                if self.facts is not None:
                    self.facts = replace(self.facts, fit_lock=PROBER if effect.fit else None)
                return self.server()
            case do.ProbePeer():
                evidence = self.peers_server()
                if not effect.channels and evidence.facts is not None:
                    return replace(evidence, facts=replace(evidence.facts, channels=None))
                return evidence
            case do.ProbeDisk():
                stalled = {"waits_since_s": self.stalled_s, "still_since_s": self.stalled_s}
                return DiskEvidence(self.now, 50_000_000_000, 90_000_000_000, True, **stalled)
            case do.AskGone():
                return self.gone & frozenset(effect.peers)
            case do.Claim(node="db1"):
                if self.facts is not None:
                    self.facts = replace(self.facts, claim_lock=OWN_CLAIM)
                return Claimed(OWN_CLAIM if self.facts else None, self.server(), self.gone)
            case do.Claim():
                if self.peer is None or self.peer_answer is not Answer.ANSWERED:
                    return Claimed(None, self.peers_server())
                self.peer = replace(self.peer, claim_lock=PEER_CLAIM)
                return Claimed(PEER_CLAIM, self.peers_server())
            case do.Release(node="db1") if self.facts is not None:
                self.facts = replace(self.facts, claim_lock=None)
            case do.Release() if self.peer is not None:
                self.peer = replace(self.peer, claim_lock=None)
            case do.ClosePeer() if self.peer is not None:
                self.peer = replace(self.peer, closed=True, open_lock=None)
                return self.peers_server()
            case do.AskArp():
                return {address: self.arp.get(address) for address in effect.addresses}
            case do.PrepareOpen():
                return Prepared(OPENER, self.now)
            case do.Look():
                return Looked(self.now, self.address(), self.server())
            case do.Drain():
                return self.drained
            case do.Receive():
                return effect.target
            case do.CloseServer() if self.facts is not None:
                self.facts = replace(self.facts, closed=True, open_lock=None)
                return do.Closed(self.facts.gtid, 2)
            case do.StopReceiving() if self.facts is not None:
                self.facts = replace(self.facts, channels=(replace(CHANNEL, io="stopped", lag_s=None),))
            case do.StartReceiving() | do.StartReplication() if self.facts is not None:
                self.facts = replace(self.facts, channels=(CHANNEL,))
            case do.KillServer():
                self.facts = None
            case do.Open() if self.facts is not None:
                self.facts = replace(self.facts, closed=False, open_lock=OPENER, epoch=effect.row)
            case do.WriteTrack():
                self.track = effect.value
            case do.RemoveVip():
                self.vip = False
        return None

    # -- what became of it

    @property
    def phase(self) -> str:
        return type(self.world.phase).__name__

    @property
    def rules(self) -> list[str]:
        """The rules of all notes so far."""
        return [note.rule for note in self.notes]


def standby(policy: Policy = POLICY, memory: Memory = NOTHING_KEPT) -> Core:
    """db1 follows db2, which writes; it has looked round, and its track file says 1."""
    core = Core(policy, memory)
    core.step(AddressSeen(core.address()))
    core.wait(0.3)
    core.go()
    core.wait(0.1)
    core.go()
    return core


def passes(core: Core, seconds: float) -> None:
    """Time passes in small steps, and everything that comes due is done; the fence command fails."""
    until_s = core.now + seconds
    while core.now < until_s:
        core.go(do.FencePeer)
        if core.sent(do.FencePeer):
            core.fail(do.FencePeer)
        core.now += 0.02
        core.look(0.02)


def bereft(policy: Policy = POLICY) -> Core:
    """The same a moment after db2's server was killed: db2's host lives, and its agent says so."""
    core = standby(policy)
    core.peer, core.gone = None, frozenset({"db2"})
    core.wait(0.1)
    core.go()
    return core


def taker(policy: Policy = POLICY) -> Core:
    """The VIP has just come to db1, and nothing of the takeover is carried out yet."""
    core = bereft(policy)
    core.move_vip(True)
    return core


def writer(policy: Policy = POLICY) -> Core:
    """db1 took over; db2 is down."""
    core = taker(policy)
    core.go()
    core.wait(0.2)
    core.go()
    return core


def guarded_writer(policy: Policy = POLICY) -> Core:
    """db1 writes, db2 is back as a healthy standby that could take over."""
    core = writer(policy)
    assert core.facts is not None
    core.peer = replace(
        PEER_FACTS, closed=True, open_lock=None, gtid=core.facts.gtid, epoch=core.facts.epoch, fit_lock=PROBER
    )
    core.wait(1.2)
    core.go()
    return core
