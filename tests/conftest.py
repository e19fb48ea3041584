"""A test on real servers that fails is run once more, and the run says so (an `R`): the machine may be shared.

It must pass then. What the pure rooms decide has no second chance: unit and sim are never run again.
"""

from __future__ import annotations

import pytest

REAL = ("/tests/lab/", "/tests/integration/", "/tests/behaviour/", "/tests/packaging/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if any(part in str(item.path) for part in REAL):
            item.add_marker(pytest.mark.flaky(reruns=1))
