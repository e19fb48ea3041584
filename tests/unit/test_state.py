"""What survives a restart, and what a torn or foreign file does."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vipguard.errors import CouldNotDo
from vipguard.model.evidence import ProcessId
from vipguard.model.memory import Completed, KeptLag, Memory
from vipguard.state import journal, store

FULL = Memory(7, Completed(6, "boot", ProcessId(42, 99)), KeptLag("boot", 0.5, 12.25), stopped="boot", solo=True)


@pytest.mark.parametrize("memory", [Memory(), Memory(3), FULL])
def test_what_is_saved_is_loaded(tmp_path: Path, memory: Memory) -> None:
    path = str(tmp_path / "state.json")
    store.save(path, "orders", "db1", memory)
    assert store.load(path, "orders", "db1") == (memory, "")


def test_no_file_is_an_empty_memory_and_no_problem(tmp_path: Path) -> None:
    assert store.load(str(tmp_path / "state.json"), "orders", "db1") == (Memory(), "")


@pytest.mark.parametrize("cut", [0, 1, 20, -2])
def test_a_torn_file_is_set_aside_and_reported_and_says_nothing(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "state.json"
    store.save(str(path), "orders", "db1", FULL)
    path.write_bytes(path.read_bytes()[:cut])
    memory, problem = store.load(str(path), "orders", "db1")
    assert memory == Memory()
    assert "set aside" in problem
    assert not path.exists()
    assert (tmp_path / "state.json.set-aside").exists()


@pytest.mark.parametrize(("cluster", "node"), [("other", "db1"), ("orders", "db2")])
def test_a_file_of_another_node_or_cluster_is_never_trusted(tmp_path: Path, cluster: str, node: str) -> None:
    path = str(tmp_path / "state.json")
    store.save(path, "orders", "db1", FULL)
    memory, problem = store.load(path, cluster, node)
    assert memory == Memory()
    assert "belongs to node 'db1' of cluster 'orders'" in problem


@given(st.binary(max_size=200))
def test_no_content_makes_loading_fail(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("state") / "state.json"
    path.write_bytes(content)
    memory, problem = store.load(str(path), "orders", "db1")
    assert memory == Memory()
    assert problem


def test_a_folder_that_is_missing_is_one_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(CouldNotDo, match="cannot write the state file"):
        store.save(str(tmp_path / "no" / "state.json"), "orders", "db1", FULL)
    assert list(tmp_path.iterdir()) == []


def entry(what: str, level: str = "info") -> dict[str, object]:
    return {"at": 1.0, "what": what, "rule": "r", "level": level}


def test_the_journal_keeps_entries_in_order_over_restarts(tmp_path: Path) -> None:
    path = str(tmp_path / "journal.jsonl")
    for names in (("a", "b"), ("c",)):
        kept = journal.Journal(path)
        for name in names:
            kept.put(entry(name, "warning"))
        kept.close()
    entries, unread = journal.read(path)
    assert [e["what"] for e in entries] == ["a", "b", "c"]
    assert unread == 0


def test_a_torn_line_costs_only_itself(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(json.dumps(entry("a")).encode() + b"\n" + b'{"what": "to')
    kept = journal.Journal(str(path))
    kept.put(entry("b"))
    kept.close()
    entries, unread = journal.read(str(path))
    assert [e["what"] for e in entries] == ["a", "b"]
    assert unread == 1


def test_a_long_journal_is_cut_and_the_part_before_kept(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    line = json.dumps(entry("old")).encode() + b"\n"
    path.write_bytes(line * (journal.BYTES_MAX // len(line) + 2))
    kept = journal.Journal(str(path))
    kept.put(entry("new"))
    kept.close()
    assert journal.read(str(path))[0][-1]["what"] == "new"
    assert os.path.getsize(path) < 1000
    assert (tmp_path / "journal.jsonl.1").exists()


def test_a_journal_that_cannot_be_written_stops_nobody(tmp_path: Path) -> None:
    kept = journal.Journal(str(tmp_path / "no" / "journal.jsonl"))
    for number in range(journal.QUEUED_MAX + 10):
        kept.put(entry(str(number)))
    kept.close()
    assert journal.read(str(tmp_path / "no" / "journal.jsonl")) == ([], 0)
