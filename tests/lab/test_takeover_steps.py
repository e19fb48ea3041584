"""The guard dies or stands still at each step of a takeover: in the end one node writes, with everything."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from guarded import Guarded
from lawful import in_time

from vipguard.lab import Node
from vipguard.lab.client import Client

STEPS = ("claim", "stop-receiving", "drain", "look", "open", "taken-over")
STANDS_STILL_S = 1.2  # more than two leases


def hit(guarded: Guarded, node: Node, step: str, number: int, within_s: float = 5.0) -> None:
    """Signal the agent as soon as its log has the step: it is there then, or a moment further."""
    word, said = f" rule={step} ".encode(), b""
    size, deadline = guarded.sizes[node.name], time.monotonic() + within_s
    with node.agent.log.open("rb") as log:
        log.seek(size)
        while word not in said:
            in_time(time.monotonic() - deadline, 0, f"{node.name} never came to {step}:\n{said.decode()[-2000:]}")
            said = said[-200:] + log.read()
            time.sleep(0.0002)
    node.agent.signal(number)


@contextmanager
def all_kept(guarded: Guarded) -> Iterator[None]:
    """The writer's server dies, with everything received by the standby; a client writes all through what follows, and
    in the end one node is the writer, with whatever was acknowledged. Agents that end are started again, as by systemd.
    """
    lab, standby = guarded.lab, guarded.standby
    before = guarded.write_settled()
    guarded.writer.mysqld.kill9()
    during = Client(lab, rate=100, read_timeout_s=2.0)
    try:
        yield
        during.start()
        lab.wait(lambda: well(guarded), 30, "a healthy pair")
        during.wait_acks(10)
        now = lab.writer()
        assert now is not None, "a writer that stays"
    finally:
        during.stop()
    lost = before.lost(now) + during.lost(now)
    assert lost == [], f"{now.name} writes without {lost}"
    assert guarded.said(standby, "event=defect") == 0


def well(guarded: Guarded) -> bool:
    for node in guarded.lab.nodes.values():
        if not node.agent.alive:
            node.start_agent()
    return not guarded.lab.trouble()


@pytest.mark.parametrize("step", STEPS)
def test_a_guard_killed_in_the_middle_of_a_takeover_harms_nobody(guarded: Guarded, step: str) -> None:
    """Its server lives on, whatever was done to it; the next guard, or keepalived's hook, looks and goes on."""
    writer, standby = guarded.writer, guarded.standby
    with all_kept(guarded):
        hit(guarded, standby, step, signal.SIGKILL)
        standby.agent.kill9()  # returns when it is gone
        standby.start_agent()
        guarded.wait_writer(standby, within_s=20)
        writer.mysqld.start()


@pytest.mark.parametrize("step", STEPS)
def test_a_guard_that_stands_still_in_the_middle_of_a_takeover_does_not_act_on_what_it_knew(
    guarded: Guarded, step: str
) -> None:
    """Longer than a lease, while the old writer comes back with its guard: it gives up, or closes first, and looks
    anew. Or it was ended meanwhile by the one-shot that keepalived called."""
    writer, standby = guarded.writer, guarded.standby
    pid = standby.agent.pid
    with all_kept(guarded):
        hit(guarded, standby, step, signal.SIGSTOP)
        until_s = time.monotonic() + STANDS_STILL_S
        writer.mysqld.start()
        writer.mysqld.wait_ready()
        time.sleep(max(0.0, until_s - time.monotonic()))
        guarded.mark()
        standby.agent.cont()
    after = guarded.log(standby)
    gave_up = "rule=paused" in after or "came to it too late" in after
    assert gave_up or standby.agent.pid != pid, f"it went on as if nothing had been:\n{after}"
