"""check, status and doctor on real servers of both flavours, without an agent: each command looks by itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from lawful import in_time
from on_servers import VIP, Cluster
from scratch import Pair, Server
from stand_in import Namespace

from vipguard.lab.wait import wait_until

Command = Callable[..., tuple[int, str]]


@pytest.fixture
def cluster(pair: Pair, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Cluster]:
    yield Cluster(pair, tmp_path, lambda: capsys.readouterr().out)
    for server in pair.servers:
        if server.alive:
            server.open()
            server.sql("SET GLOBAL sync_binlog=0")


@pytest.fixture
def keepalived(cluster: Cluster) -> Iterator[None]:
    """A process of its name that has the FIFO open, which is how it is known where no pid file names it."""
    fifo, program = cluster.folder / "run" / "vrrp.fifo", cluster.folder / "keepalived"
    os.mkfifo(fifo)
    shutil.copy("/usr/bin/sleep", program)
    opened = os.open(fifo, os.O_RDWR)
    try:
        process = subprocess.Popen([program, "600"], stdin=opened)
    finally:
        os.close(opened)
    try:
        begun = lambda: "keepalived-starting" not in cluster("b", "check", "writer")[1]  # noqa: E731
        wait_until(begun, 20, lambda: "the end of its startup delay")
        yield
    finally:
        process.kill()
        process.wait(10)


@pytest.mark.parametrize(
    ("name", "begins"),
    [
        ("alive", "ALIVE OK - "),
        ("replication", "REPLICATION OK - replication: both threads run | channels=1"),
        ("lag", "LAG OK - 0 s behind | lag=0s;;~:10"),
        ("read_only", "READ_ONLY OK - read-only, and the VIP is elsewhere | closed=1"),
        ("errant", "ERRANT OK - the writer has everything that is here | errant=0;;0"),
        ("disk", "DISK OK - "),
        ("witness", "WITNESS OK - 1 of 1 witnesses answer | witnesses=1"),
        ("writer", "WRITER OK - candidate, candidate-ready: "),
    ],
)
def test_a_healthy_standby_is_well_by_every_check(
    cluster: Cluster, name: str, begins: str, request: pytest.FixtureRequest
) -> None:
    if name == "writer":
        request.getfixturevalue("keepalived")
    told = lambda: cluster("b", "check", name)  # noqa: E731 - MySQL counts the second in which it begins as behind
    wait_until(lambda: told()[1].startswith(begins), 10, lambda: str(told()))
    assert told()[0] == 0


def test_an_open_server_without_the_vip_is_critical(cluster: Cluster) -> None:
    assert cluster("a", "check", "read_only")[0] == 2
    assert cluster("a", "check", "writer")[1].startswith("WRITER CRITICAL - candidate, not-read-only: ")


def test_a_dead_source_is_a_warning_and_its_lag_is_not_zero(cluster: Cluster) -> None:
    cluster.pair.a.kill()
    wait_until(lambda: cluster("b", "check", "replication")[0] == 1, 5, lambda: str(cluster.pair.b.status()))
    assert cluster.json("b", "check", "replication")["rule"] == "source-gone"
    code, out = cluster("b", "check", "lag")
    assert (code, "lag=U" in out) == (3, True)
    assert cluster("b", "check", "errant")[0] == 3


def test_a_stopped_sql_thread_is_critical(cluster: Cluster) -> None:
    cluster.pair.b.replica("STOP", "SQL_THREAD")
    assert cluster.json("b", "check", "replication")["rule"] == "sql-thread-stopped"
    assert cluster("b", "check", "lag")[0] == 3


def _lag_s(cluster: Cluster) -> float:
    return float(cluster.json("b", "check", "lag")["perf"][0]["value"] or 0)


def test_a_lag_is_told_in_seconds(cluster: Cluster) -> None:
    b = cluster.pair.b
    b.replica("STOP", "SQL_THREAD")
    cluster.pair.a.sql("INSERT INTO test.t (n) VALUES (1)", "SELECT SLEEP(2.2)")
    with b.connect() as blocker, blocker.cursor() as cursor:
        cursor.execute("LOCK TABLES test.t READ")
        b.replica("START", "SQL_THREAD")
        wait_until(
            lambda: (cluster.json("b", "check", "lag")["perf"][0]["value"] or 0) >= 2,
            5,
            lambda: str(b.status()),
        )
        assert cluster("b", "check", "lag", "--critical", "1")[0] == 2
        assert cluster("b", "check", "lag", "--warning", "1")[0] == 1
        cursor.execute("UNLOCK TABLES")


def test_an_errant_transaction_is_named_by_its_gtid(cluster: Cluster) -> None:
    b = cluster.pair.b
    b.open()
    cluster.pair.a.replica("STOP")
    b.sql("INSERT INTO test.t (n) VALUES (7)")
    b.close()
    with cluster.pair.a.connect() as agent, agent.cursor() as cursor:
        cursor.execute("SELECT GET_LOCK('vipguard.open.scratch', 1)")  # what makes an open server the writer
        found = cluster.json("b", "check", "errant")
    assert (found["outcome"], found["rule"]) == ("CRITICAL", "errant-transactions")
    assert found["text"].rsplit(": ", 1)[1] in str(b.value("@@global." + _set_variable(b)))


def _set_variable(server: Server) -> str:
    return "gtid_binlog_pos" if server.flavor == "mariadb" else "gtid_executed"


def test_a_busy_writer_makes_no_standby_look_errant(cluster: Cluster) -> None:
    with cluster.pair.a.connect() as connection, connection.cursor() as cursor:
        until_s = time.monotonic() + 3
        answers = []
        while time.monotonic() < until_s:
            for _ in range(50):
                cursor.execute("INSERT INTO test.t (n) VALUES (1)")
            answers.append(cluster("b", "check", "errant")[0])
    assert set(answers) == {0}


def test_a_hung_server_is_critical_within_the_deadline(cluster: Cluster) -> None:
    with cluster.pair.b.stopped():
        began_s = time.monotonic()
        assert cluster.json("b", "check", "alive")["rule"] == "server-silent"
        in_time(time.monotonic() - began_s, 1.5)


def test_a_wrong_password_is_unknown_not_critical(cluster: Cluster) -> None:
    cluster.configure("b", cluster.pair.b, password="replication")
    code, out = cluster("b", "check", "alive")
    assert (code, "password is wrong" in out) == (3, True)


# -- for keepalived, in a network namespace of its own: the server is reached over its socket


@pytest.fixture
def holder(cluster: Cluster, namespace: Namespace) -> Callable[[str], tuple[int, str]]:
    """`check writer --for-keepalived` where the VIP is, as the wrapper runs it, within its half second."""
    namespace.check("ip", "addr", "add", VIP, "dev", "lo")
    return lambda node: _for_keepalived(cluster, node, namespace)


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    namespace = Namespace()
    try:
        yield namespace
    finally:
        namespace.end()


def _for_keepalived(cluster: Cluster, node: str, namespace: Namespace | None = None) -> tuple[int, str]:
    """A process of its own, as urgent as keepalived/check makes it: its half second runs from the process's start."""
    argv = ["/usr/bin/nice", "-n", "-10", sys.executable, "-m", "vipguard"]
    argv += ["--config", str(cluster.config(node)), "check", "writer"]
    argv = [*argv, "--for-keepalived"] if namespace is None else namespace.argv(*argv, "--for-keepalived")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False, env=environment)
    return done.returncode, done.stdout


