"""make: a newcomer's first words."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from stand_in import REPOSITORY

pytestmark = pytest.mark.packaging


@pytest.mark.parametrize("task", ["demo", "test", "bench"])
def test_without_root_one_sentence_comes_before_anything_else(short_path: Path, task: str) -> None:
    shutil.copy(REPOSITORY / "Makefile", short_path)
    argv = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "make", "-s", task]
    done = subprocess.run(argv, cwd=short_path, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert f"make {task} needs root: it installs" in done.stderr
    assert done.stdout == ""
    assert list(short_path.iterdir()) == [short_path / "Makefile"]


def test_help_lists_every_task() -> None:
    done = subprocess.run(["make", "-s", "help"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert re.findall(r"^  make (\w+) +\S", done.stdout, re.M) == [
        "help",
        "demo",
        "test",
        "lint",
        "bench",
        "campaign",
        "sabotage",
        "clean",
    ]
