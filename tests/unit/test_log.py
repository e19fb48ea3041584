"""The log: one line whatever it is told, with journald's priority there, and never a reason to wait."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vipguard.log import render

SAY = "from vipguard.log import get_logger\nlog = get_logger('agent')\n"


def test_a_line_names_level_event_and_source_first() -> None:
    assert render(
        "info", "agent", "vip gone", {"rule": "handback-vip-gone", "after_s": 0.1 + 0.2, "lag_s": None}
    ) == ('level=info event="vip gone" log=agent rule=handback-vip-gone after_s=0.3 lag_s=')


@given(
    event=st.text(),
    fields=st.dictionaries(st.text(min_size=1), st.text() | st.floats() | st.binary() | st.none()),
)
def test_whatever_it_is_told_it_is_one_line(event: str, fields: dict[str, object]) -> None:
    line = render("info", "x", event, fields)
    assert len(line.splitlines()) <= 1


def test_for_the_journal_a_line_has_its_priority_and_no_time() -> None:
    read, write = os.pipe()
    stream = os.fstat(write)
    env = {**os.environ, "JOURNAL_STREAM": f"{stream.st_dev}:{stream.st_ino}"}
    subprocess.run(
        [sys.executable, "-c", SAY + "log.warning('late', by_s=1)"], stderr=write, env=env, check=True
    )
    assert os.read(read, 4096) == b"<4>level=warning event=late log=agent by_s=1\n"
    os.close(read)
    os.close(write)


def test_elsewhere_a_line_begins_with_the_time() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SAY + "log.info('hello')"], capture_output=True, text=True, check=True
    )
    assert done.stderr[:4].isdigit()
    assert done.stderr[10:].partition("Z ")[2] == "level=info event=hello log=agent\n"


def test_debug_is_silent_until_asked_for() -> None:
    code = SAY + "log.debug('a')\nfrom vipguard.log import configure\nconfigure('debug')\nlog.debug('b')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "event=a" not in done.stderr
    assert "event=b" in done.stderr


@pytest.mark.timeout(20)
def test_a_reader_that_stopped_reading_stops_nothing_and_is_told_later() -> None:
    code = SAY + (
        "import sys\nfor number in range(5000): log.info('flood', number=number, pad='x' * 100)\n"
        "print('done', flush=True)\nsys.stdin.readline()\nlog.info('last')"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout and child.stdin and child.stderr
    assert child.stdout.readline() == "done\n"
    os.read(child.stderr.fileno(), 60000)
    child.stdin.write("\n")
    child.stdin.flush()
    rest = child.stderr.read()
    assert child.wait() == 0
    assert "event=last log=agent lines_dropped_before=4" in rest


def test_a_closed_stderr_stops_nothing() -> None:
    code = SAY + "import os\nos.close(2)\nlog.info('nobody hears')\nprint('alive')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "alive\n"
