"""A node that comes up with nobody else there opens only by what its memory says, or by the operator's word."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from guarded import RUN, Guarded
from lawful import wait_nothing_lost
from power import power_off, power_on
from runbook import do

from vipguard.client import ask
from vipguard.lab import Node


@contextlib.contextmanager
def gone(node: Node) -> Iterator[None]:
    """A node whose host is switched off; it comes back at the end."""
    power_off(node)
    try:
        yield
    finally:
        power_on(node)


def no_writer_for(guarded: Guarded, seconds: float) -> None:
    """Nobody opens, looked at all the time."""
    steps = round(seconds / 0.2)
    seen: list[str] = []
    guarded.lab.wait(
        lambda: seen.append("".join(n.name for n in guarded.lab.writable())) or len(seen) >= steps,
        60,
        "the time",
    )
    assert set(seen) == {""}, seen


def test_a_former_writer_that_boots_alone_stays_closed(guarded: Guarded) -> None:
    """Having been the last holder is not enough: somebody else may have written since."""
    lab, writer, standby = guarded.lab, guarded.writer, guarded.standby
    guarded.write_settled()
    with gone(standby):
        lab.wait(lambda: lab.writer() is writer, 5, "the writer to go on")
        power_off(writer)
        power_on(writer)
        no_writer_for(guarded, 5)


def test_a_writer_that_was_solo_opens_again_alone_and_solo_ends_when_the_other_is_back(
    guarded: Guarded,
) -> None:
    lab, writer, standby = guarded.lab, guarded.writer, guarded.standby
    with gone(standby):
        lab.wait(
            lambda: guarded.status(writer)["nodes"][1]["server"] != "answered", 5, "the standby to be missed"
        )
        assert writer.vipguard("solo", "--yes", check=False).returncode == 0
        power_off(writer)
        power_on(writer)
        lab.wait(lambda: lab.writer() is writer, 20, "the solo writer to open again")
        rows = guarded.write(5)
    wait_nothing_lost(lab, rows, standby, 20, "the other to come back and follow")
    lab.wait(lambda: "rule=another-node-is-back" in writer.agent.log_text(), 10, "solo to end")
    with gone(standby):
        power_off(writer)
        power_on(writer)
        no_writer_for(guarded, 4)


def test_solo_is_refused_while_another_node_answers(guarded: Guarded) -> None:
    done = guarded.writer.vipguard("solo", "--yes", check=False)
    assert done.returncode == 2
    assert f"{guarded.standby.name} answers, so this node is not alone" in done.stderr


def test_the_operator_promotes_a_node_that_may_not_open_by_itself_and_is_told_what_may_be_missing(
    guarded: Guarded,
) -> None:
    lab, writer, standby = guarded.lab, guarded.writer, guarded.standby
    with guarded.receiver_stopped(standby):
        guarded.write(5)
        power_off(writer)
    try:
        no_writer_for(guarded, 2)
        told = do(standby, "VipguardNoWriter", "vipguard promote", code=2)
        assert "add --force" in told and f"{writer.name} does not answer" in told
        do(standby, "VipguardNoWriter", "vipguard promote --force", answer="y\n")
        assert lab.writer() is standby
    finally:
        power_on(writer)
    lab.wait(lambda: guarded.status(writer)["nodes"][0]["diverged"], 20, "the old writer to stay apart")
    assert writer.mysqld.read_only() is True


def test_promote_leaves_a_writer_by_right_alone(guarded: Guarded) -> None:
    done = guarded.standby.vipguard("promote", "--force", "--yes", "--within", "3", check=False)
    assert done.returncode == 2 and "vipguard switchover" in done.stderr
    # and the agent does not rely on the command's word
    assert ask(str(guarded.standby.path(f"{RUN}/agent.sock")), "promote", 2.0) == "ok promote"
    seen: list[bool] = []
    guarded.lab.wait(lambda: seen.append(guarded.lab.writer() is guarded.writer) or len(seen) >= 30, 60, "30 looks")
    assert all(seen)
