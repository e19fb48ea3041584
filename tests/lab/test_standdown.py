"""A node's server that is to stay closed: by `vipguard standdown`, or because somebody closed the writer by hand."""

from __future__ import annotations

import json
import time

import pytest
from guarded import STOOD_DOWN, Guarded, answers
from lawful import nothing_lost, one_writer
from runbook import do

from vipguard.lab import Node, faults
from vipguard.lab.spec import Flavor

QUIET_S = 3.0  # many looks: it was undone within 0.2 s


def stays_closed(guarded: Guarded, node: Node, for_s: float = QUIET_S) -> None:
    until = time.monotonic() + for_s
    while time.monotonic() < until:
        assert node.mysqld.read_only() is True, f"{node.name} was opened again"
        time.sleep(0.05)


def close_by_hand(node: Node, variable: str = "") -> None:
    """As a person does, who knows nothing of vipguard."""
    node.mysqld.sql(f"SET GLOBAL {variable or node.mysqld.closing} = 1")


def settled(guarded: Guarded) -> None:
    """The writer has been one for longer than a late close of vipguard's own may take."""
    time.sleep(2.2)


def test_of_two_writers_the_one_that_is_stood_down_stays_closed_and_the_other_goes_on(guarded: Guarded) -> None:
    """The runbook's word, on the node that clients do not reach: over a restart of its agent, until its end is said."""
    lab, old, new = guarded.lab, guarded.writer, guarded.standby
    guarded.two_writers_ms_max = 20_000.0
    with faults.between_nodes(lab):
        guarded.wait_said(new, "event=takeover-complete", within_s=10)
        lab.wait(lambda: len(lab.writable()) == 2, 5, "the documented case of two writers")
        told = do(old, "VipguardTwoWriters", 'vipguard standdown --reason "two writers"', "--yes")
        assert f"{old.name} is closed and stays so" in told and "no other node is seen to write" in told
        both_ms = guarded.watcher.two_writers_ms()
        stays_closed(guarded, old)
        old.agent.kill9()
        stays_closed(guarded, old, 0.5)
        guarded.start_agent(old)
        stays_closed(guarded, old)
        own = guarded.own(old)
        assert own["rule"].endswith("stood-down") and own["stood_down"]["reason"] == "two writers"
        assert "two writers" in old.vipguard("status", check=False).stdout
        assert old.eligible() == "0" and new.mysqld.read_only() is False
        refused = old.vipguard("promote", "--force", "--yes", check=False)
        assert refused.returncode == 2 and "standdown --end" in refused.stderr
        one_writer(guarded.watcher, both_ms + 5)
    guarded.wait_writer(new, within_s=15)
    stays_closed(guarded, old)
    assert guarded.own(old)["rule"] == "stood-down"
    one_writer(guarded.watcher, both_ms + 5)
    assert "takes part again" in do(old, "VipguardTwoWriters", "vipguard standdown --end")
    assert not old.path(STOOD_DOWN).exists()
    lab.wait(lambda: guarded.own(old)["rule"] != "stood-down", 5, "the verdict without it")
    assert lab.writer() is new


def test_without_an_agent_the_command_closes_the_server_and_the_next_agent_keeps_it_closed(guarded: Guarded) -> None:
    lab, writer, standby = guarded.lab, guarded.writer, guarded.standby
    before = guarded.write_settled()
    writer.agent.kill9()
    done = writer.vipguard("standdown", "--yes")
    assert "no agent answers here" in done.stdout and writer.mysqld.read_only() is True
    guarded.wait_writer(standby, within_s=15)
    nothing_lost(before, standby)
    alone = lambda: writer.vipguard("check", "writer", "--for-keepalived", check=False)  # noqa: E731 - as often as needed
    lab.wait(lambda: alone().stdout.startswith("1 stood-down"), 15, "a look that its half second does not cut short")
    assert alone().returncode == 1
    guarded.start_agent(writer)
    stays_closed(guarded, writer)
    assert guarded.own(writer)["rule"] == "stood-down"
    do(writer, "VipguardStoodDown", "vipguard standdown --end")
    guarded.wait_track(writer, "1", within_s=15)
    lab.wait_healthy()


