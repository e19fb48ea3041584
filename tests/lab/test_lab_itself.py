"""The lab is apart from the host, comes up, is found by other commands, and goes without a trace."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import vipguard
from vipguard.config import load
from vipguard.lab import Lab, LabError, LabSpec, names, remove, templates, wait_until
from vipguard.lab.cluster import ROOT
from vipguard.lab.namespace import holders_of

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(vipguard.__file__).parents[1])}


def vipguard_argv(*arguments: str) -> list[str]:
    return [sys.executable, "-P", "-m", "vipguard", *arguments]


def host_state() -> dict[str, str]:
    """What a lab could leave behind: links, addresses, mounts, firewall tables, and files in the host's directories."""
    commands = {
        "links": ["ip", "-o", "link"],
        "addresses": ["ip", "-br", "addr"],
        "mounts": ["cat", "/proc/self/mounts"],
        "nft": ["nft", "list", "tables"],
        "etc": ["ls", "-la", "/etc", "/etc/mysql", "/etc/keepalived"],
        "run": ["ls", "-a", "/run", "/run/mysqld"],
    }
    return {
        name: subprocess.run(argv, capture_output=True, text=True, check=False).stdout
        for name, argv in commands.items()
    }


@pytest.fixture(autouse=True)
def _no_lab_stays() -> Iterator[None]:
    """What a failing test leaves of the labs that it made by hand."""
    yield
    for name in names():
        if name in {f"t{os.getpid()}-{kind}" for kind in ("trace", "int", "crash")}:
            remove(name)


# -- coming and going


def test_up_and_down_leaves_nothing_on_the_host() -> None:
    before, name = host_state(), f"t{os.getpid()}-trace"
    with Lab.create(LabSpec(name=name, guard="none")) as lab:
        lab.up()
        lab.nodes["db1"].write("/run/something", "x")
        lab.nodes["db1"].write("/etc/something", "x")
        assert host_state() == before, "a lab that is up shows on the host"
    assert host_state() == before
    assert holders_of(name) == {} and not (ROOT / name).exists() and name not in names()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("stage", ["starting", "joining"])
