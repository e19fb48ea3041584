"""How does the pure core live in the simulation? As agent/runtime.py runs it: one loop, one lane of work each."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from vipguard.agent.event import (
    AddressSeen,
    Command,
    Did,
    Event,
    Failed,
    Heard,
    KeepalivedSeen,
    ProcessExiting,
    StoodDownSeen,
    Tick,
    TrackSeen,
)
from vipguard.agent.fold import fold
from vipguard.agent.lanes import TOO_LATE
from vipguard.agent.last_word import suspect
from vipguard.agent.step import due_after
from vipguard.agent.world import Closing, Flight, Taking, World, Writing, begin, wake_s
from vipguard.model.effect import Note
from vipguard.model.evidence import AddressEvidence, Answer, KeepalivedEvidence

from .asking import Ask, Conn, Fail, Reply
from .engine import Process
from .hands import HOW, Steps, address_of
from .network import WITNESS

if TYPE_CHECKING:
    from .host import Host


class Agent(Process):
    """One vipguard agent: killing it loses everything but the memory on disk."""

    def __init__(self, host: Host) -> None:
        super().__init__(host.engine, host)
        self.world: World = begin(host.policy, host.boot_id, self.engine.now, host.memory)
        self.began_s = self.engine.now
        self._mailbox: deque[Did] = deque()
        self._noticed: set[str] = set()
        self._lanes: dict[str, deque[Flight]] = {}
        self._busy: set[str] = set()
        self._pings: dict[str, tuple[float, float]] = {}
        self._tick_s = self._wake_s = self.engine.now
        self._timer = 0
        self.probe, self.claimer, self.acting, self.opener, self.beater, self.leasing = (
            Conn(self, host) for _ in range(6)
        )
        self.peers = {
            node.name: Conn(self, host.cluster.hosts[node.name]) for node in host.policy.peers
        }
        self._said_exit: object = None
        self._began = False
        self.disk_waits_s: float | None = None  # since when its own write to the disk is under way
        host.cluster.laws.guards.see(host, False)  # whichever was here before
        host.cluster.laws.guards.see(host, True)
        self.at(0.01, self._start)

    def _start(self) -> None:
        self._began = True
        self._steps([TrackSeen(self.host.track), StoodDownSeen(self.host.stood_down), AddressSeen(self.address())])
        self._rearm()

    # -- what comes in

    def address(self) -> AddressEvidence:
        return address_of(self)

    def notice(self, after_s: float, what: str) -> None:
        self.at(after_s, self._notice, what)

    def _notice(self, what: str) -> None:
        self._noticed.add(what)
        self._turn()

    def _post(self, did: Did) -> None:
        self._mailbox.append(did)
        self.at(self.engine.between(0.00003, 0.0003), self._turn)

    def _keepalived(self) -> KeepalivedEvidence:
        host, now = self.host, self.engine.now
        alive = host.keepalived is not None and host.keepalived.alive
        state, at_s = host.vrrp if host.vrrp is not None else (None, None)
        return KeepalivedEvidence(
            alive=alive if host.keepalived_known else None,
            state=state,
            state_at_s=at_s,
            advert_left_s=host.advert_left_s,
            looked_at_s=now if host.link_up else None,
            writer=alive,
        )

    def _tick_events(self) -> list[Event]:
        host, now, net = self.host, self.engine.now, self.host.network
        pings, self._pings = self._pings, {}
        targets = [(address, WITNESS) for address in self.world.policy.witnesses]
        targets += [(node.address, node.name) for node in self.world.policy.peers]
        for address, name in targets:
            other = host.cluster.hosts.get(name)
            lost = self.engine.chance(net.lost_share)
            up = host.cluster.witness_up if other is None else other.powered and not other.paused
            if up and not lost and net.both_ways(host.name, name, "ping"):
                self._pings[address] = (now + 0.0004, now)
        seen = [KeepalivedSeen(self._keepalived()), Heard(pings, dict(host.heard)), TrackSeen(host.track)]
        return [*seen, StoodDownSeen(host.stood_down)]

    def order(self, command: Command) -> None:
        """By its local socket. An agent that has just started looks at what is on its disk before it answers."""
        if not self._began:
            self.at(0.01, self.order, command)
            return
        self._steps([command])
        self._rearm()

    # -- the loop

    def _turn(self) -> None:
        now, policy = self.engine.now, self.world.policy
        process, server = suspect(self.world), self.host.mysqld
        gone = server is None or server.pid != process or not server.alive
        events: list[Event] = []
        if process is not None and gone and self._watches_process():
            events.append(ProcessExiting(process))
        if now >= min(self._wake_s, self._tick_s + policy.limits.probe_s) - 1e-9:
            gap_s, self._tick_s = now - self._tick_s, now
            seen = self._tick_events()
            late = gap_s > policy.limits.lease_s
            events = [Tick(gap_s), *events, *seen] if late else [*events, *seen, Tick(gap_s)]
        noticed, self._noticed = self._noticed, set()
        if noticed & {"address", "keepalived"}:
            events.append(KeepalivedSeen(self._keepalived()))
        if "address" in noticed:
            events.append(AddressSeen(self.address()))
        self._steps(events)
        while self._mailbox:
            self._steps([self._mailbox.popleft()])
        self._rearm()

    def _watches_process(self) -> bool:
        absent = self.world.server is not None and self.world.server.answer is Answer.ABSENT
        return absent or isinstance(self.world.phase, Writing | Taking | Closing)

    def _rearm(self) -> None:
        self._timer += 1
        due_s = min(self._wake_s, self._tick_s + self.world.policy.limits.probe_s)
        delay_s = max(0.0, due_s - self.engine.now) + self.engine.between(0.0, 0.001)
        self.at(delay_s, self._on_timer, self._timer)

    def _on_timer(self, number: int) -> None:
        if number == self._timer:
            self._turn()

    def _steps(self, events: list[Event]) -> None:
        """All at one moment: what tells nothing new, where nothing was due any more, makes nothing due."""
        now, settled = self.engine.now, False
        for event in events:
            if isinstance(event, Command):
                self.host.cluster.laws.histories.ordered(self.host, event.name)
            before = self.world
            recorded = fold(before, event, now)
            if settled and recorded is before and isinstance(event, TrackSeen | StoodDownSeen):
                continue
            self.world, flights = due_after(recorded, event, now)
            settled = self.world is recorded and not flights
            for flight in flights:
                if isinstance(flight.effect, Note):
                    self._tell(flight.effect)
                else:
                    self._put(flight)
            self.host.cluster.laws.stepped(self.host, before, self.world, event, flights)
        self._wake_s = wake_s(self.world, self.engine.now)

    def _tell(self, note: Note) -> None:
        self.host.cluster.laws.noted(self.host, note)
        if note.level != "debug":
            numbers = " ".join(f"{key}={value}" for key, value in note.numbers if value not in ("", None))
            self.engine.tell(self.host.name, f"  {note.what}: {note.rule} {numbers}")

    def may(self) -> bool:
        """What the check wrapper is told."""
        world, verdict = self.world, self.world.verdict
        if verdict is None or (world.track_asked is None and verdict.standing != "holder"):
            return bool(self.host.vip)
        return verdict.may if world.track_asked is None else world.track_asked == "1"

    # -- the lanes

    def _put(self, flight: Flight) -> None:
        lane = flight.effect.worker
        self._lanes.setdefault(lane, deque()).append(flight)
        self.at(self.engine.between(0.00002, 0.0002), self._next, lane)

    def _next(self, lane: str) -> None:
        if lane in self._busy or not self._lanes[lane]:
            return
        self._busy.add(lane)
        flight = self._lanes[lane].popleft()
        if flight.effect.perishes and self.engine.now > flight.until_s:
            self._finish(lane, flight, Failed(TOO_LATE, refused=True))
        else:
            self._drive(lane, flight, HOW[type(flight.effect)](self, flight.effect), None)

    def _drive(self, lane: str, flight: Flight, steps: Steps, sent: Any) -> None:
        try:
            wanted = steps.send(sent)
        except StopIteration as exc:
            self._finish(lane, flight, exc.value)
        except Fail as exc:
            self._finish(lane, flight, Failed(exc.text, exc.refused))
        else:
            if isinstance(wanted, Ask):
                wanted.start(lambda reply: self._resume(lane, flight, steps, reply))
            else:
                self.at(float(wanted), self._drive, lane, flight, steps, None)

    def _resume(self, lane: str, flight: Flight, steps: Steps, reply: Reply) -> None:
        self._drive(lane, flight, steps, reply)

    def _finish(self, lane: str, flight: Flight, result: object) -> None:
        late_s = self.host.worker_late_s
        if late_s and self.engine.chance(0.5):
            self.at(late_s * self.engine.between(0.3, 1.0), self._done, lane, flight, result)
        else:
            self._done(lane, flight, result)

    def _done(self, lane: str, flight: Flight, result: object) -> None:
        self._busy.discard(lane)
        self._post(Did(flight.number, flight.effect, result))
        self.at(0.00002, self._next, lane)

    # -- its end

    def stop(self) -> None:
        super().stop()
        self.host.cluster.laws.guards.see(self.host, False)

    def cont(self) -> None:
        self.host.cluster.laws.guards.see(self.host, not self.host.paused)
        super().cont()

    def end(self) -> None:
        """Killed: the kernel closes its sockets."""
        if not self.alive:
            return
        super().end()
        self.host.cluster.laws.guards.see(self.host, False)
        self.engine.tell(self.host.name, "agent ends")
        for conn in (self.probe, self.claimer, self.acting, self.opener, *self.peers.values()):
            conn.hang_up()

    def terminate(self) -> None:
        """SIGTERM: a candidate's track file says 0, a holder's stays."""
        if not self.running:
            return
        verdict = self.world.verdict
        if verdict is None or verdict.standing == "candidate":
            self.host.write_track("0")
        self.end()
