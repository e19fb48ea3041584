"""The rendered texts, as far as no keepalived and no server is needed to judge them."""

from __future__ import annotations

import dataclasses
import os
import re
from ipaddress import ip_interface
from pathlib import Path

import pytest

from vipguard.errors import ConfigError
from vipguard.model.policy import Flavor, Mysql, Node, Policy, Replication, Vip, Vrrp
from vipguard.model.reader import Reader
from vipguard.render import shipped
from vipguard.render.accounts import accounts_sql
from vipguard.render.keepalived import keepalived_conf
from vipguard.render.mysql import my_cnf

FLAVORS: tuple[Flavor, ...] = ("mariadb", "mysql")
HEALTHY = Policy(
    cluster="orders",
    node="db1",
    vip=Vip(ip_interface("10.73.0.100/24"), "eth0", 51),
    nodes=(Node("db1", "10.73.0.11", 200, 1), Node("db2", "10.73.0.12", 180, 2)),
    file="/etc/vipguard/vipguard.toml",
    mysql=Mysql(password="it's a \\secret"),
    replication=Replication(password="repl"),
)


def conf(policy: Policy) -> str:
    template = (shipped.directory() / shipped.TEMPLATE).read_text()
    return keepalived_conf(policy, template, check="/usr/share/v/check", hook="/usr/share/v/hook")


def statements(sql: str) -> list[str]:
    lines = [line for line in sql.splitlines() if not line.startswith("--")]
    return [part.strip() for part in "\n".join(lines).split(";\n") if part.strip()]


@pytest.mark.parametrize(
    "line",
    [
        "weight 0 reverse",
        "nopreempt",
        "state BACKUP",
        "priority 200",
        "advert_int 0.1",
        "virtual_router_id 51",
        "enable_script_security",
        "script_user root",
        "vrrp_startup_delay 5",
        "vrrp_garp_master_refresh 30",
        "vrrp_higher_prio_send_advert true",
        "vrrp_notify_fifo /run/vipguard/vrrp.fifo",
        "file /run/vipguard/eligible",
        "10.73.0.100/24 dev eth0",
        'script "/usr/share/v/check /etc/vipguard/vipguard.toml 10.73.0.100 /run/mysqld/mysqld.sock /run/vipguard/agent.sock"',  # noqa: E501
        'notify "/usr/share/v/hook /etc/vipguard/vipguard.toml /run/vipguard/agent.sock"',
    ],
)
def test_the_keepalived_configuration_has_the_line(line: str) -> None:
    assert line in [found.strip() for found in conf(HEALTHY).splitlines()]


def test_an_ipv6_vip_is_written_out_for_the_wrapper() -> None:
    text = conf(dataclasses.replace(HEALTHY, vip=Vip(ip_interface("fd00::100/64"), "eth0", 51)))
    assert "fd00::100/64 dev eth0 preferred_lft 0\n" in text
    assert " fd00:0000:0000:0000:0000:0000:0000:0100 " in text


def test_unicast_names_this_node_and_its_peers() -> None:
    text = conf(dataclasses.replace(HEALTHY, vrrp=Vrrp(unicast=True)))
    assert "unicast_src_ip 10.73.0.11\n    unicast_peer {\n        10.73.0.12\n    }" in text
    assert "unicast" not in conf(HEALTHY)


def test_no_startup_delay_is_no_line() -> None:
    assert "vrrp_startup_delay" not in conf(dataclasses.replace(HEALTHY, vrrp=Vrrp(startup_delay_s=0)))


def test_a_configuration_files_path_that_keepalived_would_split_is_refused() -> None:
    with pytest.raises(ConfigError, match="absolute path"):
        conf(dataclasses.replace(HEALTHY, file="/etc/vip guard.toml"))


@pytest.mark.parametrize("flavor", FLAVORS)
def test_the_server_boots_closed_with_a_number_of_its_own(flavor: Flavor) -> None:
    first, second = (my_cnf(dataclasses.replace(HEALTHY, node=node), flavor) for node in ("db1", "db2"))
    assert "\nread_only = ON\n" in first
    assert ("\nsuper_read_only = ON\n" in first) == (flavor == "mysql")
    assert ("skip_slave_start" if flavor == "mariadb" else "skip_replica_start") in first
    for number, text in enumerate((first, second), 1):
        assert f"\nserver_id = {number}\n" in text
        assert f"\nauto_increment_offset = {number}\n" in text
        assert "\nauto_increment_increment = 2\n" in text
        assert ("\ngtid_domain_id = 0\n" in text) == (flavor == "mariadb")