def test_an_agent_that_hangs_is_no_hindrance_and_obeys_when_it_goes_on(guarded: Guarded) -> None:
    writer, standby = guarded.writer, guarded.standby
    with faults.stop_agent(writer):
        assert writer.vipguard("standdown", "--yes", "--within", "20").returncode == 0
        assert writer.mysqld.read_only() is True
    guarded.wait_writer(standby, within_s=15)
    guarded.lab.wait(lambda: answers(writer), 10, "the agent to go on")
    stays_closed(guarded, writer, 1.0)
    writer.vipguard("standdown", "--end")


def test_the_only_writer_is_closed_only_by_a_second_word(guarded: Guarded) -> None:
    writer, standby = guarded.writer, guarded.standby
    refused = writer.vipguard("standdown", check=False)
    assert refused.returncode == 2 and "--yes" in refused.stderr and "nothing was done" in refused.stderr
    assert guarded.lab.writer() is writer and not writer.path(STOOD_DOWN).exists()
    told = standby.vipguard("standdown").stdout
    assert f"{writer.name} writes" in told and guarded.lab.writer() is writer
    guarded.wait_track(standby, "0")
    move = writer.vipguard("switchover", "--to", standby.name, check=False)
    assert move.returncode in (1, 2) and guarded.lab.writer() is writer and not guarded.was_closed(writer)
    standby.vipguard("standdown", "--end")
    guarded.wait_track(standby, "1")


def test_a_writer_that_somebody_closes_in_a_healthy_pair_is_a_standby_of_the_other_a_moment_later(
    guarded: Guarded,
) -> None:
    writer, standby = guarded.writer, guarded.standby
    before = guarded.write_settled()
    settled(guarded)
    close_by_hand(writer)
    guarded.wait_writer(standby)
    nothing_lost(before, standby)
    guarded.wait_said(writer, "level=error", "rule=closed-by-another-hand")
    guarded.wait_said(writer, "rule=another-node-writes")
    guarded.wait_track(writer, "1", within_s=15)
    assert not writer.path(STOOD_DOWN).exists()
    one_writer(guarded.watcher)


def test_a_writer_that_somebody_closes_with_nobody_to_take_over_stays_closed_until_the_hand_opens_it(
    guarded: Guarded,
) -> None:
    lab, writer, standby = guarded.lab, guarded.writer, guarded.standby
    with faults.kill_mysqld(standby):
        settled(guarded)
        close_by_hand(writer)
        guarded.wait_said(writer, "event=stood-down", "rule=closed-by-another-hand")
        guarded.wait_track(writer, "0")
        stays_closed(guarded, writer)
        assert json.loads(writer.path(STOOD_DOWN).read_text())["by"] == "another hand"
        writer.mysqld.sql("SET GLOBAL read_only = 0")
        guarded.wait_said(writer, "rule=opened-by-another-hand")
        lab.wait(lambda: lab.writer() is writer, 15, f"{writer.name} to write again, by the rules")
    lab.wait_healthy()


def test_a_writer_that_somebody_closed_stays_closed_over_a_restart_of_its_agent_until_another_writes(
    guarded: Guarded,
) -> None:
    lab, writer, standby = guarded.lab, guarded.writer, guarded.standby
    with faults.kill_mysqld(standby):
        settled(guarded)
        close_by_hand(writer)
        guarded.wait_said(writer, "event=stood-down", "rule=closed-by-another-hand")
        lab.wait(lambda: writer.path(STOOD_DOWN).exists(), 5, "the word on the disk")
        writer.agent.kill9()
        guarded.start_agent(writer)
        stays_closed(guarded, writer)
    guarded.wait_writer(standby, within_s=20)
    guarded.wait_track(writer, "1", within_s=15)
    assert not writer.path(STOOD_DOWN).exists()


@pytest.mark.parametrize("flavor", ["mysql"], indirect=True)
def test_read_only_alone_is_taken_for_the_order_that_it_is_on_mysql(guarded: Guarded, flavor: Flavor) -> None:
    """Clients are refused by it, and only administrators are not: a writer of whom everybody says that it is well."""
    writer, standby = guarded.writer, guarded.standby
    settled(guarded)
    close_by_hand(writer, "read_only")
    guarded.wait_writer(standby)
    guarded.wait_said(writer, "rule=another-node-writes")
    guarded.wait_track(writer, "1", within_s=15)
