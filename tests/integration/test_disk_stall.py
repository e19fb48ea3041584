"""A real file system that stands: what vipguard's own writes to it tell, and what becomes of a process that waits."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from vipguard.act.server import kill_server
from vipguard.lab.faults import FREEZE
from vipguard.lab.wait import wait_until
from vipguard.model.evidence import DiskEvidence, ProcessId
from vipguard.probe.disk import DiskWatch, completed
from vipguard.session import boottime_s
from vipguard.session.process import is_exiting, stat_fields

pytestmark = pytest.mark.lab
WRITES = "import os, sys\nprint('on', flush=True)\nwhile True:\n    open(sys.argv[1] + '/x', 'w').write('x')\n"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Where a small ext4 on a loop device is mounted."""
    image, place = tmp_path / "img", tmp_path / "disk"
    place.mkdir()
    subprocess.run(["truncate", "-s", "32M", image], check=True)
    subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
    subprocess.run(["mount", "-o", "loop", image, place], check=True)
    try:
        yield place
    finally:
        wait_until(lambda: subprocess.run(["umount", place], check=False).returncode == 0, 10, lambda: "umount")


@pytest.fixture
def watch() -> Iterator[DiskWatch]:
    made = DiskWatch()
    yield made
    made.close()


@contextlib.contextmanager
def frozen(place: Path) -> Iterator[None]:
    """Thawed by the process that froze it, when this one has ended, too."""
    freezer = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", FREEZE, str(place)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert freezer.stdin is not None and freezer.stdout is not None
    try:
        assert freezer.stdout.readline() == b"frozen\n"
        yield
    finally:
        freezer.stdin.close()
        freezer.wait(20)


def look(watch: DiskWatch, place: Path, *logs: str) -> DiskEvidence:
    return watch.look(str(place), logs, boottime_s)


def looks(watch: DiskWatch, place: Path, for_s: float) -> DiskEvidence:
    until_s = time.monotonic() + for_s
    while time.monotonic() < until_s:
        look(watch, place)
    return look(watch, place)


def test_a_healthy_disk_comes_back_at_once_and_nothing_is_left_there(disk: Path, watch: DiskWatch) -> None:
    for _ in range(3):
        seen = look(watch, disk, "./", str(disk))
        assert seen.waits_since_s is None and seen.sync_error == "" and seen.counted
        assert seen.writable is True and seen.free_bytes and seen.total_bytes and seen.took_s is not None
    assert os.listdir(disk) == ["lost+found"]


def test_a_disk_that_stands_is_timed_by_what_was_seen_and_goes_on_by_itself(disk: Path, watch: DiskWatch) -> None:
    look(watch, disk)
    with frozen(disk):
        began_s = time.monotonic()
        seen = looks(watch, disk, 1.0)
        assert time.monotonic() - began_s < 2.0, "no look waits for the disk"
        assert seen.waits_since_s is not None and seen.still_since_s is not None
        assert seen.counted and seen.place == str(disk) and seen.free_bytes
        assert 0.9 < seen.seen_at_s - seen.still_since_s <= seen.seen_at_s - seen.waits_since_s < 3.0
    wait_until(lambda: look(watch, disk).waits_since_s is None, 5, lambda: "the write to come back")


def test_a_disk_on_which_others_come_back_is_slow_and_does_not_stand(disk: Path, watch: DiskWatch) -> None:
    """As while ten gigabytes are committed: the device is busy all the time."""
    source = next(
        line.split()[0] for line in Path("/proc/mounts").read_text().splitlines() if line.split()[1] == str(disk)
    )
    look(watch, disk)
    with frozen(disk):
        until_s = time.monotonic() + 1.2
        seen = look(watch, disk)
        while time.monotonic() < until_s:
            copy = ["dd", f"if={source}", f"of={source}", "bs=4096", "count=1", "conv=notrunc,fsync", "oflag=direct"]
            subprocess.run(copy, check=True, capture_output=True)  # its own first block, as it is
            seen = look(watch, disk)
        assert seen.waits_since_s is not None and seen.still_since_s is not None
        assert seen.seen_at_s - seen.waits_since_s > 1.0 > 0.6 > seen.seen_at_s - seen.still_since_s


def test_a_log_on_a_disk_of_its_own_that_stands_is_seen_as_well(disk: Path, watch: DiskWatch, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    assert look(watch, data, str(disk)).waits_since_s is None
    with frozen(disk):
        look(watch, data, str(disk))
        seen = look(watch, data, str(disk))
        assert seen.waits_since_s is not None and seen.place == str(disk) and seen.free_bytes


def test_a_writer_that_gets_no_processor_is_no_disk_that_stands(disk: Path, watch: DiskWatch) -> None:
    look(watch, disk)
    writer = next(iter(watch._writers.values()))
    assert writer._process is not None
    os.kill(writer._process.pid, 19)
    try:
        seen = looks(watch, disk, 1.0)
        assert seen.waits_since_s is not None and seen.still_since_s is not None
        assert seen.seen_at_s - seen.still_since_s < 0.5
    finally:
        os.kill(writer._process.pid, 18)


def test_a_place_that_cannot_be_written_says_why(watch: DiskWatch, tmp_path: Path) -> None:
    gone = look(watch, tmp_path / "none")
    assert gone.free_bytes is None and gone.sync_error == "No such file or directory"
    place = tmp_path / "immutable"
    place.mkdir()
    if subprocess.run(["chattr", "+i", place], check=False, capture_output=True).returncode:
        return
    try:
        found = look(watch, place)
        assert found.sync_error == "Operation not permitted" and found.waits_since_s is None
    finally:
        subprocess.run(["chattr", "-i", place], check=True)


def test_a_full_disk_does_not_stand(disk: Path, watch: DiskWatch) -> None:
    with contextlib.suppress(OSError), (disk / "fill").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1 << 20))
    seen = look(watch, disk)
    assert seen.waits_since_s is None and seen.sync_error == "" and seen.free_bytes is not None


def test_who_looks_ends_at_once_while_its_disk_stands(disk: Path) -> None:
    watch = DiskWatch()
    look(watch, disk)
    with frozen(disk):
        look(watch, disk)
        began_s = time.monotonic()
        watch.close()
        assert time.monotonic() - began_s < 1.0


def test_a_process_whose_main_thread_hangs_in_the_kernel_counts_as_killed(disk: Path) -> None:
    """It never runs its code again; it ends when the disk moves."""
    victim = subprocess.Popen([sys.executable, "-c", WRITES, str(disk)], stdout=subprocess.PIPE)
    try:
        assert victim.stdout is not None and victim.stdout.readline() == b"on\n"
        with frozen(disk):
            wait_until(lambda: (stat_fields(victim.pid) or [""])[0] == "D", 5, lambda: "it to hang")
            process = ProcessId(victim.pid, int((stat_fields(victim.pid) or [])[19]))
            assert kill_server(process, 1.0) and not is_exiting(process)
        assert victim.wait(5) == -9
    finally:
        victim.kill()
        victim.wait(5)


def test_devices_count_and_what_is_none_does_not() -> None:
    assert completed("") is None and completed("0:9999") is None
    device = os.stat("/").st_dev
    assert os.major(device) == 0 or (completed(f"{os.major(device)}:{os.minor(device)}") or 0) > 0
