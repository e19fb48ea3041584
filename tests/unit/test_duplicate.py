"""Somebody else answers for the VIP that this node holds: told once, kept in the status, told when it ends."""

from __future__ import annotations

from core import Core, standby, writer

from vipguard.agent.duplicate import EVERY_S
from vipguard.agent.report import snapshot
from vipguard.model.effect import FindDuplicate

MAC, OTHER = "aa:bb:cc:dd:ee:01", "aa:bb:cc:dd:ee:02"


def answer(core: Core, *macs: str) -> None:
    core.report(core.take(FindDuplicate), macs)


def ask_again(core: Core) -> None:
    for _ in range(80):
        if core.sent(FindDuplicate):
            return
        core.wait(0.1)
    raise AssertionError("it does not ask")


def told(core: Core) -> list[str]:
    return [note.rule for note in core.notes if note.what == "duplicate-address"]


def holder() -> Core:
    core = writer()
    ask_again(core)
    answer(core)
    return core


def test_the_holder_asks_at_a_slow_pace_and_first_when_it_has_become_the_writer() -> None:
    core = writer()
    assert core.world.duplicate.asked_s is not None and core.now - core.world.duplicate.asked_s < 1
    ask_again(core)
    asked_s = core.now
    answer(core)
    ask_again(core)
    assert EVERY_S - 0.2 < core.now - asked_s < EVERY_S + 0.2


def test_a_standby_does_not_ask() -> None:
    core = standby()
    core.wait(12.0)
    assert not core.sent(FindDuplicate)


def test_an_answer_is_an_error_that_is_told_once_with_its_hardware_address() -> None:
    core = holder()
    for _ in range(3):
        ask_again(core)
        answer(core, MAC)
    (note,) = (note for note in core.notes if note.what == "duplicate-address")
    assert (note.level, dict(note.numbers)["macs"]) == ("error", MAC)
    assert snapshot(core.world, core.now, "1", [])["nodes"][0]["duplicate"] == [MAC]
    assert core.phase == "Writing" and core.track == "1", "it moves no VIP"


def test_another_host_is_told_again() -> None:
    core = holder()
    ask_again(core)
    answer(core, MAC)
    ask_again(core)
    answer(core, MAC, OTHER)
    assert told(core) == ["duplicate-address"] * 2


def test_it_is_gone_after_two_rounds_without_an_answer() -> None:
    core = holder()
    for macs in ((MAC,), (), (MAC,), (), ()):
        ask_again(core)
        answer(core, *macs)
    assert told(core) == ["duplicate-address", "duplicate-address-gone"]
    assert snapshot(core.world, core.now, "1", [])["nodes"][0]["duplicate"] == []


def test_a_link_that_cannot_be_asked_is_no_answer_and_no_alert() -> None:
    core = holder()
    ask_again(core)
    core.report(core.take(FindDuplicate), None)
    ask_again(core)
    core.fail(FindDuplicate, "there is no interface eth0")
    assert told(core) == [] and "effect-failed" not in core.rules


def test_an_answer_that_comes_after_the_vip_left_is_not_told() -> None:
    core = holder()
    ask_again(core)
    flight = core.take(FindDuplicate)
    core.move_vip(False)
    core.go()
    core.report(flight, (MAC,))
    assert told(core) == [] and core.world.duplicate.macs == ()
