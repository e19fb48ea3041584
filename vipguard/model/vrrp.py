"""What did keepalived say? Its notify lines as values, and VRRP's own arithmetic.

keepalived writes one line a transition: `INSTANCE "writer" MASTER 150`. Whatever else arrives becomes `Ignored`, never
an exception: the pipe is a file that any program of root's can write to.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .evidence import VrrpState

LINE_BYTES_MAX = 256
_SHOWN_CHARS_MAX = 80

# The words of keepalived's lib/notify.c and vrrp_notify.c, and the state that the instance is in when each is written.
_STATES: dict[bytes, VrrpState] = {
    b"INIT": "INIT",
    b"MASTER": "MASTER",
    b"MASTER_RX_LOWER_PRI": "MASTER",
    b"MASTER_PRIORITY": "MASTER",
    b"BACKUP": "BACKUP",
    b"BACKUP_PRIORITY": "BACKUP",
    b"FAULT": "FAULT",
    b"STOP": "STOP",
    b"DELETED": "STOP",
}
_LINE = re.compile(rb'(INSTANCE|GROUP) "([^"]+)" ([A-Z_]+) ([0-9]{1,3})')


@dataclass(frozen=True, slots=True)
class VrrpEvent:
    """An instance is in `state`, with VRRP's `priority` (0 to 255). `word` is what keepalived called it.

    Not every event is a transition: MASTER_PRIORITY tells a new priority of an instance that stays MASTER.
    """

    instance: str
    state: VrrpState
    priority: int
    word: str = ""


@dataclass(frozen=True, slots=True)
class Ignored:
    """A line that tells nothing about our instance: the line as shown to a person, and why it was passed over."""

    line: str
    why: str


def parse_lines(
    buffer: bytes, instance: str | None = None, others: frozenset[str] = frozenset()
) -> tuple[tuple[VrrpEvent | Ignored, ...], bytes]:
    """The events of all complete lines in `buffer`, in order, and the unfinished rest to put before the next bytes.

    With `instance`, lines about other instances are `Ignored`, but for `others`. A line is the same however its bytes
    were split. The rest never grows beyond LINE_BYTES_MAX + 1 bytes: an endless line costs no memory and is ignored
    when it ends.
    """
    *lines, rest = buffer.split(b"\n")
    return tuple(_parse_line(line, instance, others) for line in lines), rest[: LINE_BYTES_MAX + 1]


def _parse_line(line: bytes, instance: str | None, others: frozenset[str]) -> VrrpEvent | Ignored:
    if len(line) > LINE_BYTES_MAX:
        return _ignored(line, f"longer than {LINE_BYTES_MAX} bytes")
    match = _LINE.fullmatch(line)
    if match is None:
        return _ignored(line, "not a line of keepalived's")
    kind, raw_name, word, priority = match[1], match[2], match[3], int(match[4])
    if kind == b"GROUP":
        return _ignored(line, "about a sync group, not an instance")
    try:
        name = raw_name.decode("utf-8")
    except UnicodeDecodeError:
        return _ignored(line, "its instance name is not UTF-8")
    if instance is not None and name != instance and name not in others:
        return _ignored(line, f"about another instance than {instance}")
    state = _STATES.get(word)
    if state is None:
        return _ignored(line, "an unknown state")
    if priority > 255:
        return _ignored(line, "a priority above 255")
    return VrrpEvent(name, state, priority, word.decode("ascii"))


def _ignored(line: bytes, why: str) -> Ignored:
    return Ignored(line[:_SHOWN_CHARS_MAX].decode("utf-8", "backslashreplace"), why)


def skew_s(priority: int, advert_s: float) -> float:
    """Seconds that a backup of this priority waits after an advert with priority 0 (RFC 5798, 6.1: Skew_Time)."""
    return (256 - priority) / 256 * advert_s


def down_timer_s(priority: int, advert_s: float) -> float:
    """Seconds of silence until a backup of this priority becomes master (RFC 5798, 6.1: Master_Down_Interval)."""
    return 3 * advert_s + skew_s(priority, advert_s)
