"""What stands in files: the notify FIFO, the track file, the pid files, the file system."""

from __future__ import annotations

import errno
import os
import select
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from nets import boottime

from vipguard.act import track_file
from vipguard.errors import CouldNotDo
from vipguard.lab.wait import wait_until
from vipguard.probe import disk
from vipguard.probe.fifo import FifoWatch
from vipguard.probe.keepalived import KeepalivedWatch

MASTER = b'INSTANCE "writer" MASTER 150\n'
BACKUP = b'INSTANCE "writer" BACKUP 150\n'


def writer(path: Path) -> int:
    """Open as keepalived opens it."""
    return os.open(path, os.O_RDWR | os.O_NONBLOCK)


@contextmanager
def reading(path: Path, instance: str | None = None) -> Iterator[FifoWatch]:
    watch = FifoWatch(str(path), instance)
    try:
        yield watch
    finally:
        watch.close()


def test_the_fifo_is_made_for_its_owner_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o177)
    try:
        with reading(tmp_path / "f"):
            found = (tmp_path / "f").stat()
            assert stat.S_ISFIFO(found.st_mode)
            assert stat.S_IMODE(found.st_mode) == 0o600
    finally:
        os.umask(before)


def test_an_existing_fifo_is_kept_and_its_mode_corrected(tmp_path: Path) -> None:
    path = tmp_path / "f"
    os.mkfifo(path, 0o600)
    path.chmod(0o666)
    os.chown(path, 1, 1)
    inode = path.stat().st_ino
    with reading(path) as watch:
        found = path.stat()
        assert found.st_ino == inode
        assert stat.S_IMODE(found.st_mode) == 0o600
        assert found.st_uid == os.geteuid()
        assert not watch.moved()
        path.unlink()
        assert watch.moved()
        os.mkfifo(path)
        assert watch.moved()


