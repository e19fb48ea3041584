"""A start of replication that fails is tried again with a growing pause, and what a hand stopped stays stopped."""

from __future__ import annotations

import time
from typing import Any

import pytest
from guarded import Guarded, answers
from lawful import wait_nothing_lost
from runbook import do

from vipguard.lab import Node


def threads(node: Node) -> tuple[str, str] | None:
    return node.mysqld.replication_threads()


def word(node: Node) -> str:
    return "SLAVE" if node.spec.flavor == "mariadb" else "REPLICA"


def stays(guarded: Guarded, node: Node, wanted: tuple[str, str], for_s: float = 1.0) -> None:
    until_s = time.monotonic() + for_s
    while time.monotonic() < until_s:
        assert threads(node) == wanted
        time.sleep(0.1)


def test_an_operators_stop_stays_over_restarts_of_the_agent_and_the_one_shot(guarded: Guarded) -> None:
    standby = guarded.standby
    type_this = f"START {word(standby)};"
    for thread, wanted in (("", ("No", "No")), (" IO_THREAD", ("No", "Yes")), (" SQL_THREAD", ("Yes", "No"))):
        guarded.mark()
        standby.mysqld.sql(f"STOP {word(standby)}{thread}", timeout_s=20)
        guarded.wait_said(standby, "event=rejoin", "rule=stopped-by-hand", type_this)
        for end in (standby.agent.kill9, standby.agent.terminate):
            end()
            done = standby.vipguard("hook", timeout_s=60, check=False)
            assert done.returncode == 0, done.stderr
            assert threads(standby) == wanted, "by the one-shot"
            guarded.start_agent(standby)
            guarded.lab.wait(lambda: guarded.own(standby)["stopped_by_hand"], 5, "the next agent to say so")
            stays(guarded, standby, wanted)
        said = standby.vipguard("status", check=False).stdout
        assert "REPLICATION IS STOPPED" in said and type_this in said
        line = standby.vipguard("check", "replication", check=False)
        assert line.returncode == 2 and type_this in line.stdout
        assert guarded.own(standby)["rule"] == "replication-broken"
        if standby.spec.flavor == "mariadb":
            do(standby, "VipguardReplicationStopped", "START SLAVE;")
        else:
            do(standby, "VipguardReplicationStopped", "START REPLICA;")
        guarded.lab.wait(lambda: guarded.own(standby)["rule"] == "candidate-ready", 10, "a candidate again")
        assert guarded.own(standby)["stopped_by_hand"] is None


def test_a_stopped_standby_whose_server_boots_joins_with_and_without_an_agent(guarded: Guarded) -> None:
    lab, standby = guarded.lab, guarded.standby
    for agent_lives in (True, False):
        standby.mysqld.sql(f"STOP {word(standby)}", timeout_s=20)
        lab.wait(lambda: guarded.own(standby)["stopped_by_hand"], 5, "the agent to say so")
        if not agent_lives:
            standby.agent.kill9()
        standby.mysqld.kill9()
        standby.mysqld.start()
        standby.mysqld.wait_ready()
        if not agent_lives:
            guarded.start_agent(standby)
        lab.wait(lambda: threads(standby) == ("Yes", "Yes"), 15, "the booted server to join")
        lab.wait(lambda: guarded.own(standby)["rule"] == "candidate-ready", 10, "a candidate")


def test_a_fatal_io_error_is_tried_again_with_a_growing_pause_and_told_once(guarded: Guarded) -> None:
    """1236: what this node lacks was purged on its source."""
    lab, writer, standby = guarded.lab, guarded.writer, guarded.standby
    try:
        standby.mysqld.sql(f"STOP {word(standby)} IO_THREAD", timeout_s=20)
        client = guarded.write(20)
        lab.wait(lambda: purged(writer), 20, "the writer's logs to be purged")
        guarded.mark()
        began = starts(standby)
        standby.mysqld.sql(f"START {word(standby)} IO_THREAD")
        guarded.wait_said(standby, "event=replication", "rule=start-fails", "1236", within_s=10)
        time.sleep(16)
        tried = starts(standby) - began - 1  # without the operator's
        assert 4 <= tried <= 8, f"{tried} starts within 16 s"
        assert guarded.said(standby, "rule=start-fails") == 1 and guarded.said(standby, "rule=started") <= 1
        assert guarded.said(standby, "event=rejoin") <= 2 and guarded.said(standby, "event=verdict") <= 3
        own = guarded.own(standby)
        assert own["rule"] == "replication-broken" and "1236" in own["text"] and client.seen().acks
    finally:
        lab.rebuild()


def purged(node: Node) -> bool:
    """Its logs but the last; one that a replica was being sent a moment ago is kept."""
    node.mysqld.sql("FLUSH BINARY LOGS")
    last = node.mysqld.sql("SHOW BINARY LOGS")[-1]["Log_name"]
    node.mysqld.sql(f"PURGE BINARY LOGS TO '{last}'")
    return len(node.mysqld.sql("SHOW BINARY LOGS")) == 1


def starts(node: Node) -> int:
    """How often somebody sent START to its server."""
    names = "'Com_slave_start', 'Com_start_slave', 'Com_replica_start'"
    rows = node.mysqld.sql(f"SHOW GLOBAL STATUS WHERE Variable_name IN ({names})")
    assert rows
    return sum(int(row["Value"]) for row in rows)


def test_a_thread_that_gave_up_is_started_when_its_source_is_back(guarded: Guarded) -> None:
    lab, writer, standby = guarded.lab, guarded.writer, guarded.standby
    if lab.spec.flavor == "mariadb":
        pytest.skip("MariaDB takes the number of attempts at its start only; tests/unit/test_rejoin.py has its words")
    change = "CHANGE REPLICATION SOURCE TO SOURCE_RETRY_COUNT = {}, SOURCE_CONNECT_RETRY = 1"
    standby.mysqld.sql("STOP REPLICA IO_THREAD", change.format(2), "START REPLICA IO_THREAD", timeout_s=20)
    # one that is cut off while it greets its source waits for the rest of that without a limit, and gives up nothing
    lab.wait(lambda: threads(standby) == ("Yes", "Yes"), 10, "it to have connected")
    lab.wait(lambda: guarded.own(standby)["rule"] == "candidate-ready", 10, "the agent to see it run")
    with lab.switch.cut(standby.name, writer.name, traffic="sql"):
        lab.wait(lambda: threads(standby) == ("No", "Yes"), 60, "its IO thread to give up")
        row: Any = standby.mysqld.replication()[0]
        assert "attempt 2/2" in row["Last_IO_Error"]
        stays(guarded, standby, ("No", "Yes"))
        assert guarded.own(standby)["stopped_by_hand"] is None
    lab.wait(lambda: threads(standby) == ("Yes", "Yes"), 15, "it to be started")
    standby.mysqld.sql("STOP REPLICA IO_THREAD", change.format(86400), "START REPLICA IO_THREAD", timeout_s=20)
    assert answers(standby)
    wait_nothing_lost(lab, guarded.write(5), standby, 10, "the standby to have all")
