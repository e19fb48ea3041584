"""Where no agent answers: keepalived's hook and check do what is due, and `status` says how things stand."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import time

import pytest
from guarded import TRACK, Guarded
from lawful import in_time, nothing_lost

from vipguard.lab import Node, faults


def keepaliveds(node: Node, keyword: str) -> list[str]:
    """The command line that keepalived's configuration has for `script` or `notify`."""
    found = re.search(rf'^\s*{keyword} "([^"]+)"', node.keepalived.config(), re.MULTILINE)
    assert found
    return found[1].split()


def check(node: Node, *before: str) -> int:
    """What keepalived's check says: 0 is yes."""
    began = time.monotonic()
    code = node.run([*before, *keepaliveds(node, "script")], check=False, timeout_s=10).returncode
    in_time(time.monotonic() - began, 1.5, "keepalived gives it a second")
    return code


def hook(node: Node, state: str) -> subprocess.CompletedProcess[str]:
    return node.run([*keepaliveds(node, "notify"), "INSTANCE", "writer", state, "200"], check=False, timeout_s=60)


# -- the hook


def test_with_its_agent_dead_a_standby_that_gets_the_vip_opens_by_keepaliveds_hook(guarded: Guarded) -> None:
    writer, standby = guarded.writer, guarded.standby
    before = guarded.write_settled()
    with faults.kill_agent(standby):
        assert standby.eligible() == "1", "a killed agent leaves its last verdict"
        with faults.kill_mysqld(writer):
            guarded.wait_writer(standby, within_s=20)
            nothing_lost(before, standby)
            guarded.write(5)


def test_with_its_agent_dead_a_writer_that_loses_the_vip_is_closed_by_keepaliveds_hook(guarded: Guarded) -> None:
    lab, writer, standby = guarded.lab, guarded.writer, guarded.standby
    before = guarded.write_settled()
    with faults.kill_agent(writer):
        writer.write(TRACK, "0\n")
        guarded.wait_writer(standby, within_s=20)
        nothing_lost(before, standby)
        assert writer.mysqld.read_only() is True
    lab.wait(lambda: not lab.trouble(), 15, "a healthy pair")


def test_with_its_agent_stopped_a_writer_that_loses_the_vip_is_closed_without_the_lock(guarded: Guarded) -> None:
    writer, standby = guarded.writer, guarded.standby
    before, pid = guarded.write_settled(), guarded.writer.agent.pid
    with faults.stop_agent(writer):
        writer.write(TRACK, "0\n")
        guarded.wait_writer(standby, within_s=20)
        nothing_lost(before, standby)
        assert writer.mysqld.read_only() is True
        assert writer.agent.pid == pid, "to close needs no lock: the silent agent is left alone"


def test_with_its_agent_stopped_a_standby_that_gets_the_vip_ends_that_agent_before_it_opens(guarded: Guarded) -> None:
    writer, standby = guarded.writer, guarded.standby
    before, pid = guarded.write_settled(), guarded.standby.agent.pid
    with faults.stop_agent(standby), faults.kill_mysqld(writer):
        guarded.wait_writer(standby, within_s=20)
        nothing_lost(before, standby)
        assert standby.agent.pid != pid, "an agent that goes on later must not act on what it knew"


@pytest.mark.parametrize("state", ["MASTER", "BACKUP", "FAULT"])
def test_the_hook_beside_a_living_agent_changes_nothing(guarded: Guarded, state: str) -> None:
    for node in guarded.lab.nodes.values():
        done = hook(node, state)
        assert done.returncode == 0, done.stderr
    assert guarded.lab.writer() is guarded.writer and not guarded.dropped_vip(guarded.writer)
    assert not guarded.was_closed(guarded.writer)


def test_the_hook_run_by_the_timer_on_a_healthy_pair_without_agents_changes_nothing(guarded: Guarded) -> None:
    lab = guarded.lab
    with contextlib.ExitStack() as stack:
        for node in lab.nodes.values():
            stack.enter_context(faults.kill_agent(node))
        with lab.client(rate=50) as client:
            for node in lab.nodes.values():
                done = node.vipguard("hook", timeout_s=60)
                assert "reconciled once" in done.stdout
            client.wait_acks(5)
        assert not client.seen().errors and lab.writer() is guarded.writer