def _comes(ask: Callable[[], tuple[int, str]], code: int, rule: str) -> str:
    """A look that its half second cuts short on a busy machine says less, which is safe; it is the next one then."""
    told: list[tuple[int, str]] = []

    def asked() -> bool:
        told.append(ask())
        return told[-1][1].split()[1] == rule

    wait_until(asked, 30, lambda: f"{rule} within the half second; it said {told}")
    assert told[-1][0] == code
    return told[-1][1]


def test_a_holder_with_a_server_that_answers_keeps_the_vip(holder: Callable[[str], tuple[int, str]]) -> None:
    assert _comes(lambda: holder("a"), 0, "holder-healthy") == "0 holder-healthy this node is the writer\n"


def test_a_holder_whose_server_was_killed_loses_the_vip(
    cluster: Cluster, holder: Callable[[str], tuple[int, str]]
) -> None:
    cluster.pair.a.kill()
    _comes(lambda: holder("a"), 1, "holder-server-absent")


def test_a_holder_whose_server_hangs_keeps_the_vip(
    cluster: Cluster, holder: Callable[[str], tuple[int, str]]
) -> None:
    with cluster.pair.a.stopped():
        _comes(lambda: holder("a"), 0, "holder-server-silent")


def test_a_holder_whose_guard_has_a_wrong_password_keeps_the_vip(
    cluster: Cluster, holder: Callable[[str], tuple[int, str]]
) -> None:
    cluster.configure("a", cluster.pair.a, password="replication")
    _comes(lambda: holder("a"), 0, "holder-server-blind")


