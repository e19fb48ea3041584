"""The picture of a story: well-formed whatever is in it, in proportion, and said in words too."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vipguard.model.story import Story, stories
from vipguard.render.story_svg import LEFT, Mark, story_svg

SVG = "{http://www.w3.org/2000/svg}"


def entry(at_ms: float, what: str, rule: str = "", level: str = "info", **numbers: Any) -> dict[str, Any]:
    moment = {"at": 1.7e9 + at_ms / 1000, "boottime_s": 100 + at_ms / 1000}
    return {**moment, "what": what, "rule": rule, "level": level, **numbers}


def takeover() -> Story:
    (story,) = stories(
        [
            entry(0, "takeover-begins", "vip-here", epoch=2),
            entry(0, "takeover-step", "claim"),
            entry(10, "fenced", "fence-done", "warning", node="db1"),
            entry(20, "takeover-step", "drain"),
            entry(60, "takeover-complete", "taken-over", epoch=2),
            entry(61, "may-be-lost", "lost-these", "warning", text="db1 has 2 more", gtids="1-1-3..4"),
        ]
    )
    return story


def drawn(story: Story, *marks: Mark, title: str = "db2 took over") -> ElementTree.Element:
    return ElementTree.fromstring(story_svg(story, "db2", title, marks))


def texts(picture: ElementTree.Element) -> list[str]:
    return [element.text or "" for element in picture.iter(f"{SVG}text")]


def test_each_step_is_a_bar_as_long_as_it_took() -> None:
    bars = [(float(bar.attrib["x"]), float(bar.attrib["width"])) for bar in drawn(takeover()).iter(f"{SVG}rect")]
    (claim_x, claim), (drain_x, drain) = bars
    assert claim_x == LEFT and drain == pytest.approx(2 * claim, rel=0.01)
    assert drain_x == pytest.approx(claim_x + claim, abs=0.2)


def test_it_says_trigger_steps_result_and_what_may_be_lost() -> None:
    said = texts(drawn(takeover()))
    for words in ("claim", "drain", "fenced fence-done", "complete taken-over", "20.0 ms", "40.0 ms"):
        assert words in said
    assert "May be lost: db1 has 2 more 1-1-3..4" in said
    assert "Trigger: keepalived gave this node the VIP" in said


def test_moments_that_the_journal_does_not_know_have_their_place_even_before_it() -> None:
    picture = drawn(takeover(), Mark(-50, "kill -9"), Mark(70, "first write"))
    said = texts(picture)
    assert said.index("kill -9") < said.index("claim") < said.index("first write")
    marks = [m for m in picture.iter(f"{SVG}path") if m.get("class") == "mark"]
    assert marks[0].attrib["d"].startswith(f"M{LEFT:.1f} ")


def test_who_cannot_see_it_has_it_in_words() -> None:
    picture = drawn(takeover())
    assert picture.attrib["role"] == "img" and picture.attrib["aria-labelledby"] == "title words"
    words = picture.find(f"{SVG}desc")
    assert words is not None and words.text is not None and words.text.startswith("0 ms claim; 10 ms fenced fence-done")


def test_it_needs_no_other_host_and_no_script() -> None:
    text = story_svg(takeover(), "db2", "db2 took over")
    assert text.count("http") == 1 and "<script" not in text and "prefers-color-scheme" in text


@given(st.lists(st.tuples(st.floats(0, 1e9), st.text(max_size=60), st.text(max_size=300)), max_size=12), st.text())
def test_whatever_is_told_it_is_well_formed(notes: list[tuple[float, str, str]], title: str) -> None:
    notes = sorted(notes, key=lambda note: note[0])
    told = [entry(0, "takeover-begins", "vip-here")]
    told += [entry(at_ms, "takeover-step", rule, text=text) for at_ms, rule, text in notes]
    (story,) = stories(told)
    drawn(story, Mark(-1.5, title), title=title)
