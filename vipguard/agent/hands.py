"""How is an effect carried out? Each in its lane, with the sessions that the lanes keep."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, cast

from ..act import address as act_address
from ..act import hooks, tcp, track_file
from ..act.arp import Announcer
from ..act.fence import fence_off
from ..act.heartbeat import Beater
from ..act.lease import Lease
from ..act.ledger import write_opening
from ..act.nft import Gate
from ..act.peer import release_claim, take_claim
from ..act.replication import (
    drop_half_received,
    start_receiving,
    start_replication,
    stop_receiving,
    wait_applied,
    wait_received,
)
from ..act.rescue import examine, rescue, restore_gtid
from ..act.semi_sync import mute, set_source, write_mark
from ..act.server import Opener, close_server, kill_server
from ..act.source import fetch, point_at, set_aside
from ..errors import CouldNotDo, VipguardError
from ..log import get_logger
from ..model import effect as do
from ..model import likeness
from ..model.evidence import AddressEvidence, RelayEvidence, ServerEvidence
from ..model.gtid import GtidSet
from ..model.policy import Node, Policy
from ..model.silence import word_s
from ..probe import disk, duplicate, gone
from ..probe.address import AddressWatch
from ..probe.server import ServerProbe
from ..session import Connector, Deadline, Session, Tls
from ..session.process import is_exiting
from ..state import standdown, store
from ..state.pen import Pen
from .alerts import environment
from .event import Claimed, Did, Looked, Prepared
from .lanes import Lanes
from .reader_hands import ReaderHands
from .world import Flight

ANNOUNCE_TIMES, ANNOUNCE_SPACING_S = 5, 0.1
CLOSERS = 2  # sessions of one close
DROP_S_MAX = 1.0  # for rolling back what a dead source left half sent
_log = get_logger("agent")


class Hands:
    """All workers of one agent. `post` takes their reports, from any thread; `now` is CLOCK_BOOTTIME in seconds."""

    def __init__(self, policy: Policy, now: Callable[[], float], post: Callable[[Did], None]) -> None:
        self.policy, self._now = policy, now
        self._lanes = Lanes(self.carry_out, post, now)
        self._tls = tls = Tls.of(policy.mysql)
        # a connector belongs to one thread: each lane that makes sessions has its own
        self._for_acts, self._for_opener, self._for_close = (Connector.local(policy.mysql) for _ in range(3))
        self._for_source, self._for_mark = (Connector.local(policy.mysql) for _ in range(2))
        self._for_relay, self._for_ledger, self._for_gone = (Connector.local(policy.mysql) for _ in range(3))
        self._remote = {node.name: Connector.peer(node.address, policy.mysql, tls) for node in policy.peers}
        self._signs_of, self._signs = policy, likeness.signs(policy)
        self._offers: tuple[str, ...] = ()
        self._probe = ServerProbe(Connector.local(policy.mysql), policy, self._sign)
        self._claimer = ServerProbe(Connector.local(policy.mysql), policy)
        self._gone: dict[str, tuple[str, ...]] = dict.fromkeys(self._remote, ())
        self._peers = {
            name: ServerProbe(connect, policy, partial(self._gone.__getitem__, name), word_s(policy))
            for name, connect in self._remote.items()
        }
        self._disk, self._pen = disk.DiskWatch(), Pen()
        self._opener: Opener | None = None
        self._beater = Beater(Connector.local(policy.mysql))
        self._closers: list[Session] = []  # made before the clients are cut
        self._lease = Lease(Connector.local(policy.mysql))
        self._announced, self._remembered_s = 0, cast("float | None", None)
        self._gate = Gate(policy.cluster, policy.vip.ip)
        self.readers = ReaderHands(lambda: self.policy)
        self._announcer = Announcer(policy.vip.interface, policy.vip.ip)
        self._addresses = AddressWatch(policy.vip.interface, policy.vip.ip, now)

    def start(self, flight: Flight) -> None:
        """Hand a flight to its lane."""
        self._lanes.start(flight)

    def close(self) -> None:
        """Let the workers end; what hangs ends with the process."""
        self._lanes.close()

    def told(self, now_s: float) -> dict[str, float | None]:
        """What the workers count: announcements sent, and how long ago the memory was written."""
        age_s = None if self._remembered_s is None else round(now_s - self._remembered_s, 3)
        return {"announced": self._announced, "state_age_s": age_s}

    def carry_out(self, effect: do.Effect) -> object:
        """Do it now, in this thread. Raises what the room that does it raises."""
        return _HOW[type(effect)](self, effect)

    def _sign(self) -> tuple[str, ...]:
        if self._signs_of is not self.policy:
            self._signs_of, self._signs = self.policy, likeness.signs(self.policy)
        return (*self._signs, *self._offers)

    def probe_server(self, effect: do.ProbeServer) -> ServerEvidence:
        fit = (self.policy.fit_lock,) if effect.fit else ()
        self._offers = (*fit, *(self.policy.read_lock(name) for name in effect.reads))
        return self._probe.look(effect.deadline_s, self._now)

    def probe_peer(self, effect: do.ProbePeer) -> ServerEvidence:
        if effect.after_s:
            time.sleep(effect.after_s)
        self._gone[effect.node] = (self.policy.gone_lock(self.policy.node),) if effect.gone else ()
        return self._peers[effect.node].look(effect.deadline_s, self._now, channels=effect.channels)

    def probe_disk(self, effect: do.ProbeDisk) -> object:
        return self._disk.look(effect.path, effect.logs, self._now)

    def look(self, effect: do.Effect) -> Looked:
        asked_at_s = self._now()
        address: AddressEvidence = self._addresses.look()
        return Looked(asked_at_s, address, self._probe.look(effect.deadline_s, self._now))

    def ask_arp(self, effect: do.AskArp) -> Mapping[str, bool | None]:
        answers = duplicate.ask_many(self.policy.vip.interface, effect.addresses, effect.wait_s, first=True)
        return {ip: None if macs is None else bool(macs) for ip, macs in answers.items()}

    def find_duplicate(self, effect: do.FindDuplicate) -> tuple[str, ...] | None:
        return duplicate.ask_arp(self.policy.vip.interface, self.policy.vip.ip, effect.wait_s)

    def ask_gone(self, effect: do.AskGone) -> frozenset[str]:
        if effect.after_s:
            time.sleep(effect.after_s)
        deadline = Deadline(effect.deadline_s)
        with contextlib.closing(self._for_gone(deadline)) as session:
            return gone.ask(session, self.policy, effect.peers, deadline)

    def claim(self, effect: do.Claim) -> Claimed:
        """The claim lives in the session that looks at the node, so that one dropped session shows as a lost claim.
        Who claims has a server that lives: what was said of it there ends before."""
        if effect.node in self._gone:
            self._gone[effect.node] = ()
        prober = self._claimer if effect.node == self.policy.node else self._peers[effect.node]
        deadline = Deadline(effect.deadline_s)
        before = prober.look(deadline.remaining(), self._now, channels=False)
        session = prober.session
        if not before.answered or session is None:
            return Claimed(None, before)
        granted = take_claim(session, self.policy.claim_lock, deadline)
        after = prober.look(deadline.remaining(), self._now)
        facts = after.facts
        if not granted or facts is None or facts.claim_lock != facts.connection_id:
            return Claimed(None, after)
        told, session = frozenset[str](), prober.session
        if effect.node == self.policy.node and session is not None:
            told = gone.ask(session, self.policy, facts.gone & self._gone.keys(), deadline)
        return Claimed(facts.connection_id, after, told)

    def release(self, effect: do.Release) -> None:
        if effect.node == self.policy.node:
            self._claimer.close()  # the lock goes with its session, which is for nothing else
            return
        prober = self._peers[effect.node]
        if prober.session is not None:
            try:
                release_claim(prober.session, self.policy.claim_lock, Deadline(effect.deadline_s))
            except VipguardError:
                prober.close()  # the lock goes with its session
                raise

    def close_peer(self, effect: do.ClosePeer) -> ServerEvidence:
        ours = self._peers[effect.node].connection_id
        close_server(
            self._remote[effect.node],
            frozenset() if ours is None else frozenset({ours}),
            effect.deadline_s,
            effect.care,
        )
        return self._peers[effect.node].look(self.policy.limits.deadline_s, self._now, channels=False)

    def fence_peer(self, effect: do.FencePeer) -> None:
        fence_off(self.policy.fence, self._node(effect.node), effect.deadline_s)

    def stop_receiving(self, effect: do.StopReceiving) -> None:
        if (aside := effect.aside) is not None:
            self._with_session(lambda s, deadline: set_aside(s, aside, deadline), effect)
        self._with_session(stop_receiving, effect)

    def start_receiving(self, effect: do.Effect) -> None:
        self._with_session(restore_gtid, effect)
        self._with_session(start_receiving, effect)

    def start_replication(self, effect: do.Effect) -> None:
        self._with_session(restore_gtid, effect)
        self._with_session(start_replication, effect)

    def examine_relay(self, effect: do.Effect) -> RelayEvidence:
        return self._relay(examine, effect)

    def rescue_relay(self, effect: do.Effect) -> RelayEvidence:
        return self._relay(rescue, effect)

    def _relay(self, act: Callable[[Session, Deadline], GtidSet], effect: do.Effect) -> RelayEvidence:
        """On a session of its own, that ends with it: it may take long."""
        deadline = Deadline(effect.deadline_s)
        session = self._for_relay(deadline)
        try:
            found = act(session, deadline)
            left = found if act is examine else GtidSet.empty(found.flavor)
            return RelayEvidence(session.server_process(deadline), self._now(), left)
        finally:
            session.close()

    def point(self, effect: do.Point) -> None:
        address, port = self._node(effect.node).address, self.policy.mysql.port
        self._with_session(lambda s, deadline: point_at(s, address, port, deadline), effect)

    def fetch(self, effect: do.Fetch) -> GtidSet:
        places = self._node(effect.node).address, self._node(effect.home).address, self.policy.mysql.port
        found: GtidSet = self._with_session(lambda s, deadline: fetch(s, *places, effect.target, deadline), effect)
        return found

    def _node(self, name: str) -> Node:
        return next(node for node in self.policy.nodes if node.name == name)

    def receive(self, effect: do.Receive) -> object:
        return self._with_session(lambda s, deadline: wait_received(s, effect.target, deadline), effect)

    def drain(self, effect: do.Effect) -> object:
        """Half a transaction of a dead source would lock rows against the clients; failing to drop it stops nobody."""
        gtid = self._with_session(wait_applied, effect)
        try:
            if self._with_session(drop_half_received, do.Drain(min(effect.deadline_s, DROP_S_MAX))):
                _log.warning("drained", rule="half-received-dropped")
        except VipguardError as exc:
            _log.warning("drained", rule="half-received-kept", reason=str(exc))
        return gtid

    def _with_session(self, act: Callable[[Session, Deadline], Any], effect: do.Effect) -> Any:
        """On a session of its own: one left idle would hold MySQL's clean shutdown up for ten seconds."""
        deadline = Deadline(effect.deadline_s)
        session = self._for_acts(deadline)
        try:
            return act(session, deadline)
        finally:
            session.close()

    def prepare_open(self, effect: do.PrepareOpen) -> Prepared:
        self.drop_opener(effect)
        deadline = Deadline(effect.deadline_s)
        opener = Opener.prepare(self._for_opener, self.policy.open_lock, deadline, effect.domain)
        self._opener = opener
        try:
            self._gate.open()
        except CouldNotDo as exc:
            _log.warning("gate", rule="not-opened", reason=str(exc))
        return Prepared(opener.connection_id, self._now())

    def shut_gate(self, effect: do.Effect) -> None:
        self._gate.shut()

    def drop_opener(self, effect: do.Effect) -> None:
        """The heartbeat's goes with it: an idle session on a standby would hold MySQL's clean shutdown up."""
        self._beater.close()
        opener, self._opener = self._opener, None
        if opener is not None:
            opener.close()

    def open(self, effect: do.Open) -> None:
        opener, deadline = self._opener, Deadline(effect.deadline_s)
        if opener is None or opener.connection_id != effect.opener:
            raise CouldNotDo("open: the session that was to open is gone", refused=True)
        left_s = effect.until_s - self._now()
        if left_s <= 0:
            raise CouldNotDo("open: this worker came to it too late", refused=True)
        opener.open(Deadline(min(left_s, effect.deadline_s)))
        self._gate.open()  # clients need some milliseconds to come back, and the epoch row as many to be written
        opener.write_epoch(self.policy.cluster, effect.opening, deadline)

    def write_opening(self, effect: do.WriteOpening) -> None:
        deadline = Deadline(effect.deadline_s)
        with contextlib.closing(self._for_ledger(deadline)) as session:
            write_opening(session, self.policy, effect.opening, effect.opener, deadline)

    def announce(self, effect: do.Effect) -> None:
        self._announcer.announce(ANNOUNCE_TIMES, ANNOUNCE_SPACING_S)
        self._announced += ANNOUNCE_TIMES

    def set_source(self, effect: do.SetSource) -> None:
        deadline = Deadline(effect.deadline_s)
        with contextlib.closing(self._for_source(deadline)) as session:
            set_source(session, effect.on, deadline)

    def mute(self, effect: do.Mute) -> None:
        deadline = Deadline(effect.deadline_s)
        with contextlib.closing(self._for_source(deadline)) as session:  # its lane's connector, not the server lane's
            mute(session, deadline)

    def write_mark(self, effect: do.WriteMark) -> None:
        deadline = Deadline(effect.deadline_s)
        with contextlib.closing(self._for_mark(deadline)) as session:
            write_mark(session, self.policy.cluster, effect.mark, deadline)

    def beat(self, effect: do.Beat) -> None:
        """It changes nothing to be too late: the next one is due soon."""
        within_s = effect.until_s - self._now()
        if within_s > 0:
            self._beater.beat(self.policy, effect.opener, within_s, Deadline(effect.deadline_s))

    def prepare_close(self, effect: do.Effect) -> None:
        deadline = Deadline(effect.deadline_s)
        while len(self._closers) < CLOSERS:
            self._closers.append(self._for_close(deadline))

    def close_server(self, effect: do.CloseServer) -> do.Closed:
        ours = self._probe.connection_id
        keep = frozenset() if ours is None else frozenset({ours})
        ready, self._closers = self._closers, []

        def connect(deadline: Deadline) -> Session:
            return ready.pop() if ready else self._for_close(deadline)

        try:
            result = close_server(connect, keep, effect.deadline_s, effect.care)
        finally:
            for session in ready:
                session.close()
        if result.left:
            _log.warning("closed", rule="sessions-left", left=result.left)
        return do.Closed(result.gtid, result.killed)

    def arm_close(self, effect: do.ArmClose) -> None:
        self._lease.arm(lambda: effect.until_s - self._now(), Deadline(effect.deadline_s))

    def disarm_close(self, effect: do.Effect) -> None:
        self._lease.disarm(Deadline(effect.deadline_s))

    def kill_server(self, effect: do.KillServer) -> None:
        if not kill_server(effect.process, effect.deadline_s):
            raise CouldNotDo(
                f"process {effect.process.pid} was not seen to end within {effect.deadline_s:g} s"
            )

    def run_hooks(self, effect: do.RunHooks) -> int:
        env = environment(self.policy, effect.event, dict(effect.facts))
        return hooks.run(self.policy.hooks.directory, effect.event, env, effect.deadline_s)

    def remove_vip(self, effect: do.Effect) -> None:
        act_address.remove_vip(self.policy.vip.interface, self.policy.vip.ip)

    def reset_clients(self, effect: do.ResetClients) -> int:
        """Where the server lives, newcomers are refused first; a dying one's listening sockets go with the rest."""
        if effect.process is None or not is_exiting(effect.process):
            try:
                self._gate.shut()
            except CouldNotDo as exc:
                _log.debug("reset-clients", rule="gate-not-shut", reason=str(exc))
        return tcp.reset_clients(self.policy.vip.ip, self.policy.mysql.port, effect.process)

    def write_track(self, effect: do.WriteTrack) -> None:
        track_file.write(self.policy.paths.track_file, cast(track_file.Value, effect.value))

    def remember(self, effect: do.Remember) -> None:
        whose, vip = (self.policy.cluster, self.policy.node), str(self.policy.vip.ip)
        store.save(self.policy.paths.state_file, *whose, effect.memory, vip, self._pen, effect.deadline_s)
        self._remembered_s = self._now()

    def keep_word(self, effect: do.KeepWord) -> None:
        """Of the agent's own accord: an order that is there meanwhile is left alone."""
        path, word = self.policy.paths.stood_down, effect.word
        if word is not None:
            standdown.put(path, replace(word, since_s=word.since_s or int(time.time())), over=False)
        elif (there := standdown.look(path)) is not None and there.by_hand:
            standdown.remove(path)

    def say_goodbye(self, value: str | None) -> None:
        """At a clean stop: a candidate's track file says 0, a holder's stays as it is."""
        if value is not None:
            with contextlib.suppress(CouldNotDo):
                track_file.write(self.policy.paths.track_file, cast(track_file.Value, value))


