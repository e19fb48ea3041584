"""`vipguard status --watch`: blocks in a pipe, a screen on a terminal; it survives what happens and ends with 0."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from vipguard.cli import watching as module
from vipguard.cli.main import run
from vipguard.errors import ConfigError, CouldNotLook

STATUS: dict[str, Any] = {
    "cluster": "c", "vip": "10.0.0.9/24", "epoch": 3, "node": "db1", "agent": "answers", "agent_reason": "",
    "phase": None, "writers": [], "witnesses": {}, "waiting": None,
    "story": [{"at": 1.0, "ago_s": 1.0, "what": "note", "rule": f"r{n}", "level": "info"} for n in range(30)],
    "nodes": [],
}  # fmt: skip
OWN = {"node": "db1", "here": True, "address": "10.0.0.1", "vrrp": "MASTER", "keepalived": True, "vip": True,
       "errant": "", "server": "answered", "version": "10.11", "reason": "",
       "writable": True, "eligibility": "eligible", "rule": "",
       "lag_s": None, "threads": [], "epoch": 3, "diverged": None}  # fmt: skip


def _looks(monkeypatch: pytest.MonkeyPatch, *answers: object) -> None:
    """What each look finds; after the last one Ctrl-C is pressed."""
    left = list(answers)

    def ask(_app: object) -> dict[str, Any]:
        if not left:
            raise KeyboardInterrupt
        answer = left.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return {**STATUS, "nodes": [OWN], **answer}  # type: ignore[dict-item]

    monkeypatch.setattr(module, "ask", ask)
    monkeypatch.setattr("vipguard.cli.app.App.policy", lambda *_a, **_k: None)


def test_blocks_tell_of_an_agent_that_goes_and_comes_back(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    silent = {"agent": "silent", "agent_reason": "no agent listens", "writers": ["db1"]}
    _looks(monkeypatch, {"writers": ["db1"]}, silent, CouldNotLook("blind"), ConfigError("torn"), {"writers": ["db1"]})
    assert run(["status", "--watch", "--interval", "0.1"]) == 0
    blocks = capsys.readouterr().out.split("=== ")[1:]
    assert [("SILENT" in block, "CANNOT LOOK" in block) for block in blocks] == [
        (False, False), (True, False), (False, True), (False, True), (False, False)]  # fmt: skip


def test_json_is_one_object_a_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    _looks(monkeypatch, {"writers": ["db1"]}, CouldNotLook("blind"))
    assert run(["status", "--watch", "--json", "--interval", "0.1"]) == 0
    one, other = map(json.loads, capsys.readouterr().out.splitlines())
    assert one["status"]["writers"] == ["db1"] and one["complaint"] is None
    assert other["status"] is None and "blind" in other["complaint"]


def test_a_configuration_that_is_no_good_at_the_start_is_said_and_not_watched(tmp_path: Path) -> None:
    assert run(["--config", f"{tmp_path}/none.toml", "status", "--watch"]) == 2


@pytest.mark.parametrize("height", [10, 24, 60])
def test_the_screen_gives_up_the_story_before_the_table(height: int) -> None:
    from rich.console import Console

    console = Console(width=80, height=height, highlight=False)
    status = {**STATUS, "nodes": [OWN], "writers": ["db1"]}
    group = module._fitted(console, status, "", 1.0)
    rendered = ["".join(part.text for part in line) for line in console.render_lines(group)]
    text = "\n".join(rendered)
    assert "writable" in text and len(rendered) <= max(height, 20)
    assert ("r29" in text) == (height >= 24) and ("r18" in text) == (height == 60)


def test_on_a_terminal_ctrl_c_ends_with_0_and_leaves_the_last_look(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom test_cli_watching import STATUS, OWN\nfrom vipguard.cli import watching, main\n"
        "watching.ask = lambda app: {**STATUS, 'nodes': [OWN], 'writers': ['db1']}\n"
        "from vipguard.cli.app import App\nApp.policy = lambda *a, **k: None\n"
        "sys.exit(main.run(['status', '--watch', '--interval', '0.1']))"
    )
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    master, slave = pty.openpty()
    env = {**os.environ, "PYTHONPATH": path, "TERM": "xterm", "COLUMNS": "80", "LINES": "24"}
    process = subprocess.Popen([sys.executable, "-c", code], stdout=slave, stderr=slave, stdin=slave, env=env)
    os.close(slave)
    seen, until_s = b"", time.monotonic() + 20
    while seen.count(b"writable") < 2 and time.monotonic() < until_s:
        seen += os.read(master, 65536)
    process.send_signal(signal.SIGINT)
    try:
        while more := os.read(master, 65536):
            seen += more
    except OSError:  # the terminal's other end is closed
        pass
    os.close(master)
    assert process.wait(10) == 0
    left = seen.rpartition(b"\x1b[?1049l")[2]
    assert b"writable" in left and b"Traceback" not in seen
