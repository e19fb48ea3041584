"""The guard itself dies, hangs, restarts, is configured anew: no healthy writer loses its VIP by that."""

from __future__ import annotations

import signal
import time

from guarded import Guarded, vrrp_state
from lawful import nothing_lost

from vipguard.lab import faults
from vipguard.lab.node import CONFIG_FILE


def undisturbed(guarded: Guarded) -> bool:
    """The VIP never left the writer, and nothing closed it."""
    writer = guarded.writer
    return guarded.lab.writer() is writer and not guarded.dropped_vip(writer) and not guarded.was_closed(writer)


def test_a_killed_agent_takes_neither_vip_nor_writes_and_the_next_one_adopts(guarded: Guarded) -> None:
    writer = guarded.writer
    with guarded.lab.client(rate=100) as client:
        with faults.kill_agent(writer):
            time.sleep(2.5)  # longer than keepalived's check interval: the wrapper looks by itself
            client.wait_acks(20)
        guarded.wait_said(writer, "event=adopted")
        client.wait_acks(20)
    assert not client.seen().errors and len(client.seen().connections) == 1
    assert undisturbed(guarded)
    guarded.lab.wait(lambda: guarded.own(writer)["writer"], 5, "the adopted writer to be known as one")


def test_an_adopting_agent_guards_as_well_as_the_first(guarded: Guarded) -> None:
    writer, standby = guarded.writer, guarded.standby
    before = guarded.write_settled()
    with faults.kill_agent(writer):
        pass
    guarded.wait_said(writer, "event=verdict", "rule=holder-healthy")
    with faults.kill_mysqld(writer):
        guarded.wait_writer(standby)
    nothing_lost(before, standby)


def test_a_writer_whose_agent_is_dead_is_taken_over_when_its_server_dies_too(guarded: Guarded) -> None:
    """keepalived's own check fails it, two intervals later."""
    writer, standby = guarded.writer, guarded.standby
    before = guarded.write_settled()
    with faults.kill_agent(writer):
        with faults.kill_mysqld(writer):
            guarded.wait_writer(standby, within_s=15)
        nothing_lost(before, standby)


def test_an_agent_that_stood_still_closes_first_and_takes_over_again(guarded: Guarded) -> None:
    writer = guarded.writer
    before = guarded.write_settled()
    with faults.stop_agent(writer):
        time.sleep(1.2)
        assert writer.has_vip() and writer.mysqld.read_only() is False
    guarded.wait_said(writer, "event=closing", "rule=paused")
    guarded.wait_said(writer, "event=takeover-complete")
    guarded.wait_writer(writer)
    nothing_lost(before, writer)
    assert not guarded.dropped_vip(writer)
    guarded.write(5)


def test_a_stopping_agent_on_the_writer_drops_nothing(guarded: Guarded) -> None:
    writer = guarded.writer
    with guarded.lab.client(rate=100) as client:
        writer.agent.terminate()
        assert writer.eligible() == "1"
        client.wait_acks(20)
        guarded.start_agent(writer)
        guarded.wait_said(writer, "event=adopted")
        client.wait_acks(20)
    assert not client.seen().errors and undisturbed(guarded)


def test_a_stopping_agent_on_the_standby_leaves_it_ineligible(guarded: Guarded) -> None:
    standby = guarded.standby
    standby.agent.terminate()
    assert standby.eligible() == "0"
    guarded.lab.wait(lambda: vrrp_state(standby) != "BACKUP", 5, "keepalived to follow")
    guarded.write(5)
    guarded.start_agent(standby)
    guarded.wait_track(standby, "1", within_s=10)
    assert undisturbed(guarded)


def test_a_broken_configuration_is_refused_with_one_sentence_and_the_old_one_stays(guarded: Guarded) -> None:
    writer = guarded.writer
    good = writer.read(CONFIG_FILE)
    for broken, word in (
        ("this is no toml\n", CONFIG_FILE),
        (good.replace("hang_s", "hangs_s"), "hangs_s"),
        (good.replace("router_id = 51", "router_id = 52"), "vip changed"),
    ):
        guarded.mark()
        with guarded.configured(writer, broken):
            writer.agent.signal(signal.SIGHUP)
            guarded.wait_said(writer, "level=error", "event=reload", "rule=configuration-refused", word)
        guarded.wait_said(writer, "rule=configuration-taken-up")
    assert writer.agent.alive and undisturbed(guarded)
    guarded.write(5)


def test_a_good_configuration_is_taken_up_without_a_restart(guarded: Guarded) -> None:
    standby = guarded.standby
    pid = standby.agent.pid
    with guarded.configured(standby, standby.read(CONFIG_FILE).replace("hang_s = 1.0", "hang_s = 0.5")):
        standby.agent.signal(signal.SIGHUP)
        guarded.wait_said(standby, "event=reload", "rule=configuration-taken-up")
        with faults.stop_mysqld(standby):
            guarded.wait_said(standby, "event=verdict", "rule=server-hung", "silent_s=0.")
    assert standby.agent.pid == pid and undisturbed(guarded)


def test_only_one_agent_guards_a_node(guarded: Guarded) -> None:
    writer = guarded.writer
    second = writer.vipguard("agent", check=False, timeout_s=10)
    assert second.returncode != 0 and "guards this node already" in second.stderr
    assert "Traceback" not in second.stderr
    assert undisturbed(guarded) and guarded.own(writer)["node"] == writer.name
