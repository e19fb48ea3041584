"""The fence command on real nodes: what it is told, what its success allows, what its failure forbids."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator

from guarded import Guarded
from lawful import nothing_lost
from power import power_off, power_on
from runbook import do

from vipguard.lab import Node, faults
from vipguard.lab.node import CONFIG_FILE

COMMAND, TOLD, OFF = "/etc/vipguard/fence_test", "/run/fence-told", "/run/power-is-off"


@contextlib.contextmanager
def fencing(guarded: Guarded, node: Node, script: str, fence: str = "", top: str = "") -> Iterator[None]:
    """The node has `script` as its fence command meanwhile; it writes down what it reads first."""
    node.write(COMMAND, f"#!/bin/sh\ncat >{TOLD}\n{script}\n", 0o755)
    text = f'{top}\n{node.read(CONFIG_FILE)}\n[fence]\ncommand = "{COMMAND}"\n{fence}\n'
    try:
        with guarded.configured(node, text):
            node.agent.signal(signal.SIGHUP)
            guarded.wait_said(node, "rule=configuration-taken-up")
            yield
    finally:
        for path in (TOLD, OFF):
            node.path(path).unlink(missing_ok=True)


def test_a_fenced_peer_is_out_and_the_takeover_goes_on_at_once(guarded: Guarded) -> None:
    writer, standby = guarded.writer, guarded.standby
    options = f'[fence.options]\nip = "{{node}}-ipmi"\n[fence.plugs]\n{writer.name} = "17"\n'
    with fencing(guarded, standby, "sleep 1; echo it is off", options, 'silent_peer = "wait"'):
        with faults.cut_off(guarded.lab, writer):
            guarded.wait_said(standby, "event=takeover-complete", within_s=10)
            guarded.wait_said(standby, "rule=fence-output", "it is off")
            guarded.wait_said(standby, "event=fenced", "rule=fence-done", f"node={writer.name}")
            assert standby.read(TOLD).splitlines() == [
                "action=off", f"nodename={writer.name}", "plug=17", f"ip={writer.name}-ipmi"
            ]  # fmt: skip
            state = "/var/lib/vipguard/state.json"
            guarded.lab.wait(lambda: '"solo":true' in standby.read(state), 5, "it to know that it wrote alone")
        guarded.wait_writer(standby)
        guarded.wait_track(writer, "1", within_s=15)
        guarded.wait_said(standby, "event=solo-ends")


def test_a_required_fence_that_fails_keeps_this_node_closed(guarded: Guarded) -> None:
    writer, standby = guarded.writer, guarded.standby
    with fencing(guarded, standby, "echo no such plug; exit 1", "required = true"):
        with faults.cut_off(guarded.lab, writer):
            guarded.wait_said(standby, "event=takeover-abandoned", "rule=fence-failed", within_s=10)
            guarded.wait_track(standby, "0")
            guarded.wait_said(standby, "rule=fence-output", "no such plug")
            assert standby.mysqld.read_only() is True
        guarded.lab.wait(lambda: guarded.lab.writer() is not None, 15, "a writer when all are back")


def test_where_a_required_fence_failed_the_operator_promotes_a_node(guarded: Guarded) -> None:
    """He has seen that the peer is off, or that it is closed as here."""
    writer, standby = guarded.writer, guarded.standby
    with fencing(guarded, standby, "exit 1", "required = true"):
        with faults.cut_off(guarded.lab, writer):
            guarded.wait_said(writer, "event=closed", "rule=read-only-verified")
            guarded.wait_said(standby, "event=takeover-abandoned", "rule=fence-failed", within_s=10)
            do(standby, "VipguardFenceFailed", "vipguard promote --force", answer="y\n")
            assert standby.mysqld.read_only() is False and standby.has_vip()
        guarded.wait_writer(standby, within_s=20)
        guarded.wait_track(writer, "1", within_s=20)


def test_a_late_fence_is_killed_with_its_children_and_the_wait_decides(guarded: Guarded) -> None:
    writer, standby = guarded.writer, guarded.standby
    script = "sleep 777 & trap '' TERM; sleep 778"
    with fencing(guarded, standby, script, "deadline_s = 0.5"), faults.cut_off(guarded.lab, writer):
        guarded.wait_said(standby, "event=takeover-complete", within_s=10)
        guarded.wait_said(standby, "event=fenced", "rule=fence-failed", "was late and was killed")
        guarded.lab.wait(lambda: "sleep 77" not in standby.run(["ps", "-eo", "args"]).stdout, 3, "it to be gone")
    guarded.wait_writer(standby)


def test_a_cut_between_the_nodes_alone_gives_one_writer_where_fencing_is_required(guarded: Guarded) -> None:
    """Both see the witness, so the writer stays open; the fixture asserts that no two nodes were writable at once."""
    writer, standby, lab = guarded.writer, guarded.standby, guarded.lab
    before = guarded.write_settled()
    script = f"while [ ! -e {OFF} ]; do sleep 0.05; done"
    with fencing(guarded, standby, script, "required = true"):
        with faults.between_nodes(lab):
            lab.wait(lambda: "plug=" in told(standby), 10, "the fence command to be called")
            assert standby.mysqld.read_only() is True and writer.mysqld.read_only() is False
            power_off(writer)
            standby.write(OFF, "")
            guarded.wait_said(standby, "event=takeover-complete", within_s=10)
            guarded.wait_said(standby, "event=fenced", "rule=fence-done")
        power_on(writer)
        guarded.wait_writer(standby)
        guarded.wait_track(writer, "1", within_s=15)
        nothing_lost(before, standby)


def told(node: Node) -> str:
    path = node.path(TOLD)
    return path.read_text() if path.exists() else ""


def test_a_peer_that_answers_is_never_fenced(guarded: Guarded) -> None:
    writer, standby = guarded.writer, guarded.standby
    with fencing(guarded, standby, "exit 0"):
        with faults.kill_keepalived(writer):
            guarded.wait_writer(standby)
        assert not standby.path(TOLD).exists()


def test_a_fence_command_that_others_may_write_is_refused(guarded: Guarded) -> None:
    standby = guarded.standby
    with fencing(guarded, standby, "exit 0"):
        guarded.mark()
        standby.path(COMMAND).chmod(0o777)
        standby.agent.signal(signal.SIGHUP)
        guarded.wait_said(standby, "rule=configuration-refused", "fence.command", "others than root may write")
