"""An agent is restarted with another configuration on a healthy writer: taken up or refused, it harms nobody."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator

import pytest
from guarded import RUN, STOOD_DOWN, Guarded, answers
from lawful import nothing_lost

from vipguard.lab import Node, faults
from vipguard.lab.node import CONFIG_FILE
from vipguard.model.policy import Policy

WRITES = 50


@contextlib.contextmanager
def rewritten(guarded: Guarded, node: Node, old: str, new: str) -> Iterator[None]:
    """The agent ends, its file says something else; both are as before at the exit."""
    before = node.read(CONFIG_FILE)
    assert old in before
    node.agent.terminate()
    node.write(CONFIG_FILE, before.replace(old, new, 1))
    try:
        yield
    finally:
        if node.agent.alive:
            node.agent.terminate()
        node.write(CONFIG_FILE, before)
        guarded.start_agent(node)


def unharmed(guarded: Guarded) -> None:
    writer = guarded.writer
    assert guarded.lab.writer() is writer and not guarded.was_closed(writer) and not guarded.dropped_vip(writer)


@pytest.mark.parametrize("key", ["cluster", "node", "vip"])
def test_while_it_writes_no_agent_begins_under_another_name(guarded: Guarded, key: str) -> None:
    """Neither that agent nor keepalived's check, which looks by itself meanwhile, takes anything from the writer."""
    lab, writer = guarded.lab, guarded.writer
    old, new = {
        "cluster": (f'cluster = "{lab.spec.name}"', 'cluster = "another"'),
        "node": ("cluster =", f'node = "{guarded.standby.name}"\ncluster ='),
        "vip": (f"{lab.spec.vip}/", "10.73.0.99/"),
    }[key]
    with lab.client(rate=100) as client:
        with rewritten(guarded, writer, old, new):
            refused = writer.vipguard("agent", check=False)
            assert refused.returncode == 2 and f"this node writes as {writer.name} of cluster" in refused.stderr
            hook = writer.vipguard("hook", "--within", "5", check=False)
            assert hook.returncode == 2 and "nothing was done" in hook.stderr
            client.wait_acks(300)  # more than one round of keepalived's check
            unharmed(guarded)
        client.wait_acks(WRITES)
    unharmed(guarded)
    assert guarded.said(writer, "event=adopted", "rule=takeover-completed-before") and not client.seen().errors
    nothing_lost(client, writer)


@pytest.mark.parametrize("also_run", [False, True], ids=["state", "run-and-state"])
def test_other_paths_are_taken_up_by_a_restart_and_the_writer_goes_on(guarded: Guarded, also_run: bool) -> None:
    """With the run directory's word of it the memory comes along; without, the server's own row speaks for it."""
    lab, writer = guarded.lab, guarded.writer
    before = json.loads(writer.path("/var/lib/vipguard/state.json").read_text())["memory"]["epoch"]
    more = f'[paths]\nstate = "/var/lib/vipguard/other-{os.getpid()}-{also_run}"\n'
    if also_run:
        writer.path("/run/vipguard-other").mkdir(exist_ok=True)
        more += 'run = "/run/vipguard-other"\n'
    with lab.client(rate=100) as client:
        with rewritten(guarded, writer, "[limits]", f"{more}[limits]"):
            writer.agent.start()
            said = "rule=epoch-row-of-this-boot" if also_run else "rule=takeover-completed-before"
            guarded.wait_said(writer, "event=adopted", said)
            client.wait_acks(WRITES)
            unharmed(guarded)
        client.wait_acks(WRITES)
    unharmed(guarded)
    assert not client.seen().errors
    after = json.loads(writer.path("/var/lib/vipguard/state.json").read_text())["memory"]["epoch"]
    assert after == before, "no second takeover"


