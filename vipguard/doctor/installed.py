"""Are the files and programs there that keepalived needs, does it trust them, is its configuration what is rendered?"""

from __future__ import annotations

import difflib
import os
import shlex
import socket
import stat
import struct
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from vipguard.doctor import conf, readers, traps, versions
from vipguard.doctor.diagnosis import Diagnosis, error, warning
from vipguard.errors import ConfigError, CouldNotLook
from vipguard.model.policy import Policy
from vipguard.probe import procnet, vrrp_dump
from vipguard.probe.keepalived import KeepalivedWatch
from vipguard.render import shipped
from vipguard.render.keepalived import keepalived_conf, needed
from vipguard.session import boottime_s

VERSION_MIN = (2, 1, 3)
_RUN_S = 5.0
_OTHERS_WRITE = 0o022
_DIFF_LINES_MAX = 40


def judge(policy: Policy, path: str) -> Iterator[Diagnosis]:
    """Everything about keepalived on this host: the program, the run-time files, and the configuration at `path`."""
    if not needed(policy):
        return
    said = _asked()
    yield from version(said) if isinstance(said, str) else (said,)
    yield from run_time_files(policy)
    yield from fifo_reader(policy)
    try:
        root = conf.read(path)
    except CouldNotLook as exc:
        if os.path.exists(path):
            yield warning("keepalived", "conf-unreadable", str(exc), "run doctor as root")
        else:
            yield error("keepalived", "conf-missing", f"there is no {path}", traps.RENDER)
        return
    if (status := _stat(os.path.realpath(path))) is not None:
        yield from versions.file_mode(path, status)
    if not policy.me.is_replica:
        yield from traps.judge(policy, root)
    yield from readers.judge(policy, root)
    number = versions.parse(said) if isinstance(said, str) else None
    if number is not None:
        yield from versions.judge(policy, root, number)
    instance = traps.find_instance(policy, root)
    for keyword, command in traps.scripts(root, instance) if instance else ():
        yield from program(keyword, command)
    yield from _differs(policy, path)


