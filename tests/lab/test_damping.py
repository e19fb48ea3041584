"""Flap damping and the recovery block on real nodes."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator

from guarded import Guarded, vrrp_state
from lawful import nothing_lost
from runbook import do

from vipguard.lab import Node, faults
from vipguard.lab.node import CONFIG_FILE


@contextlib.contextmanager
def damping(guarded: Guarded, node: Node, settings: str) -> Iterator[None]:
    """The node has these settings of [damping] meanwhile, and no losses at first."""
    before = node.read(CONFIG_FILE)
    assert "losses_max = 0" in before
    with guarded.configured(node, before.replace("losses_max = 0", settings)):
        node.agent.signal(signal.SIGHUP)
        guarded.wait_said(node, "rule=configuration-taken-up")
        node.vipguard("maintenance", "off")
        guarded.wait_said(node, "rule=undamped-by-operator")
        yield


def flap(guarded: Guarded, node: Node, times: int) -> None:
    for number in range(times):
        with guarded.applier_stopped(node):
            guarded.wait_track(node, "0")
        if number < times - 1:
            guarded.wait_track(node, "1")


def test_a_standby_that_flaps_is_parked_and_takes_over_all_the_same_when_it_is_needed(guarded: Guarded) -> None:
    writer, standby = guarded.writer, guarded.standby
    with damping(guarded, standby, "losses_max = 2\nwindow_s = 30.0"):
        flap(guarded, standby, 3)
        guarded.wait_said(standby, "event=verdict", "rule=damped", "losses=3", "losses_max=2")
        guarded.wait_said(standby, "level=warning", "event=flapping", "rule=damped")
        own = guarded.own(standby)
        assert (own["rule"], own["losses"]) == ("damped", 3) and own["damped_s"] > 20
        before = guarded.write_settled()
        with faults.kill_mysqld(writer):
            guarded.wait_writer(standby, within_s=15)
            nothing_lost(before, standby)


def test_a_parked_standby_is_a_candidate_again_when_the_window_has_passed(guarded: Guarded) -> None:
    standby = guarded.standby
    with damping(guarded, standby, "losses_max = 1\nwindow_s = 3.0"):
        flap(guarded, standby, 2)
        guarded.wait_said(standby, "event=verdict", "rule=damped")
        guarded.wait_track(standby, "1", within_s=6)
        assert guarded.lab.writer() is guarded.writer


def test_the_operator_ends_the_parking_at_once(guarded: Guarded) -> None:
    standby = guarded.standby
    with damping(guarded, standby, "losses_max = 1\nwindow_s = 600.0"):
        flap(guarded, standby, 2)
        guarded.wait_said(standby, "event=verdict", "rule=damped")
        do(standby, "VipguardFlapping", "vipguard maintenance off")
        guarded.wait_track(standby, "1")


def test_a_second_takeover_waits_unless_the_holder_is_gone(guarded: Guarded) -> None:
    first, second = guarded.writer, guarded.standby
    with faults.kill_keepalived(first):
        guarded.wait_writer(second)
    guarded.wait_track(first, "1", within_s=10)
    with damping(guarded, first, "losses_max = 0\nrecovery_block_s = 120.0"):
        with faults.kill_keepalived(second):
            guarded.wait_said(first, "event=verdict", "rule=recovery-block")
            guarded.wait_track(first, "0")
            assert first.mysqld.read_only() is True
        guarded.wait_writer(second, within_s=15)
        guarded.wait_track(first, "1", within_s=10)
        guarded.lab.wait(lambda: vrrp_state(first) == "BACKUP", 10, "keepalived to leave FAULT")
        with faults.kill_mysqld(second):
            guarded.wait_writer(first)
