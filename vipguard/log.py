"""How does vipguard say what happened? One line of key=value on stderr; where that is journald's, with each field of it
as one of the journal's own, so that `journalctl VIPGUARD_RULE=vip-here` finds it.

structlog renders the lines; it is imported with the first line, because `vipguard check` usually says nothing and
must start fast. A reader of stderr that has stopped reading must not stop the guard: a line that cannot be written
at once is dropped, and the next one that can says how many were.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
from functools import cache
from typing import Any

# syslog's numbers. What vipguard says unasked is a decision, so it is `notice` to the journal: a unit may then hide
# systemd's own lines about a timer (LogLevelMax=notice) and none of ours.
_PRIORITY = {"critical": 2, "error": 3, "warning": 4, "info": 5, "debug": 7}
JOURNAL = "/run/systemd/journal/socket"
_LINE_BYTES_MAX = 4000  # a pipe that polls as writable takes PIPE_BUF (4096) without blocking
_RENAMED = "field_"  # joins a field whose name the line itself needs, so that a caller's slip loses nothing

_threshold = _PRIORITY["info"]
_dropped = 0


class Log:
    """A named source of lines. `event` is a short phrase, the fields are its rule and its numbers."""

    __slots__ = ("_fields", "_name")

    def __init__(self, name: str, fields: dict[str, Any] | None = None) -> None:
        self._name, self._fields = name, fields or {}

    def bind(self, **fields: Any) -> Log:
        """The same source with `fields` on each of its lines."""
        return Log(self._name, {**self._fields, **fields})

    def debug(self, event: str, **fields: Any) -> None:
        self._say("debug", event, fields)

    def info(self, event: str, **fields: Any) -> None:
        self._say("info", event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        self._say("warning", event, fields)

    def error(self, event: str, **fields: Any) -> None:
        self._say("error", event, fields)

    def critical(self, event: str, **fields: Any) -> None:
        self._say("critical", event, fields)

    def _say(self, level: str, event: str, fields: dict[str, Any]) -> None:
        if _PRIORITY[level] <= _threshold:
            line = _line(level, self._name, event, {**self._fields, **fields})
            text = _text(level, line)
            if not (_stderr_is_the_journal() and _to_journal(line, text)):
                _write(level, text)


def get_logger(name: str) -> Log:
    """A log for the room or module `name`; cheap, at import time too."""
    return Log(name)


def configure(level: str) -> None:
    """Say lines of this level and above: debug, info, warning, error or critical."""
    global _threshold  # noqa: PLW0603 - one process has one stderr
    _threshold = _PRIORITY[level]


def render(level: str, name: str, event: str, fields: dict[str, Any]) -> str:
    """The line without time and priority: never more than one line, whatever the fields hold."""
    return _text(level, _line(level, name, event, fields))


def journal_entry(line: dict[str, Any], text: str) -> bytes:
    """The line in journald's native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL): VIPGUARD_ and each field's name.

    `line` holds no line breaks (see `_plain`), so no value needs a length.
    """
    entry = {"MESSAGE": text, "PRIORITY": _PRIORITY[line["level"]], "SYSLOG_IDENTIFIER": "vipguard"}
    for key, value in line.items():
        name = "".join(char if char.isascii() and char.isalnum() else "_" for char in key.upper())
        entry[f"VIPGUARD_{name}"[:64]] = "" if value is None else value
    return "".join(f"{name}={value}\n" for name, value in entry.items()).encode(errors="backslashreplace")


def _line(level: str, name: str, event: str, fields: dict[str, Any]) -> dict[str, Any]:
    line: dict[str, Any] = {"level": level, "event": _plain(event), "log": name}
    for key, value in fields.items():
        key = "".join(char if char.isalnum() or char in "_.-" else "_" for char in key)
        line[_RENAMED + key if key in line else key] = _plain(value)
    return line


def _text(level: str, line: dict[str, Any]) -> str:
    return str(_renderer()(None, level, dict(line)))  # the renderer takes out what it has rendered


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return f"{value:.3f}".rstrip("0").rstrip(".") if abs(value) < 1e15 else str(value)
    if value is None or isinstance(value, bool | int):
        return value
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in str(value))


@cache
def _renderer() -> Any:
    from structlog.processors import LogfmtRenderer

    return LogfmtRenderer(key_order=["level", "event", "log"], bool_as_flag=False)


def _to_journal(line: dict[str, Any], text: str) -> bool:
    """False where it could not be sent at once, as when journald is not there or the entry is too large."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        sender.sendto(journal_entry(line, text), JOURNAL)
        return True
    return False


def _write(level: str, text: str) -> None:
    global _dropped  # noqa: PLW0603 - see configure
    if _dropped:
        text += f" lines_dropped_before={_dropped}"
    prefix = f"<{_PRIORITY[level]}>" if _stderr_is_the_journal() else _now() + " "
    line = (prefix + text).encode(errors="backslashreplace")[:_LINE_BYTES_MAX] + b"\n"
    try:
        poll = select.poll()
        poll.register(2, select.POLLOUT)
        if not any(mask & select.POLLOUT for _, mask in poll.poll(0)):
            raise BlockingIOError
        os.write(2, line)
    except OSError:
        _dropped += 1
    else:
        _dropped = 0


def _now() -> str:
    import time

    now = time.time()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now * 1000) % 1000:03d}Z"


@cache
def _stderr_is_the_journal() -> bool:
    """systemd.exec(5): JOURNAL_STREAM holds device and inode of the stream that it connected."""
    try:
        stream = os.fstat(2)
    except OSError:
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{stream.st_dev}:{stream.st_ino}"
