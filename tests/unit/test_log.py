"""The log: one line whatever it is told, with journald's priority there, and never a reason to wait."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vipguard.lab.wait import wait_until
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


def say_to_the_journal(code: str, at: Path) -> bytes:
    """What comes on stderr, of a process whose stderr is the journal's, and the journal's socket at `at`."""
    read, write = os.pipe()
    stream = os.fstat(write)
    env = {**os.environ, "JOURNAL_STREAM": f"{stream.st_dev}:{stream.st_ino}"}
    code = f"import vipguard.log\nvipguard.log.JOURNAL = {str(at)!r}\n" + SAY + code
    subprocess.run([sys.executable, "-c", code], stderr=write, env=env, check=True)
    os.close(write)
    with open(read, "rb") as said:
        return said.read()


def test_the_journal_gets_every_field_as_its_own(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(str(tmp_path / "socket"))
        said = say_to_the_journal(
            "log.warning('late', rule='advert-late', by_s=1.5, text='a\\nPRIORITY=0', none=None)", tmp_path / "socket"
        )
        assert said == b""
        assert journal.recv(4096).decode().splitlines() == [
            "MESSAGE=level=warning event=late log=agent rule=advert-late by_s=1.5 text=\"a\\\\nPRIORITY=0\" none=",
            "PRIORITY=4",
            "SYSLOG_IDENTIFIER=vipguard",
            "VIPGUARD_LEVEL=warning",
            "VIPGUARD_EVENT=late",
            "VIPGUARD_LOG=agent",
            "VIPGUARD_RULE=advert-late",
            "VIPGUARD_BY_S=1.5",
            "VIPGUARD_TEXT=a\\nPRIORITY=0",
            "VIPGUARD_NONE=",
        ]


def test_a_journal_that_takes_no_entry_gets_the_line_with_its_priority_and_no_time(tmp_path: Path) -> None:
    said = say_to_the_journal("log.warning('late', by_s=1)", tmp_path / "nobody")
    assert said == b"<4>level=warning event=late log=agent by_s=1\n"


def test_a_journal_that_stopped_reading_stops_nothing(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(str(tmp_path / "socket"))
        said = say_to_the_journal(
            "for number in range(2000): log.info('flood', number=number)", tmp_path / "socket"
        )
    assert b"event=flood" in said, "what the socket did not take went to stderr"


@pytest.fixture
def journald(tmp_path: Path) -> Iterator[Path]:
    """A real journald with a /run of its own; the folder of its files."""
    if os.geteuid() != 0:
        pytest.fail("a journald of its own needs root")
    ready = tmp_path / "ready"
    inside = (
        f"mount -t tmpfs none /run && mkdir -p /run/systemd && mount -t tmpfs none /var/log && touch {ready} &&"
        f" exec /lib/systemd/systemd-journald"
    )
    process = subprocess.Popen(["unshare", "-m", "sh", "-c", inside], stdin=subprocess.DEVNULL)
    try:
        root = Path(f"/proc/{process.pid}/root")
        socket_there = root / "run/systemd/journal/socket"
        wait_until(lambda: ready.exists() and socket_there.exists(), 10, lambda: "journald's socket")
        yield root
    finally:
        process.terminate()
        process.wait(10)


def test_a_real_journald_finds_a_line_by_its_rule(journald: Path) -> None:
    say_to_the_journal(
        "log.info('a', rule='vip-here', epoch=3)\nlog.error('b', rule='vip-gone')",
        journald / "run/systemd/journal/socket",
    )
    found = subprocess.run(
        ["journalctl", f"--root={journald}", "-o", "json", "VIPGUARD_RULE=vip-here"],
        capture_output=True, text=True, check=True, timeout=10,
    )  # fmt: skip
    (entry,) = map(json.loads, found.stdout.splitlines())
    assert (entry["VIPGUARD_EVENT"], entry["VIPGUARD_EPOCH"], entry["PRIORITY"]) == ("a", "3", "5")


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
