"""Reader addresses: each on its preferred node, leaving one that is unfit, coming back, never on two."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from guarded import SETTINGS, Guarded, make_ready
from lawful import in_time, laws_hold, never_two, taken_up, watched
from reading import Holders, ReadingClient, wait_readers

from vipguard.lab import Lab, LabSpec, Node, faults
from vipguard.lab.spec import Flavor

RETURN_S = 1.0
TWICE_MS_MAX = 1000.0  # a keepalived that got no processor for 0.35 s is taken for dead, and settles it by adverts
ONE, TWO, LAST = 0, 1, 2  # the first prefers db1, the second db2, the last one whoever is not the writer
READERS = [
    {"prefer": "db1", "writer": "yes", "return_s": RETURN_S},
    {"prefer": "db2", "writer": "yes", "return_s": RETURN_S},
    {"name": "last", "return_s": RETURN_S, "lag_s_max": 1.0},
]


@dataclass
class Readers:
    guarded: Guarded
    holders: Holders

    @property
    def lab(self) -> Lab:
        return self.guarded.lab

    @property
    def home(self) -> dict[int, Node | None]:
        """Where each belongs, by who is the writer."""
        db1, db2 = self.lab.nodes.values()
        return {ONE: db1, TWO: db2, LAST: self.guarded.standby}

    def told(self, node: Node, number: int) -> dict[str, Any]:
        """What the node's status says of one."""
        return dict(self.guarded.status(node)["readers"][number])

    def own(self, node: Node) -> int:
        """The one that prefers this node."""
        return ONE if node.name == "db1" else TWO


@pytest.fixture(scope="module")
def _lab(flavor: Flavor) -> Iterator[Lab]:
    spec = LabSpec(name=f"rd{os.getpid()}-{flavor}", flavor=flavor, readers=READERS, settings=SETTINGS)
    with Lab.create(spec) as lab:
        yield lab.up()


@pytest.fixture
def readers(_lab: Lab) -> Iterator[Readers]:
    make_ready(_lab)
    with laws_hold(_lab), watched(_lab) as guarded, Holders(_lab) as holders:
        found = Readers(guarded, holders)
        wait_readers(_lab, found.home, within_s=20)
        home = {number: (node.name,) for number, node in found.home.items() if node is not None}
        _lab.wait(lambda: holders.seen() == home, 5, "it to be written down")
        yield found
        in_time(holders.twice_ms(), TWICE_MS_MAX)


def test_each_is_on_its_node_and_the_status_says_so(readers: Readers) -> None:
    lab, writer, standby = readers.lab, readers.guarded.writer, readers.guarded.standby
    home = {"reader1": "db1", "reader2": "db2", "last": standby.name}
    for node in (writer, standby):

        def told_by(node: Node = node) -> dict[str, Any]:
            return {reader["name"]: reader for reader in readers.guarded.status(node)["readers"]}

        at_home = lambda: {name: reader["holder"] for name, reader in told_by().items()} == home  # noqa: E731
        lab.wait(at_home, 5, f"the status of {node.name} to tell each address's node")
        told = told_by()
        assert all(reader["eligibility"] == "eligible" for reader in told.values())
        assert told["last"]["here"] is (node is standby)
        assert told["last"]["rule"] == ("reader-ready" if node is standby else "reader-by-the-writer")
        checked = node.vipguard("check", "reader", "--json")
        assert json.loads(checked.stdout)["seen_by"] == "agent"
    assert f"reader last 10.73.0.103/24: on {standby.name}; eligible" in writer.vipguard("status").stdout
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(ReadingClient(lab, number)) for number in (ONE, TWO, LAST)]
        lab.wait(lambda: all(len(client.answers()) > 3 for client in clients), 5, "answers at each address")
        assert [client.answers()[-1][1] for client in clients] == [1, 2, standby.server_id]
    doctor = json.loads(writer.vipguard("doctor", "--json", check=False).stdout)
    found = {row["rule"] for row in (doctor["findings"] if isinstance(doctor, dict) else doctor)}
    assert not found & {"conf-differs", "reader-instance-missing", "track-file-missing", "configuration-differs"}


