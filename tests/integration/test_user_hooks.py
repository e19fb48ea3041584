"""The operator's executables as they are found and run."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from lawful import in_time

from vipguard.act import hooks
from vipguard.errors import CouldNotDo

EVENT = "before-open"


@pytest.fixture
def folder() -> Iterator[Path]:
    """A directory that root alone can change, as /etc is."""
    found = Path("/var/lib/vipguard-test-hooks")
    shutil.rmtree(found, ignore_errors=True)
    (found / EVENT).mkdir(parents=True, mode=0o755)
    yield found
    shutil.rmtree(found)


def put(folder: Path, name: str, script: str, mode: int = 0o755) -> Path:
    path = folder / EVENT / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(mode)
    return path


def run(folder: Path, deadline_s: float = 5.0) -> int:
    return hooks.run(str(folder), EVENT, {"VIPGUARD_EPOCH": "4"}, deadline_s)


def test_they_run_in_order_of_name_with_their_environment(folder: Path) -> None:
    said = folder / "said"
    for name in ("20-b", "10-a", "30-c.sh"):
        put(folder, name, f'echo {name} $VIPGUARD_EPOCH >>{said}')
    assert run(folder) == 3
    assert said.read_text().splitlines() == ["10-a 4", "20-b 4", "30-c.sh 4"]


def test_what_packages_and_editors_leave_and_what_is_switched_off_is_passed_over(folder: Path) -> None:
    for name in (".hidden", "10-a~", "10-a.bak", "10-a.dpkg-old", "10-a.rpmsave", "10-a.disabled"):
        put(folder, name, "exit 1")
    put(folder, "20-off", "exit 1", 0o644)
    (folder / EVENT / "30-directory").mkdir()
    assert run(folder) == 0


def test_no_directory_is_no_hook(folder: Path) -> None:
    assert hooks.run(str(folder), "after-open", {}, 1.0) == 0
    assert hooks.run("/nonexistent", EVENT, {}, 1.0) == 0


def test_the_others_are_run_after_one_that_failed_and_the_failure_is_named(folder: Path) -> None:
    put(folder, "10-no", "echo because; exit 3")
    put(folder, "20-yes", f"touch {folder}/ran")
    with pytest.raises(CouldNotDo, match=r"10-no exited with 3$"):
        run(folder)
    assert (folder / "ran").exists()


def test_one_that_is_late_is_killed_and_what_is_left_is_not_run(folder: Path) -> None:
    put(folder, "10-slow", "sleep 60")
    put(folder, "20-next", f"touch {folder}/ran")
    begun = time.monotonic()
    with pytest.raises(CouldNotDo, match="10-slow was late and was killed, and 1 more"):
        run(folder, 0.3)
    in_time(time.monotonic() - begun, 2)
    assert not (folder / "ran").exists()


def test_one_that_others_may_write_is_refused_and_counts_as_failed(folder: Path) -> None:
    put(folder, "10-open", f"touch {folder}/ran", 0o757)
    with pytest.raises(CouldNotDo, match="others than root may write"):
        run(folder)
    assert not (folder / "ran").exists()


def test_a_directory_that_others_may_write_spoils_what_is_in_it(folder: Path) -> None:
    put(folder, "10-a", f"touch {folder}/ran")
    (folder / EVENT).chmod(0o777)
    with pytest.raises(CouldNotDo, match="others than root may write"):
        run(folder)
    assert not (folder / "ran").exists()
