"""User hooks in the pure core: when they are due, what their failure changes, and how alerts are bounded."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from core import PROCESS, Core, taker, writer
from healthy import POLICY

from vipguard.agent import alerts
from vipguard.agent.alerts import PER_MINUTE_MAX, Alerts, environment
from vipguard.agent.event import ProcessExiting
from vipguard.agent.world import Taking
from vipguard.model import effect as do
from vipguard.model.effect import Note, RunHooks
from vipguard.model.policy import Hooks, Policy

REQUIRED = replace(POLICY, hooks=Hooks(before_open_required=True))


def events(core: Core) -> list[str]:
    return [effect.event for effect in core.sent(RunHooks) if isinstance(effect, RunHooks)]


def rule(core: Core) -> str:
    return core.world.phase.waiting if isinstance(core.world.phase, Taking) else core.phase


def before_open(policy: Policy) -> Core:
    """A taker whose hooks are under way and for which everything else is ready."""
    core = taker(policy=policy)
    core.go(RunHooks)
    while rest := [flight for flight in core.flights if not isinstance(flight.effect, RunHooks)]:
        core.do(type(rest[0].effect))
    return core


def test_the_hooks_run_beside_the_drain_and_the_opening_waits_for_them() -> None:
    core = before_open(POLICY)
    assert events(core) == ["before-open"] and rule(core) == "before-open-hooks"
    core.do(RunHooks)
    assert core.sent(do.Look), "the last look comes after the hooks"
    core.go(do.Open)
    core.do(do.Open)
    assert core.phase == "Writing" and events(core) == ["after-open"]
    (hook,) = core.sent(RunHooks)
    assert isinstance(hook, RunHooks) and dict(hook.facts)["EPOCH"] == "4"


@pytest.mark.parametrize("late", [False, True], ids=["failed", "late"])
def test_a_hook_that_fails_before_the_opening_is_told_and_stops_nothing(late: bool) -> None:
    core = before_open(POLICY)
    _fail(core, late)
    assert "hook-failed" in core.rules
    core.go(do.Open)
    assert core.sent(do.Open)


@pytest.mark.parametrize("late", [False, True], ids=["failed", "late"])
def test_a_required_hook_that_fails_forbids_the_opening(late: bool) -> None:
    core = before_open(REQUIRED)
    _fail(core, late)
    assert "hook-veto" in core.rules and core.phase == "Resting"
    assert core.world.hold_off is not None and core.world.hold_off.rule == "hook-veto"
    assert not core.sent(do.Open)


def _fail(core: Core, late: bool) -> None:
    if not late:
        core.fail(RunHooks, "10-ask exited with 1")
        return
    flight = core.take(RunHooks)
    core.wait(flight.until_s - core.now + 0.1)


def test_a_hook_of_an_earlier_takeover_consents_to_no_later_one() -> None:
    core = before_open(REQUIRED)
    old = core.take(RunHooks)
    core.move_vip(False)
    core.go()
    core.now += 0.1
    core.move_vip(True)
    core.go(RunHooks)
    core.report(old, 1)
    assert not (isinstance(core.world.phase, Taking) and core.world.phase.takeover.hooked)


def test_a_writer_that_is_closed_tells_so_once_and_by_its_rule() -> None:
    core = writer()
    core.move_vip(False)
    assert events(core) == [], "no hook before the close"
    core.go(RunHooks)
    (hook,) = core.sent(RunHooks)
    assert isinstance(hook, RunHooks) and (hook.event, dict(hook.facts)["RULE"]) == ("after-close", "vip-gone")
    core.go()
    core.wait(1.0)
    assert events(core) == []


def test_a_writer_whose_server_died_tells_so() -> None:
    core = writer()
    core.facts = None
    core.step(ProcessExiting(PROCESS))
    (hook,) = core.sent(RunHooks)
    assert isinstance(hook, RunHooks) and dict(hook.facts)["RULE"] == "holder-server-absent"


def test_a_failed_hook_after_the_event_changes_nothing() -> None:
    core = writer()
    core.move_vip(False)
    core.go(RunHooks)
    core.fail(RunHooks, "it exited with 1")
    assert core.phase == "Resting" and "hook-failed" in core.rules


def test_the_environment_has_no_control_characters_and_a_bound() -> None:
    env = environment(POLICY, "on-alert", {"TEXT": "two\nlines" + "x" * 9000})
    assert env["VIPGUARD_TEXT"].startswith("two linesx") and len(env["VIPGUARD_TEXT"]) == 4000
    assert (env["VIPGUARD_EVENT"], env["VIPGUARD_VIP"], env["VIPGUARD_NODE"]) == ("on-alert", "10.73.0.100", "db1")


def test_alerts_are_told_at_a_bounded_rate_and_the_rest_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[dict[str, str]] = []
    programs = alerts.hooks.Found(("10-mail",), ())
    monkeypatch.setattr(alerts.hooks, "find", lambda directory, event: programs)
    monkeypatch.setattr(alerts.hooks, "run", lambda directory, event, env, deadline_s: told.append(dict(env)))
    found = Alerts(lambda: POLICY)
    for number in range(PER_MINUTE_MAX + 5):
        note = Note(0.0, "refused", "drain-timeout", "warning", (("text", f"number {number}"),))
        found.tell(note, 1000.0 + number, 3)
        _drain(found)
    found.tell(Note(0.0, "verdict", "candidate-ready", "info"), 1001.0, 3)
    found.tell(Note(0.0, "closing", "isolated", "warning", (("text", "why"), ("a", 1))), 1061.0, 4)
    found.close(5.0)
    assert len(told) == PER_MINUTE_MAX + 1
    assert told[0]["VIPGUARD_TEXT"] == "number 0" and told[0]["VIPGUARD_DROPPED"] == "0"
    last = told[-1]
    assert (last["VIPGUARD_RULE"], last["VIPGUARD_NUMBERS"], last["VIPGUARD_DROPPED"]) == ("isolated", "a=1", "5")


def test_alerts_count_against_the_rate_only_where_there_is_a_hook(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    programs: list[str] = []
    monkeypatch.setattr(alerts.hooks, "find", lambda directory, event: alerts.hooks.Found(tuple(programs), ()))
    monkeypatch.setattr(alerts.hooks, "run", lambda directory, event, env, deadline_s: told.append(event))
    found, note = Alerts(lambda: POLICY), Note(0.0, "closing", "isolated", "warning")
    for _ in range(PER_MINUTE_MAX + 5):
        found.tell(note, 1000.0, 3)
        _drain(found)
    time.sleep(0.05)
    programs.append("10-mail")
    found.tell(note, 1001.0, 3)
    found.close(5.0)
    assert told == ["on-alert"]


def _drain(found: Alerts) -> None:
    """Until the thread has taken what was queued, so that only the rate bounds."""
    while not found._queue.empty():
        time.sleep(0.001)
