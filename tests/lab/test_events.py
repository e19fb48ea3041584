"""A killed writer, as the operator reads it afterwards, and watches it meanwhile, on the node that took over."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from guarded import Guarded

from vipguard.lab import Node, faults


@contextlib.contextmanager
def running(node: Node, out: Path, *argv: str) -> Iterator[tuple[subprocess.Popen[str], Callable[[], str]]]:
    """A command that goes on until it is interrupted, and what it printed so far."""
    with out.open("w") as stdout:
        process = node.popen([*node.vipguard_argv, *argv], stdout=stdout, stderr=subprocess.STDOUT)
    try:
        yield process, out.read_text
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
        process.wait(15)  # its code is that of the program which entered the node


def last_block(text: str) -> str:
    """The last one that is whole; as if silent where there is none."""
    whole = text.split("=== ")[1:-1]
    return whole[-1] if whole else "SILENT"


def test_the_story_of_a_killed_writer_is_told_while_it_happens_and_afterwards(guarded: Guarded, tmp_path: Path) -> None:
    lab, writer, standby = guarded.lab, guarded.writer, guarded.standby
    guarded.write_settled()
    with (
        running(standby, tmp_path / "events", "events", "--follow", "--json", "--last", "1") as (_, told),
        running(standby, tmp_path / "stories", "events", "--follow", "--stories", "-n", "1") as (_, stories),
        running(standby, tmp_path / "watch", "status", "--watch", "--interval", "0.3") as (_, watched),
    ):
        lab.wait(lambda: told() and "MASTER" in watched(), 15, "both to have begun")
        before = len(told().splitlines())
        writer.mysqld.kill9()
        guarded.wait_writer(standby)
        lab.wait(lambda: "may-be-lost" in told() and "takeover on" in stories(), 5, "the takeover to be told")
        new = [json.loads(line)["what"] for line in told().splitlines()[before:]]
        assert new.index("takeover-begins") < new.index("takeover-step") < new.index("takeover-complete")
        with faults.kill_agent(standby):
            lab.wait(lambda: "THE AGENT IS SILENT" in watched(), 15, "the watch to say that the agent is gone")
            sofar = len(watched())
            epoch_lines = standby.vipguard("events", "--stories", "--rule", "may-be-lost", "-n", "1").stdout
        guarded.wait_said(standby, "event=adopted", within_s=20)
        lab.wait(lambda: "SILENT" not in last_block(watched()[sofar:]), 15, "the watch to see it again")

    assert f"takeover on {standby.name}, epoch " in epoch_lines and ": complete after " in epoch_lines
    steps = [line.split(" ms  ")[1].partition(":")[0] for line in epoch_lines.splitlines() if " ms  " in line]
    assert steps[-1] == "open" and "stop-receiving" in steps and "look" in steps, epoch_lines
    assert "trigger  keepalived gave this node the VIP" in epoch_lines and "this node is the writer" in epoch_lines
    assert f"{writer.name} was last seen" in epoch_lines and "(lost-unknown)" in epoch_lines
    done = standby.vipguard("events", "--stories", "--json", "--since", "2m", "--rule", "taken-over")
    story = json.loads(done.stdout.splitlines()[-1])
    assert (story["node"], story["kind"], story["result"]) == (standby.name, "takeover", "complete")
    assert story["took_ms"] > 0 and story["lost_rule"] == "lost-unknown"
    lost = standby.vipguard("events", "--json", "--rule", "takeover-*", "--rule", "may-be-lost").stdout
    assert {json.loads(line)["what"] for line in lost.splitlines()} >= {"takeover-step", "may-be-lost"}

    journal = standby.path("/var/lib/vipguard/journal.jsonl")
    with journal.open("a") as file:
        file.write('{"at": 17, "wha')
    torn = standby.vipguard("events", "--json", "-n", "3")
    assert "is torn" in torn.stderr and len(torn.stdout.splitlines()) == 3
    writer.mysqld.start()
    lab.wait(lambda: not lab.trouble(), 30, "the old writer to be back")
    after = standby.vipguard("events", "--stories", "-n", "1")
    assert "replication joins again" in after.stdout and "is no JSON" in after.stderr
    assert "this node gave the writer up" in writer.vipguard("events", "--stories", "--rule", "writer-lost").stdout
