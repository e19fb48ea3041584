"""How long does each effect take here, and what does it do to the modelled world? After vipguard's agent/hands.py.

Each is a generator: it yields seconds to wait, or an `Ask`; it returns the result that the real worker would report.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

from vipguard.agent.event import Claimed, Looked, Prepared
from vipguard.model import effect as do
from vipguard.model.evidence import AddressEvidence, Answer, DiskEvidence, RelayEvidence, ServerEvidence

from .asking import Ask, Conn, Fail, Reply
from .mysqld import Mysqld, Session, Txn

if TYPE_CHECKING:
    from .agent import Agent

Steps = Generator[Any, Any, Any]


def must(reply: Reply, what: str) -> Any:
    if reply.kind == "ok":
        return reply.value
    if reply.kind == "refused":
        raise reply.value
    raise Fail(f"{what}: {reply.kind}", refused=reply.kind == "blind")


def look(agent: Agent, conn: Conn, deadline_s: float, channels: bool = True) -> Steps:
    asked_s = agent.engine.now
    until_s = asked_s + deadline_s
    for attempt in range(3):
        if attempt == 2:
            yield 0.005
        reply = yield Ask(conn, lambda server, session: server.facts(session, channels, conn.local), until_s)
        now = agent.engine.now
        if reply.kind == "ok":
            return ServerEvidence(Answer.ANSWERED, asked_s, now, reply.value)
        if reply.kind == "absent":
            return ServerEvidence(Answer.ABSENT, asked_s, now, reason="refused")
        if reply.kind in ("blind", "late"):
            return ServerEvidence(Answer.BLIND, asked_s, now, reason=reply.kind)
        if reply.kind == "timeout":
            return ServerEvidence(Answer.SILENT, asked_s, now, reason="silent")
    return ServerEvidence(Answer.SILENT, asked_s, agent.engine.now, reason="lost")


def probe_server(agent: Agent, effect: do.ProbeServer) -> Steps:
    return (yield from look(agent, agent.probe, effect.deadline_s))


def probe_peer(agent: Agent, effect: do.ProbePeer) -> Steps:
    return (yield from look(agent, agent.peers[effect.node], effect.deadline_s, effect.channels))


def probe_disk(agent: Agent, effect: do.ProbeDisk) -> Steps:
    yield 0.001
    free = 1_000_000 if agent.host.disk_full else 10_000_000_000
    return DiskEvidence(agent.engine.now, free, 20_000_000_000, True)


def look_once_more(agent: Agent, effect: do.Look) -> Steps:
    asked_s = agent.engine.now
    address = agent.address()
    server = yield from look(agent, agent.probe, effect.deadline_s)
    return Looked(asked_s, address, server)


def ask_arp(agent: Agent, effect: do.AskArp) -> Steps:
    cluster, me = agent.host.cluster, agent.host
    vip = agent.world.policy.vip.ip
    found: dict[str, bool | None] = {}
    for address in effect.addresses:
        found[address] = any(
            (other.address == address or (address == vip and other.vip))
            and other.powered
            and not other.paused
            and me.network.both_ways(me.name, other.name, "arp")
            for other in cluster.hosts.values()
            if other is not me
        )
    yield 0.001 if all(found.values()) else effect.wait_s
    return found


def find_duplicate(agent: Agent, effect: do.FindDuplicate) -> Steps:
    yield effect.wait_s
    return ()


def prober(agent: Agent, node: str) -> Conn:
    return agent.claimer if node == agent.host.name else agent.peers[node]


def claim(agent: Agent, effect: do.Claim) -> Steps:
    conn, until_s = prober(agent, effect.node), agent.engine.now + effect.deadline_s
    before = yield from look(agent, conn, effect.deadline_s, False)
    if not before.answered:
        return Claimed(None, before)
    name = agent.world.policy.claim_lock
    granted = must((yield Ask(conn, lambda server, s: server.lock(name, s), until_s)), "claim")
    after = yield from look(agent, conn, max(0.0, until_s - agent.engine.now))
    facts = after.facts
    held = granted and facts is not None and facts.claim_lock == facts.connection_id
    return Claimed(facts.connection_id if held and facts else None, after)


def release(agent: Agent, effect: do.Release) -> Steps:
    conn, name = prober(agent, effect.node), agent.world.policy.claim_lock
    if conn.session is None:
        return None
    until_s = agent.engine.now + effect.deadline_s
    reply = yield Ask(conn, lambda server, s: server.unlock(name, s), until_s)
    if reply.kind != "ok":
        conn.hang_up()
        raise Fail(f"release: {reply.kind}")
    return None


def close(agent: Agent, conn: Conn, keep: int | None, deadline_s: float, who: str, care: do.Care) -> Steps:
    """Two statements: end the stale sessions of the guard, then read_only; it fails past the deadline."""
    host, until_s = conn.target, agent.engine.now + deadline_s
    killed = 0

    def end_own(server: Mysqld, me: Session) -> None:
        for session in list(server.sessions.values()):
            if session.guard and session.local and session.id != keep and session is not me:
                server.drop(session)

    def close_now(server: Mysqld, me: Session) -> do.Closed:
        nonlocal killed
        server.set_closed(True, who)
        for session in list(server.sessions.values()):
            if not session.guard:
                server.drop(session)
                killed += 1
        return do.Closed(server.gtid(), killed)

    try:
        must((yield Ask(conn, end_own, until_s)), "close")
        if host.close_blocked:
            yield max(0.0, until_s - agent.engine.now)
            raise Fail("close: blocked")
        waiting = must((yield Ask(conn, lambda server, me: server.acks.waiting, until_s)), "close")
        while waiting and care is not do.Care.NONE:
            if care is do.Care.STRICT:
                raise Fail("commits wait")
            yield 0.01
            waiting = must((yield Ask(conn, lambda server, me: server.acks.waiting, until_s)), "close")
        takes_s = agent.engine.between(0.0005, 0.03)
        return must((yield Ask(conn, close_now, until_s, takes_s)), "close")
    finally:
        conn.hang_up()


def close_server(agent: Agent, effect: do.CloseServer) -> Steps:
    conn = Conn(agent, agent.host)
    return (yield from close(agent, conn, agent.probe.id, effect.deadline_s, "its agent", effect.care))


def close_peer(agent: Agent, effect: do.ClosePeer) -> Steps:
    peer = agent.peers[effect.node]
    conn = Conn(agent, peer.target)
    yield from close(agent, conn, peer.id, effect.deadline_s, agent.host.name, effect.care)
    return (yield from look(agent, peer, agent.world.policy.limits.deadline_s, False))


def acting(agent: Agent, act: Callable[[Mysqld, Session], Any], until_s: float, takes_s: float = 0.0003) -> Steps:
    """On the acting session; once more if that was lost, for these statements may be sent twice."""
    reply = yield Ask(agent.acting, act, until_s, takes_s)
    if reply.kind == "lost":
        reply = yield Ask(agent.acting, act, until_s, takes_s)
    return must(reply, "act")


def replication(agent: Agent, effect: do.Effect) -> Steps:
    def act(server: Mysqld, session: Session) -> None:
        if isinstance(effect, do.StopReceiving):
            if not server.stop_io():
                raise Fail("received and unapplied would be lost", refused=True)
        else:
            if isinstance(effect, do.StartReplication):
                server.start_sql()
            server.start_io()

    takes_s = agent.engine.between(0.001, 0.015)
    until_s = agent.engine.now + effect.deadline_s
    yield from acting(agent, act, until_s, takes_s)


def relay(agent: Agent, effect: do.Effect) -> Steps:
    def act(server: Mysqld, session: Session) -> RelayEvidence:
        if isinstance(effect, do.RescueRelay):
            if server.io_wanted:
                raise Fail("its replication runs", refused=True)
            server.rescue()
        numbers = {txn.source: txn.number for txn in server.disk.relay}
        return RelayEvidence(server.pid, agent.engine.now, server.gtid(numbers))

    until_s = agent.engine.now + effect.deadline_s
    return (yield from acting(agent, act, until_s, agent.engine.between(0.001, 0.3)))


def receive(agent: Agent, effect: do.Receive) -> Steps:
    until_s = agent.engine.now + effect.deadline_s
    while True:
        have, runs = yield from acting(
            agent, lambda s, _: (s.gtid().union(s.gtid(s.received)), s.io_wanted), until_s
        )
        if have.contains(effect.target):
            return have
        if not runs:
            raise Fail("no IO thread runs", refused=True)
        if agent.engine.now > until_s - 0.02:
            raise Fail("did not come in time")
        yield 0.02


def drain(agent: Agent, effect: do.Drain) -> Steps:
    until_s = agent.engine.now + effect.deadline_s
    while True:
        gtid, left, runs = yield from acting(
            agent, lambda s, _: (s.gtid(), len(s.disk.relay), s.sql_wanted), until_s
        )
        if not left:
            return gtid
        if not runs:
            raise Fail("its SQL thread does not run", refused=True)
        if agent.engine.now > until_s - 0.02:
            raise Fail("not drained in time")
        yield 0.02


def prepare_open(agent: Agent, effect: do.PrepareOpen) -> Steps:
    agent.opener.hang_up()
    conn, name = Conn(agent, agent.host), agent.world.policy.open_lock
    until_s = agent.engine.now + effect.deadline_s
    granted = must((yield Ask(conn, lambda server, s: server.lock(name, s), until_s)), "prepare")
    if not granted:
        conn.hang_up()
        raise Fail("another session holds the open lock", refused=True)
    agent.opener = conn
    return Prepared(conn.id or 0, agent.engine.now)


def drop_opener(agent: Agent, effect: do.DropOpener) -> Steps:
    yield 0.0001
    agent.opener.hang_up()


def open_server(agent: Agent, effect: do.Open) -> Steps:
    conn = agent.opener
    if conn.session is None or conn.id != effect.opener:
        raise Fail("the session that was to open is gone", refused=True)
    until_s = agent.engine.now + effect.deadline_s

    limit_s = min(until_s, effect.until_s)
    if agent.engine.now >= limit_s:
        raise Fail("too late", refused=True)

    def open_now(server: Mysqld, session: Session) -> bool:
        if agent.engine.now >= limit_s:
            server.set_closed(True, "a late opening")
            return False
        agent.host.cluster.laws.opening(agent.host, effect)
        server.set_closed(False, f"its agent, epoch {effect.row.epoch}")
        return True

    takes_s = agent.engine.between(0.0005, 0.005)
    if not must((yield Ask(conn, open_now, limit_s, takes_s)), "open"):
        raise Fail("the server came to it too late", refused=True)

    yield from write(agent, conn, until_s, epoch=effect.row)


def write(agent: Agent, conn: Conn, until_s: float, **row: Any) -> Steps:
    """One transaction of the guard's own; it comes back when a replica has it, where commits wait for one."""

    def commit(server: Mysqld, session: Session) -> Txn:
        if server.closed:
            raise Fail("read-only", refused=True)
        return server.commit(session, **row)

    txn = must((yield Ask(conn, commit, until_s, 0.001)), "write")
    while not txn.acknowledged:
        if agent.engine.now > until_s - 0.01:
            conn.hang_up()
            raise Fail("no acknowledgement")
        must((yield Ask(conn, lambda server, session: None, until_s)), "write")
        yield 0.005


