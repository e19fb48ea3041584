"""Programs of others: what they say, when they are late, and what they leave behind."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from lawful import in_time

from vipguard.act import program
from vipguard.config.host import why_unsafe
from vipguard.errors import CouldNotDo
from vipguard.lab.wait import wait_until


def sh(script: str, deadline_s: float = 5.0, **more: str) -> program.Ran:
    return program.run(["/bin/sh", "-c", script], deadline_s, stdin=more.pop("stdin", ""), env=more)


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_what_it_reads_says_and_ends_with() -> None:
    ran = sh("cat; echo to stderr >&2; exit 3", stdin="action=off\n")
    assert (ran.code, ran.ok, ran.output, ran.how) == (3, False, "action=off\nto stderr", "exited with 3")


def test_its_environment_is_what_was_given_and_a_plain_path() -> None:
    ran = sh("env", VIPGUARD_NODE="db1")
    names = {line.partition("=")[0] for line in ran.output.splitlines()}
    assert names == {"PATH", "LANG", "PWD", "VIPGUARD_NODE"}


def test_one_that_is_late_is_killed_with_its_children() -> None:
    begun = time.monotonic()
    ran = sh("sleep 77 & echo $!; trap '' TERM; sleep 78", 0.3)
    in_time(time.monotonic() - begun, 2)
    assert (ran.code, ran.ok, ran.how) == (None, False, "was late and was killed")
    wait_until(lambda: not lives(int(ran.output)), 3, lambda: "the child to go")


def test_a_child_that_it_leaves_behind_holds_nobody_up() -> None:
    begun = time.monotonic()
    ran = sh("sleep 2 & echo done")
    assert (ran.code, ran.output) == (0, "done")
    in_time(time.monotonic() - begun, 1.5)


def test_of_endless_output_the_end_is_kept() -> None:
    ran = sh("yes | head -c 1000000; echo last")
    assert len(ran.output) <= program.OUTPUT_BYTES_MAX and ran.output.endswith("last")


def test_one_that_is_killed_by_another_is_no_success() -> None:
    assert sh("kill -9 $$").how == "was ended by signal 9"


@pytest.mark.parametrize("path", ["/nonexistent", "/etc/passwd"])
def test_what_cannot_be_started_certainly_did_nothing(path: str) -> None:
    with pytest.raises(CouldNotDo, match="could not be started") as caught:
        program.run([path], 1.0)
    assert caught.value.refused


def test_no_descriptor_is_left_open() -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        sh("true")
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_program_is_safe_when_root_alone_can_change_it_and_the_way_to_it(tmp_path: Path) -> None:
    assert why_unsafe("/bin/true") is None, "through a link of root's"
    assert "absolute" in str(why_unsafe("true"))
    mine = tmp_path / "program"
    mine.write_text("#!/bin/sh\n")
    mine.chmod(0o755)
    assert "others than root may write /tmp" in str(why_unsafe(str(mine)))
    folder = Path("/var/lib/vipguard-test")
    folder.mkdir(mode=0o755, exist_ok=True)
    try:
        safe, link = folder / "safe", folder / "link"
        safe.write_text("#!/bin/sh\n")
        assert why_unsafe(str(safe)) == "is not executable"
        safe.chmod(0o755)
        assert why_unsafe(str(safe)) is None
        link.symlink_to(mine)
        assert "/tmp" in str(why_unsafe(str(link))), "a link leads out"
        link.unlink()
        safe.chmod(0o775)
        assert "others than root may write" in str(why_unsafe(str(safe)))
        os.chown(safe, 65534, 0)
        assert "does not belong to root" in str(why_unsafe(str(safe)))
        safe.unlink()
    finally:
        folder.rmdir()
