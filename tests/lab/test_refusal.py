"""A peer that refuses connections: by a firewall it may live on for others, and a killed one is followed as ever."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator

import pytest
from guarded import SETTINGS, Guarded, make_ready
from lawful import closed_first, nothing_lost, one_writer

from vipguard.lab import Lab, LabSpec, faults
from vipguard.lab.node import CONFIG_FILE
from vipguard.lab.spec import Flavor
from vipguard.lab.templates import command

SECONDS = 6.0  # three attempts of the standby, by its back-off
FENCE = '[fence]\ncommand = "/usr/bin/false"\nrequired = true\n'
BY_AGENT, BY_HOST = "rule=gone-by-its-agent", "rule=gone-by-its-host"


@contextlib.contextmanager
def settings(guarded: Guarded, kind: str) -> Iterator[None]:
    """All nodes have these settings meanwhile."""
    with contextlib.ExitStack() as stack:
        for node in guarded.lab.nodes.values():
            text = before = node.read(CONFIG_FILE)
            if kind == "no-witness":
                text = text.replace(f'addresses = ["{guarded.lab.spec.witness}"]', "addresses = []")
            elif kind == "fence-required":
                text += f"\n{FENCE}"
            else:
                text = f'silent_peer = "{kind}"\n{text}'
            assert text != before
            stack.enter_context(guarded.configured(node, text))
            node.agent.signal(signal.SIGHUP)
            guarded.wait_said(node, "rule=configuration-taken-up")
        yield


def refuses(guarded: Guarded, how: str = "tcp reset") -> None:
    """A firewall between the nodes rejects for a while: the writer goes on, for a client too, and nobody else opens."""
    lab, writer, standby = guarded.lab, guarded.writer, guarded.standby
    with faults.rejecting(lab, how=how):
        guarded.wait_said(standby, "rule=peer-refused", within_s=10)
        until_s = time.monotonic() + SECONDS
        lab.wait(lambda: time.monotonic() > until_s, SECONDS + 5, "some attempts to pass")
        assert not guarded.said(standby, "event=takeover-complete") and not guarded.was_closed(writer)
        one_writer(guarded.watcher)
    guarded.wait_writer(writer, within_s=15)
    lab.wait(lambda: lab.trouble() == "", 30, "a healthy pair")
    nothing_lost(guarded.write(10), writer)


def follows(guarded: Guarded, word: str) -> None:
    """The writer's server is killed, and the standby opens by that proof."""
    writer, standby = guarded.writer, guarded.standby
    before = guarded.write_settled()
    with faults.kill_mysqld(writer):
        guarded.wait_writer(standby, within_s=15)
        assert guarded.said(standby, "event=peer-gone", word) == 1, guarded.log(standby)
        nothing_lost(before, standby)
        nothing_lost(guarded.write(10), standby)


@pytest.mark.parametrize("kind", ["wait", "open", "no-witness", "fence-required"])
def test_a_firewall_that_rejects_between_the_nodes_opens_no_second_writer(guarded: Guarded, kind: str) -> None:
    with settings(guarded, kind):
        refuses(guarded)


def test_a_firewall_that_answers_by_icmp_opens_no_second_writer(guarded: Guarded) -> None:
    with settings(guarded, "wait"):
        refuses(guarded, "icmpx port-unreachable")


def test_a_writer_that_is_killed_behind_such_a_firewall_is_not_followed_until_somebody_knows(guarded: Guarded) -> None:
    """Its agent cannot say it, for its way is refused, too; but its host shows that it has no VIP any more."""
    lab, writer, standby = guarded.lab, guarded.writer, guarded.standby
    before = guarded.write_settled()
    with settings(guarded, "wait"), faults.rejecting(lab):
        guarded.wait_said(standby, "rule=peer-refused", within_s=10)
        with faults.kill_mysqld(writer):
            guarded.wait_said(standby, "event=takeover-complete", within_s=15)
            guarded.wait_said(standby, "event=peer-gone", BY_HOST)
            nothing_lost(before, standby)
    lab.wait(lambda: lab.trouble() == "", 30, "a healthy pair")


def test_a_killed_writer_is_followed_by_its_agents_word(guarded: Guarded) -> None:
    follows(guarded, BY_AGENT)


def test_a_killed_writer_with_a_dead_agent_is_followed_by_what_its_host_shows(guarded: Guarded) -> None:
    """keepalived's own check finds it out."""
    with faults.kill_agent(guarded.writer):
        follows(guarded, BY_HOST)