@pytest.mark.usefixtures("keepalived")
def test_a_standby_that_sees_everything_well_may_take_the_vip(cluster: Cluster) -> None:
    out = _comes(lambda: _for_keepalived(cluster, "b"), 0, "candidate-ready")
    assert out == "0 candidate-ready this node can take over\n"


@pytest.mark.usefixtures("keepalived")
def test_a_standby_whose_source_died_while_nobody_watched_may_not(cluster: Cluster) -> None:
    cluster.pair.a.kill()
    wait_until(lambda: cluster.pair.b.status()["Replica_IO_Running"] == "Connecting", 5, lambda: "the loss")
    _comes(lambda: _for_keepalived(cluster, "b"), 1, "lag-unknown")


def test_a_peer_that_hangs_does_not_hold_the_answer_up(cluster: Cluster) -> None:
    def took_s() -> float:
        began_s = time.monotonic()
        codes.append(_for_keepalived(cluster, "b")[0])
        return time.monotonic() - began_s

    codes: list[int] = []
    usual_s = max(took_s() for _ in range(3))
    with cluster.pair.a.stopped():
        in_time(took_s() - usual_s, 0.5, "the wrapper's half second, over a look at a peer that answers")
    assert codes[-1] == 1


# -- status


@pytest.mark.usefixtures("keepalived")
def test_status_without_an_agent_shows_both_servers(cluster: Cluster) -> None:
    status = cluster.json("b", "status")
    own, peer = status["nodes"]
    assert (own["node"], own["writable"], own["lag_s"], own["rule"]) == ("b", False, 0.0, "candidate-ready")
    assert (peer["node"], peer["writable"], peer["vip"]) == ("a", True, None)
    assert (status["writers"], status["agent"]) == (["a"], "silent")
    assert cluster("b", "status")[0] == 5


def test_status_of_two_open_servers_says_so(cluster: Cluster) -> None:
    cluster.pair.b.open()
    assert cluster("b", "status")[0] == 4


def test_status_of_two_closed_servers_says_so(cluster: Cluster) -> None:
    cluster.pair.a.close()
    assert cluster("b", "status")[0] == 3


# -- doctor


#: what the scratch servers lack on purpose: they are fast instead of durable, open at their start, and of a domain each
SCRATCH = {("not-durable", "a"), ("not-durable", "b")}


def _own(node: str) -> set[tuple[str, str]]:
    return {("boots-writable", node)}


@pytest.mark.parametrize("node", ["a", "b"])
def test_doctor_finds_on_a_scratch_pair_only_what_it_lacks_on_purpose(cluster: Cluster, node: str) -> None:
    mysql = cluster.pair.flavor == "mysql"
    lacks = {("clone-plugin-missing" if mysql else "gtid-domain-differs", name) for name in "ab"}
    assert cluster.doctor(node) == SCRATCH | _own(node) | lacks


