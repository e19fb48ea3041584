"""Scratch servers for the tests of probe and act: one pair of each flavour for the whole run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from scratch import Pair, pair_for_session


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