@pytest.mark.parametrize("kind", ["file", "directory", "link"])
def test_what_is_no_fifo_is_refused_with_a_sentence_and_left_alone(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "f"
    if kind == "file":
        path.write_text("keep me")
    elif kind == "directory":
        path.mkdir()
    else:
        os.mkfifo(tmp_path / "real")
        path.symlink_to("real")
    with pytest.raises(CouldNotDo, match="is not a FIFO; remove it"):
        FifoWatch(str(path))
    assert path.exists()


def test_a_missing_directory_is_a_sentence_too(tmp_path: Path) -> None:
    with pytest.raises(CouldNotDo, match="cannot make or open the FIFO"):
        FifoWatch(str(tmp_path / "none" / "f"))


def test_the_life_of_a_writer_is_told_by_level(tmp_path: Path) -> None:
    with reading(tmp_path / "f", "writer") as watch:
        seen = watch.drain()
        assert (seen.events, seen.writer, seen.hung_up) == ((), False, False)
        fd = writer(tmp_path / "f")
        seen = watch.drain()
        assert (seen.writer, seen.hung_up) == (True, False)
        os.write(fd, BACKUP + b"what?\n" + MASTER + MASTER[:10])
        seen = watch.drain()
        assert [event.state for event in seen.events] == ["BACKUP", "MASTER"]
        assert [item.line for item in seen.ignored] == ["what?"]
        os.close(fd)
        seen = watch.drain()
        assert (seen.events, seen.writer, seen.hung_up) == ((), False, True)
        fd = writer(tmp_path / "f")
        os.write(fd, BACKUP)
        seen = watch.drain()
        # the dead writer's half line is not before it
        assert [event.state for event in seen.events] == ["BACKUP"]
        assert (seen.writer, seen.hung_up, seen.ignored) == (True, False, ())
        os.close(fd)


def test_lines_of_a_writer_that_is_gone_already_are_read(tmp_path: Path) -> None:
    with reading(tmp_path / "f") as watch:
        fd = writer(tmp_path / "f")
        os.write(fd, MASTER)
        os.close(fd)
        seen = watch.drain()
        assert [event.state for event in seen.events] == ["MASTER"]
        assert seen.hung_up
        assert watch.drain().hung_up


def test_a_flood_is_read_in_bounded_pieces_and_nothing_of_it_is_lost(tmp_path: Path) -> None:
    with reading(tmp_path / "f") as watch:
        fd = os.open(tmp_path / "f", os.O_WRONLY)
        thread = threading.Thread(target=lambda: os.write(fd, MASTER * 20000) and os.close(fd))
        thread.start()
        count = 0
        until = time.monotonic() + 20
        while count < 20000 and time.monotonic() < until:
            count += len(watch.drain().events)
        thread.join()
        assert count == 20000


def test_registered_as_it_says_it_wakes_once_and_does_not_spin(tmp_path: Path) -> None:
    with reading(tmp_path / "f") as watch, select.epoll() as epoll:
        epoll.register(watch.fileno(), watch.epoll_mask)
        epoll.poll(0)
        fd = writer(tmp_path / "f")
        os.write(fd, MASTER)
        assert epoll.poll(1)
        assert len(watch.drain().events) == 1
        os.close(fd)
        assert epoll.poll(1)[0][1] & select.EPOLLHUP
        assert watch.drain().hung_up
        assert epoll.poll(0.05) == []
        fd = writer(tmp_path / "f")
        os.write(fd, BACKUP)
        assert epoll.poll(1)
        assert len(watch.drain().events) == 1
        os.close(fd)
        assert epoll.poll(1)
        assert watch.drain().hung_up


def inotified(path: Path) -> list[str]:
    return sorted(item.name for item in path.parent.iterdir())


@pytest.mark.parametrize("value", ["1", "0"])
def test_the_track_file_says_just_what_was_written(tmp_path: Path, value: track_file.Value) -> None:
    path = tmp_path / "eligible"
    assert track_file.read(str(path)) is None
    for before in ("1\n", "0\n", "", "junk"):
        path.write_text(before)
        track_file.write(str(path), value)
        assert path.read_bytes() == value.encode() + b"\n"
        assert stat.S_IMODE(path.stat().st_mode) == 0o644
        assert track_file.read(str(path)) == value
    assert inotified(path) == ["eligible"]


def test_a_value_that_stands_there_already_is_not_written_again(tmp_path: Path) -> None:
    path = tmp_path / "eligible"
    track_file.write(str(path), "1")
    inode = path.stat().st_ino
    track_file.write(str(path), "1")
    assert path.stat().st_ino == inode


def test_ensure_leaves_what_it_finds(tmp_path: Path) -> None:
    path = tmp_path / "eligible"
    assert track_file.ensure(str(path), "0") == "0"
    for content, said in (("1\n", "1"), ("", ""), ("2 \n", "2"), ("\udcff", "\\xff")):
        path.write_bytes(content.encode("utf-8", "surrogateescape"))
        assert track_file.ensure(str(path), "0") == said


def test_a_write_that_fails_takes_the_file_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "eligible"
    path.write_text("1\n")

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(CouldNotDo, match=r"No space left.*removed it instead.*FAULT") as caught:
        track_file.write(str(path), "0")
    assert not caught.value.refused
    assert inotified(path) == []
    with pytest.raises(CouldNotDo, match="there is no such file"):
        track_file.write(str(path), "0")


def test_a_full_file_system_takes_the_file_away_and_nothing_from_one_that_says_it_already(
    tmp_path: Path,
) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "none", tmp_path], check=True)
    try:
        path = tmp_path / "eligible"
        track_file.write(str(path), "1")
        with pytest.raises(CouldNotDo, match="No space left"):
            track_file.write(str(path), "0")
        assert not path.exists()
        path.write_text("1\n")
        track_file.write(str(path), "1")
        assert path.exists()
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_a_read_only_file_system_is_told_as_worse(tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "none", tmp_path], check=True)
    try:
        path = tmp_path / "eligible"
        path.write_text("1\n")
        subprocess.run(["mount", "-o", "remount,ro", tmp_path], check=True)
        with pytest.raises(CouldNotDo, match="nor remove it") as caught:
            track_file.write(str(path), "0")
        assert caught.value.refused
        assert disk.look(str(tmp_path), boottime).writable is False
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_two_writers_at_once_leave_a_whole_value(tmp_path: Path) -> None:
    path = str(tmp_path / "eligible")
    failures: list[Exception] = []

    def write(value: track_file.Value) -> None:
        try:
            for _ in range(300):
                track_file.write(path, value)
        except CouldNotDo as exc:
            failures.append(exc)

    threads = [threading.Thread(target=write, args=(value,)) for value in ("0", "1")]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert track_file.read(path) in (None, "0", "1")
    assert failures == []
    assert inotified(tmp_path / "eligible") == ["eligible"]


