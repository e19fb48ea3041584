"""From a pair that MMM guards, or keepalived with scripts, to a guarded one: by the steps of docs/migrating.md."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from by_setup import fails_over, guard, outcomes, setup
from guarded import SETTINGS, gtids, ids_on
from lawful import in_time, never_two, nothing_lost
from mmm_pair import REPLICATION_PASSWORD, SERVER_IDS, WRITER_VIP, Mmm

from vipguard.lab import Lab, LabSpec, Node
from vipguard.lab.client import Client
from vipguard.lab.node import CONFIG_FILE
from vipguard.lab.spec import Flavor

PAGE = (Path(__file__).parents[2] / "docs" / "migrating.md").read_text(encoding="utf-8")
MMM_CONF = "/etc/mysql-mmm/mmm_mon.conf"
OUTAGE_S_MAX = 60.0  # by hand it is seconds; more would be a step that waited for its limit


def on_the_page(after: str) -> list[str]:
    """The statements of the block of SQL in which the comment `after` stands, up to the next such comment."""
    text = next(block for block in re.findall(r"```\n(.*?)```", PAGE, re.DOTALL) if f"-- {after}" in block)
    text = text[text.index(f"-- {after}") :].partition("\n")[2]
    text = re.split(r"^\s*-- ", text, flags=re.MULTILINE)[0]
    lines = " ".join(line.partition("--")[0].strip() for line in text.splitlines())
    return [statement.strip() for statement in lines.split(";") if statement.strip()]


@contextmanager
def by_mmm(flavor: Flavor) -> Iterator[Mmm]:
    with Lab.create(LabSpec(name=f"m{os.getpid()}-{flavor}", flavor=flavor, settings=SETTINGS)) as lab:
        mmm = Mmm(lab)
        mmm.build()
        yield mmm


def by_gtid(mmm: Mmm) -> None:
    """Step 1 of the page, the standby first."""
    standby_first = [*mmm.lab.others(mmm.writer), mmm.writer]
    if mmm.mysql:
        for statement in on_the_page("MySQL only"):
            for node in standby_first:
                node.mysqld.sql(statement)
            if statement.startswith("SHOW"):
                for node in standby_first:
                    _without_anonymous_ones(mmm.lab, node, statement)
    for node in standby_first:
        for statement in on_the_page("MySQL\n" if mmm.mysql else "MariaDB;"):
            node.mysqld.sql(statement, timeout_s=20)
        mmm.lab.wait(lambda node=node: _replicates(node), 15, f"GTID on {node.name}")


def _replicates(node: Node) -> bool:
    """Also after the errand that the page names: the node that writes is asked for more than its source has yet."""
    if node.spec.flavor == "mariadb" and node.mysqld.replication()[0]["Last_IO_Errno"] == 1236:
        for statement in on_the_page("MariaDB, where Last_IO_Errno is 1236"):
            node.mysqld.sql(statement, timeout_s=20)
    return node.mysqld.replication_threads() == ("Yes", "Yes")


def _without_anonymous_ones(lab: Lab, node: Node, statement: str) -> None:
    """What the page says beside it: none is under way on the server, and its replica has those that were."""
    lab.wait(
        lambda: node.mysqld.sql(statement)[0]["Value"] == "0", 10, f"no anonymous transaction on {node.name}"
    )
    at = node.mysqld.sql("SHOW BINARY LOG STATUS")[0]
    waited = f"SOURCE_POS_WAIT('{at['File']}', {at['Position']}, 15)"
    assert lab.others(node)[0].mysqld.sql(f"SELECT {waited} AS v", timeout_s=20)[0]["v"] >= 0


def configured(node: Node) -> None:
    """Step 2 of the page: import-mmm, and what it says is to be filled in."""
    done = node.vipguard("import-mmm", MMM_CONF, "--output", CONFIG_FILE)
    gaps = re.findall(r"^to fill in, line \d+: (\S+):", done.stderr, re.MULTILINE)
    assert gaps == [
        "vip.router_id", "nodes.db1.server_id", "nodes.db2.server_id", "reader.router_id", "reader.router_id",
        "mysql.password_file", "replication.password_file",
    ]  # fmt: skip
    for name, secret in {"password": "a new one", "replication-password": REPLICATION_PASSWORD}.items():
        node.write(f"/etc/vipguard/{name}", f"{secret}\n", 0o600)
    text = re.sub(r"^# (router_id = \d+)$", r"\1", node.read(CONFIG_FILE), flags=re.MULTILINE)
    node.write(CONFIG_FILE, text)
    told = setup(node, "--write-config").stdout
    assert f"its server_id is {SERVER_IDS[node.name]}" in told, told
    assert not list(node.path("/etc/mysql/conf.d").iterdir()), "a server with another number is not written"
    numbers = iter(SERVER_IDS.values())
    node.write(
        CONFIG_FILE, re.sub(r"^# server_id = 1$", lambda _: f"server_id = {next(numbers)}", text, flags=re.M)
    )


def closed_everywhere(lab: Lab, writer: Node) -> None:
    """What the page wants to see before anything is started: nobody is open, the address nowhere, one history."""
    standby = lab.others(writer)[0]
    lab.wait(lambda: gtids(standby) == gtids(writer), 10, "the standby to have what the writer has")
    assert all(node.mysqld.read_only() for node in lab.nodes.values()) and not lab.holders()


def took_part(lab: Lab, client: Client, writer: Node) -> None:
    """The application writes again, soon enough, and misses nothing that it was told."""
    client.wait_acks(20)
    client.stop()
    in_time(client.seen().outage_ms(), OUTAGE_S_MAX * 1000)
    nothing_lost(client, writer)
    assert len(lab.writable()) == 1


def nothing_found(lab: Lab) -> None:
    for node in lab.nodes.values():
        done = node.vipguard("doctor", check=False)
        assert (done.returncode, done.stdout[:13]) == (0, "nothing found"), done.stdout


def test_a_pair_that_mmm_guards_becomes_a_guarded_one_and_no_acknowledged_row_is_lost(flavor: Flavor) -> None:
    with by_mmm(flavor) as mmm:
        lab, db1, db2 = mmm.lab, mmm.db1, mmm.db2
        client = lab.client(rate=100).start()
        client.wait_acks(20)
        for node in (db2, db1):  # a history of both
            mmm.move_role(node)
            client.wait_acks(20)
        by_gtid(mmm)
        for node in (db1, db2):
            configured(node)

        # steps 3 and 4: MMM still guards, and moves the role
        for node in (db2, db1):
            assert outcomes(setup(node, "--write-config"))["my.cnf"] == "TO DO"
            if mmm.writer is node:
                mmm.move_role(lab.others(node)[0])
            mmm.restart(node)
            assert node.mysqld.value("@@server_id") == SERVER_IDS[node.name]
            assert outcomes(setup(node, "--write-config"))["accounts"] == "done"
            client.wait_acks(20)
        for node in (db1, db2):
            said = setup(node)
            left = [
                step for step, outcome in outcomes(said).items() if outcome not in ("already so", "left out")
            ]
            assert left == ["start"], said.stdout
            assert node.mysqld.sql("SHOW BINARY LOGS")[0]["Log_name"] == "mysql-bin.000001"

        # the change
        writer = mmm.writer
        with never_two(lab):
            writer.mysqld.sql(f"SET GLOBAL {writer.mysqld.closing} = 1")
            mmm.ip("del", writer, WRITER_VIP)
            closed_everywhere(lab, writer)
            took_part(lab, client, guard(lab))
            nothing_found(lab)
            fails_over(lab, lab.wait_healthy())
        assert ids_on(db1) == ids_on(db2) and {i for _, i in client.seen().acks} <= ids_on(db1)


def test_a_pair_behind_keepalived_and_a_script_becomes_a_guarded_one(flavor: Flavor) -> None:
    spec = LabSpec(name=f"k{os.getpid()}-{flavor}", flavor=flavor, settings=SETTINGS, guard="plain")
    with Lab.create(spec) as lab:
        writer, standby = lab.nodes["db1"], lab.nodes["db2"]
        lab.start_servers()
        for node in (writer, standby):  # not at once: their scripts would overtake each other, and both would be open
            node.configure_keepalived()
            node.start_keepalived()
            lab.wait(lambda: lab.writer() is writer, 20, "db1 to write behind keepalived")
        lab.wait(lambda: standby.vrrp_state() == "BACKUP", 20, "db2 to stand by")
        client = lab.client(rate=100).start()
        client.wait_acks(20)
        for node in lab.nodes.values():
            rendered = node.vipguard("render", "keepalived").stdout
            node.write("/etc/keepalived/keepalived.conf.new", rendered)
        with never_two(lab):
            standby.keepalived.terminate()
            writer.mysqld.sql(f"SET GLOBAL {writer.mysqld.closing} = 1")
            writer.keepalived.terminate()
            closed_everywhere(lab, writer)
            for node in lab.nodes.values():
                node.run(["mv", "/etc/keepalived/keepalived.conf.new", "/etc/keepalived/keepalived.conf"])
            guards(lab)
            took_part(lab, client, guard(lab))
            nothing_found(lab)
            fails_over(lab, lab.wait_healthy())


def guards(lab: Lab) -> None:
    """From here on the lab looks for agents, too."""
    lab.spec = replace(lab.spec, guard="vipguard")
    for node in lab.nodes.values():
        node.spec = lab.spec