def test_a_stood_down_node_stays_so_with_another_state_directory(guarded: Guarded) -> None:
    standby = guarded.standby
    standby.vipguard("standdown", "--reason", "until it is moved")
    guarded.wait_track(standby, "0")
    elsewhere = f"/var/lib/vipguard/word-{os.getpid()}"
    with rewritten(guarded, standby, "[limits]", f'[paths]\nstate = "{elsewhere}"\n[limits]'):
        guarded.start_agent(standby)
        guarded.lab.wait(lambda: guarded.own(standby)["rule"] == "stood-down", 5, "the word to have come along")
        standby.vipguard("standdown", "--end")
        guarded.lab.wait(lambda: guarded.own(standby)["stood_down"] is None, 5, "its end")
    standby.path(STOOD_DOWN).unlink(missing_ok=True)


def test_a_torn_memory_closes_no_writer(guarded: Guarded) -> None:
    lab, writer = guarded.lab, guarded.writer
    with lab.client(rate=100) as client:
        writer.agent.kill9()
        writer.path("/var/lib/vipguard/state.json").write_text('{"format": 1, "clus')
        guarded.start_agent(writer)
        guarded.wait_said(writer, "event=adopted", "rule=epoch-row-of-this-boot")
        client.wait_acks(WRITES)
    unharmed(guarded)
    assert not client.seen().errors


def test_a_wrong_socket_in_the_configuration_kills_no_server(guarded: Guarded) -> None:
    """Its process lives, and where the new agent asks, nobody listens: that is no server that has lost its socket."""
    lab, writer = guarded.lab, guarded.writer
    with lab.client(rate=100) as client:
        with rewritten(guarded, writer, "[mysql]", '[mysql]\nsocket = "/run/mysqld/nothing-here.sock"'):
            writer.agent.start()
            lab.wait(lambda: answers(writer), 10, "the agent to answer")
            client.wait_acks(300)  # three times hang_s of these tests
            assert guarded.own(writer)["rule"] == "holder-server-leaving" and not guarded.said(writer, "event=kill")
            unharmed(guarded)
        client.wait_acks(WRITES)
    unharmed(guarded)
    assert not client.seen().errors


def test_two_names_of_one_cluster_are_never_two_writers(guarded: Guarded) -> None:
    """The standby alone has the new name: its locks are others, and its server holds the old name's row."""
    lab, writer, standby = guarded.lab, guarded.writer, guarded.standby
    with rewritten(guarded, standby, f'cluster = "{lab.spec.name}"', 'cluster = "another"'):
        standby.agent.start()
        guarded.wait_said(standby, "event=verdict", "rule=other-cluster", lab.spec.name)
        with faults.kill_keepalived(writer):
            guarded.wait_said(writer, "event=closing", "rule=keepalived-dead")
            lab.wait(lambda: not writer.has_vip(), 10, "the VIP to be removed")
            assert standby.mysqld.read_only() is True and standby.eligible() == "0"
    guarded.lab.wait(lambda: lab.writer() is not None, 30, "one writer again")


@pytest.mark.parametrize("key", ["mysql", "durability"])
def test_what_the_reload_says_harms_no_writer_harms_none(guarded: Guarded, key: str) -> None:
    """A wrong password is blindness; lossless begins when a standby acknowledges, and holds up nothing before."""
    lab, writer = guarded.lab, guarded.writer
    old, new = {
        "mysql": ('user = "vipguard"\n', 'user = "nobody_there"\n'),
        "durability": ("cluster =", 'durability = "lossless"\ncluster ='),
    }[key]
    before = writer.read(CONFIG_FILE)
    with lab.client(rate=100) as client:
        with guarded.configured(writer, before.replace(old, new, 1)):
            writer.agent.signal(1)
            guarded.wait_said(writer, "rule=configuration-refused", key, "which harms no writer")
            writer.agent.terminate()
            writer.agent.start()
            guarded.wait_said(writer, "event=adopted")
            client.wait_acks(WRITES)
            unharmed(guarded)
            writer.agent.terminate()
        guarded.start_agent(writer)
        client.wait_acks(WRITES)
    unharmed(guarded)


def test_the_paths_of_these_tests_are_those_of_the_policy() -> None:
    paths = Policy.__dataclass_fields__["paths"].default
    assert (paths.stood_down, paths.run) == (STOOD_DOWN, RUN)
