"""From two fresh servers, or one with data, to a guarded pair that fails over: by `vipguard setup` on each node."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from by_setup import SECRETS, fails_over, guard, outcomes, restart, setup, start
from guarded import SETTINGS, gtids, ids_on, nobody_beats

from vipguard.lab import Lab, LabSpec, Node, faults
from vipguard.lab.cluster import SCHEMA
from vipguard.lab.node import CONFIG_FILE, KEEPALIVED_FILE
from vipguard.lab.servers import COMMON, DEFAULTS_FILE, MARIADB, MYSQL
from vipguard.lab.spec import Flavor

PART = "/etc/mysql/conf.d/99-vipguard.cnf"
STEPS = ["configuration", "server", "other nodes", "my.cnf", "accounts", "data", "replication"]


@contextlib.contextmanager
def fresh(flavor: Flavor, nodes: int = 2) -> Iterator[Lab]:
    """Servers as a package leaves them: open, no accounts, no replication; of vipguard only the configuration."""
    spec = LabSpec(name=f"s{os.getpid()}-{flavor}", flavor=flavor, nodes=nodes, settings=SETTINGS)
    with Lab.create(spec) as lab:
        for node in lab.nodes.values():
            node.mysqld.create_datadir(lambda _: None)
            node.configure(SECRETS)
            node.path("/etc/mysql/conf.d").mkdir()
            size = MARIADB if flavor == "mariadb" else MYSQL
            node.write(DEFAULTS_FILE, f"{COMMON}{size}!includedir /etc/mysql/conf.d\n")
            start(node)
        for node in lab.nodes.values():
            node.mysqld.wait_ready()
        yield lab


def is_as_found(node: Node, before: frozenset[str]) -> None:
    """Nothing was made, and nothing is in the binary log."""
    assert gtids(node) == before
    assert not node.mysqld.sql("SHOW DATABASES LIKE 'vipguard'") and not node.mysqld.replication()


def test_two_fresh_servers_become_a_guarded_pair(flavor: Flavor) -> None:
    with fresh(flavor) as lab:
        db1, db2 = lab.nodes["db1"], lab.nodes["db2"]
        before = gtids(db1)
        told = setup(db1, "--dry-run", "--write-config").stdout
        assert "CREATE USER IF NOT EXISTS 'vipguard'@'localhost'" in told and "auto_increment_offset = 1" in told
        assert "CHANGE " in told and "_HOST='10.73.0.12'" in told
        is_as_found(db1, before)
        assert not db1.path(PART).exists() and not db1.path(KEEPALIVED_FILE).exists()

        # the first run writes what needs a restart, and stops; so does the same run once more
        for outcome in ("done", "TO DO"):
            said = setup(db1, "--write-config")
            assert "systemctl restart" in said.stdout and db1.path(PART).exists(), outcome
        is_as_found(db1, before)
        restart(db1)
        said = setup(db1, "--write-config")
        assert outcomes(said)["accounts"] == outcomes(said)["replication"] == "done"
        assert "on db2: vipguard setup" in said.stdout

        setup(db2, "--write-config")
        restart(db2)
        setup(db2, "--write-config")
        for node in (db1, db2):
            said = setup(node)
            for step in [*STEPS, "keepalived"]:
                assert outcomes(said)[step] == "already so", f"{step}\n{said.stdout}"
            assert node.mysqld.read_only() is True and node.mysqld.replication_threads() == ("No", "No")
        assert not any(gtids(node) - {""} for node in (db1, db2)), "nothing was logged"

        writer = guard(lab)
        writer.mysqld.sql(*SCHEMA)
        lab.wait(lambda: gtids(db1) == gtids(db2), 10, "the tables on both")
        fails_over(lab, writer)
        with nobody_beats(lab):
            for node in (db1, db2):
                kept = gtids(node)
                said = setup(node, code=0)
                assert set(outcomes(said).values()) == {"already so", "left out"}, said.stdout
                assert gtids(node) == kept
        _bad_input(lab)


def _bad_input(lab: Lab) -> None:
    """What must be refused on a pair that works; nothing is touched by it."""
    writer = lab.wait_healthy()
    standby = lab.others(writer)[0]
    said = setup(standby, "--copy-from", "nobody", code=2)
    assert "is no other node" in said.stdout
    text = writer.read(KEEPALIVED_FILE)
    writer.write(KEEPALIVED_FILE, text.replace("nopreempt", "# by hand"))
    assert "--write-config --force" in setup(writer, "--write-config").stdout
    assert "# by hand" in writer.read(KEEPALIVED_FILE)
    assert "the old text is" in setup(writer, "--write-config", "--force", code=0).stdout
    assert writer.read(KEEPALIVED_FILE) == text

    config = standby.read(CONFIG_FILE)
    standby.write(CONFIG_FILE, config + '\n[copy]\nuser = "vipguard_repl"\n')
    assert "is not let in over the socket" in setup(standby, code=2).stdout
    standby.write(CONFIG_FILE, config)
    with faults.cut_off(lab, writer, traffic="sql"):
        assert f"{writer.name} cannot be looked at yet" in setup(standby).stdout
    assert lab.wait_healthy() is writer


def test_a_server_with_data_gets_a_partner_and_nothing_is_lost(flavor: Flavor) -> None:
    with fresh(flavor) as lab:
        db1, db2 = lab.nodes["db1"], lab.nodes["db2"]
        db1.mysqld.sql(*SCHEMA, *(f"INSERT INTO app.t VALUES ({n}, 1)" for n in range(50)))
        db2.mysqld.sql("CREATE DATABASE foreign_one", "CREATE TABLE foreign_one.t (id INT PRIMARY KEY)")
        for node in (db1, db2):
            setup(node, "--write-config")
            restart(node)
        setup(db1, "--write-config")
        said = setup(db2, "--write-config", code=2).stdout
        assert "do not have one history" in said and "vipguard setup --copy-from db1" in said, said
        assert not db2.mysqld.replication(), "what may not be joined is not pointed at anybody"

        # half of somebody else's replication
        kept = gtids(db2)
        db2.mysqld.point_to("10.73.0.99", "x", "y")
        assert "follows 10.73.0.99:3306" in setup(db2, "--copy-from", "db1", "--yes", code=2).stdout
        db2.mysqld.sql("RESET SLAVE ALL" if flavor == "mariadb" else "RESET REPLICA ALL")
        assert db2.mysqld.sql("SHOW DATABASES LIKE 'foreign_one'") and gtids(db2) == kept

        asked = db2.vipguard("setup", "--copy-from", "db1", check=False, input="n\n")
        assert asked.returncode == 2 and "will be destroyed" in asked.stdout, asked.stdout + asked.stderr
        copied = setup(db2, "--write-config", "--copy-from", "db1", "--yes")
        assert outcomes(copied)["copy"] == "done", copied.stdout
        assert ids_on(db2) == set(range(50)) and db1.mysqld.gtid_executed() == db2.mysqld.gtid_executed() != ""
        assert not db2.mysqld.sql("SHOW DATABASES LIKE 'foreign_one'")
        again = setup(db2, "--copy-from", "db1", "--yes")
        assert outcomes(again)["copy"] == "already so", again.stdout
        setup(db1)
        fails_over(lab, guard(lab))
        assert set(range(50)) <= ids_on(db2)
