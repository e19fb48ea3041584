"""The network splits in every way: who sees whom, over which protocol, and how many may write then."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator

import pytest
from guarded import Guarded, sets_equal

from vipguard.lab import faults
from vipguard.lab.node import CONFIG_FILE


@contextlib.contextmanager
def silent_peer(guarded: Guarded, choice: str) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for node in guarded.lab.nodes.values():
            text = f'silent_peer = "{choice}"\n{node.read(CONFIG_FILE)}'
            stack.enter_context(guarded.configured(node, text))
            node.agent.signal(signal.SIGHUP)
            guarded.wait_said(node, "rule=configuration-taken-up")
        yield


def test_a_cut_between_the_nodes_alone_gives_one_writer_under_wait(guarded: Guarded) -> None:
    writer, standby = guarded.writer, guarded.standby
    with silent_peer(guarded, "wait"), guarded.lab.client(rate=100) as client:
        with faults.between_nodes(guarded.lab):
            guarded.wait_said(standby, "event=takeover-abandoned", "rule=silent-peer-wait", within_s=10)
            guarded.wait_track(standby, "0")
            assert standby.mysqld.read_only() is True
            assert not guarded.was_closed(writer)
        guarded.wait_writer(writer)
        client.wait_acks(20)
    guarded.lab.wait(lambda: sets_equal(standby, writer), 20, "the standby to have all")
    assert client.lost(standby) == []


def test_a_cut_between_the_nodes_alone_is_the_documented_case_of_two_writers_under_open(guarded: Guarded) -> None:
    """docs/guarantees.md: both see the witness. When the nodes meet again the lower epoch closes at once."""
    writer, standby = guarded.writer, guarded.standby
    guarded.two_writers_ms_max = 5000.0
    with faults.between_nodes(guarded.lab):
        guarded.wait_said(standby, "event=takeover-complete", within_s=10)
        assert len(guarded.lab.writable()) == 2
    guarded.wait_said(writer, "event=closing", "rule=higher-epoch")
    guarded.lab.wait(lambda: guarded.lab.writer() is not None, 15, "one writer")
    guarded.wait_track(writer, "1", within_s=20)


def test_a_peer_that_answers_sql_and_sends_no_adverts_stays_the_writer(guarded: Guarded) -> None:
    writer, standby = guarded.writer, guarded.standby
    with guarded.lab.client(rate=100) as client:
        with faults.between_nodes(guarded.lab, traffic="vrrp"):
            guarded.wait_said(standby, "event=takeover-abandoned", "rule=peer-legit", within_s=10)
            guarded.wait_track(standby, "0")
            client.wait_acks(20)
        assert not guarded.was_closed(writer) and not guarded.dropped_vip(writer)
    guarded.wait_writer(writer)
    assert client.lost(writer) == []


@pytest.mark.parametrize("traffic", ["sql", "icmp"])
def test_a_peer_that_sends_adverts_and_is_otherwise_unseen_stays_the_writer(guarded: Guarded, traffic: str) -> None:
    writer, standby, lab = guarded.writer, guarded.standby, guarded.lab
    with lab.client(rate=100) as client:
        with faults.between_nodes(lab, traffic=traffic):  # type: ignore[arg-type]
            if traffic == "sql":
                lab.wait(lambda: guarded.status(writer)["nodes"][1]["server"] == "silent", 5, "the peer to be unseen")
            client.wait_acks(100)
        assert not guarded.was_closed(writer) and not guarded.dropped_vip(writer)
        assert lab.writer() is writer and standby.mysqld.read_only() is True


def test_a_node_that_is_heard_and_hears_nobody_does_not_take_over(guarded: Guarded) -> None:
    """What the writer sends does not reach the standby: its keepalived becomes MASTER beside the writer's."""
    writer, standby = guarded.writer, guarded.standby
    with silent_peer(guarded, "wait"):
        with faults.one_way(guarded.lab, writer, standby):
            guarded.wait_said(standby, "event=takeover-abandoned", within_s=10)
            assert standby.mysqld.read_only() is True
            # the writer hears a MASTER of higher priority and steps down, as VRRP has it; of a lower one it does not
            assert guarded.was_closed(writer) is (writer.name > standby.name)
        guarded.lab.wait(lambda: guarded.lab.writer() is not None, 20, "one writer")
