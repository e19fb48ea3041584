"""Do the deliberate bugs still apply, and does the simulator notice them? The whole of it is `make sabotage`."""

from __future__ import annotations

import py_compile
import shutil
from pathlib import Path

import pytest
from sim import sabotage
from sim.sabotage import PACKAGE, Bug, Caught

BUGS = sabotage.bugs()


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_deliberate_bug_applies_to_the_code_as_it_is(bug: Bug, tmp_path: Path) -> None:
    for file, _, _ in bug.edits:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        shutil.copy(PACKAGE / file, tmp_path / file)
    sabotage.apply(bug, tmp_path)
    for file, _, _ in bug.edits:
        py_compile.compile(str(tmp_path / file), cfile=str(tmp_path / "compiled"), doraise=True)
        assert (tmp_path / file).read_text() != (PACKAGE / file).read_text()


def test_there_are_at_least_twenty() -> None:
    assert len({bug.name for bug in BUGS}) >= 20


def test_a_bug_that_does_not_apply_says_so(tmp_path: Path) -> None:
    (tmp_path / "code.py").write_text("one\ntwo\ntwo\n")
    for old, times in (("three", 0), ("two", 2)):
        with pytest.raises(sabotage.DoesNotApply, match=f"to code.py, which has {times} times:\n{old}"):
            sabotage.apply(sabotage.read("gone", f"--- code.py\n-{old}\n+other\n"), tmp_path)
    sabotage.apply(sabotage.read("there", "--- code.py\n one\n-two\n+three\n"), tmp_path)
    assert (tmp_path / "code.py").read_text() == "one\nthree\ntwo\n"


@pytest.mark.parametrize("name", ["forgets-to-stop-the-io-thread", "null-lag-is-zero"])
def test_a_deliberate_bug_is_noticed(name: str) -> None:
    bug = next(bug for bug in BUGS if bug.name == name)
    caught = sabotage.hunt(bug, range(100))
    assert caught.seed is not None
    assert caught.what.startswith("law ")


def test_the_table_names_each_bug_with_its_seed_and_its_law() -> None:
    one, two = Bug("one", ()), Bug("two", ())
    text = sabotage.table([Caught(one, 7, "law 2: db1 opens without x"), Caught(two, None, "")], 200)
    assert text.startswith("1 of 2 deliberate bugs are caught within 200 seeds.\n")
    assert "| one | 7 | law 2 |\n| two |  | **not caught** |\n" in text
