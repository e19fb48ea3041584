"""A silent peer in a takeover, and what a fence command changes: each test one change, by the pure plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import healthy
import pytest
from healthy import NOW_S, POLICY, TAKER

from vipguard.act.fence import options
from vipguard.agent.draft import Draft
from vipguard.agent.event import Did, Failed
from vipguard.agent.outcome import expire, report
from vipguard.agent.world import Taking, World, begin
from vipguard.model.effect import AskArp, Effect, FencePeer
from vipguard.model.memory import Memory
from vipguard.model.policy import Fence, Policy
from vipguard.model.sight import Sight
from vipguard.notify.peers import PeerClass
from vipguard.notify.record import Due, Takeover
from vipguard.notify.silent import await_silent

FENCE = Fence(command="/usr/sbin/fence_x")
BEGAN_S = NOW_S - 1.0
#: db2's server has said nothing since the takeover began; its host was last heard of long enough ago
SILENT_PEER = replace(
    TAKER.peers["db2"], evidence=replace(healthy.SILENT, asked_at_s=BEGAN_S + 0.1), alive_s=NOW_S - 5
)
SILENT = replace(TAKER, peers={"db2": SILENT_PEER})


def with_policy(sight: Sight, **changes: Any) -> Sight:
    return replace(sight, policy=replace(sight.policy, **changes))


def fenced(**changes: Any) -> Sight:
    return with_policy(SILENT, fence=replace(FENCE, **changes))


def due(sight: Sight, **takeover: Any) -> Due | None:
    found: Mapping[str, PeerClass] = dict.fromkeys(sight.peers, PeerClass.SILENT)
    record = Takeover(**{"began_s": BEGAN_S, "boot_id": "boot-1", "arp": {"10.73.0.100": False}, **takeover})
    return await_silent(record, sight, found, lambda: Due("ready", ""))


def rule(step: Due | None) -> str | None:
    return None if step is None else f"refuse {step.waiting}" if step.refuse else step.waiting


ALIVE = replace(SILENT_PEER, alive_s=NOW_S - 0.1)
OUT = replace(SILENT_PEER, fenced_s=NOW_S - 0.2)
NOT_ASKED = replace(SILENT_PEER, evidence=replace(healthy.SILENT, asked_at_s=BEGAN_S - 0.1))
WITNESSED_BEFORE = {"10.73.0.1": BEGAN_S - 0.1}
FAILED = {"db2": "it exited with 1"}


@pytest.mark.parametrize(
    ("sight", "record", "wanted"),
    [
        (SILENT, {}, None),
        (replace(SILENT, peers={"db2": ALIVE}), {}, "silent-peer"),
        (replace(SILENT, peers={"db2": ALIVE}), {"began_s": NOW_S - 5}, "refuse silent-peer-alive"),
        (with_policy(SILENT, silent_peer="wait"), {}, "refuse silent-peer-wait"),
        (with_policy(replace(SILENT, promoted=True), silent_peer="wait"), {}, None),
        (replace(SILENT, witnesses={}), {}, "refuse silent-peer-no-witness"),
        (replace(SILENT, witnesses={"10.73.0.1": NOW_S - 2}), {}, "silent-peer-unwitnessed"),
        (SILENT, {"arp": {"10.73.0.100": True}}, "foreign-arp"),
        (fenced(), {}, "fence"),
        (replace(fenced(), peers={"db2": ALIVE}), {}, "fence"),
        (with_policy(fenced(), silent_peer="wait"), {}, "fence"),
        (replace(fenced(), promoted=True), {}, None),
        (replace(fenced(), peers={"db2": NOT_ASKED}), {}, "fence-look"),
        (replace(fenced(), witnesses=WITNESSED_BEFORE), {}, "fence-unwitnessed"),
        (replace(fenced(), witnesses={}), {}, "fence"),
        (fenced(), {"unfenced": FAILED}, None),
        (with_policy(fenced(), silent_peer="wait"), {"unfenced": FAILED}, "refuse silent-peer-wait"),
        (fenced(required=True), {"unfenced": FAILED}, "refuse fence-failed"),
        (replace(fenced(required=True), peers={"db2": OUT}), {}, None),
        (with_policy(replace(fenced(), peers={"db2": OUT}), silent_peer="wait"), {}, None),
        (replace(fenced(), peers={"db2": replace(OUT, alive_s=NOW_S - 0.1)}), {}, "fence"),
    ],
)  # fmt: skip
def test_what_is_due_while_a_peer_is_silent(sight: Sight, record: dict[str, Any], wanted: str | None) -> None:
    assert rule(due(sight, **record)) == wanted


def test_the_fence_command_is_called_for_each_silent_peer_and_bounded_by_its_own_deadline() -> None:
    step = due(fenced(deadline_s=7.0))
    assert step is not None and step.effects == (FencePeer(7.0, "db2"),)
    assert step.within_s is None


def test_a_peer_of_a_fence_that_never_comes_back_is_given_up_by_the_flights_deadline() -> None:
    draft = Draft(_taking(), NOW_S)
    draft.send(FencePeer(7.0, "db2"))
    draft.now_s = NOW_S + 8.0
    expire(draft)
    assert isinstance(draft.world.phase, Taking) and "db2" in draft.world.phase.takeover.unfenced


@pytest.mark.parametrize("ok", [True, False])
def test_the_commands_word_is_recorded(ok: bool) -> None:
    draft = Draft(_taking(), NOW_S)
    draft.send(FencePeer(7.0, "db2"))
    flight = draft.world.flights["FencePeer:db2"]
    draft.now_s = NOW_S + 1
    report(draft, Did(flight.number, flight.effect, None if ok else Failed("it exited with 1")))
    assert draft.world.peers["db2"].out is ok
    assert isinstance(draft.world.phase, Taking)
    assert draft.world.phase.takeover.unfenced == ({} if ok else FAILED)


def _taking() -> World:
    world = begin(POLICY, "boot-1", NOW_S, Memory())
    return replace(world, phase=Taking(Takeover(NOW_S, "boot-1"), "fence", NOW_S))


@pytest.mark.parametrize("fence", [Fence(), FENCE, replace(FENCE, required=True)])
@pytest.mark.parametrize("alive_s", [None, NOW_S - 5])
def test_a_foreign_answer_for_the_vip_holds_back_for_a_bounded_time(fence: Fence, alive_s: float | None) -> None:
    """Also a switch that goes on answering for a dead host for ever: the veto ends by its limit."""
    policy: Policy = replace(POLICY, fence=fence)
    peer = replace(SILENT_PEER, alive_s=alive_s)
    sight = replace(SILENT, policy=policy, watching_since_s=BEGAN_S, peers={"db2": peer})
    takeover, now_s, waited = Takeover(BEGAN_S, "boot-1", arp={"10.73.0.100": True}), NOW_S, set[str]()
    while now_s < NOW_S + 60:
        evidence = replace(healthy.SILENT, asked_at_s=now_s - 0.5)
        peer = replace(sight.peers["db2"], evidence=evidence)
        sight = replace(sight, now_s=now_s, witnesses={"10.73.0.1": now_s - 0.05}, peers={"db2": peer})
        step = await_silent(takeover, sight, {"db2": PeerClass.SILENT}, lambda: Due("ready", ""))
        if step is None:
            break
        assert not step.refuse
        waited.add(step.waiting)
        takeover, sight = _did(takeover, sight, step.effects, now_s)
        now_s += 0.05
    limits = policy.limits
    assert now_s <= NOW_S + limits.lease_s + limits.close_s + limits.arp_s_max + 1.0
    assert ("foreign-arp" in waited) is (not fence.command)


def _did(takeover: Takeover, sight: Sight, effects: tuple[Effect, ...], now_s: float) -> tuple[Takeover, Sight]:
    for effect in effects:
        if isinstance(effect, AskArp):
            takeover = replace(takeover, arp={"10.73.0.100": True}, arp_s=now_s)
        elif isinstance(effect, FencePeer):
            sight = replace(sight, peers={"db2": replace(sight.peers["db2"], fenced_s=now_s)})
    return takeover, sight


def test_the_agents_options_are_written_as_fence_agents_read_them() -> None:
    fence = replace(
        FENCE, options=(("ip", "{node}-ipmi"), ("login", "{address}")), plugs=(("db2", "17"),)
    )
    assert options(fence, POLICY.nodes[1]) == (
        "action=off\nnodename=db2\nplug=17\nip=db2-ipmi\nlogin=10.73.0.12\n"
    )
    assert options(FENCE, POLICY.nodes[1]) == "action=off\nnodename=db2\nplug=db2\n"