def test_an_interrupted_up_cleans_up_behind_itself(stage: str, number: int) -> None:
    name = f"t{os.getpid()}-int"
    # what starts the tests in the background may have told them to ignore SIGINT, and children inherit that
    argv = ["env", "--default-signal", *vipguard_argv("lab", "up", "--plain", "--name", name)]
    with subprocess.Popen(
        argv, env=ENVIRONMENT, start_new_session=True, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert any(line.startswith(stage) for line in process.stdout), "it never came that far"
        wait_until(lambda: holders_of(name), 10, "the first holder")
        os.killpg(process.pid, number)
        assert process.wait(timeout=30) != 0
    assert holders_of(name) == {} and not (ROOT / name).exists()


@pytest.mark.parametrize("after_s", [0.0, 0.3, 1.0])
def test_down_clears_away_what_a_killed_up_left(after_s: float) -> None:
    name = f"t{os.getpid()}-crash"
    process = subprocess.Popen(
        vipguard_argv("lab", "up", "--plain", "--name", name), env=ENVIRONMENT, start_new_session=True
    )
    wait_until(lambda: holders_of(name), 10, "the first holder")
    time.sleep(after_s)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=10)
    with pytest.raises(LabError, match="already"):
        Lab.create(LabSpec(name=name))
    done = subprocess.run(
        vipguard_argv("lab", "down", "--name", name),
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert holders_of(name) == {} and not (ROOT / name).exists()
    assert remove(name) is False


def test_without_root_it_says_so_in_one_sentence() -> None:
    # the tree may stand below a directory of root's alone, so the rights go after the modules came
    code = (
        "import os, sys, vipguard.cli.lab, vipguard.lab\n"
        "from vipguard.cli.main import run\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "sys.exit(run(['lab', 'up', '--name', 'nobody']))"
    )
    argv = [sys.executable, "-P", "-c", code]
    done = subprocess.run(argv, env=ENVIRONMENT, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode != 0
    assert done.stderr.count("\n") == 1 and "needs root" in done.stderr


def test_another_command_finds_the_lab_by_its_record(bare: Lab) -> None:
    done = subprocess.run(
        vipguard_argv("lab", "status", "--json", "--name", bare.spec.name),
        env=ENVIRONMENT, capture_output=True, text=True, timeout=30, check=False)  # fmt: skip
    seen = json.loads(done.stdout)
    assert done.returncode == 1, "there is no writer in it"
    assert [node["writable"] for node in seen["nodes"]] == [False, False]
    assert [node["pids"]["mysqld"] for node in seen["nodes"]] == [
        node.mysqld.pid for node in bare.nodes.values()
    ]


@pytest.mark.parametrize("name", ["", "..", "a/b", "UPPER", "x" * 17, "-x"])
def test_a_name_that_is_no_plain_word_is_refused(name: str) -> None:
    with pytest.raises(LabError, match="no name for a lab"):
        remove(name)


def test_another_series_of_mysql_is_refused_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    templates.mysql_tree(print)
    monkeypatch.setattr(templates, "MYSQL_SERIES", "9.6")
    with pytest.raises(
        LabError, match=r"gives MySQL 9\.7 now, and the lab is for 9\.6: use --flavor mariadb$"
    ):
        templates.mysql_tree(print)


def test_a_half_filled_cache_is_filled_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(templates, "CACHE", tmp_path)
    (tmp_path / "x.part").mkdir()
    (tmp_path / "x.part" / "rest").touch()

    def fails(part: Path) -> None:
        part.mkdir()
        raise LabError("interrupted")

    with pytest.raises(LabError, match="interrupted"):
        templates.once(tmp_path / "x", fails)
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]
    assert list(templates.once(tmp_path / "x", Path.mkdir).iterdir()) == []


# -- the nodes


def test_a_node_has_its_own_view_of_everything(bare: Lab) -> None:
    one, other = bare.nodes.values()
    for name, command in {
        "host name": ["hostname"],
        "boot id": ["cat", "/proc/sys/kernel/random/boot_id"],
        "addresses": ["ip", "-br", "addr"],
        "network": ["readlink", "/proc/self/ns/net"],
    }.items():
        host = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        assert len({one.run(command).stdout, other.run(command).stdout, host}) == 3, name
    for directory in (
        "/run",
        "/tmp",
        "/etc/vipguard",
        "/etc/keepalived",
        "/var/lib/vipguard",
        "/var/lib/mysql",
    ):
        one.write(f"{directory}/mark", "x")
        with contextlib.closing(open("/dev/null")):
            assert not other.path(f"{directory}/mark").exists() and not Path(f"{directory}/mark").exists()
        one.path(f"{directory}/mark").unlink()
    seen = one.run(["pgrep", "-x", "-c", "mariadbd"]).stdout
    assert seen == "1\n", "a node sees its own server alone"
    assert one.run(["getent", "group", "vipguard"]).stdout.startswith("vipguard:")


def test_a_node_has_the_configuration_of_production(bare: Lab, tmp_path: Path) -> None:
    for node in bare.nodes.values():
        assert oct(node.path("/etc/vipguard/password").stat().st_mode & 0o777) == "0o600"
        assert node.vipguard("render", "keepalived").stdout.count(bare.spec.vip) >= 1
        variables = (
            "server_id",
            "read_only",
            "log_bin",
            "gtid_strict_mode",
            "innodb_flush_log_at_trx_commit",
            "sync_binlog",
        )
        values = node.mysqld.sql("SELECT " + ", ".join(f"@@global.{name} AS {name}" for name in variables))[0]
        assert values == {**dict.fromkeys(variables, 1), "server_id": node.server_id}


@pytest.mark.parametrize("ipv6", [False, True])
def test_the_configuration_it_writes_is_read_without_complaint(ipv6: bool, tmp_path: Path) -> None:
    for name in ("password", "replication-password"):
        (tmp_path / name).write_text("secret\n")
        (tmp_path / name).chmod(0o600)
    settings = {"node": "db3", "silent_peer": "wait", "limits": {"hang_s": 1.0}}
    text = LabSpec(nodes=3, ipv6=ipv6, settings=settings).toml().replace("/etc/vipguard", str(tmp_path))
    (tmp_path / "vipguard.toml").write_text(text)
    policy = load(str(tmp_path / "vipguard.toml"))
    assert policy.node == "db3" and policy.limits.hang_s == 1.0 and policy.silent_peer == "wait"
    assert [node.priority for node in policy.nodes] == [250, 230, 210]
    assert policy.vip.version == (6 if ipv6 else 4)


def test_a_server_of_the_lab_can_be_one_that_is_started_again(bare: Lab) -> None:
    server = bare.nodes["db1"].mysqld
    server.terminate()
    server.start(again_s=0.2)
    server.wait_ready()
    first = server.pid
    server.kill9()
    wait_until(lambda: server.pid not in (None, first), 5, "its next run")
    server.wait_ready()
    server.terminate()
    time.sleep(0.5)
    assert not server.alive
    server.start()
    server.wait_ready()