# -- keepalived's check

NO_PYTHON = (
    "unshare", "-m", "sh", "-c",
    'mount --bind /dev/null "$(readlink -f /usr/bin/python3)" && exec "$@"', "sh",
)  # fmt: skip


def test_the_check_says_yes_on_both_nodes_of_a_healthy_pair(guarded: Guarded) -> None:
    assert [check(node) for node in (guarded.writer, guarded.standby)] == [0, 0]


@pytest.mark.parametrize("fault", [faults.kill_agent, faults.stop_agent], ids=["dead", "stopped"])
def test_the_check_looks_by_itself_where_the_agent_is(guarded: Guarded, fault: object) -> None:
    writer, standby = guarded.writer, guarded.standby
    with fault(writer):  # type: ignore[operator]
        assert check(writer) == 0
        writer.mysqld.kill9()
        assert check(writer) == 1
        writer.mysqld.start()
        writer.mysqld.wait_ready()
    guarded.lab.wait(lambda: guarded.lab.writer() is not None, 15, "one writer")
    with fault(standby):  # type: ignore[operator]
        standby.mysqld.kill9()
        assert check(standby) == 1


def test_without_python_the_check_keeps_the_vip_where_it_is(guarded: Guarded) -> None:
    writer, standby = guarded.writer, guarded.standby
    assert check(writer, *NO_PYTHON) == 0 and check(standby, *NO_PYTHON) == 1
    with faults.kill_mysqld(standby):
        assert check(standby, *NO_PYTHON) == 1
    assert guarded.lab.writer() is writer


def test_a_stopped_server_on_the_writer_does_not_fail_keepaliveds_check(guarded: Guarded) -> None:
    """Hung for less than `hang_s`, or with nobody to take over: that is the agent's to decide."""
    with faults.stop_mysqld(guarded.writer):
        assert check(guarded.writer) == 0
    guarded.lab.wait(lambda: guarded.lab.writer() is guarded.writer, 5, "it to go on")


# -- status


def status(node: Node) -> tuple[int, dict[str, object], str]:
    done = node.vipguard("status", "--json", check=False)
    return done.returncode, json.loads(done.stdout), done.stderr


def test_status_tells_one_writer_by_exit_code_0_on_either_node(guarded: Guarded) -> None:
    for node in guarded.lab.nodes.values():
        code, told, complaint = status(node)
        assert (code, complaint) == (0, "") and told["writers"] == [guarded.writer.name]
        assert told["node"] == node.name and told["cluster"] == guarded.lab.spec.name
        plain = node.vipguard("status").stdout
        assert guarded.writer.name in plain and "Traceback" not in plain


def test_status_tells_a_silent_agent_by_exit_code_5_and_looks_by_itself(guarded: Guarded) -> None:
    writer = guarded.writer
    for fault in (faults.kill_agent, faults.stop_agent):
        with fault(writer):
            code, told, complaint = status(writer)
            assert code == 5 and told["writers"] == [writer.name] and "agent of this node is silent" in complaint
        guarded.lab.wait(lambda: guarded.lab.writer() is not None, 10, "one writer")


def test_status_tells_two_writers_by_exit_code_4(guarded: Guarded) -> None:
    standby = guarded.standby
    guarded.two_writers_ms_max = 5000.0
    with faults.stop_agent(standby):
        standby.mysqld.sql(f"SET GLOBAL {standby.mysqld.closing} = 0", "SET GLOBAL read_only = 0")
        code, told, complaint = status(guarded.writer)
        assert code == 4 and sorted(map(str, told["writers"])) == ["db1", "db2"]  # type: ignore[call-overload]
        assert "2 nodes are writable" in complaint
        standby.mysqld.sql(f"SET GLOBAL {standby.mysqld.closing} = 1")