_HOW: dict[type, Callable[[Hands, Any], object]] = {
    do.ProbeServer: Hands.probe_server,
    do.ProbePeer: Hands.probe_peer,
    do.ProbeDisk: Hands.probe_disk,
    do.Look: Hands.look,
    do.AskArp: Hands.ask_arp,
    do.FindDuplicate: Hands.find_duplicate,
    do.AskGone: Hands.ask_gone,
    do.Claim: Hands.claim,
    do.Release: Hands.release,
    do.ClosePeer: Hands.close_peer,
    do.FencePeer: Hands.fence_peer,
    do.StopReceiving: Hands.stop_receiving,
    do.StartReceiving: Hands.start_receiving,
    do.StartReplication: Hands.start_replication,
    do.ExamineRelay: Hands.examine_relay,
    do.RescueRelay: Hands.rescue_relay,
    do.Receive: Hands.receive,
    do.Point: Hands.point,
    do.Fetch: Hands.fetch,
    do.Drain: Hands.drain,
    do.PrepareOpen: Hands.prepare_open,
    do.DropOpener: Hands.drop_opener,
    do.Open: Hands.open,
    do.WriteOpening: Hands.write_opening,
    do.SetSource: Hands.set_source,
    do.Mute: Hands.mute,
    do.WriteMark: Hands.write_mark,
    do.Beat: Hands.beat,
    do.Announce: Hands.announce,
    do.PrepareClose: Hands.prepare_close,
    do.CloseServer: Hands.close_server,
    do.ArmClose: Hands.arm_close,
    do.DisarmClose: Hands.disarm_close,
    do.KillServer: Hands.kill_server,
    do.RunHooks: Hands.run_hooks,
    do.RemoveVip: Hands.remove_vip,
    do.ResetClients: Hands.reset_clients,
    do.ShutGate: Hands.shut_gate,
    do.WriteTrack: Hands.write_track,
    do.Remember: Hands.remember,
    do.KeepWord: Hands.keep_word,
    do.WriteReaderTrack: lambda hands, effect: hands.readers.write_track(effect),
    do.ResetReaders: lambda hands, effect: hands.readers.reset(effect),
    do.RemoveReader: lambda hands, effect: hands.readers.remove(effect),
    do.MarkWriter: lambda hands, effect: hands.readers.mark_writer(effect),
}