@pytest.mark.parametrize("flavor", FLAVORS)
def test_lossless_waits_for_ever_and_both_nodes_acknowledge_but_neither_boots_waiting(flavor: Flavor) -> None:
    text = my_cnf(dataclasses.replace(HEALTHY, durability="lossless"), flavor)
    source, replica = ("source", "replica") if flavor == "mysql" else ("master", "slave")
    assert f"\nrpl_semi_sync_{source}_enabled = OFF\n" in text
    assert f"\nrpl_semi_sync_{source}_timeout = 4294967295\n" in text
    assert f"\nrpl_semi_sync_{source}_wait_point = AFTER_SYNC\n" in text
    assert f"\nrpl_semi_sync_{source}_wait_no_{replica} = ON\n" in text
    assert f"\nrpl_semi_sync_{replica}_enabled = ON\n" in text
    assert ("plugin_load_add = semisync_source.so" in text) == (flavor == "mysql")
    assert "semi_sync" not in my_cnf(HEALTHY, flavor)


@pytest.mark.parametrize("flavor", FLAVORS)
def test_the_accounts_are_plain_statements_outside_the_binary_log(flavor: Flavor) -> None:
    sql = accounts_sql(HEALTHY, flavor, with_passwords=True)
    assert statements(sql)[0] == "SET SESSION sql_log_bin = 0"
    assert sql.endswith(";\n")
    assert "IDENTIFIED BY 'it''s a \\\\secret'" in sql
    for host in ("localhost", "10.73.0.11", "10.73.0.12"):
        assert f"CREATE USER IF NOT EXISTS 'vipguard'@'{host}'" in sql
    assert "'vipguard_repl'@'10.73.0.12'" in sql
    assert "'vipguard_repl'@'localhost'" not in sql
    assert "ALL PRIVILEGES" not in sql and "SUPER" not in sql.replace("SUPER_READ_ONLY", "")


@pytest.mark.parametrize("flavor", FLAVORS)
def test_without_passwords_no_account_can_be_made_of_the_text(flavor: Flavor) -> None:
    sql = accounts_sql(HEALTHY, flavor, with_passwords=False)
    assert "secret" not in sql and "'repl'" not in sql
    assert "IDENTIFIED BY <PASSWORD OF vipguard>;" in sql


