"""The status line about semi-sync, and what a check takes from the agent's memory."""

from __future__ import annotations

from typing import Any

import pytest

from vipguard.cli import remembered
from vipguard.render.status_text import acks_line

SAID: dict[str, Any] = {
    "source": True, "replica": True, "clients": 1, "waiting": 0, "commits_wait_s": 0.0, "solo": False,
    "receiving": True, "marked": True, "mark_on_its_way": False,
}  # fmt: skip


@pytest.mark.parametrize(
    ("writable", "changes", "words"),
    [
        (True, {}, "semi-sync: writes wait for a standby, 1 connected"),
        (True, {"waiting": 3, "commits_wait_s": 0.4}, "semi-sync: writes wait"),
        (True, {"waiting": 3, "commits_wait_s": 12.0}, "COMMITS WAIT: 3 for 12 s"),
        (True, {"source": False, "solo": True}, "semi-sync: solo"),
        (True, {"source": False}, "SEMI-SYNC IS OFF"),
        (False, {}, "has every acknowledged write"),
        (False, {"marked": False}, "is not known to have"),
    ],
)
def test_the_status_says(writable: bool, changes: dict[str, Any], words: str) -> None:
    assert words in acks_line({"writable": writable, "semi_sync": {**SAID, **changes}})


def test_under_async_the_status_says_nothing_of_it() -> None:
    assert acks_line({"writable": True, "semi_sync": None}) == acks_line({"writable": False}) == ""


def test_the_node_itself_is_found_in_a_status() -> None:
    assert remembered.own_node({"nodes": [{"here": False}, {"here": True, "node": "db1"}]})["node"] == "db1"
