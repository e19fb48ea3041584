"""`vipguard doctor` on real servers of both flavours: each fault is made, several at once, and found by its name."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import healthy
import pytest
from lawful import in_time
from on_servers import Cluster
from scratch import Pair, Server

from vipguard.config import load
from vipguard.doctor import inside
from vipguard.lab.wait import wait_until
from vipguard.model import likeness
from vipguard.probe.server import ServerProbe
from vipguard.session import boottime_s


@pytest.fixture
def cluster(pair: Pair, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Cluster]:
    yield Cluster(pair, tmp_path, lambda: capsys.readouterr().out)
    for server in pair.servers:
        server.open()


def unlogged(server: Server, *statements: str) -> None:
    server.open()
    server.sql("SET sql_log_bin=0", *statements)


def told(cluster: Cluster, node: str, *more: str) -> dict[tuple[str, str], str]:
    """What is seen, by rule and node."""
    return {(found["rule"], found["node"]): found["seen"] for found in cluster.findings(node, *more)}


# -- what is in the servers


@pytest.fixture
def scheduler(pair: Pair) -> Iterator[str]:
    """The events' scheduler as it was, at the end."""
    before = str(pair.a.value("@@global.event_scheduler"))
    yield before
    for server in pair.servers:
        server.sql(f"SET GLOBAL event_scheduler = {before}")


def test_doctor_finds_tables_and_events_that_a_failover_stumbles_over(cluster: Cluster, scheduler: str) -> None:
    a, b = cluster.pair.servers
    a.sql(
        "CREATE TABLE test.keyless (n INT) ENGINE=InnoDB",
        "CREATE TABLE test.`od-d` (n INT) ENGINE=InnoDB PARTITION BY HASH (n) PARTITIONS 3",
        "CREATE TABLE test.unique_is_enough (n INT NOT NULL UNIQUE) ENGINE=InnoDB",
        "CREATE TABLE test.old (n INT PRIMARY KEY) ENGINE=MyISAM",
        "CREATE EVENT test.nightly ON SCHEDULE EVERY 1 DAY DO SELECT 1",
    )
    names = "SELECT COUNT(*) AS n FROM information_schema.EVENTS WHERE EVENT_SCHEMA = 'test'"
    wait_until(lambda: b.sql(names)[0]["n"] == 1, 10, lambda: f"{b.status()}")
    b.close()
    for server in (a, b):
        server.sql("SET GLOBAL event_scheduler = OFF")

    found = told(cluster, "a", "--all")
    for node in "ab":
        assert found["table-without-key", node].startswith("2 tables (test."), found
        assert "test.od-d" in found["table-without-key", node] and "test.keyless" in found["table-without-key", node]
        assert "1 table (test.old (MyISAM))" in found["table-not-transactional", node]
        assert ("event-scheduler-off", node) in found
    assert "1 event (test.nightly)" in found["event-stays-disabled", "b"]
    assert ("event-stays-disabled", "a") not in found
    assert not any(rule == "not-looked-at" and node for rule, node in found), found

    assert {node for rule, node in told(cluster, "a") if rule.startswith("table-")} == {"a"}, "the others by --all"

    for server in (a, b):
        server.sql("SET GLOBAL event_scheduler = ON")
    unlogged(b, "ALTER EVENT test.nightly ENABLE")
    b.close()
    found = told(cluster, "b")
    assert ("event-runs-on-standby", "b") in found and ("event-scheduler-off", "b") not in found


def test_doctor_says_when_it_cannot_see_what_is_there(cluster: Cluster) -> None:
    unlogged(cluster.pair.a, "REVOKE REFERENCES ON *.* FROM 'vipguard'@'localhost'")
    assert ("contents-unseen", "a") in cluster.doctor("a")


def test_doctor_is_quick_and_short_on_a_server_with_many_tables(cluster: Cluster) -> None:
    unlogged(cluster.pair.a, *(f"CREATE TABLE test.k{n} (n INT) ENGINE=InnoDB" for n in range(210)))
    began_s = time.monotonic()
    found = told(cluster, "a")
    in_time(time.monotonic() - began_s, 10)
    assert "200 or more tables" in found["table-without-key", "a"]
    assert len(found["table-without-key", "a"]) < 300


# -- after a restart


@contextmanager
def in_file(server: Server, line: str, instead: str = "") -> Iterator[None]:
    """The server's option file with another line than the one it was started with."""
    file = server.directory / "my.cnf"
    before = file.read_text()
    assert line in before
    file.write_text(before.replace(line, instead))
    try:
        yield
    finally:
        file.write_text(before)


def test_doctor_finds_what_holds_now_and_not_after_a_restart(cluster: Cluster) -> None:
    a = cluster.pair.a
    word = "slave" if cluster.pair.flavor == "mariadb" else "replica"
    with in_file(a, f"{word}_net_timeout=5\n"), in_file(a, "skip_name_resolve=ON\n", "skip_name_resolve=OFF\n"):
        gone = [found["seen"] for found in cluster.findings("a") if found["rule"] == "gone-after-restart"]
    assert any(text.startswith(f"{word}_net_timeout = 5 now, and ") and "in no file" in text for text in gone), gone
    assert any(text.startswith("skip_name_resolve = ON now, and OFF") and "my.cnf:" in text for text in gone), gone
    assert len(gone) == 2


