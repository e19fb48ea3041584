"""A long step, told on a terminal and in a pipe."""

from __future__ import annotations

import sys

import pytest

from vipguard.cli.telling import telling


@pytest.mark.parametrize("terminal", [True, False])
def test_steps_progress_and_warnings_are_told(
    terminal: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    monkeypatch.setenv("COLUMNS", "120")
    with telling() as tell:
        tell.progress(1, 2)  # before any step: nobody's business
        tell.step("emptying [all]")
        tell.step("copying db2")
        for done in range(0, 101, 10):
            tell.progress(done * 1_000_000, 100_000_000)
        tell.warn("left out: [x]")
    said = capsys.readouterr()
    for words in ("emptying [all]", "copying db2", "left out: [x]"):
        assert words in said.out + said.err
    if not terminal:
        assert said.out.count("MB of about 100.0") == 10
