"""Which files does a node have, and which must it have? The files part of `vipguard setup`: compared, written, kept.

A file that says something else is never overwritten without being told so, and its old text stays beside it.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..errors import CouldNotDo
from ..model.policy import MARIADB, Flavor, Policy
from ..render import shipped
from ..render.keepalived import keepalived_conf
from ..render.mysql import LOGS, my_cnf
from .setup import Server

State = Literal["same", "missing", "differs"]
PART = "99-vipguard.cnf"
PLACES = {
    MARIADB: ("/etc/mysql/mariadb.conf.d", "/etc/my.cnf.d"),
    "mysql": ("/etc/mysql/conf.d", "/etc/mysql/mysql.conf.d", "/etc/my.cnf.d"),
}
_ROOTS = ("/etc/mysql/my.cnf", "/etc/my.cnf")
_WORDS = {"1": "ON", "TRUE": "ON", "YES": "ON", "0": "OFF", "FALSE": "OFF", "NO": "OFF"}
# what the server changes while it runs, or that is right in more than one way
_LOOSE = frozenset(
    (
        "read_only", "super_read_only", "skip_slave_start", "log_bin", "relay_log", "socket", "bind_address",
        "plugin_load_add", "rpl_semi_sync_master_enabled", "rpl_semi_sync_source_enabled", "max_connect_errors",
    )
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class File:
    """One file as it ought to be."""

    path: str
    text: str
    mode: int = 0o644

    def state(self) -> State:
        """Comments and blanks aside. Raises CouldNotDo for a file that cannot be read."""
        try:
            there = Path(self.path).read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return "missing"
        except OSError as exc:
            raise CouldNotDo(f"cannot read {self.path}: {exc.strerror}") from exc
        return "same" if _said(there) == _said(self.text) else "differs"

    def write(self) -> str:
        """Put it there by rename; where the old text went, "" where there was none. Raises CouldNotDo."""
        kept = ""
        temporary = f"{self.path}.{os.getpid()}.new"  # not .cnf nor .conf: nobody reads it meanwhile
        try:
            os.makedirs(os.path.dirname(self.path), exist_ok=True)
            if os.path.exists(self.path):
                kept = f"{self.path}.before-{time.strftime('%Y%m%dT%H%M%S')}"
                os.link(self.path, kept)
            fd = os.open(
                temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, self.mode
            )
            with os.fdopen(fd, "w", encoding="utf-8") as file:
                os.fchmod(fd, self.mode)
                file.write(self.text)
                file.flush()
                os.fsync(fd)
            os.rename(temporary, self.path)
        except OSError as exc:
            raise CouldNotDo(f"cannot write {self.path}: {exc.strerror}", refused=True) from exc
        return kept


def _said(text: str) -> list[str]:
    lines = (" ".join(line.split()) for line in text.splitlines())
    return [line for line in lines if line and line[0] not in "#!;"]


# -- the server's


def my_cnf_file(policy: Policy, server: Server, given: str = "") -> File | None:
    """The part in the last directory that the server's files include; None where they include none.

    `given`: the file that the server was started with, "" for the usual ones.
    """
    flavor = server.flavor
    included = [folder for root in ([given] if given else _ROOTS) for folder in _included(Path(root))]
    folders = [folder for folder in included if os.path.isdir(folder)]
    preferred = [folder for folder in PLACES[flavor] if folder in folders]
    if not folders:
        return None
    return File(f"{(preferred or folders[-1:])[0]}/{PART}", my_cnf(policy, flavor, names_of_logs(server)))


def names_of_logs(server: Server) -> dict[str, str]:
    """What the server has written its logs under until now, by option.

    By another name it would start with a binary log in which nobody finds what he lacks, and MySQL would not find the
    relay log that its position is in.
    """
    has = {
        "log_bin": _word(server.variables.get("log_bin", "OFF")) != "OFF",
        "relay_log": bool(server.channels),
    }
    datadir = server.variables.get("datadir", "").rstrip("/") + "/"
    found = {}
    for option in LOGS:
        path = server.variables.get(f"{option}_basename", "")
        if has[option] and path:
            name = path.removeprefix(datadir)
            found[option] = path if "/" in name else name
    return found


def number_to_keep(policy: Policy, server: Server) -> int:
    """The server_id of a server that has another one than the configuration's, and had a reason for it; else 0."""
    own = int(server.variables.get("server_id", "0") or 0)
    chosen = own > 1 or (own == 1 and bool(server.channels))
    return own if chosen and own != policy.me.server_id else 0


