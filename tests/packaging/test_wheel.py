"""What pip installs from a wheel is whole: the wrappers are there, keepalived may run them, `render` names them."""

from __future__ import annotations

import re
import shutil
import stat
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from stand_in import REPOSITORY

pytestmark = pytest.mark.packaging


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of the tree, so that nothing built is left in it."""
    source = tmp_path_factory.mktemp("source")
    for name in ("vipguard", "keepalived", "systemd"):
        shutil.copytree(REPOSITORY / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, source)
    argv = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        "dist",
        ".",
    ]
    done = subprocess.run(argv, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return next((source / "dist").glob("vipguard-*.whl"))


@pytest.fixture
def environment(wheel: Path, short_path: Path) -> Path:
    """A fresh virtual environment with the wheel; what it depends on is borrowed from the one of these tests."""
    place = short_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True)
    argv = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        f"{place}/bin/python3",
        "install",
        "-q",
        "--no-deps",
        str(wheel),
    ]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    packages = next(place.glob("lib/python3.*/site-packages"))
    (packages / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return place


def vipguard(environment: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    command = [str(environment / "bin/vipguard"), *argv]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, cwd="/", env={"PATH": "/usr/sbin:/usr/bin"}
    )


def test_render_from_a_wheel_names_wrappers_that_keepalived_runs(
    environment: Path, config_file: Path
) -> None:
    done = vipguard(environment, "--config", str(config_file), "render", "keepalived")
    assert (done.returncode, done.stderr) == (0, "")
    named = re.search(r'script "(\S+) (\S+) ', done.stdout)
    hook = re.search(r'notify "(\S+) (\S+) ', done.stdout)
    assert named and hook
    for found in (named, hook):
        wrapper = Path(found[1])
        assert wrapper.is_relative_to(environment)
        assert found[2] == str(config_file)
        for part in (wrapper, *wrapper.parents):
            status = part.lstat()
            assert status.st_uid == 0 and not status.st_mode & 0o022 and not stat.S_ISLNK(status.st_mode)
        assert wrapper.stat().st_mode & 0o111 == 0o111
    written = config_file.with_name("keepalived.conf")
    written.write_text(done.stdout)
    judged = subprocess.run(
        ["keepalived", "-t", "-l", "-f", str(written)], capture_output=True, text=True, check=False
    )
    assert judged.returncode == 0, judged.stdout + judged.stderr


def test_the_installed_wrapper_finds_its_own_vipguard(environment: Path, config_file: Path) -> None:
    wrapper = environment / "share/vipguard/keepalived/hook"
    argv = [str(wrapper), str(config_file.with_name("none.toml")), f"{config_file.parent}/agent.sock"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd="/", env={})
    assert "none.toml: there is no such file" in done.stderr
    assert done.returncode == 2


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda path: path.unlink(), "No such file"),
        (lambda path: path.chmod(0o644), "not executable"),
        (lambda path: path.chmod(0o777), "writable by others"),
        (lambda path: path.parent.chmod(0o777), "writable by others"),
        (lambda path: shutil.chown(path, "nobody"), "not owned by root"),
    ],
)
def test_render_fails_where_keepalived_would_refuse_the_wrapper(
    environment: Path, config_file: Path, spoil: object, said: str
) -> None:
    assert callable(spoil)
    spoil(environment / "share/vipguard/keepalived/check")
    done = vipguard(environment, "--config", str(config_file), "render", "keepalived")
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_units_tmpfiles_and_every_module_are_in_the_wheel(environment: Path) -> None:
    shipped = environment / "share/vipguard/systemd"
    for path in (REPOSITORY / "systemd").rglob("*.*"):
        if path.is_file():
            assert (shipped / path.relative_to(REPOSITORY / "systemd")).read_bytes() == path.read_bytes()
    package = next(environment.glob("lib/python3.*/site-packages/vipguard"))
    for path in (REPOSITORY / "vipguard").rglob("*.py"):
        assert (package / path.relative_to(REPOSITORY / "vipguard")).is_file(), path


def test_every_python_directory_of_the_package_is_a_package() -> None:
    for path in (REPOSITORY / "vipguard").rglob("*.py"):
        assert (path.parent / "__init__.py").is_file(), f"{path.parent} would not be shipped"
