"""Whose data count, on real servers: a dead node with a higher epoch, and a former writer that saw nobody for long."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator

from guarded import Guarded
from lawful import nothing_lost
from power import power_off, power_on

from vipguard.lab import Node, faults
from vipguard.lab.node import CONFIG_FILE


@contextlib.contextmanager
def lag_s_max(guarded: Guarded, seconds: float) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for node in guarded.lab.nodes.values():
            text = node.read(CONFIG_FILE).replace("lag_s_max = 10.0", f"lag_s_max = {seconds}")
            stack.enter_context(guarded.configured(node, text))
            node.agent.signal(signal.SIGHUP)
            guarded.wait_said(node, "rule=configuration-taken-up")
        yield


def opens_anew(guarded: Guarded, node: Node) -> None:
    """Its guard stands still for longer than a lease: it closes, and opens again with a higher epoch."""
    before = guarded.said(node, "event=takeover-complete")
    with faults.stop_agent(node):
        guarded.lab.wait(lambda: not_answering(guarded, node), 10, "the guard to stand still for a lease")
    guarded.lab.wait(lambda: guarded.said(node, "event=takeover-complete") > before, 20, f"{node.name} to open anew")


def not_answering(guarded: Guarded, node: Node) -> bool:
    """A command waits for its answer for half a second."""
    return guarded.status(node).get("agent") != "answers"


def test_a_dead_node_that_counted_up_alone_closes_no_writer_when_it_returns(guarded: Guarded) -> None:
    lab, writer, standby = guarded.lab, guarded.writer, guarded.standby
    guarded.write_settled()
    with faults.cut_off(lab, standby):
        for _ in range(2):
            opens_anew(guarded, writer)
        guarded.write(20)
        power_off(writer)
    done = standby.vipguard("promote", "--force", "--yes", check=False)
    assert done.returncode == 0, done.stderr
    guarded.wait_writer(standby, within_s=30)
    rows = guarded.write(30)
    guarded.mark()
    power_on(writer)
    guarded.wait_said(standby, "event=history", "rule=overruled", f"node={writer.name}", within_s=30)
    guarded.wait_said(writer, "event=rejoin", "rule=diverged", within_s=30)
    more = guarded.write(10)
    assert lab.writer() is standby
    assert not guarded.said(standby, "event=closing")
    for client in (rows, more):
        nothing_lost(client, standby)


def test_a_former_writer_that_saw_nobody_for_long_waits_for_who_wrote_meanwhile(guarded: Guarded) -> None:
    lab, writer, standby = guarded.lab, guarded.writer, guarded.standby
    guarded.write_settled()
    with lag_s_max(guarded, 1.5):
        with faults.cut_off(lab, writer):
            guarded.wait_writer(standby, within_s=20)
            rows = guarded.write(200, rate=60)
            power_off(standby)
        guarded.wait_said(writer, "event=verdict", "rule=lag-exceeded", within_s=20)
        assert lab.writable() == []
        power_on(standby)
        lab.wait(lambda: lab.writer() is not None, 40, "one of the two, which have all by then, to open")
        again = lab.writer()
        assert again is not None
        nothing_lost(rows, again)