def set_source(agent: Agent, effect: do.SetSource) -> Steps:
    def act(server: Mysqld, session: Session) -> None:
        if not effect.on and server.closed and server.acks.waiting:
            raise Fail("commits wait on the closed server", refused=True)
        server.acks.switch(effect.on)

    conn = Conn(agent, agent.host)
    try:
        must((yield Ask(conn, act, agent.engine.now + effect.deadline_s, 0.001)), "switch semi-sync")
    finally:
        conn.hang_up()


def write_mark(agent: Agent, effect: do.WriteMark) -> Steps:
    conn = Conn(agent, agent.host)
    try:
        yield from write(agent, conn, agent.engine.now + effect.deadline_s, mark=effect.mark)
    finally:
        conn.hang_up()


def fence_peer(agent: Agent, effect: do.FencePeer) -> Steps:
    """The operator's command switches the peer's power off, where it is within reach of that."""
    yield agent.engine.between(0.1, 1.0)
    if agent.host.cluster.fence_fails:
        raise Fail("no answer of the power switch")
    agent.host.cluster.hosts[effect.node].power_off()


def announce(agent: Agent, effect: do.Announce) -> Steps:
    for _ in range(3):
        if agent.host.vip:
            agent.host.cluster.arp_owner = agent.host.name
        yield 0.1


