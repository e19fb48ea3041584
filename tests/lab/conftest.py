"""Clusters for tests: one a flavour for the whole run, healed before each test, its laws asserted after each.

A test asks for `pair`, a healthy guarded lab of two nodes, and is run with MariaDB and with MySQL. After it, two
nodes must not be writable and no agent may have left a traceback. When it fails, the whole lab is printed with it.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator

import pytest
from guarded import SETTINGS, Guarded, make_ready
from lawful import laws_hold, watched

from vipguard.lab import Lab, LabSpec, faults
from vipguard.lab.spec import Flavor

FLAVORS: tuple[Flavor, ...] = ("mariadb", "mysql")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "/tests/lab/" in str(item.path):
            item.add_marker(pytest.mark.lab)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        for name, value in getattr(item, "funcargs", {}).items():
            if isinstance(value, Guarded):
                value = value.lab
            if isinstance(value, Lab):
                try:
                    report.sections.append((f"lab {name}", value.describe(25)))
                except Exception as exc:
                    report.sections.append((f"lab {name}", f"cannot be described: {exc!r}"))
    return report


@pytest.fixture(scope="session", autouse=True)
def _root() -> None:
    if os.geteuid() != 0:
        pytest.fail(
            "tests/lab makes network namespaces and mounts, which needs root: run the tests with sudo"
        )


@pytest.fixture(scope="session", params=FLAVORS)
def flavor(request: pytest.FixtureRequest) -> Flavor:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(scope="session")
def _pair(flavor: Flavor) -> Iterator[Lab]:
    with Lab.create(LabSpec(name=f"t{os.getpid()}-{flavor}", flavor=flavor, settings=SETTINGS)) as lab:
        yield lab.up()


@pytest.fixture
def pair(_pair: Lab) -> Iterator[Lab]:
    """A healthy guarded pair; see the head of this file."""
    _pair.reset()
    with laws_hold(_pair):
        yield _pair


def _watched(lab: Lab) -> Iterator[Guarded]:
    """The body of a fixture."""
    make_ready(lab)
    with laws_hold(lab), watched(lab) as guarded:
        yield guarded


@pytest.fixture
def guarded(_pair: Lab) -> Iterator[Guarded]:
    """A healthy guarded pair under a watcher that asks both servers all the time: never two writers, unless the test
    itself made them and said so in `two_writers_ms_max`.
    """
    yield from _watched(_pair)


@pytest.fixture(scope="module")
def _lossless_pair(flavor: Flavor) -> Iterator[Lab]:
    settings = {**SETTINGS, "durability": "lossless"}
    with Lab.create(LabSpec(name=f"l{os.getpid()}-{flavor}", flavor=flavor, settings=settings)) as lab:
        yield lab.up()


@pytest.fixture
def lossless(_lossless_pair: Lab) -> Iterator[Guarded]:
    """As `guarded`, with `durability = "lossless"`."""
    yield from _watched(_lossless_pair)


@pytest.fixture(scope="module")
def _small_pair(flavor: Flavor) -> Iterator[Lab]:
    with Lab.create(LabSpec(name=f"d{os.getpid()}-{flavor}", flavor=flavor, settings=SETTINGS)) as lab:
        for node in lab.nodes.values():
            faults.small_data_disk(node, 400)
        yield lab.up()


@pytest.fixture
def small(_small_pair: Lab) -> Iterator[Guarded]:
    """As `guarded`, each data directory on a small disk of its own, which `faults.full_data_disk` fills."""
    yield from _watched(_small_pair)


@pytest.fixture(scope="module")
def _stalling_pair(flavor: Flavor) -> Iterator[Lab]:
    with Lab.create(LabSpec(name=f"f{os.getpid()}-{flavor}", flavor=flavor, settings=SETTINGS)) as lab:
        for node in lab.nodes.values():
            faults.disk_of_its_own(node, 800)
        yield lab.up()


@pytest.fixture
def stalling(_stalling_pair: Lab) -> Iterator[Guarded]:
    """As `guarded`, each data directory on a block device of its own, which `faults.stalled_disk` lets stand."""
    yield from _watched(_stalling_pair)


@pytest.fixture(scope="module")
def _stalling_lossless_pair(flavor: Flavor) -> Iterator[Lab]:
    settings = {**SETTINGS, "durability": "lossless"}
    with Lab.create(LabSpec(name=f"s{os.getpid()}-{flavor}", flavor=flavor, settings=settings)) as lab:
        for node in lab.nodes.values():
            faults.disk_of_its_own(node, 800)
        yield lab.up()


@pytest.fixture
def stalling_lossless(_stalling_lossless_pair: Lab) -> Iterator[Guarded]:
    """As `stalling`, with `durability = "lossless"`."""
    yield from _watched(_stalling_lossless_pair)


@pytest.fixture(scope="module")
def _pair_with_replica(flavor: Flavor) -> Iterator[Lab]:
    spec = LabSpec(name=f"r{os.getpid()}-{flavor}", flavor=flavor, replicas=1, settings=SETTINGS)
    with Lab.create(spec) as lab:
        yield lab.up()


@pytest.fixture
def replicated(_pair_with_replica: Lab) -> Iterator[Guarded]:
    """As `guarded`, with db3 as a replica."""
    yield from _watched(_pair_with_replica)


@pytest.fixture(scope="session")
def _bare() -> Iterator[Lab]:
    with Lab.create(LabSpec(name=f"t{os.getpid()}-bare", guard="none")) as lab:
        yield lab.up()


@pytest.fixture
def bare(_bare: Lab) -> Lab:
    """Two closed MariaDB servers that follow each other, and nobody who guards them."""
    _bare.heal()
    _bare.restart_dead()
    for node in _bare.nodes.values():
        node.mysqld.sql("SET GLOBAL read_only = 1")
    return _bare
