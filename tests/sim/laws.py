"""Do the laws hold? Asked after every change of who can write, every step of an agent, and every opening.

A breach raises `Broken` at the moment it happens, so that the story ends with its cause. What the documentation takes
out of law 1 is counted in `pardons`, by name.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from vipguard.agent.event import Event
from vipguard.agent.world import Closing, Flight, Starting, World, Writing
from vipguard.checks import lag
from vipguard.model import effect as do
from vipguard.model.evidence import Answer

from .mysqld import NET_TIMEOUT_S
from .network import CLIENT, WITNESS

if TYPE_CHECKING:
    from .cluster import Cluster
    from .host import Host

THAW_S = 0.45  # who was frozen while another opened: until its guard has seen the gap and closed (a tick, close_s)
WATCH_S = 0.1
SETTLED_S = 1.0


class Broken(AssertionError):
    """A law that does not hold."""


class Laws:
    def __init__(self, cluster: Cluster) -> None:
        self.cluster, self.engine = cluster, cluster.engine
        self.pardons: Counter[str] = Counter()
        self.openings = 0
        self.two_s = 0.0
        self.was_two = False
        self._opened_s: dict[str, float] = {}
        self._thawed_s: dict[str, float] = {}
        self._guarded_s: dict[str, float] = {}  # since when the agent has been running
        self._apart_s: dict[tuple[str, str], float] = {}  # when the one last could not ask the other
        self._apart_since_s: dict[tuple[str, str], float] = {}
        self._wrong_s: dict[tuple[str, str], float] = {}
        self._seen_open_s: dict[tuple[str, str], float] = {}
        self._by_hand_s: dict[str, float] = {}
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
            self._opened_s.setdefault(host.name, self.engine.now)
        else:
            self._opened_s.pop(host.name, None)
        self._look()

    def thawed(self, host: Host) -> None:
        self._thawed_s[host.name] = self.engine.now

    def opened_by_hand(self, host: Host) -> None:
        self._by_hand_s[host.name] = self.engine.now

    def _look(self) -> None:
        writers = self.writers()
        for index, one in enumerate(writers):
            for other in writers[index + 1 :]:
                old, new = sorted((one, other), key=lambda h: self._opened_s[h.name])
                why = self._pardon(old, new)
                if why is None:
                    self.broken(f"law 1: {old.name} and {new.name} both accept writes")
                else:
                    if not self.was_two:
                        self.engine.tell("law 1", f"two writers, {old.name} and {new.name}: {why}")
                        self.pardons[why] += 1
                    self.was_two = True

    def _pardon(self, old: Host, new: Host) -> str | None:
        now = self.engine.now
        for host in (old, new):
            thawed_s = self._thawed_s.get(host.name, -9.0)
            if now - thawed_s < THAW_S and self._opened_s[host.name] < thawed_s:
                return "just-thawed"
            by_hand_s = self._by_hand_s.get(host.name, -9.0)
            if self._opened_s[host.name] == by_hand_s and (now - by_hand_s < 0.8 or not self._guarded(host)):
                return "opened-by-hand"
        apart = self._opened_s[new.name] - self._apart_s.get((new.name, old.name), -9.0) < SETTLED_S
        if not self._guarded(old) and (apart or now - self._apart_s.get((new.name, old.name), -9.0) < SETTLED_S):
            return "guard-dead-and-cut-off"
        if not self._guarded(old) and self._thawed_s.get(old.name, -9.0) > self._opened_s[new.name]:
            return "guard-dead-and-paused"  # a pause is a cut, too
        if self.cluster.silent_peer == "open" and apart and self._saw_outside(old, new):
            return "cut-between-the-nodes"
        return None

    def _guarded(self, host: Host) -> bool:
        """A live agent that has had the time to look round."""
        agent = host.agent
        if agent is None or not agent.alive or agent.stopped:
            return False
        return self.engine.now - self._guarded_s.get(host.name, self.engine.now) > 1.3

    def _saw_outside(self, old: Host, new: Host) -> bool:
        """Had the old writer no reason to close when the new one opened, which had waited as long as it must?"""
        isolated_s = self._wrong_s.get((old.name, "isolated"))
        opened_s = self._opened_s[new.name]
        waited = opened_s - self._apart_since_s.get((new.name, old.name), opened_s) > 0.6
        return isolated_s is None or (waited and opened_s - isolated_s < 0.7)

    # -- what no node may be for long

    def watch(self) -> None:
        """Every tenth of a second: who is open though it should not be, and who can see whom."""
        now, net = self.engine.now, self.cluster.network
        for host in self.cluster.hosts.values():
            agent = host.agent
            if agent is None or not agent.running:
                self._guarded_s.pop(host.name, None)
            else:
                self._guarded_s.setdefault(host.name, now)
            for other in self.cluster.hosts.values():
                if other is host:
                    continue
                if not net.both_ways(host.name, other.name, "sql"):
                    self._apart_s[host.name, other.name] = now
                    self._apart_since_s.setdefault((host.name, other.name), now)
                    continue
                self._apart_since_s.pop((host.name, other.name), None)
                if other.mysqld is not None and other.mysqld.accepts:
                    self._seen_open_s[host.name, other.name] = now
            self._watch_open(host)
        self._look()
        writers = self.writers()
        self.two_s = self.two_s + WATCH_S if len(writers) > 1 else 0.0
        if len(writers) < 2:
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
        for what, holds in wrong.items():
            if not holds or (what != "isolated" and not is_open):
                self._wrong_s.pop((host.name, what), None)
                continue
            since_s = self._wrong_s.setdefault((host.name, what), now)
            guarded_s = self._guarded_s.get(host.name)
            unseen = server is not None and server.denies and host.name in self._by_hand_s
            if unseen:  # its time begins when it can be seen again
                self._wrong_s[host.name, what] = now
            if not is_open or host.unkillable or guarded_s is None or unseen:
                continue
            limit_s = 1.5 + host.worker_late_s + host.server_s
            since_s = max(since_s, self._opened_s[host.name], self._thawed_s.get(host.name, 0.0))
            if now - max(since_s, guarded_s + 1.0) > limit_s:
                self.broken(f"law 1: {host.name} is open for more than {limit_s:.1f} s: {what}")

    # -- law 2: no write on half the history

    def opening(self, host: Host, effect: do.Open) -> None:
        """The moment before read_only=0 works."""
        self.openings += 1
        server = host.mysqld
        assert server is not None
        if server.disk.relay:
            self.broken(f"law 2: {host.name} opens with {len(server.disk.relay)} received transactions not applied")
        if server.io_wanted:
            self.broken(f"law 2: {host.name} opens while its IO thread runs")
        mine = server.disk.have
        own_epoch = server.disk.epoch.epoch if server.disk.epoch else 0
        if effect.row.epoch <= own_epoch:
            self.broken(f"law 1: {host.name} opens with epoch {effect.row.epoch}, its row says {own_epoch}")
        for other in self.cluster.hosts.values():
            peer = other.mysqld
            if other is host or not other.powered or peer is None or not peer.running:
                continue
            apart_s = self._apart_s.get((host.name, other.name), -9.0)
            thawed_s = self._thawed_s.get(other.name, -9.0)
            if self.engine.now - max(apart_s, thawed_s) < SETTLED_S or peer.denies or host.network.slow_s:
                continue
            epoch = peer.disk.epoch.epoch if peer.disk.epoch else 0
            lacking = {s: n for s, n in peer.disk.have.items() if n > mine.get(s, 0)}
            if other.node.is_replica:
                lacking.pop(other.server_id, None)  # what it wrote by somebody's hand stays apart
            if peer.closed and epoch >= own_epoch and lacking and self.engine.now - peer.born_s > SETTLED_S:
                self.broken(f"law 2: {host.name} opens without {lacking} of the reachable, closed {other.name}")
            if epoch >= effect.row.epoch:
                self.broken(f"law 1: {host.name} opens with epoch {effect.row.epoch}, {other.name} has {epoch}")
        self._fresh(host)
        self._lossless(host)

    def _fresh(self, host: Host) -> None:
        """Writes that were acknowledged long before the old writer was last seen must be here."""
        if self.pardons:
            return  # histories that forked were both acknowledged
        mine = host.disk.have
        for other in self.cluster.hosts.values():
            seen_s = self._seen_open_s.get((host.name, other.name))
            if other is host or seen_s is None:
                continue
            limit_s = seen_s - host.policy.limits.lag_s_max - NET_TIMEOUT_S - 3.0
            for txn in other.disk.log:
                if txn.acknowledged and txn.at_s < limit_s and txn.number > mine.get(txn.source, 0):
                    what = f"a write {seen_s - txn.at_s:.1f} s older than its last sight of {other.name}"
                    self.broken(f"law 2: {host.name} opens without {what}")

    def _lossless(self, host: Host) -> None:
        """Every write that anybody was told of is here, however the histories forked."""
        if not self.cluster.lossless or self._by_hand_s:
            return
        mine = host.disk.have
        for other in self.cluster.hosts.values():
            lost = [t for t in other.disk.log if t.acknowledged and t.number > mine.get(t.source, 0)]
            if lost:
                first = lost[0]
                self.broken(
                    f"lossless: {host.name} opens without {len(lost)} acknowledged writes,"
                    f" the first is {first.source}-{first.number} of {self.engine.now - first.at_s:.1f} s before"
                )

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
            if not seen_closed or not compared or after.outside_s is None:
                self.broken(f"law 5: {host.name} is eligible by what it did not see")
        if isinstance(before.phase, Writing) and seen is not None and seen.answer is Answer.BLIND:
            hard = verdict.rule in ("holder-isolated", "holder-disk-unfit") or isinstance(after.phase, Closing)
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
        since_s = max(phase.since_s, self._thawed_s.get(host.name, 0.0), self._guarded_s.get(host.name, now))
        slow_s = host.server_s + host.worker_late_s * 3
        is_open = server is not None and server.alive and not server.closed and not host.unkillable
        if is_open and now - since_s > host.policy.limits.close_s + 1.0 + slow_s:
            text = f"is closing by {phase.rule} since {now - since_s:.2f} s, and its server lives"
            self.broken(f"law 3: {host.name} {text}")

    # -- liveness

    def healthy(self) -> bool:
        """One writer by right, the VIP on it, nobody else open, and the replicas follow it."""
        writers = self.writers()
        if len(writers) != 1 or not writers[0].vip:
            return False
        agent = writers[0].agent
        others = [h for h in self.cluster.hosts.values() if h.vip]
        followed = all(self._follows(host, writers[0]) for host in self.cluster.hosts.values())
        return agent is not None and isinstance(agent.world.phase, Writing) and len(others) == 1 and followed

    def _follows(self, host: Host, writer: Host) -> bool:
        """Is a node, unless it is down or went apart, never left behind: a replica follows the writer, and what any
        candidate follows does so in the end?"""
        if host is writer or host.mysqld is None or not host.mysqld.running or host.agent is None:
            return True
        if host.agent.world.diverged is not None:
            return True
        if host.node.is_replica:
            return host.follows == writer.name and host.mysqld.io_wanted
        passed = {host.name}
        while host.follows != writer.name and not self.cluster.lossless:
            if host.follows in passed:
                return False
            passed.add(host.follows)
            host = host.source
        return True

    def starting(self, host: Host) -> bool:
        return host.agent is not None and isinstance(host.agent.world.phase, Starting)
