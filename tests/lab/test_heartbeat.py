"""The writer's heartbeat tells the true lag where Seconds_Behind does not, and makes no node diverge."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

from guarded import Guarded

from vipguard.lab import Node, faults

ROUNDS = 5


def beats(node: Node, of: Node) -> str:
    """The newest beat of `of` that `node` has; "" for none."""
    rows = node.mysqld.sql(f"SELECT beat_at FROM vipguard.heartbeat WHERE server_id = {of.server_id}")
    return str(rows[0]["beat_at"]) if rows else ""


def wait_beating(guarded: Guarded, writer: Node, standby: Node) -> None:
    """A client writes, so a new beat is written, received and applied, and the standby's agent goes by it."""
    before = beats(standby, writer)
    guarded.write(1)

    def beating() -> bool:
        return beats(standby, writer) > before and guarded.own(standby)["lag_rule"] == "lag-heartbeat"

    guarded.lab.wait(beating, 10, f"{writer.name} to beat, for {standby.name}")


def seen_lag(node: Node) -> object:
    row = node.mysqld.replication()[0]
    return row.get("Seconds_Behind_Master", row.get("Seconds_Behind_Source"))


@contextlib.contextmanager
def nothing_received(guarded: Guarded, writer: Node, standby: Node) -> Iterator[None]:
    """What the writer's dump thread sends gets lost, and nothing else; the IO thread thinks that all is well."""
    rows = writer.mysqld.sql("SHOW PROCESSLIST")
    host = next(row["Host"] for row in rows if "Dump" in row["Command"] and standby.address in row["Host"])
    port = host.rpartition(":")[2]
    rule = f'iifname "{writer.name}" oifname "{standby.name}" tcp dport {port} drop'
    with guarded.lab.switch.rules([("forward", rule)]):
        yield


def lag_of(guarded: Guarded, node: Node) -> dict[str, Any]:
    own = guarded.own(node)
    return {key: own[key] for key in ("lag_s", "lag_rule", "lag_of", "lag_seen_s", "eligibility")}


def test_the_true_lag_is_seen_while_the_server_says_that_it_has_none(guarded: Guarded) -> None:
    lab, writer, standby = guarded.lab, guarded.writer, guarded.standby
    wait_beating(guarded, writer, standby)
    none = {
        "lag_s": 0.0, "lag_rule": "lag-heartbeat", "lag_of": writer.name, "lag_seen_s": 0.0, "eligibility": "eligible",
    }  # fmt: skip
    lab.wait(lambda: lag_of(guarded, standby) == none, 10, "no lag, and a standby that knows it")
    with nothing_received(guarded, writer, standby):
        guarded.write(1)
        lab.wait(lambda: guarded.own(standby)["lag_s"] >= 1.4, 4, "the lag to show")
        assert seen_lag(standby) == 0
        seen = lag_of(guarded, standby)
        assert (seen["lag_rule"], seen["lag_seen_s"]) == ("lag-heartbeat", 0.0)
        told = standby.vipguard("check", "lag", "--critical", "1", check=False)
        assert told.returncode == 2 and f"behind {writer.name}" in told.stdout, told.stdout
        peer = next(node for node in guarded.status(writer)["nodes"] if node["node"] == standby.name)
        assert peer["lag_s"] >= 1.4, "and the writer sees it too"
    lab.wait(lambda: guarded.own(standby)["lag_s"] == 0.0, 10, "the lag to be gone")
    assert standby.vipguard("check", "lag", "--critical", "1").returncode == 0


def test_a_long_statement_of_the_applier_is_a_lag_without_any_client(guarded: Guarded) -> None:
    lab, writer, standby = guarded.lab, guarded.writer, guarded.standby
    wait_beating(guarded, writer, standby)
    with guarded.locked(standby):
        guarded.write(1)
        lab.wait(lambda: guarded.own(standby)["lag_s"] >= 1.4, 5, "the lag to show")
        assert guarded.own(standby)["lag_rule"] == "lag-heartbeat"
    lab.wait(lambda: guarded.own(standby)["lag_s"] == 0.0, 10, "the lag to be gone")


def test_a_dead_agent_of_the_writer_makes_no_standby_unfit(guarded: Guarded) -> None:
    """Law 4: nobody beats, so the lag is what the server says, or none where nothing is missing."""
    lab, writer, standby = guarded.lab, guarded.writer, guarded.standby
    wait_beating(guarded, writer, standby)
    with faults.kill_agent(writer):
        last = beats(writer, writer)
        with guarded.locked(standby):
            guarded.write(1)
            lab.wait(lambda: guarded.own(standby)["lag_rule"] == "lag-seen", 10, "the heartbeat to have no say")
        lab.wait(lambda: guarded.own(standby)["lag_s"] == 0.0, 10, "the lag to be gone")
        assert guarded.own(standby)["eligibility"] == "eligible"
        assert beats(writer, writer) == last
    assert not guarded.said(standby, "event=verdict", "rule=lag-")
    wait_beating(guarded, writer, standby)
    assert not guarded.said(standby, "event=eligibility-lost")


def test_a_writer_of_an_idle_pair_that_is_cut_off_never_comes_back_diverged(guarded: Guarded) -> None:
    lab = guarded.lab
    for number in range(ROUNDS):
        lab.wait(lambda: lab.trouble() == "", 30, "a healthy pair")
        writer = lab.wait_healthy()
        standby = lab.others(writer)[0]
        time.sleep(1.2 + 0.11 * number)  # the beat after the opening, and anywhere after it
        with faults.cut_off(lab, writer):
            lab.wait(lambda: standby in lab.writable() and writer not in lab.writable(), 15, "the other to write")  # noqa: B023
    lab.wait(lambda: lab.trouble() == "", 30, "a healthy pair")
    for node in lab.nodes.values():
        assert guarded.own(node)["diverged"] is None
        assert not guarded.said(node, "event=rejoin", "diverged")