def test_doctor_finds_a_persisted_variable_that_beats_the_file(
    mysql: Pair, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster = Cluster(mysql, tmp_path, lambda: capsys.readouterr().out)
    mysql.b.sql("SET PERSIST_ONLY replica_net_timeout=60")
    try:
        assert "replica_net_timeout = 60" in told(cluster, "a")["persisted-differs", "b"]
        assert {("persisted-differs", "b"), ("gone-after-restart", "b")} <= cluster.doctor("b")
    finally:
        mysql.b.sql("RESET PERSIST replica_net_timeout")


# -- accounts

def test_doctor_finds_a_table_that_an_older_version_had_not(cluster: Cluster) -> None:
    unlogged(cluster.pair.b, "DROP TABLE vipguard.maintenance")
    assert told(cluster, "a")["own-table-missing", "b"].startswith("the database vipguard lacks maintenance")


# -- a fresh copy


def test_doctor_finds_what_a_fresh_copy_would_lack(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    b, is_mariadb = cluster.pair.b, cluster.pair.flavor == "mariadb"
    unlogged(b, f"REVOKE {'TRIGGER' if is_mariadb else 'BACKUP_ADMIN'} ON *.* FROM 'vipguard'@'127.0.0.1'")
    b.close()
    assert ("copy-grant-missing", "b") in cluster.doctor("a")
    if is_mariadb:
        cluster.configure("a", cluster.pair.a, more="copy.user = 'nobody'")
        monkeypatch.setenv("PATH", "/nowhere")
        assert {("copy-user", "a"), ("copy-program-missing", "a")} <= set(told(cluster, "a"))
    else:
        unlogged(cluster.pair.a, "REVOKE CLONE_ADMIN ON *.* FROM 'vipguard'@'localhost'")
        assert ("copy-grant-missing", "a") in cluster.doctor("a")
    cluster.configure("a", cluster.pair.a, more="copy.command = '/usr/bin/true'")
    assert not any(rule.startswith(("copy-", "clone-")) for rule, _ in cluster.doctor("a"))


# -- among the nodes


def test_doctor_finds_clocks_that_are_apart(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time
    monkeypatch.setattr(inside.time, "time", lambda: now() - 30)
    found = told(cluster, "a")
    assert "ahead of this host's" in found["clocks-apart", "a"] and ("clocks-apart", "b") in found


@contextmanager
def agent(server: Server, *signs: str) -> Iterator[None]:
    """What an agent's session on its own server shows of it."""
    probe = ServerProbe(server.connector(), healthy.POLICY, lambda: signs)
    assert probe.look(5, boottime_s, channels=False).facts is not None
    try:
        yield
    finally:
        probe.close()


def test_doctor_compares_the_nodes_configurations_by_what_their_agents_hold(cluster: Cluster) -> None:
    policy = load(str(cluster.config("a")))
    other = replace(policy, limits=replace(policy.limits, lag_s_max=99.0), silent_peer="wait")
    b = cluster.pair.b
    unlike = {"configuration-differs", "configuration-not-taken-up"}

    assert ("agent-not-seen", "b") in told(cluster, "a")
    with agent(b, *likeness.signs(policy)):
        found = told(cluster, "a")
        assert not {rule for rule, _ in found} & {*unlike, "agent-not-seen"}
        # this host is 127.0.0.1 to both, so that no session of 127.0.0.2 is seen on a
        assert ("peer-cannot-reach", "b") in found
    with agent(b, *likeness.signs(other)):
        assert told(cluster, "a")["configuration-differs", "b"].endswith("in the parts limits, safety")
        assert told(cluster, "b")["configuration-not-taken-up", "b"].endswith("in the parts limits, safety")


def test_an_agent_that_takes_up_another_configuration_shows_it_without_a_new_session(cluster: Cluster) -> None:
    policy = load(str(cluster.config("a")))
    other = replace(policy, durability="lossless")
    signs = [likeness.signs(policy)]
    server = cluster.pair.b
    probe = ServerProbe(server.connector(), policy, lambda: signs[0])
    try:
        for wanted, unlike in ((policy, other), (other, policy)):
            signs[0] = likeness.signs(wanted)
            probe.look(5, boottime_s)
            session = probe.connection_id
            for held, by in ((likeness.locks(wanted)["safety"], session), (likeness.locks(unlike)["safety"], None)):
                assert server.value(f"IS_USED_LOCK('{held}')") == by
            assert server.value(f"IS_USED_LOCK('{likeness.agent_lock(policy)}')") == session
        # what another session holds is asked for again, until it is free
        late = ServerProbe(server.connector(), policy, lambda: signs[0])
        late.look(5, boottime_s)
        probe.close()
        wait_until(lambda: late.look(5, boottime_s) and server.value(
            f"IS_USED_LOCK('{likeness.agent_lock(policy)}')") == late.connection_id, 5)  # fmt: skip
        late.close()
    finally:
        probe.close()


# -- this host


def test_doctor_finds_a_full_disk_and_hooks_that_are_refused(cluster: Cluster) -> None:
    hooks = cluster.folder / "hooks.d"
    (hooks / "before-open").mkdir(parents=True)
    (hooks / "after-takeover").mkdir()
    hook = hooks / "before-open/10-ask"
    hook.write_text("#!/bin/sh\n")
    hook.chmod(0o777)
    more = f"hooks = {{ directory = '{hooks}', before_open_required = true }}\ndisk.free_mb_min = 900000000"
    cluster.configure("a", cluster.pair.a, more=more)
    found = {one["rule"]: one for one in cluster.findings("a")}
    assert found["hook-refused"]["severity"] == "error" and str(hook) in found["hook-refused"]["seen"]
    assert "after-takeover" in found["hook-event-unknown"]["seen"]
    assert found["disk-full"]["severity"] == "error"
