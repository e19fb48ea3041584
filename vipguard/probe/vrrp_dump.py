"""What does a running keepalived have configured? Its own JSON, which it writes when it is asked by a signal.

keepalived blocks the signals that it knows and ignores the others, so that none of them ends it; what /proc does not
show blocked is not sent. It writes the file in its VRRP process, where a slow disk would delay adverts: so no holder is
asked.
"""

from __future__ import annotations

import contextlib
import os
import stat
import subprocess
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

_FILE = "/tmp/keepalived.json"
_ASK_S, _POLL_S = 2.0, 0.02


@dataclass(frozen=True, slots=True)
class Instance:
    """One VRRP instance as it runs. `addresses` without their prefix."""

    name: str
    interface: str
    router_id: int
    priority: int
    addresses: tuple[str, ...]


def ask(pid: int) -> tuple[Instance, ...] | None:
    """The instances of keepalived's VRRP process `pid`; None where it cannot tell. Takes two seconds at most."""
    number = _signal()
    if number is None or not _blocks(pid, number):
        return None
    path = Path(f"/proc/{pid}/root{_FILE}")
    before = _written(path)
    try:
        os.kill(pid, number)
    except OSError:
        return None
    until_s = time.monotonic() + _ASK_S
    while time.monotonic() < until_s:
        if _written(path) != before:  # it is renamed into place before it is whole
            with contextlib.suppress(OSError, msgspec.DecodeError, ValueError):
                found = read(path.read_bytes())
                path.unlink()
                return found
        time.sleep(_POLL_S)
    return None


def read(data: bytes) -> tuple[Instance, ...]:
    """Of what keepalived wrote. Raises msgspec.DecodeError, ValueError."""
    found = msgspec.json.decode(data)
    if isinstance(found, Mapping):  # newer ones have more than instances in it
        found = found.get("vrrp", ())
    try:
        return tuple(_instance(one["data"]) for one in found)
    except (KeyError, TypeError) as exc:
        raise ValueError(f"not what keepalived writes: {exc}") from exc


def _instance(data: Mapping[str, Any]) -> Instance:
    return Instance(
        name=str(data["iname"]),
        interface=str(data["ifp_ifname"]),
        router_id=int(data["vrid"]),
        priority=int(data["base_priority"]),
        addresses=tuple(_addresses((*data.get("vips", ()), *data.get("evips", ())))),
    )


def _addresses(lines: Iterable[str]) -> Iterable[str]:
    return (line.split()[0].partition("/")[0] for line in lines if line.strip())


def _signal() -> int | None:
    """The number that the installed keepalived gives; None where it has no JSON."""
    try:
        done = subprocess.run(
            ["keepalived", "--signum=JSON"], capture_output=True, text=True, timeout=_ASK_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    text = done.stdout.strip()
    return int(text) if done.returncode == 0 and text.isdigit() and 0 < int(text) < 65 else None


def _blocks(pid: int, number: int) -> bool:
    """Does it take that signal as a message? A default action would end it."""
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    mask = next((line.split()[1] for line in text.splitlines() if line.startswith("SigBlk:")), "0")
    return bool(int(mask, 16) >> (number - 1) & 1)


def _written(path: Path) -> tuple[int, int] | None:
    try:
        found = path.lstat()
    except OSError:
        return None
    if found.st_uid != os.geteuid() or not stat.S_ISREG(found.st_mode):
        return None  # anybody may put something there
    return found.st_ino, found.st_mtime_ns
