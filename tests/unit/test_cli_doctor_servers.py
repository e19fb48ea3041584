"""`vipguard doctor` about servers and accounts: a healthy pair has no finding, and each wrong thing has its own."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import healthy
import pytest

from vipguard.doctor import accounts, database, option_file
from vipguard.doctor.diagnosis import Diagnosis, error, exit_code, warning
from vipguard.doctor.survey import Failure, ServerSeen, Source
from vipguard.model.policy import Policy, Replication
from vipguard.render.accounts import OPERATOR

POLICY = replace(healthy.POLICY, file="/etc/vipguard/vipguard.toml", replication=Replication(password="x"))
ME, PEER = POLICY.nodes


def rules(found: Iterator[Diagnosis] | Sequence[Diagnosis]) -> list[str]:
    listed = list(found)
    for diagnosis in listed:
        assert diagnosis.seen and diagnosis.remedy
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", diagnosis.rule)
    return [diagnosis.rule for diagnosis in listed]


# -- option files


def read(
    tmp_path: Path, text: str, flavor: str = "mariadb", arguments: Sequence[str] = ()
) -> option_file.Options:
    path = tmp_path / "my.cnf"
    path.write_text(text)
    argv = ["mariadbd", f"--defaults-file={path}", *arguments]
    return option_file.boot_options(argv, flavor, "10.11.6-MariaDB" if flavor == "mariadb" else "9.7.1")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "on"),
    [
        ("[mysqld]\nread_only=ON\n", True),
        ("[mysqld]\nread-only\n", True),
        ("[mysqld]\nread-only = 1 # closed\n", True),
        ("[mariadbd]\nloose_read_only = 'on'\n", True),
        ("[mariadb-10.11]\nread_only = TRUE\n", True),
        ("[server]\nread_only = yes\n", True),
        ("[mysqld]\nread_only=ON\n[mariadb]\nread_only=OFF\n", False),
        ("[mysqld]\nread_only = 0\n", False),
    ],
)
def test_the_last_word_on_an_option_counts(tmp_path: Path, text: str, on: bool) -> None:
    assert read(tmp_path, text)["read_only"].is_on is on


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[client]\nread_only=ON\n",
        "[mysqld]\n#read_only=ON\n;read_only\n",
        "[mariadb-11.4]\nread_only=ON\n",
    ],
)
def test_what_is_not_for_this_server_does_not_count(tmp_path: Path, text: str) -> None:
    assert "read_only" not in read(tmp_path, text)


def test_groups_of_the_other_flavour_do_not_count(tmp_path: Path) -> None:
    assert "read_only" not in read(tmp_path, "[mariadb]\nread_only=ON\n", "mysql")


def test_the_command_line_has_the_last_word(tmp_path: Path) -> None:
    found = read(tmp_path, "[mysqld]\nread_only=ON\n", arguments=["--read-only=OFF"])
    assert (found["read_only"].is_on, found["read_only"].place) == (False, "the server's command line")


def test_included_option_files_count_and_are_named(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d/a.cnf").write_text("[mysqld]\nread_only=OFF\n")
    (tmp_path / "d/b.cnf").write_text("[mysqld]\nread_only=ON\n")
    (tmp_path / "d/c.txt").write_text("[mysqld]\nread_only=OFF\n")
    found = read(tmp_path, f"!includedir {tmp_path}/d\n[mysqld]\nport=1\n")
    assert (found["read_only"].is_on, found["read_only"].place) == (True, f"{tmp_path}/d/b.cnf:2")


def test_a_server_without_option_files_has_only_its_command_line(tmp_path: Path) -> None:
    found = option_file.boot_options(["mysqld", "--no-defaults", "--read-only"], "mysql", "9.7.0")
    assert set(found) == {"read_only"}


# -- the servers

VARIABLES = {
    "log_bin": "ON", "log_slave_updates": "ON", "gtid_strict_mode": "ON", "binlog_format": "ROW", "sync_binlog": "1",
    "innodb_flush_log_at_trx_commit": "1", "server_id": "1", "gtid_domain_id": "0", "slave_net_timeout": "5",
    "auto_increment_increment": "2", "auto_increment_offset": "1", "port": "3306",
}  # fmt: skip
BOOT = {
    "read_only": option_file.Option("ON", "/my.cnf:2"),
    "skip_slave_start": option_file.Option(None, "/my.cnf:3"),
}
GRANTS = (
    f"GRANT {OPERATOR['mariadb']} ON *.* TO `vipguard`@`localhost` IDENTIFIED BY PASSWORD '*0A'",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON `vipguard`.* TO `vipguard`@`localhost`",
)
HERE = ServerSeen(
    ME, here=True, flavor="mariadb", version="10.11.6-MariaDB", variables=VARIABLES, grants=GRANTS,
    sources=(Source("", PEER.address, 3306, True, 1, None),), boot=BOOT,
)  # fmt: skip
THERE = replace(
    HERE, node=PEER, here=False, boot=None, sources=(Source("", ME.address, 3306, True, 1, None),),
    variables={**VARIABLES, "server_id": "2", "auto_increment_offset": "2"},
    replica_grants=("GRANT REPLICATION SLAVE ON *.* TO `vipguard_repl`@`10.73.0.11`",),
)  # fmt: skip
MYSQL_VARIABLES = {
    "log_bin": "ON", "log_replica_updates": "ON", "gtid_mode": "ON", "enforce_gtid_consistency": "ON",
    "skip_replica_start": "ON", "relay_log_recovery": "OFF", "sync_binlog": "1", "innodb_flush_log_at_trx_commit": "1",
    "server_id": "1", "replica_net_timeout": "5", "auto_increment_increment": "2", "auto_increment_offset": "1",
}  # fmt: skip
MYSQL_GRANTS = (
    "GRANT RELOAD, PROCESS, REPLICATION CLIENT ON *.* TO `vipguard`@`localhost`",
    "GRANT CONNECTION_ADMIN,REPLICATION_SLAVE_ADMIN ON *.* TO `vipguard`@`localhost`",
    "GRANT SYSTEM_USER,SYSTEM_VARIABLES_ADMIN ON *.* TO `vipguard`@`localhost`",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON `vipguard`.* TO `vipguard`@`localhost`",
    "GRANT SELECT ON `performance_schema`.* TO `vipguard`@`localhost`",
)
MYSQL = ServerSeen(
    ME, here=True, flavor="mysql", version="9.7.1", variables=MYSQL_VARIABLES, persisted={}, grants=MYSQL_GRANTS,
    sources=(Source("", PEER.address, 3306, True, 1, 86400),), boot={"super_read_only": BOOT["read_only"]},
)  # fmt: skip


def settings(*servers: ServerSeen) -> list[str]:
    return rules(database.judge(POLICY, servers))


def _set(seen: ServerSeen, **variables: str) -> ServerSeen:
    return replace(seen, variables={**seen.variables, **variables})


def test_a_healthy_pair_of_either_flavour_has_no_finding() -> None:
    assert settings(HERE, THERE) == []
    assert settings(MYSQL) == []


WRONG = [
    (_set(HERE, log_bin="OFF"), "binary-log-off"),
    (_set(HERE, log_slave_updates="OFF"), "log-updates-off"),
    (_set(HERE, gtid_strict_mode="OFF"), "gtid-strict-off"),
    (_set(HERE, binlog_format="STATEMENT"), "binlog-format"),
    (_set(HERE, sync_binlog="0"), "not-durable"),
    (_set(HERE, innodb_flush_log_at_trx_commit="2"), "not-durable"),
    (_set(HERE, thread_handling="pool-of-threads", extra_port="0"), "no-extra-port"),
    (_set(HERE, server_id="9"), "server-id-differs"),
    (_set(HERE, gtid_domain_id="1"), "gtid-domain-differs"),
    (
        _set(HERE, slave_parallel_threads="8", slave_parallel_mode="optimistic", slave_domain_parallel_threads="2"),
        "parallel-by-domain",
    ),
    (_set(HERE, slave_net_timeout="60"), "net-timeout"),
    (_set(HERE, auto_increment_increment="1"), "auto-increment"),
    (_set(HERE, port="3307"), "port-differs"),
    (replace(HERE, boot={}), "boots-writable"),
    (replace(HERE, boot={**BOOT, "read_only": option_file.Option("OFF", "/my.cnf:9")}), "boots-writable"),
    (replace(HERE, boot={"read_only": BOOT["read_only"]}), "replication-starts-at-boot"),
    (replace(HERE, sources=()), "replication-not-configured"),
    (replace(HERE, sources=(Source("", PEER.address, 3306, False, 1, None),)), "source-without-gtid"),
    (replace(HERE, sources=(Source("", "10.9.9.9", 3306, True, 1, None),)), "source-unknown"),
    (replace(HERE, sources=(Source("", ME.address, 3306, True, 1, None),)), "source-unknown"),
    (replace(HERE, sources=(Source("", PEER.address, 3306, True, 60, None),)), "connect-retry"),
    (replace(HERE, sources=(Source("", PEER.address, 3306, True, 1, None, 30.0),)), "heartbeat-late"),
    (_set(MYSQL, gtid_mode="OFF_PERMISSIVE"), "gtid-off"),
    (_set(MYSQL, enforce_gtid_consistency="WARN"), "gtid-consistency-off"),
    (_set(MYSQL, log_replica_updates="OFF"), "log-updates-off"),
    (_set(MYSQL, skip_replica_start="OFF"), "replication-starts-at-boot"),
    (_set(MYSQL, relay_log_recovery="ON"), "relay-log-recovery"),
    (_set(MYSQL, replica_net_timeout="60"), "net-timeout"),
    (replace(MYSQL, persisted={"super_read_only": "OFF"}), "persisted-writable"),
    (replace(MYSQL, boot={}), "boots-writable"),
    (replace(MYSQL, sources=(Source("", PEER.address, 3306, True, 1, 10),)), "retry-count"),
    (replace(MYSQL, sources=(Source("", PEER.address, 3306, True, 1, 86400, 5.0),)), "heartbeat-late"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("seen", "rule"), WRONG, ids=[f"{seen.flavor}: {rule} {n}" for n, (seen, rule) in enumerate(WRONG)]
)
def test_a_wrong_setting_is_found(seen: ServerSeen, rule: str) -> None:
    assert rule in settings(seen)


def test_a_server_whose_process_is_not_known_is_found() -> None:
    assert settings(replace(HERE, process_known=True), THERE) == []
    assert settings(replace(HERE, process_known=False), THERE) == ["process-unknown"]


@pytest.mark.parametrize("policy", [POLICY, replace(POLICY, replication=None)], ids=["whole", "no account"])
def test_a_server_without_a_source_is_told_the_statement_for_the_other_node(policy: Policy) -> None:
    for seen, statement in ((HERE, "CHANGE MASTER TO MASTER"), (MYSQL, "CHANGE REPLICATION SOURCE TO SOURCE")):
        (found,) = database.judge(policy, [replace(seen, sources=())])
        assert f"{statement}_HOST='{PEER.address}'" in found.remedy
        assert "_USER='vipguard_repl'" in found.remedy


PARALLEL = {"slave_parallel_threads": "8", "slave_parallel_mode": "optimistic"}


def test_a_domain_of_its_own_is_an_error_where_somebody_applies_in_parallel() -> None:
    old = _set(HERE, gtid_domain_id="1", read_only="ON")
    (alone,) = database.judge(POLICY, [old, THERE])
    (risky,) = database.judge(POLICY, [old, _set(THERE, **PARALLEL)])
    assert (alone.severity, risky.severity) == ("warning", "error")
    assert "db2 may apply" in risky.seen
    assert "SET GLOBAL gtid_domain_id = 0" in alone.remedy
    assert "on db2: STOP SLAVE; SET GLOBAL slave_parallel_mode = 'none'" in risky.remedy
    (minimal,) = database.judge(POLICY, [old, _set(THERE, **{**PARALLEL, "slave_parallel_mode": "minimal"})])
    assert minimal.severity == "warning"


def test_the_writer_takes_the_domain_up_by_a_move() -> None:
    (found,) = database.judge(POLICY, [_set(HERE, gtid_domain_id="1", read_only="OFF"), THERE])
    assert "vipguard switchover" in found.remedy and "SET GLOBAL" not in found.remedy


def test_parallel_appliers_in_one_domain_are_fine() -> None:
    assert settings(_set(HERE, **PARALLEL), _set(THERE, **PARALLEL)) == []
    policy = replace(POLICY, mysql=replace(POLICY.mysql, gtid_domain_id=7))
    assert rules(database.judge(policy, [_set(HERE, gtid_domain_id="7"), _set(THERE, gtid_domain_id="7")])) == []


def test_a_persisted_read_only_is_as_good_as_one_in_a_file() -> None:
    assert settings(replace(MYSQL, boot={}, persisted={"super_read_only": "ON"})) == []


def test_retrying_without_end_is_fine() -> None:
    assert settings(replace(MYSQL, sources=(Source("", PEER.address, 3306, True, 1, 0),))) == []


@pytest.mark.parametrize(
    ("variable", "rule"),
    [
        ("server_id", "server-id-shared"),
        ("auto_increment_offset", "auto-increment"),
    ],
)
def test_what_two_servers_must_not_share_is_found(variable: str, rule: str) -> None:
    assert rule in settings(HERE, _set(THERE, **{variable: HERE.variables[variable]}))


def test_two_kinds_of_server_are_found() -> None:
    assert "mixed-flavors" in settings(MYSQL, THERE)


# -- the accounts


def granted(*servers: ServerSeen, policy: Policy = POLICY) -> list[str]:
    return rules(accounts.judge(policy, servers))


def test_the_rendered_grants_suffice_on_either_flavour() -> None:
    assert granted(HERE, THERE) == []
    assert granted(MYSQL) == []


@pytest.mark.parametrize("privilege", [word.strip() for word in OPERATOR["mariadb"].split(",")])
def test_each_missing_privilege_is_named_on_mariadb(privilege: str) -> None:
    left = ", ".join(word.strip() for word in OPERATOR["mariadb"].split(",") if word.strip() != privilege)
    found = list(
        accounts.judge(POLICY, [replace(HERE, grants=(f"GRANT {left} ON *.* TO `v`@`l`", GRANTS[1]))])
    )
    assert rules(found) == ["grant-missing"]
    assert found[0].seen.endswith(f"lacks {privilege}")


@pytest.mark.parametrize("privilege", [word.strip() for word in OPERATOR["mysql"].split(",")])
def test_each_missing_privilege_is_named_on_mysql(privilege: str) -> None:
    grants = tuple(re.sub(rf"\b{privilege}\b,? ?", "", row) for row in MYSQL_GRANTS)
    found = list(accounts.judge(POLICY, [replace(MYSQL, grants=grants)]))
    assert privilege in found[0].seen


def test_missing_rights_on_our_own_tables_are_named() -> None:
    found = list(
        accounts.judge(POLICY, [replace(HERE, grants=(GRANTS[0], "GRANT SELECT ON `vipguard`.* TO `v`@`l`"))])
    )
    assert found[0].seen.endswith("lacks INSERT, UPDATE, DELETE ON vipguard.*")


@pytest.mark.parametrize(
    "grants",
    [
        ("GRANT ALL PRIVILEGES ON *.* TO `v`@`l` WITH GRANT OPTION",),
        (
            GRANTS[0]
            .replace("SLAVE MONITOR", "REPLICA MONITOR")
            .replace("READ ONLY ADMIN", "READ_ONLY ADMIN"),
            GRANTS[1],
        ),
        (GRANTS[0].replace("BINLOG MONITOR", "REPLICATION CLIENT"), GRANTS[1]),
    ],
)
def test_other_words_for_the_same_grants_suffice(grants: tuple[str, ...]) -> None:
    assert granted(replace(HERE, grants=grants)) == []


def test_grants_on_another_schema_do_not_count() -> None:
    assert granted(replace(HERE, grants=(GRANTS[0], GRANTS[1].replace("vipguard`.*", "vipguardx`.*")))) == [
        "grant-missing"
    ]


@pytest.mark.parametrize("kind", ["absent", "silent", "denied"])
def test_a_server_that_cannot_be_asked_is_an_error_of_its_own_kind(kind: str) -> None:
    failed = ServerSeen(PEER, here=False, failure=Failure(kind, "why"))  # type: ignore[arg-type]
    assert granted(failed) == [f"server-{kind}"]
    assert settings(failed) == []


def test_a_missing_epoch_table_is_found() -> None:
    assert granted(replace(HERE, epoch_problem="the table is missing")) == ["epoch-table"]


def test_a_server_of_another_cluster_is_found() -> None:
    assert granted(replace(HERE, epoch_problem="holds cluster x", other_cluster=True)) == ["foreign-cluster"]


@pytest.mark.parametrize(
    "seen",
    [
        replace(THERE, replica_grants=("GRANT USAGE ON *.* TO `r`@`h`",)),
        replace(THERE, replica_grants=None, replica_problem="denied"),
    ],
)
def test_an_account_that_no_replica_could_use_is_found(seen: ServerSeen) -> None:
    assert granted(seen) == ["replication-account"]


def test_what_could_not_be_looked_at_is_a_warning_and_not_fine() -> None:
    unseen = replace(HERE, grants=None, unseen=(("its grants", "lost"),))
    found = list(accounts.judge(POLICY, [unseen]))
    assert [(diagnosis.severity, diagnosis.rule) for diagnosis in found] == [("warning", "not-looked-at")]


def test_a_configuration_without_a_replication_account_is_warned_of() -> None:
    assert granted(HERE, policy=replace(POLICY, replication=None)) == ["replication-account-unknown"]


# -- the exit code


@pytest.mark.parametrize(
    ("found", "code"),
    [
        ([], 0),
        ([warning("agent", "a", "s", "r")], 1),
        ([warning("agent", "a", "s", "r"), error("agent", "b", "s", "r")], 2),
    ],
)
def test_the_exit_code_is_that_of_the_worst(found: list[Diagnosis], code: int) -> None:
    assert exit_code(found) == code


# -- lossless

LOSSLESS = replace(POLICY, durability="lossless")
WAITS = {"rpl_semi_sync_master_enabled": "OFF", "rpl_semi_sync_slave_enabled": "ON"}
WAITS_MYSQL = {"rpl_semi_sync_source_enabled": "OFF", "rpl_semi_sync_replica_enabled": "ON"}


def lossless(seen: ServerSeen) -> list[str]:
    return rules(database.judge(LOSSLESS, [seen]))


def test_servers_that_acknowledge_are_fine_under_lossless() -> None:
    assert lossless(_set(HERE, **WAITS, rpl_semi_sync_slave_kill_conn_timeout="1")) == []
    assert lossless(_set(MYSQL, **WAITS_MYSQL)) == []


def test_a_server_without_semi_sync_is_found_under_lossless_only() -> None:
    assert lossless(MYSQL) == ["semi-sync-missing"] and settings(MYSQL) == []


def test_a_server_that_acknowledges_nothing_is_found() -> None:
    assert lossless(_set(HERE, **{**WAITS, "rpl_semi_sync_slave_enabled": "OFF"})) == ["semi-sync-deaf"]
    assert lossless(_set(MYSQL, **{**WAITS_MYSQL, "rpl_semi_sync_replica_enabled": "OFF"})) == ["semi-sync-deaf"]


def test_a_replica_that_acknowledges_is_found() -> None:
    seen = replace(_set(HERE, **WAITS), node=replace(HERE.node, role="replica"))
    assert lossless(seen) == ["semi-sync-of-a-replica"]
    seen = replace(_set(HERE, **{**WAITS, "rpl_semi_sync_slave_enabled": "OFF"}), node=seen.node)
    assert lossless(seen) == []


def test_a_takeover_that_would_wait_for_a_dead_source_is_warned_of() -> None:
    seen = _set(HERE, **WAITS, rpl_semi_sync_slave_kill_conn_timeout="5")
    assert lossless(seen) == ["semi-sync-kill-timeout"]
