"""The status page: what it says in each state, whatever stands in the names and reasons, readable for everybody."""

from __future__ import annotations

import base64
import copy
import hashlib
import itertools
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import healthy
import pytest
import statuses
from exported import BLIND, STATUS

from vipguard.export.drawing import describe
from vipguard.export.headline import headline
from vipguard.export.look import STYLE
from vipguard.export.page import HEADERS, page, raw
from vipguard.export.source import Seen
from vipguard.render.palette import DARK, LIGHT
from vipguard.render.status_text import rows

SILENT = Seen(None, "no agent listens at /run/vipguard/agent.sock", statuses.AT - 60)
VOID = {"meta", "link", "path", "line", "rect", "polyline", "polygon"}


def html(status: dict[str, Any], stories: Any = None) -> str:
    told = statuses.told_stories() if stories is None else stories
    return page(healthy.POLICY, Seen(status, "", statuses.AT), told, statuses.AT)


class Read(HTMLParser):
    """A page as a reader gets it: elements in order, and the text outside of style and script. Checks the nesting."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("style", "script"):
            self.words.append(data.strip())

    @property
    def text(self) -> str:
        return " ".join(word for word in self.words if word)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.elements if name == tag]


# -- what it says


def said(status: dict[str, Any]) -> tuple[str, str, list[str]]:
    found = headline(status)
    return found.tone, found.said.text, [line.text for line in found.more]


def test_of_a_healthy_pair_it_says_who_writes_and_who_may_take_over() -> None:
    assert said(statuses.healthy_pair()) == ("good", "db1 writes.", ["db2 may take over."])


def test_while_a_node_takes_over_it_says_so_and_why() -> None:
    tone, sentence, more = said(statuses.failing_over())
    assert (tone, sentence) == ("odd", "Nobody writes yet: db1 is taking over, waiting by drain.")
    assert "The server of db2 is absent: connection refused." in more


def test_where_nobody_writes_it_says_why_each_may_not() -> None:
    tone, sentence, more = said(statuses.no_writer())
    assert (tone, sentence) == ("bad", "Nobody writes, as far as is seen from db1.")
    assert more[0].startswith("db1: ineligible (lag-exceeded): 57 s behind")
    assert more[1] == "The server of db2 is absent: connection refused."


def test_two_writers_are_the_loudest_thing_on_it() -> None:
    tone, sentence, more = said(statuses.two_writers())
    assert (tone, sentence) == ("bad", "Two nodes accept writes: db1 and db2.")
    assert "Close the one that clients do not reach" in more[0]
    read = Read(html(statuses.two_writers()))
    assert read.text.count("one of 2 writers") >= 2


def test_a_diverged_node_says_so_beside_who_writes() -> None:
    tone, sentence, more = said(statuses.diverged())
    assert (tone, sentence) == ("odd", "db2 writes.")
    assert any(line.startswith("DIVERGED: 1 transaction that db2 lacks") for line in more)


def test_who_could_not_take_over_is_told_with_the_rule() -> None:
    status = statuses.healthy_pair()
    status["nodes"][1].update(eligibility="ineligible", rule="lag-exceeded", text="57 s behind")
    assert said(status) == (
        "odd", "db1 writes.", ["Nobody could take over: db2 is ineligible (lag-exceeded): 57 s behind."],
    )  # fmt: skip
    status["nodes"][1].update(server="silent", writable=None)
    assert said(status)[2] == ["Nobody could take over: the server of db2 is silent."]
    status["nodes"][1].update(server=None, eligibility=None)
    assert said(status)[2] == ["Nobody could take over: the server of db2 is not seen from here."]


def test_an_open_server_without_a_guard_is_not_called_the_writer() -> None:
    status = statuses.healthy_pair()
    status["nodes"][0]["writer"] = False
    status["phase"] = "resting"
    assert said(status)[:2] == ("odd", "db1 accepts writes, but no agent guards it as the writer.")


def test_pause_maintenance_and_damping_are_told_with_reason_and_end() -> None:
    status = statuses.healthy_pair()
    status["maintenance"] = [
        {"node": "*", "since_s": statuses.AT, "until_s": None, "reason": "moving racks"},
        {"node": "db2", "since_s": statuses.AT, "until_s": statuses.AT + 60, "reason": ""},
    ]
    status["nodes"][0].update(damped_s=200.0, losses=5)
    tone, _, more = said(status)
    assert tone == "odd"
    assert any(re.fullmatch("THE CLUSTER IS PAUSED since .*, until it is ended: moving racks.", line) for line in more)
    assert any(line.startswith("db2 IS IN MAINTENANCE") and ", until 20" in line for line in more)
    assert "db1 flapped, and is left alone for 3 min more (5 losses)." in more


@pytest.mark.parametrize("name", statuses.STATES)
def test_the_page_says_the_headline_each_check_with_its_numbers_and_the_table(name: str) -> None:
    status = statuses.STATES[name]()
    text = Read(html(status)).text
    found = headline(status)
    for line in (found.said, *found.more):
        assert line.text.split("`")[0].strip() in text
    for check, verdict in status["checks"].items():
        assert check in text and verdict["rule"] in text and verdict["text"].partition("  ")[0] in text
    assert "critical unless at most 10 s" in text and "critical unless at least 100 MB" in text
    for row in rows(status):
        for cell, _ in row:
            assert cell in text
    for wrong in ("None", "True", "{", "}"):
        assert wrong not in text


def test_a_silent_agent_shows_nothing_old_and_every_node_as_not_seen() -> None:
    text = Read(page(healthy.POLICY, SILENT, "", statuses.AT)).text
    assert "The agent of db1 is silent: who writes is not known here." in text
    assert "It answered last at 20" in text and "No agent listens at /run/vipguard/agent.sock." in text
    assert "db1 at 10.73.0.11: not seen. db2 at 10.73.0.12: not seen." in text
    assert " writes." not in text and "holder-healthy" not in text
    never = Read(page(healthy.POLICY, replace(SILENT, answered_at=None), "", statuses.AT)).text
    assert "It has not answered since this exporter began." in never
    assert raw(healthy.POLICY, SILENT)["agent"] == "silent"


def test_an_agent_of_another_version_is_named_as_that() -> None:
    text = Read(html(STATUS)).text  # made for the metrics: it lacks what the page needs
    assert "It tells no vip, phase, waiting, story: is it of another version than the exporter?" in text


def test_an_agent_that_has_seen_nothing_yet_is_shown() -> None:
    own = dict.fromkeys(statuses.healthy_pair()["nodes"][0]) | {
        "node": "db1", "here": True, "address": "10.73.0.11", "role": "candidate", "writer": False, "reason": "",
    }  # fmt: skip
    status = {**BLIND, "vip": "10.73.0.100/24", "phase": "starting", "waiting": None, "story": [], "nodes": [own]}
    status["agent"] = "answers"
    text = Read(html(status, [])).text
    assert "Nobody writes, as far as is seen from db1." in text and "db1 is not seen from here." in text


def test_agents_without_stories_say_why() -> None:
    status = statuses.healthy_pair()
    assert "Not seen: there is no command 'stories'" in Read(html(status, "there is no command 'stories'")).text
    assert "None is in the end of this node's journal." in Read(html(status, [])).text
    assert "None is in the end of this node's journal." in Read(html(status, [{"kind": "takeover"}, 3])).text


def test_takeovers_have_a_picture_and_the_same_in_words() -> None:
    read = Read(html(statuses.healthy_pair()))
    pictures = [svg for svg in read.all("svg") if svg.get("class") == "story"]
    assert len(pictures) == 2 * 3  # takeover, move, rejoin: for a wide window and for a phone
    for words in ("keepalived gave this node the VIP", "nothing is lost", "fenced fence-done: node=db2", "0-1-7..9"):
        assert words in read.text


# -- the picture


def test_arrows_go_from_source_to_replica_with_lag_and_threads() -> None:
    told = describe(statuses.three_nodes_and_replicas())
    for words in (
        "db1 replicates to db2: 0 s behind, running/running",
        "db2 replicates to db3: 2 s behind, running/running",
        "db3 replicates to db1: 0 s behind, running/running",
        "db1 replicates to re1: 0 s behind, running/running",
        "db1 replicates to re2: lag not known, ✕ connecting/running",
        "re1 at fd00::21: replica",
        "reader reader2 10.73.0.102: NOWHERE",
    ):
        assert words in told
    assert "VIP fd00::100: " not in told  # db1 has it


def test_what_is_not_seen_is_dashed_and_says_so() -> None:
    status = statuses.healthy_pair()
    status["nodes"][1].update(server="silent", writable=None, threads=None, lag_s=None, eligibility=None, version=None)
    text = html(status)
    assert 'class="node unseen"' in text and "db2 at 10.73.0.12: not seen" in text
    assert ".node.unseen .box{fill:none;stroke-dasharray" in STYLE


@pytest.mark.parametrize(("ipv6", "replicas"), [(False, 0), (True, 1), (False, 3), (False, 7)])
def test_no_box_covers_another_and_all_is_within_the_picture(ipv6: bool, replicas: int) -> None:
    text = html(statuses.three_nodes_and_replicas(ipv6, replicas))
    for kind in ("wide", "narrow"):
        picture = text[text.index(f'class="cluster {kind}"') :].partition("</svg>")[0]
        width, height = map(int, re.findall(r'viewBox="0 0 (\d+) (\d+)"', picture)[0])
        places = r'translate\((\d+) (\d+)\)"><rect class="box" width="(\d+)" height="(\d+)"'
        boxes = [tuple(map(int, found)) for found in re.findall(places, picture)]
        assert len(boxes) == 3 + replicas
        for x, y, w, h in boxes:
            assert x + w <= width and y + h <= height
        for (x1, y1, w1, h1), (x2, y2, w2, h2) in itertools.combinations(boxes, 2):
            assert x1 + w1 < x2 or x2 + w2 < x1 or y1 + h1 < y2 or y2 + h2 < y1
        for points in re.findall(r'polyline points="([^"]+)"', picture):
            corners = [tuple(map(float, pair.split(","))) for pair in points.split()]
            assert all(0 <= x <= width and 0 <= y <= height for x, y in corners)
            for (xa, ya), (xb, yb) in itertools.pairwise(corners):
                for x, y, w, h in boxes:  # an arrow touches boxes at their edges only
                    outside = max(xa, xb) <= x or min(xa, xb) >= x + w or max(ya, yb) <= y or min(ya, yb) >= y + h
                    assert outside, (points, (x, y, w, h))


# -- whatever stands in it

EVIL = "</title></style></script><script>alert(1)</script><img src=x onerror=alert(1)>\"'&\x00\x1b`a`"
_KEPT = {
    "server", "phase", "role", "standing", "outcome", "io", "what", "level", "kind", "result", "eligibility", "warning",
    "critical", "unit", "track_file", "address", "vip", "lost_rule",
}  # fmt: skip


def spoiled(value: Any, key: str = "") -> Any:
    """The same with something evil in every text that can hold anything."""
    if isinstance(value, dict):
        return {name: spoiled(one, name) for name, one in value.items()}
    if isinstance(value, list):
        return [spoiled(one, key) for one in value]
    return value + EVIL if value and isinstance(value, str) and key not in _KEPT else value


@pytest.mark.parametrize("name", statuses.STATES)
def test_nothing_that_others_say_becomes_part_of_the_page(name: str) -> None:
    read = Read(html(spoiled(statuses.STATES[name]()), spoiled(statuses.told_stories())))
    assert len(read.all("script")) == 1 and not read.all("img")
    assert not any(key.startswith("on") for _, attrs in read.elements for key in attrs)
    clean = Read(html(statuses.STATES[name](), statuses.told_stories()))
    drawn = ("path", "text", "line", "code", "polyline", "polygon", "g", "rect")  # longer texts have more lines
    tags, without = ([tag for tag, _ in one.elements if tag not in drawn] for one in (read, clean))
    assert tags == without
    silent = Read(page(healthy.POLICY, replace(SILENT, reason=EVIL), EVIL, statuses.AT))
    assert len(silent.all("script")) == 1 and not silent.all("img")


def test_only_its_own_script_and_style_may_be_there_and_nothing_from_elsewhere() -> None:
    policy = dict(HEADERS)["Content-Security-Policy"]
    text = html(statuses.healthy_pair())
    for tag in ("script", "style"):
        (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none';") and "unsafe" not in policy and "*" not in policy
    assert not re.search(r"""\bstyle=|(?:src|href)=["'](?:https?:)?//""", text)
    assert set(re.findall(r"https?://[^\s\"'<]+", text)) == {"http://www.w3.org/2000/svg"}