def kill_server(agent: Agent, effect: do.KillServer) -> Steps:
    yield agent.engine.between(0.0005, 0.003)
    if not agent.host.kill_server(effect.process):
        yield effect.deadline_s
        raise Fail("not seen to end")


def remove_vip(agent: Agent, effect: do.RemoveVip) -> Steps:
    yield agent.engine.between(0.0005, 0.003)
    host = agent.host
    had = host.vip
    host.remove_vip("its agent")
    if had and host.keepalived is not None and host.keepalived.alive:
        host.keepalived.at(0.048, host.keepalived.address_removed)


def reset_clients(agent: Agent, effect: do.ResetClients) -> Steps:
    yield agent.engine.between(0.0005, 0.004)
    agent.host.cluster.clients_reset(agent.host)


def write_track(agent: Agent, effect: do.WriteTrack) -> Steps:
    yield agent.engine.between(0.0001, 0.001)
    agent.host.cluster.laws.track_written(agent.host, effect.value)
    agent.host.write_track(effect.value)


def run_hooks(agent: Agent, effect: do.RunHooks) -> Steps:
    yield 0.0001
    return 0


def remember(agent: Agent, effect: do.Remember) -> Steps:
    yield agent.engine.between(0.0005, 0.01)
    if agent.host.disk_full:
        raise Fail("no space left", refused=True)
    agent.host.memory = effect.memory


