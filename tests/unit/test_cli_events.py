"""`vipguard events`: what is shown of a journal in any state, by which filters, and never with a word lost."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from waiting import wait_until

from vipguard.cli.main import run
from vipguard.state.tail import Tail, Unread

AT = 1_795_265_704.748481


def entry(number: int, what: str = "note", rule: str = "", **more: object) -> dict[str, Any]:
    return {"at": AT + number, "boottime_s": 100.0 + number, "what": what, "rule": rule or f"r{number}", **more}


def lines(*entries: dict[str, Any]) -> str:
    return "".join(json.dumps(one) + "\n" for one in entries)


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


def events(capsys: pytest.CaptureFixture[str], journal: Path, *options: str) -> tuple[int, list[str], str]:
    code = run(["events", "--journal", str(journal), *options])
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    return code, said.out.splitlines(), said.err


def test_an_event_is_a_line_with_time_name_rule_text_and_numbers(
    capsys: pytest.CaptureFixture[str], journal: Path
) -> None:
    journal.write_text(lines(entry(0, "closing", "no-vip", level="warning", text="gone", gtids="", n=0)))
    stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(AT))
    assert events(capsys, journal) == (0, [f"{stamp}.748  closing no-vip: gone  n=0"], "")


def test_json_is_the_journals_own_entries(capsys: pytest.CaptureFixture[str], journal: Path) -> None:
    journal.write_text(lines(entry(1, text="é\x1b"), entry(2)))
    code, out, _ = events(capsys, journal, "--json")
    assert (code, [json.loads(line) for line in out]) == (0, [entry(1, text="é\x1b"), entry(2)])
    assert "\x1b" not in "".join(events(capsys, journal)[1])


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ((), [1, 2, 3, 4]),
        (("--rule", "r2", "--rule", "claim*"), [2, 4]),
        (("--rule", "takeover-*"), [3]),
        (("--rule", "nothing"), []),
        (("--last", "2"), [3, 4]),
        (("-n", "1", "--rule", "r*"), [3]),
    ],
)
def test_rules_and_last_choose(
    capsys: pytest.CaptureFixture[str], journal: Path, options: tuple[str, ...], shown: list[int]
) -> None:
    journal.write_text(lines(entry(1), entry(2), entry(3, "takeover-step"), entry(4, "note", "claim-denied")))
    code, out, err = events(capsys, journal, "--json", *options)
    assert code == 0 and [int(json.loads(line)["at"] - AT + 0.5) for line in out] == shown
    assert ("nothing of the 4 events" in err) == (not shown)


def test_times_choose(capsys: pytest.CaptureFixture[str], journal: Path) -> None:
    now = time.time()
    journal.write_text(lines(*({**entry(0, rule=str(hours)), "at": now - 3600 * hours} for hours in (30, 3, 1, 0))))

    def shown(*options: str) -> list[str]:
        return [json.loads(line)["rule"] for line in events(capsys, journal, "--json", *options)[1]]

    def clock(hours: float) -> str:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(now - 3600 * hours))

    assert shown("--since", "2h") == ["1", "0"]
    assert shown("--since", "1d4h", "--until", "30m") == ["3", "1"]
    assert shown("--since", clock(3.5), "--until", clock(0.5)) == ["3", "1"]
    assert shown("--until", clock(4).replace(" ", "T")) == ["30"]
    assert shown("--since", clock(0.5)[:16]) == ["0"]
    for wrong in ("yesterday", "2", "25:99", "", "9" * 400 + "d"):
        assert run(["events", "--journal", str(journal), "--since", wrong]) in (2, 3)
        said = capsys.readouterr().err
        assert said.count("\n") == 1 and "is no time" in said


def test_what_is_no_entry_is_named_and_costs_only_itself(capsys: pytest.CaptureFixture[str], journal: Path) -> None:
    foreign = ('{"at": 1, "what": "to', "\x00\x00\x00", "hello", '{"a": 1}', "[" * 100_000, '{"at": "x", "what": "y"}')
    journal.write_text("".join(f"{line}\n" + lines(entry(i)) for i, line in enumerate(foreign)) + '{"at": 17')
    code, out, err = events(capsys, journal, "--json")
    assert code == 0 and len(out) == len(foreign)
    assert "line 1 of" in err and "line 3 of" in err and "4 more lines are no entries" in err
    journal.write_text(lines(entry(1)) + '{"at": 17')
    code, out, err = events(capsys, journal)
    assert (code, len(out)) == (0, 1) and "line 2 of" in err and "is torn" in err


def test_no_journal_an_empty_one_and_one_that_cannot_be_read_are_told(
    capsys: pytest.CaptureFixture[str], journal: Path
) -> None:
    code, out, err = events(capsys, journal)
    assert (code, out) == (3, []) and "there is no journal" in err
    journal.touch()
    code, out, err = events(capsys, journal)
    assert (code, out) == (0, []) and "has no event yet" in err
    journal.unlink()
    journal.mkdir()
    code, out, err = events(capsys, journal)
    assert (code, out) == (3, []) and err.startswith("vipguard: cannot read the journal")


def test_stories_are_blocks_and_objects(capsys: pytest.CaptureFixture[str], journal: Path) -> None:
    told = [
        entry(1, "takeover-begins", "vip-here", epoch=2),
        entry(2, "takeover-step", "claim", text="claiming db1", at_ms=1.0),
        entry(3, "takeover-complete", "taken-over", epoch=2),
        entry(3, "may-be-lost", "lost-these", text="db1 has 1 more", gtids="1-1-8"),
        entry(9, "closing", "no-vip", text="the VIP is not here"),
    ]
    journal.write_text(lines(*told))
    code, out, _ = events(capsys, journal, "--stories")
    text = "\n".join(out)
    assert code == 0
    assert "takeover, epoch 2: complete after 2000.0 ms" in text and "1000.0 ms  claim: claiming db1" in text
    assert "GTIDs: 1-1-8" in text and "(lost-these)" in text
    assert "this node gave the writer up: unfinished" in text and "no end is in the journal" in text
    _, (one,), _ = events(capsys, journal, "--stories", "--json", "--rule", "lost-*")
    assert json.loads(one)["lost_gtids"] == "1-1-8" and json.loads(one)["steps"][0]["after_ms"] == 1000.0
    assert len(events(capsys, journal, "--stories", "--json", "-n", "1")[1]) == 1


def test_the_last_story_brings_the_rejoin_after_it(capsys: pytest.CaptureFixture[str], journal: Path) -> None:
    rejoin = [entry(5, "rejoin", "listen", text="all here"), entry(6, "rejoin", "joined", text="replication runs")]
    moved = [
        entry(7, "switchover-begins", "ordered", node="db2"),
        entry(8, "closed", "read-only-verified"),
        entry(9, "handed-over", "switchover"),
    ]
    journal.write_text(lines(*rejoin, *moved, *(one | {"at": one["at"] + 10} for one in rejoin)))

    def kinds(*more: str) -> list[str]:
        return [json.loads(one)["kind"] for one in events(capsys, journal, "--stories", "--json", *more)[1]]

    assert kinds() == kinds("-n", "9") == ["rejoin", "move-away", "rejoin"]
    assert kinds("-n", "1") == ["move-away", "rejoin"]
    assert kinds("-n", "1", "--rule", "joined") == ["rejoin"], "where nothing else is left, it counts"
    assert "planned move from this node to db2: complete" in "\n".join(events(capsys, journal, "--stories")[1])


def test_follow_tells_what_comes_over_a_rotation_and_ends_well(journal: Path) -> None:
    journal.write_text(lines(entry(1)))
    with following(journal, "--json") as (process, out):
        wait_until(lambda: len(out()) == 1, 10, "the first")
        with journal.open("a") as file:
            file.write(lines(entry(2)) + '{"at": 5')
        wait_until(lambda: len(out()) == 2, 5, "the second")
        with journal.open("a") as file:
            file.write(', "what": "whole"}\n')
        wait_until(lambda: len(out()) == 3, 5, "the one that came in halves")
        with journal.open("a") as file:
            file.write(lines(entry(4)))
        os.rename(journal, f"{journal}.1")
        journal.write_text(lines(entry(5)))
        wait_until(lambda: len(out()) == 5, 5, "those around the rotation")
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0


def test_follow_waits_for_a_journal(journal: Path) -> None:
    with following(journal) as (process, out):
        assert process.stderr is not None and "it is waited for" in process.stderr.readline()
        journal.write_text(lines(entry(1)))
        wait_until(lambda: len(out()) == 1, 5, "the first")


@contextmanager
def following(journal: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], Any]]:
    told = journal.with_name("out")
    argv = [sys.executable, "-P", "-m", "vipguard", "events", "--follow", "--journal", str(journal), *options]
    with told.open("w") as stdout:
        process = subprocess.Popen(argv, stdout=stdout, stderr=subprocess.PIPE, text=True)
    try:
        yield process, lambda: told.read_text().splitlines()
    finally:
        process.kill()
        process.communicate()


def test_no_entry_is_lost_or_told_twice_whatever_the_rotation_meets(journal: Path) -> None:
    """A writer that rotates, and a reader that looks at any moments, compared with what was written."""
    for seed in range(60):
        for name in (journal, Path(f"{journal}.1")):
            name.unlink(missing_ok=True)
        chance, written, told, rotated = random.Random(seed), 0, [], False
        tail = Tail(str(journal))
        for _ in range(40):
            what = chance.random()
            if what < 0.5:
                with journal.open("a") as file:
                    file.write(lines(entry(written)))
                written += 1
            elif what < 0.6 and journal.exists() and not rotated:
                os.rename(journal, f"{journal}.1")
                if what < 0.57:  # a look may come between the two
                    told += tail.poll()
                journal.write_text(lines(entry(written)))
                written, rotated = written + 1, True
            else:
                told += tail.poll()
                rotated = False  # two rotations between two looks are 4 MB within a tenth of a second
        told += tail.poll()
        tail.close()
        assert not any(isinstance(one, Unread) for one in told)
        assert [one["rule"] for one in told] == [f"r{number}" for number in range(written)], seed


# -- the picture


def a_takeover(after_s: float = 0.0) -> list[dict[str, Any]]:
    told = [
        ("takeover-begins", "vip-here"),
        ("takeover-step", "claim"),
        ("takeover-step", "open"),
        ("takeover-complete", "taken-over"),
    ]
    return [
        entry(0, what, rule) | {"at": AT + after_s + number / 100, "boottime_s": 100 + after_s + number / 100}
        for number, (what, rule) in enumerate(told)
    ]


def test_the_last_story_is_drawn_with_the_moments_that_were_named(
    capsys: pytest.CaptureFixture[str], journal: Path, tmp_path: Path
) -> None:
    journal.write_text(lines(*a_takeover(), *a_takeover(60), entry(61, "rejoin", "join")))
    picture = tmp_path / "failover.svg"
    code, out, err = events(capsys, journal, "--svg", str(picture), "--mark", f"{AT + 59.95}=link pulled")
    assert (code, err) == (0, "") and out == [f"{picture}: takeover: complete after 30.0 ms"]
    drawn = picture.read_text()
    assert "link pulled" in drawn and ">-50 ms link pulled" in drawn and "complete taken-over" in drawn
    before = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(AT + 30))
    code, out, _ = events(capsys, journal, "--svg", "-", "--until", before)
    assert code == 0 and out[0].startswith("<svg ") and "link pulled" not in "".join(out)


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--svg", "x.svg", "--follow"), 2, "goes neither with --follow nor with --json"),
        (("--mark", "1=x"), 2, "it goes with --svg"),
        (("--svg", "x.svg", "--mark", "noon=x"), 2, "'noon=x' is no mark"),
        (("--svg", "x.svg", "--mark", "nan=x"), 2, "'nan=x' is no mark"),
        (("--svg", "/nowhere/x.svg"), 3, "cannot write /nowhere/x.svg: No such file or directory"),
        (("--svg", "x.svg", "--rule", "diverged"), 3, "is what you asked for; nothing was drawn"),
    ],
)
def test_what_cannot_be_drawn_is_one_sentence(
    capsys: pytest.CaptureFixture[str], journal: Path, options: tuple[str, ...], code: int, said: str
) -> None:
    journal.write_text(lines(*a_takeover()))
    got, out, err = events(capsys, journal, *options)
    assert (got, out, err.count("\n")) == (code, [], 1) and said in err
