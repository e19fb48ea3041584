"""User hooks on real nodes: each at its moment, one that vetoes, one that hangs, and alerts."""

from __future__ import annotations

import contextlib
import re
import signal
from collections.abc import Iterator

from guarded import Guarded

from vipguard.lab import Node, faults
from vipguard.lab.node import CONFIG_FILE

HOOKS, SAID = "/etc/vipguard/hooks.d", "/run/hooks-said"
TELL = f'echo "$VIPGUARD_EVENT node=$VIPGUARD_NODE epoch=$VIPGUARD_EPOCH rule=$VIPGUARD_RULE" >>{SAID}'


@contextlib.contextmanager
def hooks(guarded: Guarded, node: Node, settings: str = "", **scripts: str) -> Iterator[None]:
    """The node has these scripts meanwhile, by event with underscores."""
    for event, script in scripts.items():
        node.run(["install", "-d", "-m", "0755", f"{HOOKS}/{event.replace('_', '-')}"])
        node.write(f"{HOOKS}/{event.replace('_', '-')}/10-test", f"#!/bin/sh\n{script}\n", 0o755)
    try:
        with guarded.configured(node, f"{node.read(CONFIG_FILE)}\n[hooks]\ndeadline_s = 1.0\n{settings}\n"):
            node.agent.signal(signal.SIGHUP)
            guarded.wait_said(node, "rule=configuration-taken-up")
            yield
    finally:
        node.run(["rm", "-rf", HOOKS, SAID])


def said(node: Node) -> list[str]:
    path = node.path(SAID)
    return path.read_text().splitlines() if path.exists() else []


def test_hooks_run_before_and_after_an_opening_and_after_a_close(guarded: Guarded) -> None:
    writer, standby = guarded.writer, guarded.standby
    with hooks(guarded, standby, before_open=TELL, after_open=TELL), hooks(guarded, writer, after_close=TELL):
        with faults.kill_keepalived(writer):
            guarded.wait_writer(standby)
            guarded.lab.wait(lambda: len(said(standby)) == 2 and said(writer), 5, "the hooks")
        before, after = said(standby)
        epoch = re.search(r"epoch=(\d+)", after)
        assert epoch is not None
        assert before == f"before-open node={standby.name} epoch={epoch[1]} rule=before-open-hooks"
        assert after == f"after-open node={standby.name} epoch={epoch[1]} rule=taken-over"
        assert said(writer)[0].startswith(f"after-close node={writer.name} epoch={int(epoch[1]) - 1} rule=")


def test_a_required_hook_that_fails_keeps_this_node_closed_and_the_writer_comes_back(guarded: Guarded) -> None:
    writer, standby = guarded.writer, guarded.standby
    veto = f"{TELL}; echo not today; exit 1"
    with hooks(guarded, standby, "before_open_required = true", before_open=veto):
        with faults.kill_keepalived(writer):
            guarded.wait_said(standby, "event=takeover-abandoned", "rule=hook-veto", within_s=10)
            guarded.wait_said(standby, "rule=hook-output", "not today")
            assert standby.mysqld.read_only() is True
            guarded.wait_track(standby, "0")
        guarded.lab.wait(lambda: guarded.lab.writer() is writer, 15, "the old writer to come back")


def test_a_hook_that_hangs_is_killed_and_delays_the_opening_by_its_deadline_only(guarded: Guarded) -> None:
    writer, standby = guarded.writer, guarded.standby
    with hooks(guarded, standby, before_open="sleep 777", after_close="sleep 778"):
        with faults.kill_keepalived(writer):
            guarded.wait_writer(standby)
        guarded.wait_said(standby, "rule=hook-failed", "was late and was killed")
        # and a hook that hangs after a close delays no close
        guarded.wait_track(writer, "1", within_s=15)
        guarded.mark()
        with faults.kill_keepalived(standby):
            guarded.wait_writer(writer)
        guarded.wait_said(standby, "rule=hook-failed", "hooks=after-close")
        guarded.lab.wait(lambda: "sleep 77" not in standby.run(["ps", "-eo", "args"]).stdout, 3, "them to be gone")


def test_an_alert_hook_is_told_what_happened(guarded: Guarded) -> None:
    writer = guarded.writer
    tell = f'echo "$VIPGUARD_LEVEL $VIPGUARD_WHAT $VIPGUARD_RULE: $VIPGUARD_TEXT" >>{SAID}'
    with hooks(guarded, writer, on_alert=tell):
        with faults.cut_off(guarded.lab, writer):
            guarded.wait_said(writer, "event=handed-back")
        wanted = "warning closing isolated: no witness and no peer answered for 0.5 s"
        guarded.lab.wait(lambda: wanted in said(writer), 5, "the alert")
    guarded.lab.wait(lambda: guarded.lab.writer() is not None, 15, "a writer")


def test_a_hook_that_others_may_write_is_refused(guarded: Guarded) -> None:
    writer, standby = guarded.writer, guarded.standby
    with hooks(guarded, standby, before_open=TELL):
        standby.path(f"{HOOKS}/before-open/10-test").chmod(0o777)
        with faults.kill_keepalived(writer):
            guarded.wait_writer(standby)
        assert guarded.said(standby, "rule=hook-refused", "others than root may write") and not said(standby)