def address_of(agent: Agent) -> AddressEvidence:
    return AddressEvidence(agent.engine.now, agent.host.vip, agent.host.link_up)


HOW: dict[type, Callable[[Agent, Any], Steps]] = {
    do.ProbeServer: probe_server,
    do.ProbePeer: probe_peer,
    do.ProbeDisk: probe_disk,
    do.Look: look_once_more,
    do.AskArp: ask_arp,
    do.FindDuplicate: find_duplicate,
    do.Claim: claim,
    do.Release: release,
    do.ClosePeer: close_peer,
    do.StopReceiving: replication,
    do.StartReceiving: replication,
    do.StartReplication: replication,
    do.ExamineRelay: relay,
    do.RescueRelay: relay,
    do.Receive: receive,
    do.Drain: drain,
    do.PrepareOpen: prepare_open,
    do.DropOpener: drop_opener,
    do.Open: open_server,
    do.SetSource: set_source,
    do.WriteMark: write_mark,
    do.FencePeer: fence_peer,
    do.Announce: announce,
    do.CloseServer: close_server,
    do.KillServer: kill_server,
    do.RunHooks: run_hooks,
    do.RemoveVip: remove_vip,
    do.ResetClients: reset_clients,
    do.WriteTrack: write_track,
    do.Remember: remember,
}