def test_a_standby_that_does_not_replicate_hands_its_addresses_over_and_gets_them_back_damped(readers: Readers) -> None:
    lab, writer, standby = readers.lab, readers.guarded.writer, readers.guarded.standby
    own = readers.own(standby)
    with ReadingClient(lab, own) as client, ReadingClient(lab, LAST) as last:
        lab.wait(lambda: client.answers() and last.answers(), 5, "answers")
        began_ns = time.monotonic_ns()
        with readers.guarded.applier_stopped(standby):
            wait_readers(lab, {own: writer, LAST: writer})
            lab.wait(lambda: client.answers()[-1][1] == writer.server_id, 5, "an answer of the writer")
            in_time(client.longest_gap_ms(began_ns), 1000)
            lab.wait(lambda: readers.told(standby, own)["holder"] == writer.name, 5, "its adverts to be heard")
            assert readers.told(standby, own)["rule"] == "reader-replication-broken"
        well_ns = time.monotonic_ns()
        wait_readers(lab, readers.home)
        assert time.monotonic_ns() - well_ns > RETURN_S * 0.8e9, "it must have been well for a while"
        lab.wait(lambda: client.answers()[-1][1] == standby.server_id, 5, "an answer of the standby")
        in_time(client.longest_gap_ms(began_ns), 1000)
        in_time(last.longest_gap_ms(began_ns), 1000)
    assert readers.guarded.said(writer, "event=reader-gives", "rule=reader-gives-way", f"node={standby.name}") >= 2
    assert not readers.guarded.dropped_vip(writer) and not readers.guarded.was_closed(writer)


def test_a_lag_takes_the_address_with_the_lower_limit(readers: Readers) -> None:
    standby = readers.guarded.standby
    began_ns = time.monotonic_ns()
    with readers.guarded.locked(standby):
        readers.guarded.write(10)
        wait_readers(readers.lab, {LAST: readers.guarded.writer})
        readers.guarded.wait_said(standby, "event=reader ", "reader=last", "rule=reader-lag-exceeded", "lag_s_max=1")
        assert readers.holders.moves(readers.own(standby), began_ns) == []
    wait_readers(readers.lab, readers.home, within_s=15)


def test_maintenance_and_a_pause(readers: Readers) -> None:
    """A node in maintenance serves nothing; a paused cluster moves nothing."""
    lab, writer, standby = readers.lab, readers.guarded.writer, readers.guarded.standby
    own = readers.own(standby)
    writer.vipguard("maintenance", "on", "--node", standby.name)
    wait_readers(lab, {own: writer, LAST: writer})
    readers.guarded.wait_said(standby, "event=reader ", "rule=reader-maintenance")
    writer.vipguard("maintenance", "on", "--cluster")
    writer.vipguard("maintenance", "off", "--node", standby.name)
    readers.guarded.wait_said(standby, "event=reader ", "rule=reader-paused")
    time.sleep(RETURN_S + 0.3)
    wait_readers(lab, {own: writer, LAST: writer}, within_s=0.5)
    writer.vipguard("maintenance", "off", "--cluster")
    wait_readers(lab, readers.home, within_s=15)


def test_a_killed_server_and_a_killed_keepalived_leave_their_addresses_to_the_other(readers: Readers) -> None:
    lab, writer, standby = readers.lab, readers.guarded.writer, readers.guarded.standby
    own = readers.own(standby)
    with ReadingClient(lab, own) as client:
        lab.wait(client.answers, 5, "answers")
        began_ns = time.monotonic_ns()
        with faults.kill_mysqld(standby):
            wait_readers(lab, {own: writer, LAST: writer})
            lab.wait(lambda: client.answers()[-1][1] == writer.server_id, 5, "an answer of the writer")
        in_time(client.longest_gap_ms(began_ns), 1000)
        wait_readers(lab, readers.home, within_s=15)
        with faults.kill_keepalived(standby):
            lab.wait(lambda: standby.readers() == [], 5, "the addresses that were left behind to be removed")
            wait_readers(lab, {own: writer, LAST: writer})
            readers.holders.changes.clear()  # until then the dead one's addresses were on both
            lab.wait(lambda: client.answers()[-1][1] == writer.server_id, 10, "an answer of the writer")


