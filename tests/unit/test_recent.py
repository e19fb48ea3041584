"""The last stories, kept ready for who may not read the journal: whole, few, small, and never a danger to it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vipguard.model.story import as_plain, from_plain, stories
from vipguard.state.journal import Journal
from vipguard.state.recent import KEPT, OLD_BYTES_MAX, STEPS_MAX, TEXT_MAX, Recent


def entry(at_s: float, what: str, rule: str = "", **numbers: Any) -> dict[str, Any]:
    return {"at": 1.7e9 + at_s, "boottime_s": 100 + at_s, "what": what, "rule": rule, "level": "info", **numbers}


def takeover(at_s: float, epoch: int) -> list[dict[str, Any]]:
    return [
        entry(at_s, "takeover-begins", "vip-here", epoch=epoch),
        entry(at_s + 0.01, "takeover-step", "claim"),
        entry(at_s + 0.06, "takeover-complete", "taken-over", epoch=epoch),
        entry(at_s + 0.07, "may-be-lost", "lost-none"),
    ]


def told(recent: Recent) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(recent.text)
    return found


def test_a_story_told_and_read_again_is_the_same() -> None:
    (story,) = stories(takeover(0, 2))
    again = from_plain(json.loads(json.dumps(as_plain(story, "db1"))))
    assert again.steps == story.steps and again.rules == story.rules
    assert (again.result, again.took_ms, again.epoch) == ("complete", 60.0, 2)
    assert from_plain({**as_plain(story, "db1"), "of a later version": 1}).kind == "takeover"


@pytest.mark.parametrize("wrong", [{}, {"kind": "takeover"}, [], "x", None, {"steps": [3], "rules": []}])
def test_what_is_no_story_is_said_so(wrong: Any) -> None:
    with pytest.raises(ValueError, match="no story"):
        from_plain(wrong)


def test_the_last_few_are_kept_and_the_one_under_way_is_told(tmp_path: Path) -> None:
    recent = Recent(str(tmp_path / "journal.jsonl"), "db1")
    for number in range(KEPT + 3):
        for one in takeover(number * 100, number):
            recent.feed(one)
    recent.feed(entry(5000, "takeover-begins", "vip-here", epoch=99))
    epochs = [story["epoch"] for story in told(recent)]
    assert epochs == [4, 5, 6, 7, 99]
    assert told(recent)[-1]["result"] == "unfinished" and told(recent)[-1]["node"] == "db1"


def test_rejoins_take_no_room_from_takeovers(tmp_path: Path) -> None:
    recent = Recent(str(tmp_path / "journal.jsonl"), "db1")
    for one in takeover(0, 1):
        recent.feed(one)
    for number in range(1, 20):
        recent.feed(entry(number * 10, "rejoin", "start"))
        recent.feed(entry(number * 10 + 1, "rejoin", "joined"))
    kinds = [story["kind"] for story in told(recent)]
    assert kinds.count("takeover") == 1 and len(kinds) <= KEPT + 1


def test_an_agent_that_starts_takes_up_the_end_of_both_files(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    filler = json.dumps(entry(0, "verdict", "candidate-ready", text="x" * 200)).encode() + b"\n"
    old = [json.dumps(one).encode() for one in takeover(0, 1)]
    (tmp_path / "journal.jsonl.1").write_bytes(filler * 10_000 + b"\n".join(old) + b"\n")
    new = [json.dumps(one).encode() for one in takeover(50, 2)]
    path.write_bytes(b"\n".join([b'{"torn', b"[]", b'{"what": 3}', *new]))
    recent = Recent(str(path), "db1")
    recent.begin()
    assert [story["epoch"] for story in told(recent)] == [1, 2]
    assert (tmp_path / "journal.jsonl.1").stat().st_size > OLD_BYTES_MAX  # not wholly read


def test_where_no_file_is_there_is_no_story(tmp_path: Path) -> None:
    recent = Recent(str(tmp_path / "nowhere" / "journal.jsonl"), "db1")
    recent.begin()
    assert told(recent) == []


def test_what_goes_on_for_ever_does_not_grow_for_ever(tmp_path: Path) -> None:
    recent = Recent(str(tmp_path / "journal.jsonl"), "db1")
    recent.feed(entry(0, "takeover-begins", "vip-here"))
    for number in range(500):
        recent.feed(entry(number, "refused", "fence", text="y" * 5000, gtids="1-1-1," * 1000))
    (story,) = told(recent)
    assert len(story["steps"]) == STEPS_MAX and len(story["steps"][0]["text"]) == TEXT_MAX
    assert len(recent.text) < 100_000


def test_the_journal_feeds_it_and_survives_its_mistakes(tmp_path: Path) -> None:
    path = str(tmp_path / "journal.jsonl")
    recent = Recent(path, "db1")
    journal = Journal(path, recent)
    for one in takeover(0, 1):
        journal.put(one)
    journal.put(entry(1, "verdict", "holder-healthy"))
    journal.close()
    assert [story["epoch"] for story in told(recent)] == [1]

    class Broken(Recent):
        def feed(self, entry: Any) -> None:
            raise RuntimeError("a defect")

    journal = Journal(path, Broken(path, "db1"))
    journal.put(entry(2, "a"))
    journal.put(entry(3, "b"))
    journal.close()
    assert [json.loads(line)["what"] for line in Path(path).read_text().splitlines()][-2:] == ["a", "b"]
