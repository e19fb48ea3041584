"""Which notes of the journal belong together? Stories, from what an agent writes."""

from __future__ import annotations

import random
from typing import Any

import pytest

from vipguard.model.story import Stories, Story, stories

Entry = dict[str, Any]


def notes(*told: tuple[float, str, str] | tuple[float, str, str, Entry], at: float = 1000.0) -> list[Entry]:
    """(milliseconds, what, rule, numbers), as the agent writes them."""
    return [
        {"at": at + ms / 1000, "boottime_s": 50.0 + ms / 1000, "what": what, "rule": rule, "level": "info",
         **(more[0] if more else {})}
        for ms, what, rule, *more in told
    ]  # fmt: skip


TAKEOVER = notes(
    (0, "takeover-begins", "vip-here", {"epoch": 2}),
    (0, "takeover-step", "claim", {"text": "claiming db1", "at_ms": 0.0}),
    (0.1, "verdict", "taking-over", {"standing": "taking"}),
    (18.2, "takeover-step", "drain", {"text": "applying what was received", "at_ms": 18.2}),
    (90.9, "takeover-step", "open", {"text": "opening with epoch 2", "at_ms": 90.9}),
    (96.4, "takeover-complete", "taken-over", {"epoch": 2, "took_ms": 96.4, "drained": "1-1-7"}),
    (96.4, "may-be-lost", "lost-unknown", {"text": "db1 was last seen 40 ms before", "gtids": "1-1-8"}),
    (97, "verdict", "holder-healthy"),
)  # fmt: skip
REJOIN = notes(
    (100, "rejoin", "listen-waits", {"text": "the source is not back yet"}),
    (150, "rejoin", "listen", {"text": "nothing is missing here"}),
    (160, "replication", "started", {"threads": "io"}),
    (170, "rejoin", "joined", {"text": "replication runs"}),
)
MOVE_AWAY = notes(
    (200, "switchover-begins", "ordered", {"node": "db1", "epoch": 2}),
    (240, "closed", "read-only-verified", {"killed": 1}),
    (250, "switchover-step", "target-has-all", {"node": "db1", "after_ms": 10.0}),
    (250, "handed-over", "switchover"),
    (251, "track-file", "written", {"value": "0"}),
)
MOVE_HERE = notes(
    (300, "switchover-begins", "invited", {"node": "db1"}),
    (400, "takeover-begins", "switchover", {"epoch": 3}),
    (410, "takeover-step", "open", {"text": "opening with epoch 3"}),
    (420, "takeover-complete", "taken-over", {"epoch": 3, "took_ms": 20.0}),
    (420, "may-be-lost", "lost-none", {"text": "db1 is closed", "gtids": ""}),
)
HANDBACK = notes(
    (500, "closing", "no-vip", {"text": "the VIP is not here", "level": "warning"}),
    (510, "kill", "close-late", {"close_s": 0.2, "level": "warning"}),
    (520, "closed", "read-only-verified", {"killed": 2}),
    (521, "handed-back", "no-vip"),
)


def kinds(found: list[Story]) -> list[tuple[str, str]]:
    return [(story.kind, story.result) for story in found]


def test_a_takeover_has_trigger_steps_with_milliseconds_result_and_what_may_be_lost() -> None:
    (story,) = stories(TAKEOVER)
    assert (story.kind, story.result, story.epoch, story.took_ms) == ("takeover", "complete", 2, 96.4)
    assert story.trigger_text == "keepalived gave this node the VIP"
    assert [(step.rule, step.after_ms) for step in story.steps] == [("claim", 0.0), ("drain", 18.2), ("open", 90.9)]
    assert (story.lost_rule, story.lost_gtids) == ("lost-unknown", "1-1-8")
    assert "db1 was last seen" in story.lost_text