def test_a_dead_agent_drops_nothing_and_its_dead_server_is_seen_all_the_same(readers: Readers) -> None:
    lab, writer, standby = readers.lab, readers.guarded.writer, readers.guarded.standby
    own, began_ns = readers.own(standby), time.monotonic_ns()
    with faults.kill_agent(standby):
        time.sleep(4.5)  # two rounds of keepalived's script
        assert [readers.holders.moves(number, began_ns) for number in (ONE, TWO, LAST)] == [[], [], []]
        with faults.kill_mysqld(standby):
            wait_readers(lab, {own: writer, LAST: writer}, within_s=12)
    assert not readers.guarded.dropped_vip(writer)


def test_a_takeover_moves_the_writers_reader_too_and_each_only_once(readers: Readers) -> None:
    lab, writer, standby = readers.lab, readers.guarded.writer, readers.guarded.standby
    own = readers.own(writer)
    readers.guarded.write_settled()
    with ReadingClient(lab, own) as client, ReadingClient(lab, LAST) as last:
        lab.wait(lambda: client.answers() and last.answers(), 5, "answers")
        began_ns = time.monotonic_ns()
        with faults.kill_mysqld(writer):
            readers.guarded.wait_writer(standby)
            in_time(time.monotonic_ns() - began_ns, 3e9)
            wait_readers(lab, dict.fromkeys((ONE, TWO, LAST), standby))
            lab.wait(lambda: client.answers()[-1][1] == standby.server_id, 5, "an answer of the standby")
            in_time(client.longest_gap_ms(began_ns), 1000)
            in_time(last.longest_gap_ms(began_ns), 1000)
            assert readers.holders.moves(LAST, began_ns) == []
        wait_readers(lab, {own: writer, LAST: writer}, within_s=20)
        lab.wait(lambda: last.answers()[-1][1] == writer.server_id, 5, "an answer of the old writer")
        assert readers.holders.moves(LAST, began_ns) == [writer.name]


def test_a_switchover_takes_the_last_resort_along_the_other_way(readers: Readers) -> None:
    lab, writer, standby = readers.lab, readers.guarded.writer, readers.guarded.standby
    began_ns = time.monotonic_ns()
    move = writer.vipguard("switchover", "--to", standby.name, check=False)
    taken_up(move.stderr)
    assert move.returncode == 0, move.stdout + move.stderr
    readers.guarded.wait_writer(standby)
    wait_readers(lab, {LAST: writer}, within_s=5)
    home = [number for number in (ONE, TWO) if readers.holders.moves(number, began_ns)]
    assert home == [], "a node that was the writer a moment ago is not behind"


def test_a_replica_serves_first_and_the_standby_before_the_writer_over_ipv6() -> None:
    spec = LabSpec(
        name=f"rd{os.getpid()}-v6", replicas=1, ipv6=True, settings=SETTINGS,
        readers=[{"prefer": "db3", "return_s": RETURN_S}],
    )  # fmt: skip
    with Lab.create(spec) as lab, laws_hold(lab.up()), never_two(lab), Holders(lab) as holders:
        writer, (standby, replica) = lab.wait_healthy(), lab.others(lab.wait_healthy())
        wait_readers(lab, {0: replica}, within_s=20)
        with ReadingClient(lab, 0) as client:
            lab.wait(client.answers, 5, "answers")
            began_ns = time.monotonic_ns()
            with faults.kill_mysqld(replica):
                lab.wait(lambda: client.answers()[-1][1] == standby.server_id, 10, "an answer of the standby")
            wait_readers(lab, {0: replica}, within_s=20)
            lab.wait(lambda: client.answers()[-1][1] == replica.server_id, 10, "an answer of the replica")
            in_time(client.longest_gap_ms(began_ns), 1500)
        assert holders.moves(0, began_ns) == [standby.name, replica.name], f"never {writer.name}"
        told = json.loads(writer.vipguard("status", "--json").stdout)["readers"][0]
        assert told["nodes"][0] == {"node": replica.name, "priority": 200, "may_be_given": False}
        in_time(holders.twice_ms(), TWICE_MS_MAX)
