"""A standby is a candidate only with a keepalived that would take the VIP now, and with a server that could be killed;
a planned move to any other is refused before anybody is closed."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator

from guarded import Guarded

from vipguard.lab import Node
from vipguard.lab.node import CONFIG_FILE, KEEPALIVED_FILE

ELSEWHERE = 'pid_file = "/run/vipguard/elsewhere.pid"'


def rule(guarded: Guarded, node: Node) -> str:
    return str(guarded.own(node)["rule"])


def wait_rule(guarded: Guarded, node: Node, wanted: str, within_s: float = 8.0) -> None:
    guarded.lab.wait(lambda: rule(guarded, node) == wanted, within_s, f"{node.name} to be {wanted}")


def refused(guarded: Guarded, word: str = "does not say that it would take over") -> None:
    """A move to the standby is refused, and the writer never noticed."""
    writer, standby = guarded.writer, guarded.standby
    guarded.lab.wait(lambda: not _fit(guarded), 3, "the writer to see that nobody could take over")
    done = writer.vipguard("switchover", "--to", standby.name, check=False, timeout_s=60)
    assert done.returncode == 2 and word in done.stdout, done.stdout + done.stderr
    assert not guarded.was_closed(writer) and not guarded.dropped_vip(writer)


def _fit(guarded: Guarded) -> bool:
    nodes = guarded.status(guarded.writer)["nodes"]
    return any(node["eligibility"] == "eligible" for node in nodes if not node["here"])


@contextlib.contextmanager
def agent_anew(guarded: Guarded, node: Node) -> Iterator[None]:
    """The agent is restarted at the beginning and at the end."""
    node.agent.terminate()
    guarded.start_agent(node)
    try:
        yield
    finally:
        node.agent.terminate()
        guarded.start_agent(node)


@contextlib.contextmanager
def keepalived_conf(node: Node, text: str) -> Iterator[None]:
    before = node.read(KEEPALIVED_FILE)
    node.write(KEEPALIVED_FILE, text)
    node.keepalived.signal(signal.SIGHUP)
    try:
        yield
    finally:
        node.write(KEEPALIVED_FILE, before)
        node.keepalived.signal(signal.SIGHUP)


def test_a_keepalived_that_is_dead_with_its_pid_file_elsewhere_makes_no_candidate_and_a_move_is_refused(
    guarded: Guarded,
) -> None:
    standby = guarded.standby
    text = standby.read(CONFIG_FILE).replace("startup_delay_s = 1.0", f"startup_delay_s = 1.0\n{ELSEWHERE}")
    assert ELSEWHERE in text
    with guarded.configured(standby, text), agent_anew(guarded, standby):
        wait_rule(guarded, standby, "candidate-ready")
        found = standby.vipguard("doctor", "--json", check=False).stdout
        assert "pid-file-elsewhere" in found
        standby.keepalived.kill9()
        wait_rule(guarded, standby, "keepalived-dead", 2)
        refused(guarded)
        with agent_anew(guarded, standby):
            wait_rule(guarded, standby, "keepalived-not-seen")
            assert "keepalived-not-seen" in standby.vipguard("doctor", "--json", check=False).stdout
            refused(guarded)
        standby.start_keepalived()
        wait_rule(guarded, standby, "candidate-ready")
    wait_rule(guarded, standby, "candidate-ready")


def test_a_keepalived_in_fault_by_another_script_makes_no_candidate_until_it_leaves_it(guarded: Guarded) -> None:
    lab, standby = guarded.lab, guarded.standby
    before = standby.read(KEEPALIVED_FILE)
    script = 'vrrp_script other {\n    script "/bin/false"\n    interval 1\n    weight 0\n    fall 1\n    rise 1\n}\n\n'
    text = before.replace("vrrp_instance writer {", f"{script}vrrp_instance writer {{")
    text = text.replace("    track_script {\n", "    track_script {\n        other\n", 1)
    with keepalived_conf(standby, text):
        wait_rule(guarded, standby, "keepalived-fault")
        assert standby.eligible() == "1", "else nobody would see it leave FAULT"
        refused(guarded)
        line = standby.vipguard("check", "writer", check=False)
        assert line.returncode == 2 and "keepalived-fault" in line.stdout
    wait_rule(guarded, standby, "candidate-ready", 10)
    lab.wait(lambda: _fit(guarded), 3, "the writer to see a candidate again")


def test_a_keepalived_with_another_configuration_makes_no_candidate(guarded: Guarded) -> None:
    standby = guarded.standby
    before = standby.read(KEEPALIVED_FILE)
    with keepalived_conf(standby, before.replace("vrrp_instance writer {", "vrrp_instance other {")):
        standby.keepalived.terminate()
        standby.start_keepalived()
        wait_rule(guarded, standby, "keepalived-foreign", 12)
        refused(guarded)
    standby.keepalived.terminate()
    standby.start_keepalived()
    wait_rule(guarded, standby, "candidate-ready")


def test_a_keepalived_in_its_startup_delay_makes_no_candidate_yet(guarded: Guarded) -> None:
    standby = guarded.standby
    text = standby.read(CONFIG_FILE).replace("startup_delay_s = 1.0", "startup_delay_s = 12.0")
    with guarded.configured(standby, text):
        standby.agent.signal(signal.SIGHUP)
        standby.configure_keepalived()
        standby.keepalived.terminate()
        standby.start_keepalived()
        wait_rule(guarded, standby, "keepalived-starting", 3)
        refused(guarded)
        wait_rule(guarded, standby, "candidate-ready", 20)
    standby.configure_keepalived()


def test_a_stopped_keepalived_makes_no_candidate(guarded: Guarded) -> None:
    standby = guarded.standby
    standby.keepalived.stop()
    try:
        wait_rule(guarded, standby, "keepalived-stands-still", 2)
        refused(guarded)
    finally:
        standby.keepalived.cont()
    wait_rule(guarded, standby, "candidate-ready")


def test_a_restarted_agent_knows_a_healthy_keepalived_within_seconds(guarded: Guarded) -> None:
    standby = guarded.standby
    for end in (standby.agent.kill9, standby.agent.terminate):
        end()
        guarded.start_agent(standby)
        wait_rule(guarded, standby, "candidate-ready", 4)
        guarded.lab.wait(lambda: _fit(guarded), 3, "the writer to see a candidate")


@contextlib.contextmanager
def agent_in_a_container(guarded: Guarded, node: Node) -> Iterator[None]:
    """The agent's numbers of processes are others than those in its /proc, as where that is the host's."""
    argv = node.agent.argv
    node.agent.terminate()
    contained = ["unshare", "--pid", "--fork", "--kill-child", *argv()]
    node.agent.argv = lambda: contained  # type: ignore[method-assign]
    guarded.start_agent(node)
    try:
        yield
    finally:
        node.agent.argv = argv  # type: ignore[method-assign]
        node.agent.kill9()
        guarded.lab.wait(lambda: not node.agent.alive, 10, "the contained agent to end")
        guarded.start_agent(node)


def test_a_node_whose_server_process_cannot_be_seen_is_no_candidate_and_a_move_is_refused(guarded: Guarded) -> None:
    standby = guarded.standby
    with agent_in_a_container(guarded, standby):
        wait_rule(guarded, standby, "process-unknown")
        assert standby.eligible() == "0"
        refused(guarded)
    wait_rule(guarded, standby, "candidate-ready")


def test_a_writer_whose_server_process_cannot_be_seen_keeps_the_vip(guarded: Guarded) -> None:
    writer = guarded.writer
    client = guarded.write(5)
    with agent_in_a_container(guarded, writer):
        guarded.wait_said(writer, "event=adopted")
        guarded.wait_said(writer, "rule=process-unknown")
        guarded.write(20)
        assert not guarded.was_closed(writer) and not guarded.dropped_vip(writer)
    assert guarded.lab.writer() is writer and client.seen().acks