def _asked() -> str | Diagnosis:
    """What `keepalived --version` prints, or why it could not be asked."""
    try:
        done = subprocess.run(
            ["keepalived", "--version"], capture_output=True, text=True, timeout=_RUN_S, check=False
        )
    except FileNotFoundError:
        return error(
            "keepalived", "keepalived-missing", "there is no keepalived in PATH", "install keepalived"
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        text = f"cannot ask keepalived for its version: {exc}"
        return warning("keepalived", "not-looked-at", text, "run doctor as root")
    return done.stderr + done.stdout


def version(said: str) -> Iterator[Diagnosis]:
    """By what `keepalived --version` printed."""
    number = versions.parse(said)
    if number is None:
        yield warning(
            "keepalived", "not-looked-at", f"its version is not told in {said[:80]!r}", "see `keepalived -v`"
        )
    elif number < VERSION_MIN:
        least, it = (".".join(map(str, one)) for one in (VERSION_MIN, number))
        text = f"Keepalived {it} is older than {least}: its track_file has no reverse weight that can be relied on"
        yield error("keepalived", "keepalived-old", text, f"install {least} or newer")


def run_time_files(policy: Policy) -> Iterator[Diagnosis]:
    """The directory, the track file and the FIFO: there before keepalived starts, and written by nobody else."""
    run = policy.paths.run
    tmpfiles = "run: systemd-tmpfiles --create; it must be there before keepalived starts"
    status = _stat(run)
    if status is None or not stat.S_ISDIR(status.st_mode):
        text = f"{run} is missing: keepalived drops the tracker of a file in it, and the instance is free to be MASTER"
        yield error("keepalived", "run-directory-missing", text, tmpfiles)
        return
    if status.st_uid != 0 or status.st_mode & _OTHERS_WRITE:
        text = f"{run} can be written by others than root ({_who(status)})"
        yield error("keepalived", "run-directory-open", text, f"run: chown root {run}; chmod go-w {run}")
    for path in (policy.paths.track_file, *(policy.paths.reader_file(reader.name) for reader in policy.own_readers)):
        yield from _run_file(path, "track-file", stat.S_ISREG, "a regular file", _OTHERS_WRITE)
    yield from _run_file(policy.paths.fifo, "fifo", stat.S_ISFIFO, "a FIFO", 0o077)


def _run_file(path: str, rule: str, is_kind: object, kind: str, forbidden: int) -> Iterator[Diagnosis]:
    status = _stat(path)
    start = "start vipguard-agent before keepalived: the agent makes it"
    if status is None:
        made = " (keepalived would make its own, and take it away on a reload)" if rule == "fifo" else ""
        yield error("keepalived", f"{rule}-missing", f"{path} is missing{made}", start)
    elif not callable(is_kind) or not is_kind(status.st_mode):
        yield error("keepalived", f"{rule}-kind", f"{path} is not {kind}", f"remove it, then {start}")
    elif status.st_uid != 0 or status.st_mode & forbidden:
        text = f"{path} is open to others than root ({_who(status)})"
        yield error("keepalived", f"{rule}-open", text, f"run: chown root {path}; chmod 0600 {path}")


def fifo_reader(policy: Policy) -> Iterator[Diagnosis]:
    """Is the FIFO that keepalived writes the one that the agent reads? A reload of keepalived replaces its own."""
    fifo, reader = _stat(policy.paths.fifo), _agent_pid(policy.paths.agent_socket)
    if fifo is None or reader is None:
        return
    try:
        opened = [
            os.stat(entry.path) for entry in os.scandir(f"/proc/{reader}/fd") if os.path.exists(entry.path)
        ]
    except OSError as exc:
        text = f"cannot see what the agent (process {reader}) reads: {exc.strerror}"
        yield warning("keepalived", "not-looked-at", text, "run doctor as root")
        return
    if (fifo.st_dev, fifo.st_ino) not in {(status.st_dev, status.st_ino) for status in opened}:
        text = f"the agent (process {reader}) does not read {policy.paths.fifo}: somebody else made it anew"
        remedy = "stop keepalived, remove it, restart vipguard-agent, start keepalived"
        yield error("keepalived", "fifo-unread", text, remedy)


def running(policy: Policy) -> Iterator[Diagnosis]:
    """Does it run, with what is rendered, and where `vrrp.pid_file` says?"""
    if not needed(policy):
        return
    watch = KeepalivedWatch(policy.vrrp.pid_file, fifo=policy.paths.fifo)
    try:
        alive, here, ours = watch.look(), watch.pids().get("vrrp"), watch.has_fifo()
        found_by, stands, others = watch.found_by, watch.stands(), watch.others
    finally:
        watch.close()
    start = "run: systemctl start keepalived"
    if not alive:
        text = f"no keepalived is seen: none by {policy.vrrp.pid_file}, none that has {policy.paths.fifo} open"
        if others:
            text += f"; process {others[0]} is one, with another configuration"
        yield error("keepalived", "keepalived-not-seen", text, start, policy.node)
        return
    if stands:
        text = f"keepalived (process {here}) is stopped: it takes nothing over, and keeps a VIP that it has"
        remedy = f"run: kill -CONT {here}, or restart it"
        yield error("keepalived", "keepalived-stands-still", text, remedy, policy.node)
    if ours is False:
        text = f"keepalived (process {here}) does not have {policy.paths.fifo} open: it runs another configuration"
        yield error("keepalived", "keepalived-foreign", text, f"{traps.RENDER}, reload keepalived", policy.node)
    elif here is not None and not policy.me.is_replica and not _holds(policy):
        yield from runs_otherwise(policy, vrrp_dump.ask(here))
    if ours and found_by == "fifo":
        text = f"keepalived (process {here}) is not the one that {policy.vrrp.pid_file} names"
        remedy = "set vrrp.pid_file to where it writes its pid: its end is seen later otherwise"
        yield warning("keepalived", "pid-file-elsewhere", text, remedy, policy.node)


def _holds(policy: Policy) -> bool:
    """Is the VIP here, as far as can be told? Then keepalived is left alone."""
    try:
        return procnet.look(policy.vip.interface, policy.vip.ip, boottime_s).vip_present
    except CouldNotLook:
        return True


def runs_otherwise(policy: Policy, running: Sequence[vrrp_dump.Instance] | None) -> Iterator[Diagnosis]:
    """What keepalived has in its memory, beside what is rendered: its file may have been changed since it read it."""
    if running is None:
        return
    reload = f"{traps.RENDER}, then run: systemctl reload keepalived"
    one = next((found for found in running if found.name == policy.instance), None)
    if one is None:
        names = ", ".join(found.name for found in running) or "none"
        text = f"the running keepalived has no instance {policy.instance} (it has: {names})"
        yield error("keepalived", "keepalived-runs-otherwise", text, reload, policy.node)
        return
    wanted: dict[str, tuple[object, object]] = {
        "virtual_router_id": (one.router_id, policy.vip.router_id),
        "interface": (one.interface, policy.vip.interface),
        "priority": (one.priority, policy.me.priority),
    }
    apart = [f"{name} is {has} and must be {must}" for name, (has, must) in wanted.items() if has != must]
    if policy.vip.ip not in one.addresses:
        apart.append(f"{policy.vip.ip} is none of its addresses ({', '.join(one.addresses) or 'none'})")
    if apart:
        text = f"the running keepalived differs from what is rendered: {'; '.join(apart)}"
        yield error("keepalived", "keepalived-runs-otherwise", text, reload, policy.node)


def _agent_pid(path: str) -> int | None:
    """The process that listens on the agent's socket; None where nobody does."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as agent:
            agent.settimeout(1.0)
            agent.connect(path)
            pid, _, _ = struct.unpack("3i", agent.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    except OSError:
        return None
    return int(pid) or None


def program(keyword: str, command: str) -> Iterator[Diagnosis]:
    """A script that keepalived runs: there, executable, trusted, and a shell's: a missing Python must be a failure."""
    try:
        path = Path(shlex.split(command)[0])
    except (ValueError, IndexError):
        yield error("keepalived", "script-path", f"{keyword} cannot be read: {command}", traps.RENDER)
        return
    if not path.is_absolute():
        yield error("keepalived", "script-path", f"{keyword} is no absolute path: {path}", traps.RENDER)
        return
    try:
        shipped.wrapper(path.name, path.parent)
    except ConfigError as exc:
        yield error("keepalived", "script-refused", f"{keyword}: {exc.problem}", exc.remedy or traps.RENDER)
    interpreter = _interpreter(path)
    if "python" in os.path.basename(interpreter):
        text = (
            f"{keyword} {path} is run by {interpreter}: once that is missing, keepalived takes it for success"
        )
        yield error("keepalived", "script-of-python", text, traps.RENDER)
    elif interpreter and not os.path.exists(interpreter):
        text = (
            f"{keyword} {path} is run by {interpreter}, which is missing: keepalived takes that for success"
        )
        yield error("keepalived", "script-interpreter-missing", text, traps.RENDER)


def _interpreter(path: Path) -> str:
    """What the first line names, behind an `env` too; "" for a program, or what cannot be read."""
    try:
        with path.open("rb") as file:
            first = file.readline(256).decode("utf-8", "replace")
    except OSError:
        return ""
    words = first[2:].split() if first.startswith("#!") else []
    if words and os.path.basename(words[0]) == "env":
        words = [word for word in words[1:] if not word.startswith("-")] or words
    return words[0] if words else ""


def _differs(policy: Policy, path: str) -> Iterator[Diagnosis]:
    """The last word: what is installed beside what would be rendered now, comments and blanks aside."""
    try:
        directory = shipped.directory()
        template = (directory / shipped.TEMPLATE).read_text(encoding="utf-8")
        check, hook = (shipped.wrapper(name, directory) for name in (shipped.CHECK, shipped.HOOK))
        wanted = keepalived_conf(policy, template, check=check, hook=hook)
        installed = Path(path).read_text(encoding="utf-8", errors="replace")
    except ConfigError as exc:
        yield error("keepalived", "not-renderable", exc.problem, exc.remedy)
        return
    except OSError as exc:
        yield warning(
            "keepalived", "not-looked-at", f"cannot compare {path}: {exc.strerror}", "run doctor as root"
        )
        return
    lines = list(difflib.unified_diff(_said(installed), _said(wanted), path, "rendered", lineterm="", n=1))
    if lines:
        shown = lines[:_DIFF_LINES_MAX] + (["..."] if len(lines) > _DIFF_LINES_MAX else [])
        text = "\n".join(("it is not what `vipguard render keepalived` prints:", *shown))
        yield warning("keepalived", "conf-differs", text, f"{traps.RENDER}, or know why not")


def _said(text: str) -> list[str]:
    lines = (" ".join(line.split()) for line in text.splitlines())
    return [line for line in lines if line and line[0] not in "#!"]


def _stat(path: str) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except OSError:
        return None


def _who(status: os.stat_result) -> str:
    return f"owner {status.st_uid}, mode {stat.S_IMODE(status.st_mode):04o}"
