"""What the tests of the shipped files share: a namespace, a safe directory, a configuration, the command."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from stand_in import Namespace

from vipguard.lab.wait import wait_until


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    namespace = Namespace()
    try:
        yield namespace
    finally:
        namespace.end()


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A root-owned directory below root-owned ones, as keepalived wants it, and short enough for a socket's path."""
    folder = Path(tempfile.mkdtemp(prefix="vgt-", dir="/var/lib"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        wait_until(lambda: _removed(folder), 10, f"{folder} to be let alone by the last check")


def _removed(folder: Path) -> bool:
    """A check that keepalived called still writes there for a moment; then it is tried anew."""
    shutil.rmtree(folder)
    return True


@pytest.fixture
def config_file(short_path: Path) -> Path:
    """A configuration whose files all live in `short_path`; this node is db1."""
    password = short_path / "password"
    password.write_text("secret\n")
    password.chmod(0o600)
    (short_path / "run").mkdir()
    path = short_path / "vipguard.toml"
    path.write_text(
        f"""
cluster = "orders"
node = "db1"
vip = {{ address = "10.73.0.100/24", interface = "eth0", router_id = 51 }}
nodes.db1 = {{ address = "10.73.0.11", priority = 200 }}
nodes.db2 = {{ address = "10.73.0.12", priority = 180 }}
mysql = {{ socket = "{short_path}/mysqld.sock", password_file = "{password}" }}
witness.addresses = ["10.73.0.1"]
paths = {{ run = "{short_path}/run", state = "{short_path}/state" }}
vrrp = {{ startup_delay_s = 0 }}
"""
    )
    return path


@pytest.fixture
def vipguard() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs vipguard's command line in a process of its own."""

    def run(*argv: str, **more: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-P", "-m", "vipguard", *argv], check=False,
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, **more,
        )  # type: ignore[call-overload,no-any-return]  # fmt: skip

    return run