def test_each_kind_is_one_story_and_none_swallows_its_neighbour() -> None:
    found = stories([*TAKEOVER, *REJOIN, *MOVE_AWAY, *MOVE_HERE, *HANDBACK])
    assert kinds(found) == [
        ("takeover", "complete"),
        ("rejoin", "complete"),
        ("move-away", "complete"),
        ("move-here", "complete"),
        ("handback", "complete"),
    ]
    assert [story.other for story in found] == ["", "", "db1", "db1", ""]
    assert [story.took_ms for story in found] == [96.4, 70.0, 50.0, 120.0, 21.0]
    assert [step.what for step in found[-1].steps] == ["kill", "closed"]


def test_a_rejoin_goes_on_beside_a_takeover() -> None:
    mixed = sorted([*TAKEOVER, *notes((5, "rejoin", "join-waits"), (50, "rejoin", "joined"))], key=lambda e: e["at"])
    assert kinds(stories(mixed)) == [("takeover", "complete"), ("rejoin", "complete")]
    assert len(stories(mixed)[0].steps) == 3


def test_an_agent_that_finds_itself_the_writer_is_a_story_of_its_own_and_ends_what_was_before() -> None:
    found = stories([*TAKEOVER[:3], *notes((40, "adopted", "takeover-completed-before", {"epoch": 2})), *REJOIN])
    assert kinds(found) == [("takeover", "unfinished"), ("adoption", "complete"), ("rejoin", "complete")]


def test_a_diverged_node_fails_to_join() -> None:
    (story,) = stories(notes((0, "rejoin", "join-waits"), (9, "rejoin", "diverged", {"text": "2 transactions"})))
    assert (story.result, story.result_rule, story.result_text) == ("failed", "diverged", "2 transactions")


@pytest.mark.parametrize(
    ("last", "kind", "result"),
    [
        (("takeover-abandoned", "claim-denied"), "takeover", "abandoned"),
        (("open-failed", "open-may-have-happened"), "takeover", "failed"),
        (("verdict", "whatever"), "takeover", "unfinished"),
    ],
)
def test_a_takeover_without_success_says_how_it_ended(last: tuple[str, str], kind: str, result: str) -> None:
    assert kinds(stories([*TAKEOVER[:4], *notes((30, *last))])) == [(kind, result)]


def test_a_move_that_goes_back_ends_when_it_has_gone_back() -> None:
    abandoned = notes((260, "switchover-abandoned", "order-withdrawn", {"text": "withdrawn"}))
    back = notes((300, "handed-back", "switchover-abandoned"))
    (story,) = stories([*MOVE_AWAY[:2], *abandoned, *back])
    assert (story.result, story.took_ms) == ("abandoned", 100.0)
    (early,) = stories([MOVE_AWAY[0], *abandoned])
    assert (early.result, early.result_rule) == ("abandoned", "order-withdrawn")


def test_what_a_stopped_agent_left_open_is_told_as_unfinished() -> None:
    after = [{**entry, "boottime_s": 3.0 + entry["boottime_s"] - 50} for entry in HANDBACK]
    assert kinds(stories([*TAKEOVER[:3], *after])) == [("takeover", "unfinished"), ("handback", "complete")]


def test_a_story_is_told_as_soon_as_it_has_ended() -> None:
    teller = Stories()
    told = [(entry["what"], len(teller.feed(entry))) for entry in TAKEOVER]
    assert [what for what, count in told if count] == ["may-be-lost"]
    assert teller.open == ()


def test_no_order_of_notes_breaks_it_and_no_story_is_told_twice() -> None:
    everything = [*TAKEOVER, *REJOIN, *MOVE_AWAY, *MOVE_HERE, *HANDBACK,
                  {"at": 7.0, "what": "adopted"}, {"at": 8, "what": "?", "rule": None, "boottime_s": "no"}]  # fmt: skip
    for seed in range(300):
        mixed = random.Random(seed).sample(everything, len(everything))
        found = stories(mixed)
        assert len({id(story) for story in found}) == len(found)
        assert all(story.took_ms is None or story.took_ms >= 0 for story in found)
