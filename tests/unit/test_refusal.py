"""A peer that refuses connections: what proves that its server is gone, and who says so of himself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import healthy
import pytest
from core import CLOSED_FACTS, PROCESS, Core, bereft, passes, standby, taker, writer
from healthy import NOW_S, POLICY, TAKER

from vipguard.agent.draft import Draft
from vipguard.agent.event import Heard, ProcessExiting, Tick
from vipguard.agent.fold import fold
from vipguard.agent.last_word import is_gone, suspect
from vipguard.agent.report import snapshot
from vipguard.agent.world import Taking, World
from vipguard.model import effect as do
from vipguard.model.evidence import Answer, ProcessId, ServerEvidence
from vipguard.model.gtid import GtidSet
from vipguard.model.memory import Completed, Memory
from vipguard.model.policy import Fence, Policy
from vipguard.model.sight import Sight
from vipguard.model.silence import own_word_s, word_s
from vipguard.notify import proof, takeover
from vipguard.notify.peers import PeerClass
from vipguard.notify.proof import Proof
from vipguard.notify.record import Due, Takeover
from vipguard.notify.refused import await_own_word, await_refused
from vipguard.render.status_text import judge

VIP, PEER_IP, LINK_IP = "10.73.0.100", "10.73.0.12", "192.0.2.12"
WAIT = replace(POLICY, silent_peer="wait")
FENCED = replace(WAIT, fence=Fence(command="/bin/false", required=True))
BARE_S = proof.bare_s(POLICY)


def refused(policy: Policy = POLICY, arp: dict[str, bool | None] | None = None) -> Core:
    """db2 refuses db1, and nobody says more; the VIP has just come to db1."""
    core = standby(policy)
    core.arp = {PEER_IP: True, VIP: True} if arp is None else arp
    core.peer = None
    core.wait(0.2)
    core.go()
    core.now += 0.01
    core.move_vip(True)
    return core


# -- the taker


@pytest.mark.parametrize("policy", [POLICY, WAIT, FENCED, replace(POLICY, witnesses=())])
@pytest.mark.parametrize("host", [True, False, None], ids=["answers", "silent", "off-the-link"])
def test_a_peer_that_refuses_while_somebody_has_the_vip_is_never_opened_against(
    policy: Policy, host: bool | None
) -> None:
    core = refused(policy, {PEER_IP: host, VIP: True})
    for _ in range(12):
        passes(core, 0.3)
        assert core.phase != "Writing" and not core.sent(do.Open)
    assert {"peer-refused", "fence-failed"} & set(core.rules)


@pytest.mark.parametrize("host", [False, None], ids=["silent", "off-the-link"])
def test_nor_while_its_host_does_not_show_itself_on_the_vips_link(host: bool | None) -> None:
    core = refused(arp={PEER_IP: host, VIP: False})
    for _ in range(12):
        passes(core, 0.3)
        assert core.phase != "Writing"
    assert "peer-refused" in core.rules


def test_a_refusal_that_is_followed_by_silence_opens_nothing_by_time() -> None:
    """Of a firewall that rejects at a limited rate, most packets are simply lost."""
    core = refused()
    core.go(do.AskArp)
    passes(core, 0.04)
    core.peer_answer = Answer.SILENT
    for _ in range(20):
        core.peer, taking = None, core.phase == "Taking"
        passes(core, 0.04)
        assert core.phase != "Writing"
        if taking and core.phase == "Resting":
            break
    assert "peer-refused" in core.rules and "silent-peer" not in core.rules


def test_its_agents_word_opens_at_once() -> None:
    core = refused()
    core.gone = frozenset({"db2"})
    began_s = core.now
    core.go()
    passes(core, 0.05)
    assert core.phase == "Writing" and core.now - began_s < 0.2
    assert "gone-by-its-agent" in core.rules


def test_a_server_that_dies_slowly_is_not_waited_for_when_its_agent_says_so() -> None:
    """Its sockets live on: what is asked of it comes back only when they close."""
    core = standby()
    core.gone = frozenset({"db2"})
    core.move_vip(True)
    core.peer_answer, core.peer = Answer.SILENT, None
    for _ in range(60):
        held = [f for f in core.flights if isinstance(f.effect, do.OnNode) and f.effect.node == "db2"]
        for flight in held:
            core.flights.remove(flight)
        core.go()
        core.flights = [*held, *core.flights]
        passes_ask = core.sent(do.AskGone)
        if passes_ask:
            core.do(do.AskGone)
        if core.phase == "Writing":
            break
    assert core.phase == "Writing"


@pytest.mark.parametrize("policy", [POLICY, WAIT, replace(POLICY, witnesses=())])
def test_a_host_without_the_vip_has_closed_its_server_after_a_while(policy: Policy) -> None:
    core = refused(policy, {PEER_IP: True, VIP: False})
    began_s = core.now
    while core.phase != "Writing":
        passes(core, 0.02)
        assert core.now - began_s < BARE_S + 0.3
    assert core.now - began_s >= BARE_S
    assert "gone-by-its-host" in core.rules


def test_where_a_fence_is_required_no_other_hosts_guard_is_trusted() -> None:
    core = refused(FENCED, {PEER_IP: True, VIP: False})
    passes(core, BARE_S * 2 + 0.1)
    assert {"fence", "fence-failed"} <= set(core.rules) and core.phase == "Resting"


def test_the_word_counts_only_under_this_nodes_claim() -> None:
    """Said before, it may be old by now: a server that was started since may be taking over."""
    core = refused()
    core.gone = frozenset({"db2"})
    core.do(do.AskGone)
    core.gone = frozenset()
    assert isinstance(core.world.phase, Taking) and core.world.phase.takeover.proof.hinted is not None
    passes(core, 2.0)
    assert core.phase != "Writing" and "peer-refused" in core.rules


def test_the_operators_word_is_enough() -> None:
    core = refused()
    core.go(do.AskArp)
    core.world = replace(core.world, promoted_until_s=core.now + 60)
    passes(core, 0.2)
    assert core.phase == "Writing"


def sight(**changes: Any) -> Sight:
    peer = replace(TAKER.peers["db2"], evidence=healthy.ABSENT, link_address=LINK_IP)
    return replace(TAKER, **{"peers": {"db2": peer}, **changes})


@pytest.mark.parametrize(
    ("answers", "proven"),
    [
        ([{VIP: False, PEER_IP: True}] * 60, True),
        ([{VIP: False, LINK_IP: True, PEER_IP: None}] * 60, True),
        ([{VIP: False, PEER_IP: True}, {VIP: False, PEER_IP: False}] * 30, True),
        ([{VIP: False, PEER_IP: True}], False),
        ([{VIP: False, PEER_IP: True}] * 5, False),
        ([{VIP: False, PEER_IP: False}] * 60, False),
        ([{VIP: False, PEER_IP: None}] * 60, False),
        ([{VIP: None, PEER_IP: True}] * 60, False),
        ([{VIP: True, PEER_IP: True}] * 60, False),
        ([{VIP: False, PEER_IP: True}] * 59 + [{VIP: True, PEER_IP: True}], False),
        ([*[{VIP: False, PEER_IP: True}] * 9, {VIP: True, PEER_IP: True}] * 4, False),
        ([{VIP: False}, {PEER_IP: True}] * 30, False),
        ([{VIP: False, "10.73.0.13": True}] * 60, False),
    ],
)
def test_what_the_link_must_show_for_how_long(answers: list[dict[str, bool | None]], proven: bool) -> None:
    """Asked every 20 ms."""
    found, at_s = Proof(refused=frozenset({"db2"})), NOW_S
    for answer in answers:
        found, at_s = proof.asked_link(found, answer, VIP, at_s), at_s + 0.02
    assert proof.of(found, sight().peers["db2"], sight()) == ("gone-by-its-host" if proven else None)


def test_a_host_whose_server_did_not_refuse_proves_nothing_by_having_no_vip() -> None:
    found = Proof(bare={PEER_IP: (NOW_S - 5, NOW_S)})
    assert proof.of(found, sight().peers["db2"], sight()) is None
    seen = proof.see(found, sight(), NOW_S - 1)
    assert seen.refused == {"db2"} and proof.of(seen, sight().peers["db2"], sight()) == "gone-by-its-host"
    assert proof.see(found, sight(), NOW_S + 1).refused == frozenset()


def due(sight: Sight, **changes: Any) -> Due | None:
    record = Takeover(**{"began_s": NOW_S - 5, "boot_id": "boot-1", "arp": {VIP: False, PEER_IP: True}, **changes})
    return await_refused(record, sight, {"db2": PeerClass.REFUSED})


def test_who_has_the_vip_is_not_asked_for_long() -> None:
    """While this node has it too, it draws clients away from the one that may be writing."""
    fresh = {"began_s": NOW_S - 0.1}
    step = due(sight(), arp={VIP: True, PEER_IP: True}, **fresh)
    assert step is not None and step.refuse and step.waiting == "peer-refused"
    step = due(sight(), **fresh)
    assert step is not None and not step.refuse and step.waiting == "peer-refused"


def test_a_fence_that_failed_leaves_nothing_else_against_a_peer_that_refuses() -> None:
    fence = replace(POLICY, fence=Fence(command="/bin/false"))
    asked = {VIP: False, PEER_IP: False}
    step = due(sight(policy=fence, witnesses={}), arp=asked)
    assert step is not None and step.waiting == "fence" and not step.refuse
    step = due(sight(policy=fence, witnesses={}), arp=asked, unfenced={"db2": "it exited with 1"})
    assert step is not None and step.refuse and step.waiting == "peer-refused"
    out = replace(sight().peers["db2"], fenced_s=NOW_S, alive_s=NOW_S - 5)
    assert due(sight(peers={"db2": out})) is None


# -- the one whose server is gone


def dies(core: Core) -> None:
    core.facts = None
    core.step(ProcessExiting(PROCESS))


def said(core: Core) -> list[bool]:
    return [effect.gone for effect in core.sent(do.ProbePeer) if isinstance(effect, do.ProbePeer)]


def test_the_agent_of_a_killed_server_says_so_at_once_and_with_each_look() -> None:
    core = writer()
    core.flights.clear()
    core.world = replace(core.world, flights={})
    dies(core)
    for _ in range(3):
        assert said(core) == [True]
        core.do(do.ProbePeer)
        assert said(core) == [], "no faster than it looks"
        core.now += 0.1
        core.see()
        core.step(Tick(0.1))
    assert core.world.said_gone_s == core.now


def test_it_is_said_when_a_look_that_was_under_way_is_back() -> None:
    core = writer()
    core.flights.clear()
    core.world = replace(core.world, flights={})
    draft = Draft(core.world, core.now)
    draft.send(do.ProbePeer(0.5, "db2"))
    core.world, core.flights = draft.world, list(draft.orders)
    dies(core)
    assert said(core) == [False]
    core.do(do.ProbePeer)
    assert said(core) == [True]


def test_it_is_taken_back_as_soon_as_a_server_answers() -> None:
    core = writer()
    dies(core)
    assert is_gone(core.world)
    core.facts = replace(CLOSED_FACTS, process=ProcessId(4343, 200))
    core.flights.clear()
    core.world = replace(core.world, flights={})
    core.wait(0.1)
    assert not is_gone(core.world) and core.world.gone_to == frozenset()
    core.flights.clear()
    core.world = replace(core.world, flights={})
    core.see()
    core.step(Tick(0.1))
    assert said(core) == [False]


def absent(world: World) -> World:
    return replace(world, server=ServerEvidence(Answer.ABSENT, NOW_S, NOW_S, reason="no socket"))


OTHER = ProcessId(4343, 200)
UNTOLD = replace(healthy.SERVER, facts=replace(healthy.FACTS, process=None))


@pytest.mark.parametrize(
    ("changes", "gone"),
    [
        ({"exited": PROCESS}, True),
        ({}, False),  # it lost its socket, or shuts down
        ({"exited": OTHER}, False),
        ({"exited": PROCESS, "server_before": replace(healthy.SERVER, facts=CLOSED_FACTS)}, True),
        # one whose process could not be told answered since: it may live
        ({"exited": PROCESS, "server_before": UNTOLD}, False),
        ({"exited": PROCESS, "process": OTHER}, False),
        ({"exited": None, "process": None}, False),
        ({"process": None, "memory": Memory(epoch=4, completed=Completed(4, "boot-0", OTHER))}, True),
        ({"process": None, "memory": Memory(epoch=5, completed=Completed(4, "boot-0", OTHER))}, False),
        ({"process": None, "memory": Memory(epoch=4, completed=Completed(4, "boot-1", OTHER))}, False),
    ],
)
def test_of_which_server_it_is_certain(changes: dict[str, Any], gone: bool) -> None:
    world = replace(absent(standby().world), process=PROCESS, exited=None, server_before=None)
    assert is_gone(replace(world, **changes)) is gone


@pytest.mark.parametrize("answer", [Answer.ANSWERED, Answer.SILENT, Answer.BLIND])
def test_it_is_said_of_no_server_that_is_there_in_any_way(answer: Answer) -> None:
    facts = CLOSED_FACTS if answer is Answer.ANSWERED else None
    seen = ServerEvidence(answer, NOW_S, NOW_S, facts)
    assert not is_gone(replace(standby().world, server=seen, process=PROCESS, exited=PROCESS))


def test_a_new_agent_says_it_of_the_server_that_one_before_it_opened() -> None:
    memory = Memory(epoch=4, completed=Completed(4, "boot-1", OTHER))
    core = standby(memory=memory)
    world = replace(absent(core.world), process=None, server_before=None)
    assert suspect(world) == OTHER and not is_gone(world)
    world = fold(world, ProcessExiting(OTHER), core.now)
    assert is_gone(world)
    assert suspect(replace(core.world, process=None)) is None, "a server that answers tells its process itself"


def test_who_said_it_opens_against_nobody_that_may_still_read_it() -> None:
    """The firewall came just then: the word could not be taken back there."""
    own = replace(TAKER, said_gone_s=NOW_S - own_word_s(POLICY) + 0.1)
    record = Takeover(NOW_S - 1, "boot-1")
    for kind, waits in (
        (PeerClass.REFUSED, True),
        (PeerClass.SILENT, True),
        (PeerClass.DOWN, True),
        (PeerClass.CLOSED, False),
        (PeerClass.OPEN_OTHERWISE, False),
    ):
        step = await_own_word(record, own, {"db2": kind})
        assert (step is not None) is waits
        assert await_own_word(record, replace(own, now_s=NOW_S + 0.1), {"db2": kind}) is None
    gone = replace(record, proof=Proof(gone=frozenset({"db2"})))
    assert await_own_word(gone, own, {"db2": PeerClass.DOWN}) is None


# -- where a peer's host is on the VIP's link


@pytest.mark.parametrize(
    ("priorities", "found"),
    [
        ({LINK_IP: 180}, LINK_IP),
        ({LINK_IP: 200}, None),
        ({LINK_IP: 7}, None),
        ({LINK_IP: 180, "192.0.2.99": 180}, "192.0.2.99"),
        ({"10.73.0.11": 180}, None),
        ({}, None),
    ],
)
def test_a_peer_is_known_on_the_vips_link_by_the_priority_in_its_adverts(
    priorities: dict[str, int], found: str | None
) -> None:
    core = standby()
    adverts = {sender: 50.0 + number for number, sender in enumerate(priorities)}
    world = fold(core.world, Heard({}, adverts, priorities), 60.0)
    assert world.peers["db2"].link_address == found
    alive_s = core.world.peers["db2"].alive_s or 0.0
    assert world.peers["db2"].alive_s == max(alive_s, adverts.get(found or "", 0.0))


def test_two_nodes_of_one_priority_are_not_told_apart() -> None:
    core = standby()
    same = tuple(replace(node, priority=180) for node in POLICY.nodes)
    world = replace(core.world, policy=replace(POLICY, nodes=same))
    peers = {"db2": replace(world.peers["db2"], node=same[1])}
    world = fold(replace(world, peers=peers), Heard({}, {LINK_IP: 50.0}, {LINK_IP: 180}), 60.0)
    assert world.peers["db2"].link_address is None


def test_a_killed_writer_is_followed_as_ever() -> None:
    core = taker()
    began_s = core.now
    core.go()
    assert core.phase == "Writing" and core.now - began_s < 0.1
    assert bereft().phase == "Resting"


def test_a_slow_pace_of_looking_makes_no_word_stale_before_it_is_said_again() -> None:
    for probe_s, words in ((0.1, 1), (0.5, 1), (0.7, 2), (3.0, 6)):
        policy = replace(POLICY, limits=replace(POLICY.limits, probe_s=probe_s))
        assert word_s(policy) == words and own_word_s(policy) > words + 1


def test_a_peer_that_refuses_is_not_told_as_a_server_that_does_not_run() -> None:
    """`status` says "no writer" of nobody whom it does not see."""
    core = standby()
    core.peer = None
    core.wait(0.2)
    told = snapshot(core.world, core.now, "1", [])
    assert told["nodes"][1]["server"] == "refusing"
    assert judge(told) == (3, "no writer is seen from here; not seen: db2")
    core.facts = replace(CLOSED_FACTS, gone=frozenset({"db2"}))
    core.wait(0.2)
    told = snapshot(core.world, core.now, "1", [])
    assert told["nodes"][1]["server"] == "absent" and judge(told) == (3, "no writer is seen from here")


def test_what_a_dead_server_sent_after_it_was_last_seen_is_nothing_that_it_lacks() -> None:
    """Its sockets live on, so that its last answer is not followed by a refusal."""
    record = Takeover(NOW_S - 0.01, "boot-1", proof=Proof(gone=frozenset({"db2"})))
    ahead = healthy.with_facts(TAKER, gtid=healthy.GTIDS.union(GtidSet.parse("mariadb", "2-2-80")))
    alive = {"db2": PeerClass.UNSEEN}
    found = takeover.classes(record, ahead)
    assert found == {"db2": PeerClass.DOWN}
    step = takeover._apart(record, ahead, alive)
    assert step is None or step.waiting == "diverged"
    assert takeover._apart(record, ahead, found) is None
