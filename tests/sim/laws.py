"""Do the laws hold? Asked after every change of who can write, every step of an agent, and every opening.

A breach raises `Broken` at the moment it happens, so that the story ends with its cause. What the documentation takes
out of a law is counted by its name in `pardons.py`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from vipguard.agent.event import Event
from vipguard.agent.world import Closing, Flight, World, Writing
from vipguard.checks import lag
from vipguard.model import effect as do
from vipguard.model.evidence import Answer

from . import killing, lacking, liveness
from .guards import THAW_S, Guards
from .histories import Histories
from .network import CLIENT, WITNESS
from .pardons import Pardons

if TYPE_CHECKING:
    from .cluster import Cluster
    from .host import Host

WATCH_S = 0.1
SETTLED_S = 1.0
ROUND_S = 0.4  # of looks by the guard, and what the watch of these laws takes to see a cut
REUNITED_S = 1.5  # a look at the other, and a close or a kill


class Broken(AssertionError):
    """A law that does not hold."""


class Laws:
    def __init__(self, cluster: Cluster) -> None:
        self.cluster, self.engine = cluster, cluster.engine
        self.pardons, self.histories, self.guards = Pardons(), Histories(cluster), Guards(self.engine)
        self.openings = 0
        self.was_two = False
        self._excused: dict[tuple[str, float, str, float], bool] = {}  # of two openings: did a cut explain the second?
        self._opened_s: dict[str, float] = {}
        self._thawed_s: dict[str, float] = {}
        self._reached_s: dict[tuple[str, str], float] = {}  # since when the one has been able to ask the other
        self._apart_s: dict[tuple[str, str], float] = {}  # when the one last could not ask the other
        self._apart_since_s: dict[tuple[str, str], float] = {}
        self._wrong_s: dict[tuple[str, str], float] = {}
        self._let: set[tuple[str, str]] = set()  # what of that was forgiven, until it ends
        self._outside_s: dict[str, float] = {}  # since when anybody outside has been able to answer it
        self._pinged_s: dict[frozenset[str], float] = {}  # when the one could last ping the other's running host
        self._heard: dict[str, set[str]] = {}  # of a node that opened: whose host had answered it a moment ago
        self._by_hand_s: dict[str, float] = {}
        self._stood_down_s: dict[str, float] = {}
        self._closing: dict[str, tuple[object, float]] = {}

    def broken(self, text: str) -> None:
        self.engine.tell("LAW", text)
        raise Broken(text)

    # -- law 1: one writer

    def writers(self) -> list[Host]:
        return [h for h in self.cluster.hosts.values() if h.powered and h.mysqld is not None and h.mysqld.accepts]

    def writers_changed(self, host: Host) -> None:
        server = host.mysqld
        if server is not None and server.alive and not server.closed:
            if host.name not in self._opened_s:
                self._opened_s[host.name] = self.engine.now
                self._heard[host.name] = {name for name in self.cluster.hosts if self._pinged(host.name, name)}
            if host.name not in self.histories.open:
                self.histories.opened_by_hand(host)
        else:
            self._opened_s.pop(host.name, None)
            self.histories.closed(host)
        self._look()

    def thawed(self, host: Host) -> None:
        self._thawed_s[host.name] = self.engine.now
        self.engine.at(THAW_S + 0.001, self._look)

    def opened_by_hand(self, host: Host) -> None:
        self._by_hand_s[host.name] = self.engine.now

    def stood_down(self, host: Host) -> None:
        self._stood_down_s[host.name] = self.engine.now

    def _look(self) -> None:
        writers = self.writers()
        for index, one in enumerate(writers):
            for other in writers[index + 1 :]:
                old, new = sorted((one, other), key=lambda h: self._opened_s[h.name])
                self.histories.beside(old, new)
                why = self._pardon(old, new)
                if why is None:
                    self.broken(f"law 1: {old.name} and {new.name} both accept writes")
                else:
                    if not self.was_two:
                        self.engine.tell("law 1", f"two writers, {old.name} and {new.name}: {why}")
                        self.pardons.give(why)
                    self.was_two = True

    def _pardon(self, old: Host, new: Host) -> str | None:
        now = self.engine.now
        for host in (old, new):
            thawed_s = self._thawed_s.get(host.name, -9.0)
            if now - thawed_s < THAW_S and self._opened_s[host.name] < thawed_s:
                return "just-thawed"
            by_hand_s = self._by_hand_s.get(host.name, -9.0)
            if self._opened_s[host.name] == by_hand_s and (now - by_hand_s < 0.8 or not self.guards.settled(host)):
                return "opened-by-hand"
        unguarded, reunited = self.guards.gone(old), self._reunited(old, new)
        apart = self._opened_s[new.name] - self._apart_s.get((new.name, old.name), -9.0) < SETTLED_S
        cut = apart or now - self._apart_s.get((new.name, old.name), -9.0) < SETTLED_S
        if unguarded and cut and self._was_gone(old):
            return "guard-dead-and-cut-off"
        if unguarded and self._thawed_s.get(old.name, -9.0) > self._opened_s[new.name]:
            return "guard-dead-and-paused"  # a pause is a cut, too
        reign = self.histories.open.get(new.name)
        if apart and not reunited and reign is not None and reign.promoted:
            return "promoted-beside-a-silent-peer"
        two = old.name, self._opened_s[old.name], new.name, self._opened_s[new.name]
        if two not in self._excused:
            dropped = apart and old.name not in self._heard[new.name]
            self._excused[two] = self.cluster.silent_peer == "open" and dropped and self._saw_outside(old, new)
        return "cut-between-the-nodes" if self._excused[two] and not reunited else None

    def _pinged(self, one: str, other: str) -> bool:
        return self.engine.now - self._pinged_s.get(frozenset((one, other)), -9.0) < ROUND_S

    def _was_gone(self, old: Host) -> bool:
        """Was its guard dead before the cut, or before it had looked once in vain? Later ones order a close in time."""
        isolated_s, gone_s = self._wrong_s.get((old.name, "isolated")), self.guards.gone_s(old)
        return isolated_s is None or gone_s is None or gone_s < isolated_s + ROUND_S

    def _reunited(self, one: Host, other: Host) -> bool:
        """Have two that both write been able to see each other for as long as the one of them has to close?"""
        ways = ((one, other), (other, one))
        return all(lacking.reachable(self, *way, for_s=REUNITED_S) for way in ways)

    def _saw_outside(self, old: Host, new: Host) -> bool:
        """Had the old writer no reason to close when the new one opened, which had waited as long as it must?"""
        isolated_s = self._wrong_s.get((old.name, "isolated"))
        opened_s = self._opened_s[new.name]
        alone_s = max(self._apart_since_s.get((new.name, old.name), opened_s), self._outside_s.get(new.name, opened_s))
        waited = opened_s - alone_s > 0.6
        return isolated_s is None or (waited and opened_s - isolated_s < 0.7)

    # -- what no node may be for long

    def watch(self) -> None:
        """Every tenth of a second: who is open though it should not be, and who can see whom."""
        now, net = self.engine.now, self.cluster.network
        for host in self.cluster.hosts.values():
            killing.watch(host)
            self.guards.see(host, host.agent is not None and host.agent.running)
            for other in self.cluster.hosts.values():
                if other is host:
                    continue
                pair = host.name, other.name
                up = host.powered and other.powered and not host.paused and not other.paused
                if up and not net.lost_share and net.both_ways(*pair, "ping"):
                    self._pinged_s[frozenset(pair)] = now
                if net.reaches(*pair):
                    self._reached_s.setdefault(pair, now)
                else:
                    self._reached_s.pop(pair, None)
                if net.both_ways(*pair, "sql"):
                    self._apart_since_s.pop(pair, None)
                else:
                    self._apart_s[pair] = now
                    self._apart_since_s.setdefault(pair, now)
            if host.mysqld is not None and host.mysqld.denies:
                self.histories.unseeing(host)
            self._watch_open(host)
        self._look()
        self._decide()
        if len(self.writers()) < 2:
            self.was_two = False
        self.engine.at(WATCH_S, self.watch)

    def _watch_open(self, host: Host) -> None:
        now, net = self.engine.now, self.cluster.network
        server, keepalived = host.mysqld, host.keepalived
        is_open = host.powered and server is not None and server.accepts
        outside = any(
            net.both_ways(host.name, name, kind)
            for name in host.others()
            for kind in ("ping", "sql")
            if name not in (CLIENT, WITNESS)
        ) or (self.cluster.witness_up and net.both_ways(host.name, WITNESS, "ping"))
        wrong = {
            "open without the VIP": not host.vip,
            "open with keepalived dead": keepalived is not None and not keepalived.alive,
            "open while no advert leaves": keepalived is not None and keepalived.alive and keepalived.stopped,
            "isolated": not outside,
        }
        if outside:
            self._outside_s.setdefault(host.name, now)
        else:
            self._outside_s.pop(host.name, None)
        for what, holds in wrong.items():
            if not holds or (what != "isolated" and not is_open):
                self._wrong_s.pop((host.name, what), None)
                self._let.discard((host.name, what))
                continue
            since_s = self._wrong_s.setdefault((host.name, what), now)
            guarded_s = self.guards.since_s(host)
            unseen = server is not None and (server.denies or server.no_socket) and host.name in self._by_hand_s
            if unseen:  # its time begins when it can be seen again
                self._wrong_s[host.name, what] = now
            if not is_open:
                continue
            let = "unkillable" if host.unkillable else "hand-unseen" if unseen else ""
            let = let or ("guard-dead" if guarded_s is None else "")
            if let or guarded_s is None:
                if now - since_s > 1.5 and (host.name, what) not in self._let:
                    self._let.add((host.name, what))
                    self.pardons.give(let)
                continue
            limit_s = 1.5 + host.worker_late_s + host.server_s
            since_s = max(since_s, self._opened_s[host.name], self._thawed_s.get(host.name, 0.0))
            if now - max(since_s, guarded_s + 1.0) > limit_s:
                self.broken(f"law 1: {host.name} is open for more than {limit_s:.1f} s: {what}")

    # -- laws 2 and 8: no write on half the history, and nothing hidden

    def opening(self, host: Host, effect: do.Open) -> None:
        """The moment before read_only=0 works."""
        self.openings += 1
        server = host.mysqld
        assert server is not None
        if server.disk.relay:
            self.broken(f"law 2: {host.name} opens with {len(server.disk.relay)} received transactions not applied")
        if server.io_wanted:
            self.broken(f"law 2: {host.name} opens while its IO thread runs")
        word, since_s = host.stood_down, self._stood_down_s.get(host.name)
        if word is not None and not word.by_hand and since_s is not None and self.engine.now - since_s > SETTLED_S:
            self.broken(f"law 1: {host.name} opens, and the operator said that it is to stay closed")
        lacking.opening(self, host, effect)

    def noted(self, host: Host, note: do.Note) -> None:
        if note.what == "may-be-lost":
            lacking.told(self, host, note)

    def reached_since_s(self, host: Host, other: Host) -> float:
        """Since when the one has been able to ask the other; `inf` while it cannot."""
        return self._reached_s.get((host.name, other.name), math.inf)

    def thawed_s(self, host: Host) -> float:
        return self._thawed_s.get(host.name, -9.0)

    def _decide(self) -> None:
        """A sitting writer whose guard lives goes on without what a closed node that it sees has alone."""
        writers = self.writers()
        if len(writers) != 1 or not self.guards.settled(writers[0]):
            return
        writer, reign = writers[0], self.histories.open.get(writers[0].name)
        for other in self.cluster.hosts.values():
            closed = other is not writer and other.mysqld is not None and other.mysqld.closed
            ahead = any(n > writer.disk.have.get(s, 0) for s, n in other.disk.have.items())
            if reign is not None and closed and ahead and lacking.reachable(self, writer, other):
                self.histories.decide(reign, writer.disk.have, other.disk.have)

    # -- law 3: close first

    def vip_left(self, host: Host) -> None:
        """Watched from now on: see `_watch_open`."""

    def track_written(self, host: Host, value: str) -> None:
        server = host.mysqld
        if value == "0" and host.vip and host.track == "1" and server is not None and server.alive:
            by_hand = self._opened_s.get(host.name) == self._by_hand_s.get(host.name, -9.0)
            shut = server.closed or (server.leaving and not server.sessions)
            if not shut and not host.unkillable and not by_hand:
                self.broken(f"law 3: {host.name} gives up the VIP while its server is open")

    # -- laws 5 and 6, and law 3's bound, in each step

    def stepped(
        self, host: Host, before: World, after: World, event: Event, flights: tuple[Flight, ...]
    ) -> None:
        verdict, now = after.verdict, self.engine.now
        assert verdict is not None
        seen = after.server
        if verdict.standing == "candidate" and verdict.may:
            sight = after.sight(now)
            seen_closed = seen is not None and seen.facts is not None and seen.facts.closed
            compared = (after.errant is not None and lag.measure(sight).lag_s is not None) or sight.entitled
            compared = compared or self.histories.promoted(host)
            if not seen_closed or not compared or after.outside_s is None:
                self.broken(f"law 5: {host.name} is eligible by what it did not see")
        if isinstance(before.phase, Writing) and seen is not None and seen.answer is Answer.BLIND:
            closing = after.phase.rule if isinstance(after.phase, Closing) else verdict.rule
            hard = verdict.rule in ("holder-isolated", "holder-disk-unfit") or closing != verdict.rule
            if not verdict.may and not hard:
                self.broken(f"law 5: blind, {host.name} gives the VIP up by {verdict.rule}")
        for flight in after.flights.values():
            if now - flight.until_s > 1.5 and now - self._thawed_s.get(host.name, -9.0) > 1.0:
                self.broken(f"law 6: {host.name}: {flight.effect.key} never ends")
        self._bounded_close(host, after)

    def _bounded_close(self, host: Host, after: World) -> None:
        phase, now = after.phase, self.engine.now
        if not isinstance(phase, Closing):
            self._closing.pop(host.name, None)
            return
        server = host.mysqld
        since_s = max(phase.since_s, self._thawed_s.get(host.name, 0.0), (self.guards.since_s(host) or now))
        slow_s = host.server_s + host.worker_late_s * 3
        is_open = server is not None and server.alive and not server.closed and not host.unkillable
        if is_open and now - since_s > host.policy.limits.close_s + 1.0 + slow_s:
            text = f"is closing by {phase.rule} since {now - since_s:.2f} s, and its server lives"
            self.broken(f"law 3: {host.name} {text}")

    def healthy(self) -> bool:
        return liveness.healthy(self.cluster)
