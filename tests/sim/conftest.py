"""Which seeds are played: `--seed N` or VIPGUARD_SIM_SEED for one, `--seeds N` or VIPGUARD_SIM_SEEDS for so many.

`pytest tests/sim --seed 4711` prints the whole story of that run. `--seeds 5000` is a campaign.
"""

from __future__ import annotations

import os

import pytest

DEFAULT_SEEDS = 40


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("simulator")
    group.addoption("--seed", type=int, default=None, help="play this one seed and print its story")
    group.addoption("--seeds", type=int, default=None, help=f"play so many seeds (default {DEFAULT_SEEDS})")
    group.addoption("--first-seed", type=int, default=0, help="the first of them")


def _chosen(config: pytest.Config) -> tuple[int | None, int, int]:
    """The one seed, or None; else how many, and the first. Options may be unknown when all tests are run."""
    seed = config.getoption("--seed", None, skip=False)
    if seed is None and os.environ.get("VIPGUARD_SIM_SEED"):
        seed = int(os.environ["VIPGUARD_SIM_SEED"])
    count = config.getoption("--seeds", None, skip=False)
    if count is None:
        count = int(os.environ.get("VIPGUARD_SIM_SEEDS") or DEFAULT_SEEDS)
    return seed, count, config.getoption("--first-seed", 0, skip=False)


@pytest.fixture(scope="session")
def seeds(pytestconfig: pytest.Config) -> range:
    seed, count, first = _chosen(pytestconfig)
    return range(first, first + count) if seed is None else range(seed, seed + 1)


@pytest.fixture(scope="session")
def one_seed(pytestconfig: pytest.Config) -> bool:
    return _chosen(pytestconfig)[0] is not None