def test_the_disk_is_seen_as_statvfs_tells_it(tmp_path: Path) -> None:
    seen = disk.look(str(tmp_path), boottime)
    assert seen.writable is True
    assert seen.free_bytes is not None
    assert seen.total_bytes is not None
    assert 0 < seen.free_bytes < seen.total_bytes
    gone = disk.look(str(tmp_path / "none"), boottime)
    assert (gone.free_bytes, gone.total_bytes, gone.writable) == (None, None, None)
    assert gone.seen_at_s > 0


class FakeKeepalived:
    """A process with keepalived's program name: a copy of sleep."""

    def __init__(self, directory: Path) -> None:
        program = directory / "keepalived"
        if not program.exists():
            program.write_bytes(Path("/bin/sleep").read_bytes())
            program.chmod(0o755)
        self.process = subprocess.Popen([program, "60"])

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def fakes(tmp_path: Path) -> Iterator[list[FakeKeepalived]]:
    made = [FakeKeepalived(tmp_path), FakeKeepalived(tmp_path)]
    yield made
    for fake in made:
        fake.end()


def test_keepalived_is_found_lost_and_found_again(tmp_path: Path, fakes: list[FakeKeepalived]) -> None:
    watch = KeepalivedWatch(str(tmp_path / "keepalived.pid"))
    with select.epoll() as epoll:
        epoll.register(watch.fileno(), watch.epoll_mask)
        assert watch.look() is None
        (tmp_path / "keepalived.pid").write_text(f"{fakes[0].process.pid}\n")
        (tmp_path / "vrrp.pid").write_text(f"{fakes[1].process.pid}\n")
        wait_until(watch.look, 3, "keepalived's name after exec")
        assert watch.pids() == {"parent": fakes[0].process.pid, "vrrp": fakes[1].process.pid}
        assert epoll.poll(0) == []
        os.kill(fakes[1].process.pid, signal.SIGSTOP)
        assert watch.look() is True
        fakes[1].end()
        assert epoll.poll(1)
        assert watch.look() is False
        assert epoll.poll(0) == []
        again = FakeKeepalived(tmp_path)
        fakes.append(again)
        (tmp_path / "vrrp.pid").write_text(f"{again.process.pid}\n")
        wait_until(watch.look, 3, "the new child")
        (tmp_path / "vrrp.pid").unlink()
        assert watch.look() is True  # the process counts, not the file
        again.end()
        assert watch.look() is False
    watch.close()


@pytest.mark.parametrize("content", ["", "x", "-1", "0", "99999999999", "1 2", "٣"])
def test_a_pid_file_with_anything_else_names_nobody(tmp_path: Path, content: str) -> None:
    (tmp_path / "vrrp.pid").write_text(content)
    watch = KeepalivedWatch(str(tmp_path / "keepalived.pid"))
    assert watch.look() is None
    watch.close()


def test_another_process_that_has_the_number_is_not_taken_for_it(tmp_path: Path) -> None:
    (tmp_path / "vrrp.pid").write_text(f"{os.getpid()}\n")
    watch = KeepalivedWatch(str(tmp_path / "keepalived.pid"))
    assert watch.look() is False
    watch.close()


def test_a_script_with_its_name_is_not_taken_for_it(tmp_path: Path) -> None:
    script = tmp_path / "keepalived"
    script.write_text(f"#!{sys.executable}\nimport time\nprint('on', flush=True)\ntime.sleep(60)\n")
    script.chmod(0o755)
    process = subprocess.Popen([script], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        assert Path(f"/proc/{process.pid}/comm").read_text() == "keepalived\n"
        (tmp_path / "vrrp.pid").write_text(f"{process.pid}\n")
        watch = KeepalivedWatch(str(tmp_path / "keepalived.pid"))
        assert watch.look() is False
        watch.close()
    finally:
        process.kill()
        process.wait()
