"""What `vipguard setup` compares and writes: settings in force, files kept, histories that are not one."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from healthy import CHANNEL, POLICY

from vipguard.act import setup as act
from vipguard.act.setup import Server, statements_of
from vipguard.act.setup_files import (
    File,
    my_cnf_file,
    names_of_logs,
    not_in_force,
    number_to_keep,
    unit_files,
    wanted_settings,
)
from vipguard.cli import setup_data
from vipguard.cli.setup_steps import Refusal, domain_alone
from vipguard.model.evidence import Channel
from vipguard.model.gtid import GtidSet
from vipguard.model.policy import Flavor, Node, Policy, Replication
from vipguard.render.accounts import accounts_sql
from vipguard.render.mysql import my_cnf

FLAVORS: tuple[Flavor, ...] = ("mariadb", "mysql")
UUID = "f384c72c-e5ab-11f1-9f1f-b6a94e6979c8"
OTHER = "f3a6fc30-e5ab-11f1-a039-3af58e56a1af"


@pytest.fixture
def policy() -> Policy:
    return replace(POLICY, replication=Replication(password="repl"))


def server(policy: Policy, flavor: Flavor, **more: object) -> Server:
    """A node's server as it is after setup: everything in force, empty."""
    variables = {**wanted_settings(policy, flavor), "log_bin": "ON", "bind_address": "*"}
    made = Server(
        node=policy.me, flavor=flavor, version="10.11.14-MariaDB" if flavor == "mariadb" else "9.7.0",
        variables=variables, plugins=frozenset({"clone"}), gtid=GtidSet.empty(flavor), channels=(),
        tables=frozenset(), guarded=False, clients=0,
    )  # fmt: skip
    return replace(made, **more)  # type: ignore[arg-type]


BOOT = {"read_only": "ON", "super_read_only": "1", "skip_slave_start": "ON", "skip_replica_start": "TRUE"}


@pytest.mark.parametrize("flavor", FLAVORS)
def test_what_is_rendered_is_in_force(policy: Policy, flavor: Flavor) -> None:
    assert list(not_in_force(policy, server(policy, flavor), BOOT)) == []
    assert list(not_in_force(policy, server(policy, flavor), None)) == [], "what is not known is not accused"


@pytest.mark.parametrize(
    ("name", "value"),
    [("server_id", "77"), ("auto_increment_offset", "9"), ("sync_binlog", "0"), ("log_bin", "OFF"),
     ("bind_address", "127.0.0.1"), ("skip_name_resolve", "OFF"), ("port", "3307")],
)  # fmt: skip
@pytest.mark.parametrize("flavor", FLAVORS)
def test_each_setting_that_differs_is_named(policy: Policy, flavor: Flavor, name: str, value: str) -> None:
    well = server(policy, flavor)
    told = list(not_in_force(policy, replace(well, variables={**well.variables, name: value}), BOOT))
    assert len(told) == 1 and told[0].startswith(name), told


@pytest.mark.parametrize("flavor", FLAVORS)
def test_a_server_that_would_boot_open_is_named(policy: Policy, flavor: Flavor) -> None:
    told = list(not_in_force(policy, server(policy, flavor), {}))
    assert [line.split()[0] for line in told] == [
        name for name in ("read_only", "super_read_only", "skip_slave_start", "skip_replica_start")
        if name in wanted_settings(policy, flavor)
    ]  # fmt: skip
    if flavor == "mysql":
        missing = list(not_in_force(policy, server(policy, flavor, plugins=frozenset()), BOOT))
        assert missing == ["plugin_load_add = mysql_clone.so (it is not loaded)"]


def test_a_domain_of_its_own_is_given_up_without_a_restart(policy: Policy) -> None:
    well = server(policy, "mariadb")
    old = replace(well, variables={**well.variables, "gtid_domain_id": "2"})
    lacking = list(not_in_force(policy, old, BOOT))
    assert lacking == ["gtid_domain_id = 0 (it is 2)"] and old.closed
    assert domain_alone(policy, old, lacking).startswith("SET GLOBAL gtid_domain_id = 0")
    opened = replace(old, variables={**old.variables, "read_only": "OFF"})
    assert domain_alone(policy, replace(opened, guarded=True), lacking) == "vipguard switchover"
    assert domain_alone(policy, opened, lacking) == "", "its sessions would go on in the old one: it is restarted"
    assert domain_alone(policy, old, [*lacking, "port = 3306 (it is 3307)"]) == ""


