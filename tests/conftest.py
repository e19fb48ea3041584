"""What the rooms of the tests share: what is run again (`again.py`), scratch servers, an unreachable node."""

from __future__ import annotations

import ast
import contextlib
import gc
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from scratch import Pair, pair_for_session

_parse = ast.parse


def _parse_again(*args: Any, **more: Any) -> Any:
    """Python 3.11.2, Debian 12's, counts the depth of the tree for all threads together, and for what the collector of
    garbage calls in between, and then takes its own count for an error (python/cpython#106905). pytest parses the
    source of each failure, and would end the whole run by that.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        for _ in range(50):
            with contextlib.suppress(SystemError):
                return _parse(*args, **more)
            time.sleep(0.01)
        return _parse(*args, **more)
    finally:
        if collects:
            gc.enable()


ast.parse = _parse_again  # type: ignore[assignment]
pytest_plugins = ["again"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--flavor",
        choices=("mariadb", "mysql"),
        help="Of tests/lab, only what runs with this flavor; what has no flavor goes with mariadb.",
    )


def pytest_configure() -> None:
    """Who ends a run by SIGTERM, as `timeout` does, gets it cleaned up as after Ctrl-C."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    wanted = config.getoption("--flavor")
    left = [item for item in items if wanted and "/tests/lab/" in str(item.path) and flavor_of(item) != wanted]
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if item not in set(left)]


def flavor_of(item: pytest.Item) -> str:
    callspec = getattr(item, "callspec", None)
    return "mysql" if callspec is not None and "mysql" in callspec.params.values() else "mariadb"


# -- scratch servers: one pair of each flavour for the whole run


@pytest.fixture(scope="session")
def _mariadb_pair() -> Iterator[Pair]:
    yield from pair_for_session("mariadb")


@pytest.fixture(scope="session")
def _mysql_pair() -> Iterator[Pair]:
    yield from pair_for_session("mysql")


@pytest.fixture
def mariadb(_mariadb_pair: Pair) -> Pair:
    _mariadb_pair.heal()
    return _mariadb_pair


@pytest.fixture
def mysql(_mysql_pair: Pair) -> Pair:
    _mysql_pair.heal()
    return _mysql_pair


@pytest.fixture(params=["mariadb", "mysql"])
def pair(request: pytest.FixtureRequest) -> Pair:
    """The same test on either flavour."""
    found: Pair = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration of a node whose server is not running and whose peer and witness nobody has."""
    password = tmp_path / "password"
    password.write_text("secret\n")
    password.chmod(0o600)
    (tmp_path / "run").mkdir()
    path = tmp_path / "vipguard.toml"
    path.write_text(
        f"""
cluster = "orders"
node = "db1"
vip = {{ address = "10.73.0.100/24", interface = "lo", router_id = 51 }}
nodes.db1 = {{ address = "127.0.0.71", priority = 200 }}
nodes.db2 = {{ address = "127.0.0.72", priority = 180 }}
mysql = {{ socket = "{tmp_path}/mysqld.sock", port = 1, password_file = "{password}" }}
witness.addresses = ["127.0.0.73"]
paths = {{ run = "{tmp_path}/run", state = "{tmp_path}/state" }}
limits = {{ deadline_s = 0.2, lease_s = 0.3, probe_s = 0.1 }}
"""
    )
    return path
