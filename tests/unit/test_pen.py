"""The process that writes vipguard's own files: what it writes, and what becomes of who waits for it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from vipguard.errors import CouldNotDo
from vipguard.model.memory import Memory
from vipguard.state import journal, pen, store


@pytest.fixture
def writer() -> Iterator[pen.Pen]:
    made = pen.Pen()
    yield made
    made.close()


def pid_of(writer: pen.Pen) -> int:
    assert writer._process is not None
    return writer._process.pid


def test_it_replaces_and_appends_as_this_process_would(writer: pen.Pen, tmp_path: Path) -> None:
    path = tmp_path / "a"
    writer.replace(str(path), "one\n", 5)
    assert path.read_text() == "one\n" and path.stat().st_mode & 0o777 == 0o600
    writer.append(str(path), "two \u00fc", True, 5)
    writer.append(str(path), "x" * 300_000, False, 5)
    assert path.read_text() == f"one\ntwo \u00fc\n{'x' * 300_000}\n"
    assert os.listdir(tmp_path) == ["a"]


def test_what_it_cannot_do_is_said_in_the_systems_words(writer: pen.Pen, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        writer.replace(str(tmp_path / "no" / "a"), "", 5)
    with pytest.raises(CouldNotDo, match="cannot write the state file") as raised:
        store.save(str(tmp_path / "no" / "a"), "orders", "db1", Memory(), pen=writer, within_s=5)
    assert raised.value.refused


def test_who_waits_for_one_that_hangs_waits_no_longer_than_he_said_and_goes_on_when_it_does(
    writer: pen.Pen, tmp_path: Path
) -> None:
    path = str(tmp_path / "state.json")
    os.kill(pid_of(writer), signal.SIGSTOP)
    for epoch in (1, 2):
        began = time.monotonic()
        with pytest.raises(CouldNotDo) as raised:
            store.save(path, "orders", "db1", Memory(epoch=epoch), pen=writer, within_s=0.1)
        assert not raised.value.refused and time.monotonic() - began < 2
    os.kill(pid_of(writer), signal.SIGCONT)
    store.save(path, "orders", "db1", Memory(epoch=3), pen=writer, within_s=5)
    assert store.load(path, "orders", "db1")[0].epoch == 3


def test_one_that_was_killed_is_begun_again(writer: pen.Pen, tmp_path: Path) -> None:
    before = pid_of(writer)
    os.kill(before, signal.SIGKILL)
    writer.replace(str(tmp_path / "a"), "one", 5)
    assert (tmp_path / "a").read_text() == "one" and pid_of(writer) != before


def test_a_late_word_of_an_agent_that_has_ended_does_not_come_after_its_successors(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="has ended"):
        pen.replace(str(tmp_path / "a"), "old", parent=1 if os.getppid() != 1 else 2)
    assert os.listdir(tmp_path) == []


def test_the_journal_writes_by_it(writer: pen.Pen, tmp_path: Path) -> None:
    path = str(tmp_path / "journal.jsonl")
    kept = journal.Journal(path, None, writer)
    for number in range(3):
        kept.put({"what": "verdict", "number": number, "level": "warning"})
    kept.close(5)
    assert [entry["number"] for entry in journal.read(path)[0]] == [0, 1, 2]