def test_a_file_that_says_something_else_is_kept_beside_the_new_one(tmp_path: Path) -> None:
    file = File(f"{tmp_path}/sub/x.conf", "# head\na 1\n")
    assert file.state() == "missing" and file.write() == ""
    Path(file.path).write_text("! other words\n  a   1\n\n")
    assert file.state() == "same", "comments and blanks aside"
    Path(file.path).write_text("a 2\n")
    assert file.state() == "differs"
    kept = file.write()
    assert Path(kept).read_text() == "a 2\n" and Path(file.path).read_text() == file.text
    assert not kept.endswith((".cnf", ".conf")), "no program takes it for one of its files"


def test_the_part_goes_where_the_servers_files_look(policy: Policy, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    root = tmp_path / "my.cnf"
    root.write_text(f"[mysqld]\n!includedir {tmp_path}/gone\n!includedir one\n  !includedir {tmp_path}/two/\n")
    found = my_cnf_file(policy, server(policy, "mysql"), str(root))
    assert found is not None and found.path == f"{tmp_path}/two/99-vipguard.cnf", "the last that is read"
    root.write_text("[mysqld]\n")
    assert my_cnf_file(policy, server(policy, "mysql"), str(root)) is None


def following(server: Server, **more: str) -> Server:
    """It has replicated, under these variables."""
    return replace(server, channels=(CHANNEL,), variables={**server.variables, **more})


@pytest.mark.parametrize("flavor", FLAVORS)
def test_a_server_s_logs_keep_their_names(policy: Policy, flavor: Flavor) -> None:
    fresh = server(policy, flavor)
    bases = {"datadir": "/srv/db/", "log_bin_basename": "/srv/db/mysql-bin", "relay_log_basename": "/relay/r"}
    used = following(fresh, **bases)
    assert names_of_logs(used) == {"log_bin": "mysql-bin", "relay_log": "/relay/r"}
    assert "log_bin = mysql-bin\nrelay_log = /relay/r\n" in my_cnf(policy, flavor, names_of_logs(used))
    assert names_of_logs(replace(used, channels=())) == {"log_bin": "mysql-bin"}, "nothing received yet"
    assert names_of_logs(following(fresh, **{**bases, "log_bin": "OFF"})) == {"relay_log": "/relay/r"}
    assert "log_bin = binlog\nrelay_log = relaylog\n" in my_cnf(policy, flavor, names_of_logs(fresh))


@pytest.mark.parametrize("flavor", FLAVORS)
def test_a_server_that_has_replicated_keeps_its_number(policy: Policy, flavor: Flavor) -> None:
    fresh = server(policy, flavor)
    second = replace(policy, node=policy.nodes[1].name)
    assert number_to_keep(policy, fresh) == number_to_keep(policy, following(fresh)) == 0
    assert number_to_keep(second, fresh) == 0, "1 is what every fresh server has"
    assert number_to_keep(second, following(fresh)) == 1
    assert number_to_keep(policy, replace(fresh, variables={**fresh.variables, "server_id": "101"})) == 101


def test_the_units_name_this_program_and_these_paths(policy: Policy) -> None:
    files = unit_files(replace(policy, file="/srv/v.toml"), "/opt/v/bin/vipguard")
    text = "\n".join(file.text for file in files)
    assert "ExecStart=/opt/v/bin/vipguard --config /srv/v.toml agent" in text
    assert "LoadCredential=vipguard.toml:/srv/v.toml" in text
    assert "ExecStart=/opt/v/bin/vipguard --config ${CREDENTIALS_DIRECTORY}/vipguard.toml exporter" in text
    assert "ExecStart=/opt/v/bin/vipguard --config /srv/v.toml exporter --textfile" in text
    assert "/usr/bin/vipguard" not in text and "/etc/vipguard/vipguard.toml" not in text
    assert {"/etc/tmpfiles.d/vipguard.conf", "/etc/systemd/system/keepalived.service.d/vipguard.conf"} <= {
        file.path for file in files
    }


@pytest.mark.parametrize("flavor", FLAVORS)
def test_the_statements_are_those_of_render_accounts(policy: Policy, flavor: Flavor) -> None:
    text = accounts_sql(policy, flavor, with_passwords=True)
    statements = statements_of(text)
    assert statements[0] == "SET SESSION sql_log_bin = 0", "before anything that could be logged"
    assert all(not one.endswith(";") and "--" not in one.split("'")[0] for one in statements)
    assert sum(one.startswith("GRANT") for one in statements) == len(re.findall(r"^GRANT", text, re.MULTILINE))


@pytest.mark.parametrize(
    ("row", "lacking"),
    [
        ("GRANT SLAVE MONITOR, PROCESS ON *.* TO `u`@`h` IDENTIFIED BY PASSWORD '*A'", []),
        ("GRANT REPLICA MONITOR, PROCESS ON *.* TO `u`@`h`", []),
        ("GRANT ALL PRIVILEGES ON *.* TO `u`@`h` WITH GRANT OPTION", []),
        ("GRANT PROCESS ON *.* TO `u`@`h`", ["SLAVE MONITOR"]),
        ("GRANT USAGE ON *.* TO `u`@`h`", ["SLAVE MONITOR", "PROCESS"]),
        ("GRANT SLAVE MONITOR, PROCESS ON `app`.* TO `u`@`h`", ["SLAVE MONITOR", "PROCESS"]),
    ],
)
def test_a_missing_grant_is_named(row: str, lacking: list[str]) -> None:
    wanted = act._GRANT.match("GRANT SLAVE MONITOR, PROCESS ON *.* TO 'u'@'h'")
    assert wanted is not None
    told = act._lacking_grants("'u'@'h'", [row], [wanted])
    assert told == ([f"{', '.join(lacking)} ON *.* for 'u'@'h'"] if lacking else [])


def test_the_nodes_form_a_ring(policy: Policy) -> None:
    nodes = policy.nodes
    sources = {node.name: policy.source_of(node).name for node in nodes}
    assert sorted(sources.values()) == sorted(sources) and all(name != source for name, source in sources.items())


# -- data


def test_a_replica_follows_the_first_candidate_and_nobody_follows_it(policy: Policy) -> None:
    first, *others = policy.nodes
    replica = Node("aa", "10.73.0.9", 0, 9, "replica")
    wider = replace(policy, nodes=(replica, first, *others))
    assert wider.source_of(replica) == first
    assert {wider.source_of(node) for node in wider.candidates} == {policy.source_of(node) for node in policy.nodes}


def one_history(here: Server, peer: Server) -> bool:
    try:
        setup_data._one_history(here, "db2", peer)
    except Refusal:
        return False
    return True


def channel(io: str) -> Channel:
    return Channel("", "10.73.0.12", 3306, io, io == "running", None, None, None)  # type: ignore[arg-type]


T = frozenset({"app/t"})
MINE, THEIRS = f"{UUID}:1-9", f"{OTHER}:1-2"


@pytest.mark.parametrize(
    ("here", "peer", "one", "needs"),
    [
        (("", frozenset()), ("", frozenset()), True, False),
        ((MINE, T), (MINE, T), True, False),
        (("", frozenset()), (MINE, T), True, True),
        (("", frozenset()), (MINE, frozenset()), True, False),
        ((MINE, T), (THEIRS, T), False, False),
        ((MINE, T), (f"{MINE},{THEIRS}", T), True, False),
        (("", T), ("", frozenset({"other/t"})), False, False),
        (("", frozenset()), ("", T), True, True),
    ],
)
def test_what_may_be_joined_and_what_needs_a_copy(
    policy: Policy, here: tuple[str, frozenset[str]], peer: tuple[str, frozenset[str]], one: bool, needs: bool
) -> None:
    mine, theirs = (server(policy, "mysql", gtid=GtidSet.parse("mysql", g), tables=t) for g, t in (here, peer))
    assert one_history(mine, theirs) is one and one_history(theirs, mine) is one
    assert setup_data._needs_copy(mine, theirs) is needs


def test_a_binary_log_that_was_purged_cannot_be_followed(policy: Policy) -> None:
    ahead = server(policy, "mysql", gtid=GtidSet.parse("mysql", MINE), tables=T)
    ahead = replace(ahead, variables={**ahead.variables, "gtid_purged": f"{UUID}:1-5"})
    at_three = server(policy, "mysql", gtid=GtidSet.parse("mysql", f"{UUID}:1-3"), tables=T)
    at_six = replace(at_three, gtid=GtidSet.parse("mysql", f"{UUID}:1-6"))
    assert setup_data._needs_copy(at_three, ahead) and not setup_data._needs_copy(at_six, ahead)


def test_databases_that_differ_are_foreign_unless_one_is_on_its_way(policy: Policy) -> None:
    mine = server(policy, "mysql", tables=T)
    theirs = server(policy, "mysql", tables=frozenset({"app/t", "new/t"}))
    assert not one_history(mine, theirs)
    assert not one_history(replace(mine, channels=(channel("stopped"),)), theirs), "configured is not running"
    assert one_history(replace(mine, channels=(channel("running"),)), theirs)