# -- for everybody


@pytest.mark.parametrize("name", [*statuses.STATES, "silent"])
def test_headings_landmarks_names_and_ids_are_in_order(name: str) -> None:
    text = page(healthy.POLICY, SILENT, "", statuses.AT) if name == "silent" else html(statuses.STATES[name]())
    read = Read(text)
    assert read.all("html")[0]["lang"] == "en"
    levels = [int(tag[1]) for tag, _ in read.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(later <= earlier + 1 for earlier, later in itertools.pairwise(levels))
    assert [len(read.all(tag)) for tag in ("header", "main", "footer")] == [1, 1, 1]
    ids = [attrs["id"] for _, attrs in read.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    for _, attrs in read.elements:
        for reference in (attrs.get("aria-labelledby") or "").split():
            assert reference in ids
    for svg in read.all("svg"):
        assert svg["role"] == "img" and svg["aria-labelledby"]
    assert len(read.all("title")) == 1 + len(read.all("svg")) and len(read.all("desc")) == len(read.all("svg"))
    assert [attrs["id"] for _, attrs in read.elements if attrs.get("aria-live")] == ["said"]
    assert {"width=device-width, initial-scale=1"} <= {meta.get("content") for meta in read.all("meta")}


def test_every_colour_comes_with_a_sign_or_a_word() -> None:
    text = html(statuses.no_writer())
    for cell in re.findall(r'<td role="cell"[^>]*class="(?:bad|odd)"[^>]*>(.)', text):
        assert cell in "✕!<"
    for line in re.findall(r'<li class="(?:good|odd|bad|unseen)">(.{20})', text):
        assert line.startswith('<span class="sign"')


def _luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _schemes() -> list[dict[str, str]]:
    """The colours as the style itself has them: the light ones, and those within the dark reader's rule."""
    return [dict(re.findall(r"--([a-z-]+):(#[0-9a-f]{6});", block)) for block in re.findall(r":root\{[^}]*\}", STYLE)]


def test_every_text_is_readable_by_day_and_by_night() -> None:
    schemes = _schemes()
    assert schemes == [dict(LIGHT), dict(DARK)]
    grounds = ("paper", "ground", "odd-soft", "bad-soft", "accent-soft", "good-soft")
    for colours in schemes:
        for ground in grounds:
            for ink in ("ink", "dim", "good", "odd", "bad", "accent"):
                assert contrast(colours[ink], colours[ground]) >= 4.5, (ink, ground)
            assert contrast(colours["edge"], colours[ground]) >= 3, ("edge", ground)  # lines of the drawing
        assert contrast(colours["on-accent"], colours["accent"]) >= 4.5
        for solid in ("bad", "dim"):  # the lost banner, a tag, and words within a bar
            assert contrast(colours["paper"], colours[solid]) >= 4.5


def test_it_refreshes_itself_without_a_script_and_moves_nothing_for_who_wants_none() -> None:
    text = html(statuses.healthy_pair())
    assert '<noscript><meta http-equiv="refresh" content="5"></noscript>' in text
    assert "transition" not in STYLE.partition("@media (prefers-reduced-motion:no-preference)")[0]
    assert ":focus-visible{outline:" in STYLE


def test_status_json_is_what_the_agent_said() -> None:
    status = statuses.healthy_pair()
    assert raw(healthy.POLICY, Seen(copy.deepcopy(status), "", 1.0)) == status
    assert json.loads(json.dumps(raw(healthy.POLICY, SILENT)))["agent_reason"].startswith("no agent listens")
