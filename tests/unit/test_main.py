"""The command line's frame: light imports, exit codes, one sentence for an expected error."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest

from vipguard.cli import main
from vipguard.errors import CouldNotLook


def vipguard(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "vipguard", *argv], capture_output=True, text=True, check=False, timeout=60
    )


def test_each_command_that_is_listed_exists() -> None:
    for name in main.COMMANDS:
        found = main.cli.get_command(click.Context(main.cli), name)
        assert isinstance(found, click.Command)
        assert main.COMMANDS[name]


def test_help_and_version_import_no_command() -> None:
    code = (
        "import sys\nfrom vipguard.cli.main import run\nrun(['--help'])\n"
        "heavy = ('vipguard.cli.', 'vipguard.config', 'structlog', 'rich')\n"
        "print([name for name in sys.modules if name.startswith(heavy)])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "['vipguard.cli.app', 'vipguard.cli.main']"
    assert "doctor" in done.stdout
    assert "version" in vipguard("--version").stdout


def test_the_check_path_imports_no_netlink_no_scapy_no_prometheus(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom vipguard.cli.main import run\n"
        f"run(['--config', '{tmp_path}/none.toml', 'check', 'writer', '--for-keepalived'])\n"
        "print([name for name in ('pyroute2', 'scapy', 'prometheus_client', 'rich') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_configuration_mistake_is_one_sentence_and_exit_code_two(tmp_path: Path) -> None:
    done = vipguard("--config", f"{tmp_path}/none.toml", "render", "keepalived")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(f"vipguard: {tmp_path}/none.toml: there is no such file; ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "argv", [["chek"], ["--nope"], ["render"], ["render", "mysql", "--flavor", "oracle"]]
)
def test_wrong_usage_is_exit_code_two_without_traceback(argv: list[str]) -> None:
    done = vipguard(*argv)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr


@pytest.mark.parametrize(
    ("error", "code"),
    [(CouldNotLook("blind"), main.EXIT_FAILED), (KeyboardInterrupt(), main.EXIT_INTERRUPTED)],
)
def test_expected_errors_of_a_command_become_exit_codes(
    monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int
) -> None:
    @click.command
    def command() -> None:
        raise error

    monkeypatch.setattr(main.LazyGroup, "get_command", lambda *_: command)
    assert main.run(["status"]) == code


def test_what_a_command_returns_is_the_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main.LazyGroup, "get_command", lambda *_: click.command(lambda: 3))
    assert main.run(["status"]) == 3


def test_a_reader_that_has_seen_enough_gets_no_complaint() -> None:
    argv = f"{sys.executable} -m vipguard --help | true"
    done = subprocess.run(["sh", "-c", argv], capture_output=True, text=True, check=False)
    assert done.stderr == ""