def _included(root: Path) -> list[str]:
    try:
        text = root.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    found = re.findall(r"^\s*!includedir\s+(\S+)", text, re.MULTILINE)
    return [os.path.normpath(os.path.join(root.parent, name)) for name in found]


def wanted_settings(policy: Policy, flavor: Flavor) -> dict[str, str]:
    """What `vipguard render mysql` prints, as names and values."""
    found = re.findall(r"^([a-z_]+) = (.+)$", my_cnf(policy, flavor), re.MULTILINE)
    return dict(found)


def not_in_force(policy: Policy, server: Server, boot: Mapping[str, str] | None) -> Iterator[str]:
    """Which settings of the part the running server goes by otherwise, and what it would start with.

    `boot`: the options of its next start by name; None: not known.
    """
    wanted, now = wanted_settings(policy, server.flavor), server.variables
    told = set()
    for name, value in wanted.items():
        have = now.get(name)
        if name not in _LOOSE and have is not None and _word(have) != _word(value):
            told.add(name)
            yield f"{name} = {value} (it is {have or 'empty'})"
    if _word(now.get("log_bin", "OFF")) == "OFF":
        yield "log_bin (it is off)"
    if now.get("bind_address", "") not in ("", "*", "0.0.0.0", "::"):
        yield f"bind_address = {wanted['bind_address']} (it is {now['bind_address']})"
    plugins = {"mysql_clone.so": "clone"} if server.flavor != MARIADB else {}
    if server.flavor != MARIADB and policy.lossless:
        plugins |= {
            "semisync_source.so": "rpl_semi_sync_source",
            "semisync_replica.so": "rpl_semi_sync_replica",
        }
    for library, plugin in plugins.items():
        if plugin not in server.plugins:
            yield f"plugin_load_add = {library} (it is not loaded)"
    for name in ("read_only", "super_read_only", "skip_slave_start", "skip_replica_start"):
        if boot is not None and name in wanted and name not in told and _word(boot.get(name, "OFF")) != "ON":
            yield f"{name} = ON (it would start without)"


def _word(value: str) -> str:
    upper = value.strip().strip("'\"").upper()
    return _WORDS.get(upper, upper)


# -- keepalived's and systemd's


def keepalived_file(policy: Policy, path: str) -> File:
    """Raises ConfigError where keepalived would not run the wrappers, CouldNotDo."""
    directory = shipped.directory()
    check, hook = (shipped.wrapper(name, directory) for name in (shipped.CHECK, shipped.HOOK))
    template = (directory / shipped.TEMPLATE).read_text(encoding="utf-8")
    return File(path, keepalived_conf(policy, template, check=check, hook=hook))


def unit_files(policy: Policy, program: str) -> list[File]:
    """systemd's files, naming this `program`, this configuration and these wrappers. Raises ConfigError, CouldNotDo."""
    keepalived = shipped.directory()
    systemd = keepalived.parent / "systemd"
    targets = {
        "*.service": "/etc/systemd/system",
        "*.timer": "/etc/systemd/system",
        "keepalived.service.d/*.conf": "/etc/systemd/system/keepalived.service.d",
        "tmpfiles.d/*.conf": "/etc/tmpfiles.d",
        "sysusers.d/*.conf": "/etc/sysusers.d",
    }
    changes = {
        "/usr/bin/vipguard agent": f"{program} --config {policy.file} agent",
        "/usr/bin/vipguard exporter": f"{program} --config {policy.file} exporter",
        "/usr/bin/vipguard": program,  # that one names its configuration itself
        "/usr/share/vipguard/keepalived": str(keepalived),
        "/etc/vipguard/vipguard.toml": policy.file,
        "/run/vipguard": policy.paths.run,
        "/var/lib/vipguard": policy.paths.state,
    }
    found: list[File] = []
    try:
        for pattern, target in targets.items():
            for path in sorted(systemd.glob(pattern)):
                text = path.read_text(encoding="utf-8")
                for old, new in changes.items():
                    text = text.replace(old, new)
                found.append(File(f"{target}/{path.name}", text))
    except OSError as exc:
        raise CouldNotDo(f"cannot read what vipguard ships for systemd: {exc}") from exc
    if not found:
        raise CouldNotDo(f"what vipguard ships for systemd is missing in {systemd}: install vipguard again")
    return found
