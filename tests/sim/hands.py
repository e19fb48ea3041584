"""What does each effect do to the modelled world, and how long does it take? After vipguard's agent/hands.py.

Each is a generator: it yields seconds to wait, or an `Ask`; it returns the result that the real worker would report.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from vipguard.agent.event import Claimed
from vipguard.model import effect as do
from vipguard.model.evidence import AddressEvidence

from . import killing
from .applying import drain, fetch, point, receive, relay, replication
from .asking import Ask, Conn, Fail
from .beating import beat
from .leasing import arm, disarm
from .looking import Steps, ask_gone, gone, look, look_once_more, must, probe_disk, probe_peer, probe_server
from .opening import (
    close_peer,
    close_server,
    drop_opener,
    mute,
    open_server,
    prepare_open,
    set_source,
    write_mark,
    write_opening,
)

if TYPE_CHECKING:
    from .agent import Agent


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
    own = conn is agent.claimer
    before = yield from look(agent, conn, effect.deadline_s, False, gone=None if own else False)
    if not before.answered:
        return Claimed(None, before)
    name = agent.world.policy.claim_lock
    granted = must((yield Ask(conn, lambda server, s: server.lock(name, s), until_s)), "claim")
    after = yield from look(agent, conn, max(0.0, until_s - agent.engine.now))
    facts = after.facts
    held = granted and facts is not None and facts.claim_lock == facts.connection_id
    if not held or facts is None:
        return Claimed(None, after)
    told = must((yield Ask(conn, gone(agent, agent.peers), until_s)), "claim") if own else frozenset()
    return Claimed(facts.connection_id, after, told)


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
    killing.look(agent, effect)
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


def prepare_close(agent: Agent, effect: do.PrepareClose) -> Steps:
    """Sessions change nothing; the model's close makes its own."""
    yield agent.engine.between(0.0005, 0.004)


def shut_gate(agent: Agent, effect: do.ShutGate) -> Steps:
    """Who connects to a closed server here writes nothing, so the gate needs no model."""
    yield agent.engine.between(0.0005, 0.004)


def write_track(agent: Agent, effect: do.WriteTrack) -> Steps:
    yield agent.engine.between(0.0001, 0.001)
    agent.host.cluster.laws.track_written(agent.host, effect.value)
    agent.host.write_track(effect.value)


def run_hooks(agent: Agent, effect: do.RunHooks) -> Steps:
    yield 0.0001
    return 0


def remember(agent: Agent, effect: do.Remember) -> Steps:
    yield agent.engine.between(0.0005, 0.01)
    while agent.host.disk_stalled:
        yield 0.05
    if agent.host.disk_full:
        raise Fail("no space left", refused=True)
    agent.host.memory = effect.memory


def keep_word(agent: Agent, effect: do.KeepWord) -> Steps:
    """Beside the memory on disk; an order that is there already stays."""
    yield agent.engine.between(0.0005, 0.01)
    if agent.host.disk_full:
        raise Fail("no space left", refused=True)
    there = agent.host.stood_down
    if effect.word is not None:
        agent.host.stood_down = there or effect.word
    elif there is not None and there.by_hand:
        agent.host.stood_down = None


def address_of(agent: Agent) -> AddressEvidence:
    return AddressEvidence(agent.engine.now, agent.host.vip, agent.host.link_up)


HOW: dict[type, Callable[[Agent, Any], Steps]] = {
    do.ProbeServer: probe_server,
    do.ProbePeer: probe_peer,
    do.ProbeDisk: probe_disk,
    do.Look: look_once_more,
    do.AskArp: ask_arp,
    do.AskGone: ask_gone,
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
    do.Point: point,
    do.Fetch: fetch,
    do.PrepareOpen: prepare_open,
    do.DropOpener: drop_opener,
    do.Open: open_server,
    do.WriteOpening: write_opening,
    do.SetSource: set_source,
    do.Mute: mute,
    do.WriteMark: write_mark,
    do.FencePeer: fence_peer,
    do.Beat: beat,
    do.Announce: announce,
    do.PrepareClose: prepare_close,
    do.CloseServer: close_server,
    do.ArmClose: arm,
    do.DisarmClose: disarm,
    do.KillServer: kill_server,
    do.RunHooks: run_hooks,
    do.RemoveVip: remove_vip,
    do.ResetClients: reset_clients,
    do.ShutGate: shut_gate,
    do.WriteTrack: write_track,
    do.Remember: remember,
    do.KeepWord: keep_word,
}
