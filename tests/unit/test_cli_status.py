"""`vipguard status`: what it says of a cluster, by which exit code, and never a value where nothing was seen."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import healthy
import pytest

from vipguard.agent.report import snapshot
from vipguard.agent.world import Writing, begin
from vipguard.checks import writer
from vipguard.cli import status as command
from vipguard.cli import status_screen
from vipguard.cli.main import run
from vipguard.model.memory import Memory
from vipguard.render import status_text

Status = dict[str, Any]
STORY = [
    {
        "at": 1000.25,
        "ago_s": 3.0,
        "what": "takeover-complete",
        "rule": "taken-over",
        "level": "info",
        "epoch": 3,
    },
    {
        "at": 1001.5,
        "ago_s": 1.75,
        "what": "rejoin",
        "rule": "listen",
        "level": "info",
        "text": "all here",
        "gtids": "",
    },
]


@pytest.fixture
def healthy_pair() -> Status:
    """db1 writes, db2 could take over, as db1's agent tells it: by the agent's own code."""
    sight = healthy.WRITER
    world = replace(
        begin(healthy.POLICY, "boot-1", healthy.NOW_S - 100, Memory()),
        phase=Writing(3, 9, healthy.NOW_S - 90),
        server=sight.server,
        address=sight.address,
        keepalived=sight.keepalived,
        disk=sight.disk,
        peers={"db2": replace(sight.peers["db2"], channels=(healthy.CHANNEL,))},
        witnesses=sight.witnesses,
        outside_s=sight.outside_s,
        errant=sight.errant,
        track="1",
        verdict=writer.judge(sight, "holder"),
    )
    found: Status = json.loads(json.dumps(snapshot(world, healthy.NOW_S, "0.1", STORY)))
    return found


def _open(status: Status, name: str, writable: bool | None) -> Status:
    """The same with one node seen open, closed, or not seen."""
    node = next(node for node in status["nodes"] if node["node"] == name)
    node["writable"] = writable
    status["writers"] = [node["node"] for node in status["nodes"] if node["writable"]]
    return status


def test_a_healthy_pair_is_fine_and_complains_of_nothing(healthy_pair: Status) -> None:
    assert status_text.judge(healthy_pair) == (0, "")


def test_no_writer_has_its_own_code_and_sentence(healthy_pair: Status) -> None:
    assert status_text.judge(_open(healthy_pair, "db1", False)) == (3, "no writer is seen from here")


def test_no_writer_names_who_was_not_seen(healthy_pair: Status) -> None:
    closed = _open(_open(healthy_pair, "db1", False), "db2", None)
    assert status_text.judge(closed) == (3, "no writer is seen from here; not seen: db2")


def test_two_writers_have_their_own_code_and_are_named(healthy_pair: Status) -> None:
    assert status_text.judge(_open(healthy_pair, "db2", True)) == (4, "2 nodes are writable: db1, db2")


def test_a_silent_agent_has_its_own_code_beside_one_writer(healthy_pair: Status) -> None:
    silent = {**healthy_pair, "agent": "silent", "agent_reason": "no agent listens at /x"}
    assert status_text.judge(silent) == (5, "the agent of this node is silent: no agent listens at /x")


def test_a_silent_agent_does_not_hide_two_writers(healthy_pair: Status) -> None:
    silent = {**_open(healthy_pair, "db2", True), "agent": "silent", "agent_reason": "why"}
    code, complaint = status_text.judge(silent)
    assert code == 4
    assert "the agent of this node is silent" in complaint


def _plain(status: Status) -> str:
    return command.plain(status)


def _line(status: Status, node: str) -> str:
    return next(line for line in _plain(status).splitlines() if line.startswith(node))


def test_the_writer_has_a_line_with_everything_that_counts(healthy_pair: Status) -> None:
    line = _line(healthy_pair, "db1")
    for text in (
        "db1 (here) 10.73.0.11",
        "MASTER",
        "yes",
        "mariadb 10.11.6",
        "eligible (holder-healthy)",
        "  3",
    ):
        assert text in line


def test_what_sql_cannot_tell_of_a_peer_is_said_not_to_be_seen(healthy_pair: Status) -> None:
    line = _line(healthy_pair, "db2")
    assert line.count("not seen from here") == 2  # its VRRP state and its VIP
    assert "running/running from 10.73.0.12:3306" in line


def test_a_lag_that_is_not_known_is_no_number(healthy_pair: Status) -> None:
    healthy_pair["nodes"][1]["lag_s"] = None
    assert "not known" in _line(healthy_pair, "db2")


def test_a_server_that_is_not_running_is_no_writer_and_says_why(healthy_pair: Status) -> None:
    healthy_pair["nodes"][1].update(server="absent", reason="refused", writable=None)
    assert "absent: refused" in _line(healthy_pair, "db2")
    assert status_text.judge(healthy_pair) == (0, "")


def test_a_dead_keepalived_is_said_in_the_place_of_a_state(healthy_pair: Status) -> None:
    healthy_pair["nodes"][0]["keepalived"] = False
    assert "keepalived is dead" in _line(healthy_pair, "db1")


def test_below_the_table_stand_the_last_transition_and_the_story(healthy_pair: Status) -> None:
    text = _plain(healthy_pair)
    assert "last transition: " in text
    assert "(3.0 s ago)  takeover-complete taken-over: epoch=3" in text
    assert text.rstrip().endswith("(1.8 s ago)  rejoin listen: all here")


def test_a_diverged_node_is_said_out_loud(healthy_pair: Status) -> None:
    healthy_pair["nodes"][0]["diverged"] = "this node has 2 transactions that db2 lacks: 1-1-2"
    assert "DIVERGED: this node has 2 transactions" in _plain(healthy_pair)


def test_no_line_of_a_pipe_is_cut_however_long_a_reason_is(healthy_pair: Status) -> None:
    reason = "because " * 40
    healthy_pair["nodes"][1].update(server="blind", reason=reason)
    assert reason.strip() in _plain(healthy_pair)


def test_a_story_of_another_version_does_not_break_the_screen(healthy_pair: Status) -> None:
    healthy_pair["story"].append(
        {"at": 1, "ago_s": 0.5, "what": "new", "rule": "thing", "level": "x", "list": [1, 2]}
    )
    assert "new thing: list=[1, 2]" in _plain(healthy_pair)


def test_on_a_terminal_it_is_a_table_with_a_column_for_each_node(
    healthy_pair: Status, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    status_screen.show(healthy_pair)
    out = capsys.readouterr().out
    heading = next(line for line in out.splitlines() if "10.73.0.11" in line)
    assert "db2 10.73.0.12" in heading
    assert max(len(line) for line in out.splitlines()) <= 80


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0042, "4 ms"), (1.25, "1.2 s"), (119, "119.0 s"), (600, "10 min"), (90000, "25 h")],
)
def test_a_duration_has_the_unit_that_fits(seconds: float, text: str) -> None:
    assert status_text.duration(seconds) == text


# -- the command


@contextmanager
def agent(config: Path, answer: bytes) -> Iterator[None]:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(config.parent / "run/agent.sock"))
        listener.listen()

        def serve() -> None:
            client, _ = listener.accept()
            with client:
                client.recv(100)
                client.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield
        thread.join(5)


Said = Callable[..., tuple[int, str, str]]


@pytest.fixture
def status(config: Path, capsys: pytest.CaptureFixture[str]) -> Said:
    def status(*arguments: str) -> tuple[int, str, str]:
        code = run(["--config", str(config), "status", *arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    return status


def test_json_is_what_the_agent_tells(config: Path, status: Said, healthy_pair: Status) -> None:
    with agent(config, json.dumps(healthy_pair).encode() + b"\n"):
        code, out, _ = status("--json")
    assert (code, json.loads(out)) == (0, healthy_pair)


def test_the_agent_is_asked_without_the_password(config: Path, status: Said, healthy_pair: Status) -> None:
    """A member of the group may read the socket, and not the password."""
    (config.parent / "password").unlink()
    with agent(config, json.dumps(healthy_pair).encode() + b"\n"):
        assert status()[0] == 0


def test_without_an_agent_one_look_stands_in_and_says_so(status: Said) -> None:
    code, out, err = status()
    assert code == 3
    assert "THE AGENT IS SILENT: no agent listens" in out
    assert "db1 (here) 127.0.0.71" in out
    assert "db2 127.0.0.72" in out
    assert "no writer is seen from here" in err
    assert "the agent of this node is silent" in err


def test_without_an_agent_json_has_the_same_keys(status: Said, healthy_pair: Status) -> None:
    _, out, _ = status("--json")
    answer = json.loads(out)
    assert set(answer) - set(healthy_pair) == {"agent_reason"}
    assert [set(node) for node in answer["nodes"]] == [set(node) for node in healthy_pair["nodes"]]
    assert answer["agent"] == "silent"


def test_an_agent_that_talks_nonsense_is_taken_for_silent(config: Path, status: Said) -> None:
    with agent(config, b"once upon a time\n"):
        code, out, _ = status()
    assert (code, "THE AGENT IS SILENT" in out) == (3, True)


def test_an_agent_of_another_kind_is_taken_for_silent(config: Path, status: Said) -> None:
    with agent(config, b'{"hello": 1}\n'):
        code, out, _ = status()
    assert (code, "THE AGENT IS SILENT" in out) == (3, True)