def test_without_a_replication_section_the_text_says_so() -> None:
    sql = accounts_sql(dataclasses.replace(HEALTHY, replication=None), "mariadb", with_passwords=True)
    assert "REPLICATION SLAVE ON" not in sql
    assert "no [replication]" in sql


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A wrapper below directories of which one was just made; those above it count as safe."""
    folder = tmp_path / "opt" / "keepalived"
    folder.mkdir(parents=True)
    (folder / "check").write_text("#!/bin/sh\n")
    for path, mode in (
        (tmp_path, 0o755),
        (tmp_path / "opt", 0o755),
        (folder, 0o755),
        (folder / "check", 0o755),
    ):
        path.chmod(mode)
    real = os.lstat
    outside = set(tmp_path.parents)
    monkeypatch.setattr(shipped.os, "lstat", lambda path: real("/usr" if Path(path) in outside else path))
    return folder


def test_a_safe_wrapper_is_named(installed: Path) -> None:
    assert shipped.wrapper("check", installed) == f"{installed}/check"


@pytest.mark.parametrize(
    ("place", "mode", "said"),
    [
        ("check", 0o644, "not executable"),
        ("check", 0o777, "check is writable by others than root"),
        ("check", 0o775, "check is writable by others than root"),
        (".", 0o757, "keepalived is writable by others than root"),
        ("..", 0o1777, "opt is writable by others than root .mode 1777."),
    ],
)
def test_an_unsafe_wrapper_is_refused_with_a_remedy(
    installed: Path, place: str, mode: int, said: str
) -> None:
    (installed / place).resolve().chmod(mode)
    with pytest.raises(ConfigError, match=f"keepalived would not run .*{said}.*; run: chmod"):
        shipped.wrapper("check", installed)


def test_a_missing_wrapper_is_refused(installed: Path) -> None:
    (installed / "check").unlink()
    with pytest.raises(ConfigError, match=r"No such file.*install vipguard again"):
        shipped.wrapper("check", installed)


@pytest.mark.parametrize("place", ["opt", "opt/keepalived/check"])
def test_a_symbolic_link_on_the_way_is_refused(installed: Path, tmp_path: Path, place: str) -> None:
    path = tmp_path / place
    path.rename(tmp_path / "moved")
    path.symlink_to(tmp_path / "moved")
    with pytest.raises(ConfigError, match="is a symbolic link"):
        shipped.wrapper("check", installed)


def test_a_wrapper_of_another_owner_is_refused(installed: Path) -> None:
    os.chown(installed, 65534, 0)
    with pytest.raises(ConfigError, match=r"keepalived is not owned by root; run: chown root"):
        shipped.wrapper("check", installed)


def test_a_wrapper_below_a_directory_with_a_space_is_refused(installed: Path) -> None:
    spaced = installed.with_name("keep alived")
    installed.rename(spaced)
    with pytest.raises(ConfigError, match="reads as syntax"):
        shipped.wrapper("check", spaced)


# -- reader addresses

READERS = (
    Reader("reader1", ip_interface("10.73.0.101/24"), "eth0", 101, ("db1", "db2")),
    Reader("far", ip_interface("fd00::102/64"), "eth1", 102, ("db2", "db1"), writer="yes"),
    Reader("theirs", ip_interface("10.73.0.103/24"), "eth0", 103, ("db2",)),
)


def blocks(text: str) -> dict[str, str]:
    """The blocks of the outermost level, by their first line."""
    found = re.findall(r"^(\w[^\n]*) \{\n(.*?)^\}", text, flags=re.MULTILINE | re.DOTALL)
    return {str(head): str(body) for head, body in found}


def test_each_reader_address_of_the_node_has_an_instance_with_a_tracker_and_a_script_of_its_own() -> None:
    text = conf(dataclasses.replace(HEALTHY, readers=READERS))
    assert text.startswith(conf(HEALTHY)), "the writer's instance does not depend on them"
    found = blocks(text)
    one, far = found["vrrp_instance reader1"], found["vrrp_instance far"]
    for line in ("priority 200", "virtual_router_id 101", "nopreempt", "10.73.0.101/24 dev eth0\n", "interface eth0"):
        assert line in one
    for line in ("priority 190", "virtual_router_id 102", "fd00::102/64 dev eth1 preferred_lft 0\n", "interface eth1"):
        assert line in far
    assert "vipguard_writer" in one and "vipguard_writer" not in far
    assert "weight -100" in found["track_file vipguard_writer"]
    assert "file /run/vipguard/reader-far\n    weight 0 reverse" in found["track_file vipguard_read_far"]
    full = "fd00:0000:0000:0000:0000:0000:0000:0102 /run/mysqld/mysqld.sock /run/vipguard/agent.sock far"
    assert full in found["vrrp_script vipguard_check_far"]
    assert "theirs" not in text


def test_only_who_may_hold_a_reader_address_hears_of_it_by_unicast() -> None:
    three = (*HEALTHY.nodes, Node("db3", "10.73.0.13", 160, 3))
    found = blocks(conf(dataclasses.replace(HEALTHY, nodes=three, readers=READERS, vrrp=Vrrp(unicast=True))))
    assert "10.73.0.12" in found["vrrp_instance reader1"] and "10.73.0.13" not in found["vrrp_instance reader1"]
    assert "10.73.0.13" in found["vrrp_instance writer"]


def test_without_a_last_resort_keepalived_need_not_know_the_writer() -> None:
    assert "vipguard_writer" not in conf(dataclasses.replace(HEALTHY, readers=READERS[1:]))


OF_NO_RANK = dataclasses.replace(HEALTHY.nodes[0], role="replica", priority=0)
REPLICA = dataclasses.replace(HEALTHY, nodes=(OF_NO_RANK, HEALTHY.nodes[1]))


def test_a_replica_has_the_instances_of_its_reader_addresses_and_no_other() -> None:
    text = conf(dataclasses.replace(REPLICA, readers=READERS))
    assert [head for head in blocks(text) if head.startswith("vrrp_instance")] == [
        "vrrp_instance reader1", "vrrp_instance far"
    ]  # fmt: skip
    assert "vrrp_notify_fifo /run/vipguard/vrrp.fifo" in text and "vipguard_eligible" not in text


def test_a_replica_without_reader_addresses_has_no_use_for_keepalived() -> None:
    with pytest.raises(ConfigError, match="nothing to do"):
        conf(dataclasses.replace(REPLICA, readers=READERS[2:]))
