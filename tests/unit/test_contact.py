"""A writer that hears from nobody has its server close itself when its lease ends, whatever its guard does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from core import Core, guarded_writer, standby, writer
from healthy import POLICY

from vipguard.agent.event import AddressSeen, Heard, KeepalivedSeen, Tick
from vipguard.agent.world import suspect_s, wake_s
from vipguard.model import effect as do
from vipguard.model.evidence import Answer, KeepalivedEvidence
from vipguard.model.silence import NOTICED, silence_s

LIMITS = POLICY.limits
NOTICED_S = NOTICED * LIMITS.probe_s


def alone(core: Core) -> Core:
    """From now on nobody outside answers."""
    core.flights.clear()
    core.world = replace(core.world, flights={})
    core.pings, core.peer_answer = False, Answer.SILENT
    return core


def tick(core: Core, after_s: float) -> None:
    """A tick, and no answer of anybody but the local server."""
    core.now += after_s
    adverts = core.now - 0.02 if core.vip else None
    core.step(KeepalivedSeen(KeepalivedEvidence(alive=True, advert_left_s=adverts, looked_at_s=core.now)))
    core.step(Tick(after_s))
    if core.sent(do.ProbeServer):
        core.do(do.ProbeServer)


def orders(core: Core) -> list[float]:
    return [effect.until_s for effect in core.sent(do.ArmClose) if isinstance(effect, do.ArmClose)]


def test_after_one_round_without_an_answer_the_server_is_told_to_close_when_the_lease_ends() -> None:
    core = alone(guarded_writer())
    ends_s = core.world.sight(core.now).lease_ends_s
    heard_s = ends_s - LIMITS.lease_s
    tick(core, heard_s + LIMITS.probe_s - core.now)
    assert orders(core) == []
    assert wake_s(core.world, core.now) <= heard_s + NOTICED_S + 1e-9
    tick(core, heard_s + NOTICED_S - core.now + 1e-6)
    assert orders(core) == [pytest.approx(ends_s)]
    core.take(do.ArmClose)
    tick(core, 0.1)
    assert orders(core) == [], "once"


@pytest.mark.parametrize("who", ["witness", "peer"])
def test_it_is_called_off_when_somebody_answers(who: str) -> None:
    core = alone(guarded_writer())
    for _ in range(3):
        tick(core, 0.1)
    assert orders(core)
    core.do(do.ArmClose)
    if who == "witness":
        core.step(Heard({"10.73.0.1": (core.now, core.now - 0.001)}, {}))
    else:
        core.peer_answer = Answer.ANSWERED
        core.do(do.ProbePeer)
    assert core.sent(do.DisarmClose) and core.world.armed_s is None
    core.do(do.DisarmClose)
    for _ in range(3):
        tick(core, 0.1)
    assert orders(core), "and given again"


def test_a_refusal_calls_nothing_off() -> None:
    """This host's own firewall may have given it."""
    core = alone(guarded_writer())
    for _ in range(3):
        tick(core, 0.1)
    core.do(do.ArmClose)
    core.peer, core.peer_answer = None, Answer.ANSWERED
    core.do(do.ProbePeer)
    assert not core.sent(do.DisarmClose) and core.world.armed_s is not None


def test_a_guard_that_was_late_itself_looks_first() -> None:
    """Nobody was asked meanwhile: on a busy host the order would come too early and be called off too late."""
    core = alone(guarded_writer())
    tick(core, 0.21)
    assert orders(core) == [] and core.world.steady_s == core.now
    tick(core, NOTICED_S)
    assert orders(core)


def test_at_the_end_of_the_lease_the_guard_closes_it_as_ever() -> None:
    core = alone(guarded_writer())
    for _ in range(6):
        tick(core, 0.1)
    assert core.phase == "Closing" and core.sent(do.CloseServer) and core.rules.count("isolated")
    core.do(do.CloseServer)
    assert core.phase == "Resting" and core.world.armed_s is None and core.sent(do.DisarmClose)


def test_a_server_that_closed_itself_though_somebody_answers_again_is_opened_again_by_the_rules() -> None:
    core = alone(guarded_writer())
    for _ in range(3):
        tick(core, 0.1)
    core.do(do.ArmClose)
    armed_s = core.world.armed_s
    assert armed_s is not None and core.facts is not None
    core.now = armed_s + 0.05
    core.facts = replace(core.facts, closed=True)
    core.flights = [flight for flight in core.flights if not isinstance(flight.effect, do.ProbeServer)]
    core.world = replace(core.world, outside_s=core.now - 0.01, flights={})
    core.step(Tick(0.1))
    core.do(do.ProbeServer)
    assert "closed-by-its-lease" in core.rules and core.phase in ("Resting", "Taking")


@pytest.mark.parametrize("make", [standby, writer])
def test_only_a_writer_gives_the_order(make: Any) -> None:
    core = alone(make())
    if make is writer:
        core.world = replace(core.world, may_open=True)
        core.vip = False
        core.step(AddressSeen(core.address()))
        core.go()
        core.flights.clear()
    for _ in range(4):
        tick(core, 0.1)
    assert orders(core) == []


def test_what_others_wait_for_has_room_for_all_of_it() -> None:
    """The last sign of life may be one interval old, the order comes after NOTICED, the close takes close_s."""
    interval_s = max(LIMITS.probe_s, POLICY.vip.advert_s)
    assert silence_s(POLICY) == pytest.approx(interval_s + NOTICED_S + LIMITS.lease_s + LIMITS.close_s)


def test_after_an_isolation_the_peers_silence_is_timed_anew() -> None:
    core = alone(standby())
    for _ in range(50):
        tick(core, 0.1)
    assert core.world.sight(core.now).isolated
    before_s = core.world.watching_s
    core.step(Heard({"10.73.0.1": (core.now, core.now - 0.001)}, {}))
    assert core.world.watching_s == core.now - 0.001 > before_s
    core.now += 0.1
    core.step(Heard({"10.73.0.1": (core.now, core.now - 0.001)}, {}))
    assert core.world.watching_s == core.now - 0.101, "once"


def test_the_suspicion_counts_from_the_last_answer_or_the_last_time_it_was_late() -> None:
    world = replace(standby().world, outside_s=10.0, watching_s=9.0, steady_s=9.5)
    assert suspect_s(world) == pytest.approx(10.0 + NOTICED_S)
    assert suspect_s(replace(world, steady_s=10.5)) == pytest.approx(10.5 + NOTICED_S)
    assert suspect_s(replace(world, outside_s=None, watching_s=11.0)) == pytest.approx(11.0 + NOTICED_S)