def test_a_killed_writer_whose_keepalived_is_dead_too_is_followed_though_the_vip_was_left_there(
    guarded: Guarded,
) -> None:
    guarded.write_settled()
    with faults.kill_keepalived(guarded.writer):
        follows_now(guarded)


def follows_now(guarded: Guarded) -> None:
    """As `follows`, of a writer that is being closed by its agent in this moment."""
    with faults.kill_mysqld(guarded.writer):
        guarded.wait_writer(guarded.standby, within_s=15)


def test_a_killed_server_whose_threads_hang_in_the_kernel_is_followed_though_its_port_accepts(
    stalling: Guarded,
) -> None:
    """A write that the disk holds up keeps the process, and with it its sockets."""
    lab, writer, standby = stalling.lab, stalling.writer, stalling.standby
    with lab.client(rate=100) as client:
        client.wait_acks(20)
        with faults.stalled_disk(writer):
            time.sleep(0.3)  # for some threads to hang, before the guard finds it out
            writer.mysqld.signal(signal.SIGKILL)
            stalling.wait_writer(standby, within_s=15)
            assert stalling.said(standby, "event=peer-gone", BY_AGENT) == 1, stalling.log(standby)
            client.wait_acks(20)
    lab.restart_dead()
    lab.wait(lambda: lab.trouble() == "", 30, "a healthy pair")


def test_a_guard_that_is_late_while_its_writer_is_cut_off_leaves_no_second_writer(guarded: Guarded) -> None:
    """Late by less than its lease, from several moments on. The watcher asks both servers all the time."""
    lab, left_ms = guarded.lab, []
    for after_s in (0.02, 0.1, 0.17, 0.25, 0.4):
        writer, standby = guarded.writer, guarded.standby
        guarded.write_and_rest(5)
        began_ns = time.monotonic_ns()
        with faults.cut_off(lab, writer):
            time.sleep(after_s)
            writer.agent.signal(signal.SIGSTOP)
            time.sleep(0.45)
            writer.agent.signal(signal.SIGCONT)
            guarded.wait_said(standby, "event=takeover-complete", within_s=10)
            closed_ns, opened_ns = closed_first(guarded, writer, standby, began_ns)
            left_ms.append(round((opened_ns - closed_ns) / 1e6))
        lab.wait(lambda: lab.trouble() == "", 20, "a healthy pair")
        # where the cut ended before the old writer's keepalived had let the VIP go, it may have it again
        guarded.writer = lab.wait_healthy()
        guarded.standby = lab.others(guarded.writer)[0]
        guarded.mark()
    print(f"closed so many ms before the other opened: {left_ms}")


def test_ipv6_refusals_prove_no_more(flavor: Flavor) -> None:
    spec = LabSpec(name=f"t{os.getpid()}-r6", ipv6=True, flavor=flavor, settings={**SETTINGS, "silent_peer": "wait"})
    with Lab.create(spec) as lab:
        lab.up()
        _all(lab)


class Apart(LabSpec):
    """The nodes know each other by addresses of another link than the VIP's."""

    def address(self, node: str) -> str:
        return f"10.74.0.{10 + self.node_names.index(node) + 1}"


def test_node_addresses_on_another_link_than_the_vip_are_as_good(flavor: Flavor) -> None:
    spec = Apart(name=f"t{os.getpid()}-two", flavor=flavor, settings={**SETTINGS, "silent_peer": "wait"})
    with Lab.create(spec) as lab:
        lab.switch.ip(["link add br1 type bridge stp_state 0 forward_delay 0 mcast_snooping 0", "link set br1 up"])
        for node in lab.nodes.values():
            cable, switch, pid = f"{node.name}-b", lab.switch.space.identity.pid, node.space.identity.pid
            made = f"ip link add {cable} type veth peer name eth1 netns {pid}"
            command(["nsenter", "-t", str(switch), "-n", *made.split()], 10)
            lab.switch.ip([f"link set {cable} master br1", f"link set {cable} up"])
            node.run(["ip", "addr", "add", f"{node.address}/24", "dev", "eth1"])
            node.run(["ip", "link", "set", "eth1", "up"])
        lab.up()
        _all(lab)


def _all(lab: Lab) -> None:
    """A firewall, a kill, and a kill with a dead agent, one after another."""
    for step in (refuses, lambda guarded: follows(guarded, BY_AGENT), _without_agent):
        make_ready(lab)
        with lab.watch() as watcher:
            step(Guarded(lab, watcher))
        one_writer(watcher)


def _without_agent(guarded: Guarded) -> None:
    with faults.kill_agent(guarded.writer):
        follows(guarded, BY_HOST)
