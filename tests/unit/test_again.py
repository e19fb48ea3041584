"""What of a failed test on real servers is run again, what ends the run, and what the run says of it at its end."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parents[1]
HEAD = """
import subprocess, pytest, pymysql
from pressure import machine
machine.waited = lambda: 0.0
from lawful import LawBroken, TooSlow, broken, in_time
from vipguard.lab import LabError, WaitTimeout
attempts = set()
def first(number):
    return number not in attempts and not attempts.add(number)
"""
AFTER = "\ndef test_afterwards():\n    pass\n"


def play(folder: Path, text: str, *options: str, room: str = "lab") -> tuple[int, str]:
    """The exit code of a run of one small file in that room, and what it printed."""
    path = folder / "tests" / room / "test_small.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(HEAD + text + AFTER)
    argv = [sys.executable, "-m", "pytest", "-p", "again", "-p", "no:cacheprovider", "-v", "-c", "/dev/null", *options]
    done = subprocess.run(
        [*argv, str(path)], cwd=folder, env={"PYTHONPATH": f"{HERE}:{HERE.parent}", "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


SLOW = {
    "a wait that ran out": "raise WaitTimeout('not within 5 s: a healthy pair')",
    "a limit that was passed": "in_time(3.0, 2.0, 'keepalived waits no longer')",
    "a command that did not end": "subprocess.run(['sleep', '5'], timeout=0.01)",
    "a server that did not answer in time": (
        "try:\n        raise TimeoutError('timed out')\n    except TimeoutError:\n"
        "        raise pymysql.OperationalError(2013, 'Lost connection during query')"
    ),
}
FINAL = {
    "an assertion": "assert 1 == 2",
    "an assertion about a wait": (
        "try:\n        raise WaitTimeout('late')\n    except WaitTimeout:\n        assert 1 == 2, 'the rule is another'"
    ),
    "a lab that could not": "raise LabError('the command failed')",
    "a server that refused": "raise pymysql.OperationalError(1045, 'Access denied')",
    "a missing thing": "raise KeyError('rule')",
}
LAW = {
    "a broken law": "broken('two nodes were writable at once for 9.0 ms')",
    "a broken law while a wait ran out": (
        "try:\n        raise WaitTimeout('late')\n    finally:\n"
        "        broken('two nodes were writable at once for 9.0 ms')"
    ),
    "a broken law that a wait asked for": (
        "try:\n        broken('two nodes were writable at once for 9.0 ms')\n"
        "    except LawBroken as exc:\n        raise WaitTimeout('late') from exc"
    ),
}


def each(bodies: dict[str, str]) -> str:
    """A test for each, which passes when it is tried a second time."""
    tests = (
        f"def test_{number}():\n    if not first({number}):\n        return\n    {body}\n"
        for number, body in enumerate(bodies.values())
    )
    return "".join(tests)


def test_what_only_lasted_too_long_is_run_again_and_named_with_its_reason(tmp_path: Path) -> None:
    code, said = play(tmp_path, each(SLOW))
    assert code == 0 and "4 rerun" in said and "5 passed" in said, said
    assert "run again: 4 tests" in said
    for number, name in enumerate(SLOW):
        assert f"test_{number}: passed at attempt 2; first call: " in said, name
    assert "first call: WaitTimeout: not within 5 s: a healthy pair" in said


def test_three_times_too_long_is_a_failure(tmp_path: Path) -> None:
    code, said = play(tmp_path, f"def test_one():\n    {SLOW['a wait that ran out']}\n")
    assert code == 1 and "2 rerun" in said and "1 failed, 1 passed" in said, said
    assert "test_one: failed at attempt 3; first call: WaitTimeout: not within 5 s: a healthy pair" in said


def test_whatever_else_fails_is_not_run_again(tmp_path: Path) -> None:
    code, said = play(tmp_path, each(FINAL))
    assert code == 1 and "RERUN" not in said and f"{len(FINAL)} failed, 1 passed" in said, said


BUSY = "machine.waited = lambda: 0.7\n"


def test_a_busy_machine_is_no_reason_to_run_anything_else_again(tmp_path: Path) -> None:
    code, said = play(tmp_path, BUSY + each(FINAL))
    assert code == 1 and "RERUN" not in said and f"{len(FINAL)} failed, 1 passed" in said, said


def test_beside_others_what_fails_on_a_busy_machine_is_left_to_the_end(tmp_path: Path) -> None:
    left = tmp_path / "left"
    code, said = play(tmp_path, BUSY + each(FINAL), "--left-to", str(left))
    assert code == 0 and f"{len(FINAL)} failed, 1 passed" in said, said
    assert f"left for the end, when nothing else runs: {len(FINAL)} tests" in said
    tests = left.read_text().split()
    assert [test.rpartition("::")[2] for test in tests] == [f"test_{n}" for n in range(len(FINAL))]
    assert all(f"\n{test}\n" in said for test in tests)


def test_beside_others_what_was_slow_three_times_is_left_to_the_end(tmp_path: Path) -> None:
    left = tmp_path / "left"
    code, said = play(tmp_path, f"def test_one():\n    {SLOW['a wait that ran out']}\n", "--left-to", str(left))
    assert code == 0 and "2 rerun" in said and left.read_text().endswith("::test_one\n"), said


@pytest.mark.parametrize("final", [FINAL["an assertion"], LAW["a broken law"]])
@pytest.mark.parametrize("first", ["machine.waited = lambda: 0.7", SLOW["a wait that ran out"]])
def test_one_failure_that_is_final_is_the_runs(tmp_path: Path, first: str, final: str) -> None:
    """A law that was broken on a busy machine, an assertion on a quiet one."""
    tests = f"def test_one():\n    {first}\n\ndef test_two():\n    machine.waited = lambda: 0.1\n    {final}\n"
    left = tmp_path / "left"
    code, said = play(tmp_path, tests, "--left-to", str(left))
    assert code == 1 and not left.exists() and "left for the end" not in said, said


def test_the_pure_rooms_and_a_file_that_cannot_be_read_are_never_left(tmp_path: Path) -> None:
    option = ("--left-to", str(tmp_path / "left"))
    assert play(tmp_path / "pure", BUSY + "def test_one():\n    assert 1 == 2\n", *option, room="unit")[0] == 1
    assert play(tmp_path / "unreadable", BUSY + "import nothing_of_that_name\n", *option)[0] > 1
    assert not (tmp_path / "left").exists()


def test_a_busy_machine_hides_no_broken_law(tmp_path: Path) -> None:
    left = tmp_path / "left"
    code, said = play(tmp_path, BUSY + f"def test_one():\n    {LAW['a broken law']}\n", "--left-to", str(left))
    assert code == 1 and "RERUN" not in said and "A LAW IS BROKEN, nothing further is run" in said, said
    assert not left.exists()


@pytest.mark.parametrize("name", LAW)
def test_a_broken_law_ends_the_run_and_is_never_run_again(tmp_path: Path, name: str) -> None:
    code, said = play(tmp_path, f"def test_one():\n    {LAW[name]}\n")
    assert code == 1 and "RERUN" not in said and "1 failed" in said, said
    assert "test_afterwards" not in said.replace("collected 2 items", "")
    assert said.count("A LAW IS BROKEN") >= 2 and "9.0 ms" in said.splitlines()[-2]


def test_a_law_that_its_fixture_finds_broken_is_not_hidden_by_a_wait_that_ran_out(tmp_path: Path) -> None:
    """As for every lab test: the watcher counts at the end of the test, however that ended."""
    fixture = "@pytest.fixture\ndef watched():\n    yield\n    broken('two nodes were writable at once for 9.0 ms')\n"
    code, said = play(tmp_path, fixture + f"def test_one(watched):\n    {SLOW['a wait that ran out']}\n")
    assert code == 1 and "RERUN" not in said and "1 failed, 1 error" in said, said
    assert "A LAW IS BROKEN, nothing further is run" in said and "test_afterwards" not in said


def test_a_wait_that_ran_out_beside_an_assertion_is_no_second_chance_for_that(tmp_path: Path) -> None:
    fixture = f"@pytest.fixture\ndef late():\n    yield\n    {SLOW['a wait that ran out']}\n"
    code, said = play(tmp_path, fixture + "def test_one(late):\n    assert 1 == 2\n")
    assert code == 1 and "RERUN" not in said and "1 failed, 1 passed, 1 error" in said, said


def test_a_wait_of_a_fixture_is_run_again_too(tmp_path: Path) -> None:
    fixture = f"@pytest.fixture\ndef late():\n    if first(0):\n        {SLOW['a wait that ran out']}\n"
    code, said = play(tmp_path, fixture + "def test_one(late):\n    pass\n")
    assert code == 0 and "1 rerun" in said and "first setup: WaitTimeout" in said, said


def test_the_pure_rooms_have_no_second_chance(tmp_path: Path) -> None:
    code, said = play(tmp_path, f"def test_one():\n    {SLOW['a wait that ran out']}\n", room="unit")
    assert code == 1 and "RERUN" not in said and "1 failed, 1 passed" in said, said


def test_no_test_on_real_servers_asserts_a_law_by_a_plain_assertion() -> None:
    """It would fail like any other: `lawful.py` has `nothing_lost`, `one_writer`, `watched` and `never_two`."""
    plain = re.compile(r"^ *assert .*(\.lost\([^)]*\) == \[\]|two_writers_ms\(\) (==|<)).*$", re.MULTILINE)
    counting = HERE / "lab" / "test_lab_counts.py"  # what is tested there is the counting
    for path in [*(HERE / "lab").glob("*.py"), *HERE.glob("*.py")]:
        found = plain.search(path.read_text(encoding="utf-8"))
        assert found is None or path == counting, f"{path}: {found[0]}"
