"""The units: systemd finds nothing wrong with them, and they want and follow each other without requiring anything."""

from __future__ import annotations

import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from stand_in import REPOSITORY

pytestmark = pytest.mark.packaging

SYSTEMD = REPOSITORY / "systemd"
UNITS = sorted(path.name for pattern in ("*.service", "*.timer") for path in SYSTEMD.glob(pattern))


@pytest.fixture
def copies(tmp_path: Path) -> Path:
    """The units as installed: their ExecStart points at the program that these tests run."""
    shutil.copytree(SYSTEMD, tmp_path / "units")
    program = Path(sys.executable).with_name("python3")
    for path in (tmp_path / "units").glob("*.service"):
        text = path.read_text()
        text = text.replace("/usr/bin/vipguard", f"{program} -m vipguard")
        path.write_text(text.replace("/usr/share/vipguard", str(REPOSITORY)))
    shutil.copy("/lib/systemd/system/keepalived.service", tmp_path / "units")
    return tmp_path / "units"


def test_systemd_finds_nothing_to_say_about_the_units(copies: Path) -> None:
    units = [str(copies / name) for name in (*UNITS, "keepalived.service")]
    done = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False)
    ours = [line for line in done.stderr.splitlines() if re.search(r"vipguard|keepalived", line)]
    assert (done.returncode, ours) == (0, [])


def test_the_verification_would_see_a_mistake(copies: Path) -> None:
    path = copies / "vipguard-agent.service"
    path.write_text(path.read_text().replace("Type=notify", "Type=notifi\nNonsense=1"))
    done = subprocess.run(
        ["systemd-analyze", "verify", str(path)], capture_output=True, text=True, check=False
    )
    assert "Nonsense" in done.stderr


@pytest.mark.parametrize("path", sorted(SYSTEMD.rglob("*.*")), ids=lambda path: path.name)
def test_units_only_want_and_follow_each_other(path: Path) -> None:
    if path.is_file():
        assert not re.findall(
            r"^(Requires|Requisite|BindsTo|PartOf|RuntimeDirectory)=", path.read_text(), re.M
        )


def test_the_agent_is_up_before_keepalived_starts() -> None:
    agent = (SYSTEMD / "vipguard-agent.service").read_text()
    for line in (
        "Type=notify",
        "Before=keepalived.service",
        "Restart=always",
        "ExecReload=/bin/kill -HUP $MAINPID",
    ):
        assert line in agent.splitlines()
    assert re.search(r"^WatchdogSec=\d", agent, re.M)


def test_sysusers_and_tmpfiles_make_the_group_and_the_directories(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    for argv in (
        ["systemd-sysusers", f"--root={tmp_path}", f"{SYSTEMD}/sysusers.d/vipguard.conf"],
        ["systemd-tmpfiles", "--create", f"--root={tmp_path}", f"{SYSTEMD}/tmpfiles.d/vipguard.conf"],
    ):
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "") or "sysusers" in argv[0], done.stderr
    group = next(
        line for line in (tmp_path / "etc/group").read_text().splitlines() if line.startswith("vipguard:")
    )
    run, state = (tmp_path / name for name in ("run/vipguard", "var/lib/vipguard"))
    assert (stat.S_IMODE(run.stat().st_mode), run.stat().st_gid) == (0o750, int(group.split(":")[2]))
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