def test_doctor_finds_a_missing_grant_on_a_peer(cluster: Cluster) -> None:
    # the peer sees this host's address as 127.0.0.1
    cluster.pair.b.open()
    privilege = "CONNECTION ADMIN" if cluster.pair.flavor == "mariadb" else "CONNECTION_ADMIN"
    cluster.pair.b.sql("SET sql_log_bin=0", f"REVOKE {privilege} ON *.* FROM 'vipguard'@'127.0.0.1'")
    assert ("grant-missing", "b") in cluster.doctor("a")


def test_doctor_finds_a_missing_epoch_table(cluster: Cluster) -> None:
    cluster.pair.b.open()
    cluster.pair.b.sql("SET sql_log_bin=0", "DROP TABLE vipguard.epoch")
    assert ("epoch-table", "b") in cluster.doctor("b")


def test_doctor_finds_a_foreign_epoch(cluster: Cluster) -> None:
    row = "('invoices', 1, 'x', 'boot', NOW(6))"
    cluster.pair.b.open()
    cluster.pair.b.sql("SET sql_log_bin=0", f"INSERT INTO vipguard.epoch VALUES {row}")
    assert ("foreign-cluster", "b") in cluster.doctor("b")


def test_doctor_finds_a_replication_account_that_cannot_be_used(cluster: Cluster) -> None:
    cluster.pair.b.open()
    cluster.pair.b.sql("SET sql_log_bin=0", "ALTER USER 'vipguard_repl'@'127.0.0.1' IDENTIFIED BY 'another'")
    assert ("replication-account", "b") in cluster.doctor("a")


def test_doctor_finds_a_server_that_is_down_and_one_that_hangs(cluster: Cluster) -> None:
    cluster.pair.a.kill()
    with cluster.pair.b.stopped():
        found = cluster.doctor("a")
    assert {("server-absent", "a"), ("server-silent", "b")} <= found


def test_doctor_finds_a_long_net_timeout(cluster: Cluster) -> None:
    variable = "slave_net_timeout" if cluster.pair.flavor == "mariadb" else "replica_net_timeout"
    cluster.pair.b.sql(f"SET GLOBAL {variable}=60")
    try:
        assert ("net-timeout", "b") in cluster.doctor("a")
    finally:
        cluster.pair.b.sql(f"SET GLOBAL {variable}=5")


@pytest.fixture
def mysql_cluster(mysql: Pair, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Cluster:
    return Cluster(mysql, tmp_path, lambda: capsys.readouterr().out)


def test_doctor_finds_a_persisted_read_only_off(mysql_cluster: Cluster) -> None:
    mysql_cluster.pair.b.sql("SET PERSIST_ONLY super_read_only=OFF")
    try:
        assert ("persisted-writable", "b") in mysql_cluster.doctor("a")
    finally:
        mysql_cluster.pair.b.sql("RESET PERSIST super_read_only")


def test_doctor_finds_a_source_that_is_given_up_soon(mysql_cluster: Cluster) -> None:
    change = "CHANGE REPLICATION SOURCE TO SOURCE_RETRY_COUNT=10"
    mysql_cluster.pair.b.sql("STOP REPLICA", change, "START REPLICA")
    assert ("retry-count", "b") in mysql_cluster.doctor("a")


def test_doctor_changes_nothing(cluster: Cluster) -> None:
    variable = _set_variable(cluster.pair.a)
    before = [(server.value(f"@@global.{variable}"), server.closed, server.status()["Replica_IO_Running"])
              for server in cluster.pair.servers]  # fmt: skip
    files = sorted(cluster.folder.rglob("*"))
    cluster.doctor("a")
    after = [(server.value(f"@@global.{variable}"), server.closed, server.status()["Replica_IO_Running"])
             for server in cluster.pair.servers]  # fmt: skip
    assert (after, sorted(cluster.folder.rglob("*"))) == (before, files)
