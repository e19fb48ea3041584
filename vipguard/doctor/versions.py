"""What does this version of keepalived do otherwise than its configuration says? And who may change that file?"""

from __future__ import annotations

import os
import re
import shlex
import stat
from collections.abc import Callable, Iterator

from vipguard.doctor import traps
from vipguard.doctor.conf import Block
from vipguard.doctor.diagnosis import Diagnosis, Severity, error
from vipguard.model.policy import Policy

Version = tuple[int, int, int]
_FOR_EVER: Version = (99, 0, 0)
_OTHERS_WRITE = 0o022


def parse(said: str) -> Version | None:
    """By what `keepalived --version` printed."""
    found = re.search(r"Keepalived v(\d+)\.(\d+)\.(\d+)", said)
    return (int(found[1]), int(found[2]), int(found[3])) if found else None


def judge(policy: Policy, root: Block, version: Version) -> Iterator[Diagnosis]:
    """The traps of this version that this configuration steps into."""
    instance = traps.find_instance(policy, root)
    for since, until, severity, rule, sees, text in _TRAPS:
        said = sees(root, instance) if since <= version < until and instance is not None else ""
        if said:
            what = f"keepalived {'.'.join(map(str, version))}: {said}: {text}"
            yield Diagnosis(severity, "keepalived", rule, what, traps.RENDER)


def _fraction(root: Block, instance: Block) -> str:
    for script in _tracked(root, instance):
        for keyword in ("interval", "timeout"):
            if "." in (script.value(keyword) or ""):
                return f"vrrp_script {script.name} has {keyword} {script.value(keyword)}"
    return ""


def _init_fail(root: Block, instance: Block) -> str:
    failing = [script.name for script in _tracked(root, instance) if script.has("init_fail")]
    return f"vrrp_script {failing[0]} has init_fail" if failing else ""


def _linked(root: Block, instance: Block) -> str:
    """2.3.4 refuses a script in a directory that is a link, such as /bin."""
    for keyword, command in traps.scripts(root, instance):
        try:
            folder = os.path.dirname(shlex.split(command)[0])
        except (ValueError, IndexError):
            continue
        if os.path.realpath(folder) != folder and os.path.isdir(folder):
            return f"{keyword} is in {folder}, which is {os.path.realpath(folder)}"
    return ""


def _tracked(root: Block, instance: Block) -> list[Block]:
    names = {child.words[0] for block in instance.all("track_script") for child in block.children}
    return [block for block in root.all("vrrp_script") if block.name in names]


# first version with it, first without, severity, rule, who sees it (as half a sentence), what comes of it
_TRAPS: tuple[tuple[Version, Version, Severity, str, Callable[[Block, Block], str], str], ...] = (
    ((0, 0, 0), (2, 3, 2), "error", "fraction-of-second", _fraction, "it knows whole seconds only here"),
    ((2, 2, 5), _FOR_EVER, "warning", "init-fail-ignored", _init_fail, "that does nothing from 2.2.5 on"),
    ((2, 3, 4), _FOR_EVER, "error", "script-behind-link", _linked, "it drops the script, and tracks nothing"),
)  # fmt: skip


def file_mode(path: str, status: os.stat_result) -> Iterator[Diagnosis]:
    """keepalived runs as root what stands in there."""
    said = f"{path} (owner {status.st_uid}, mode {stat.S_IMODE(status.st_mode):04o})"
    if status.st_uid != 0 or status.st_mode & _OTHERS_WRITE:
        text = f"{said} can be changed by others than root, and keepalived runs what stands in it as root"
        yield error("keepalived", "conf-open", text, f"run: chown root {path}; chmod 0640 {path}")
    elif status.st_mode & 0o111:
        text = f"{said} is executable, and keepalived skips such a file"
        yield error("keepalived", "conf-executable", text, f"run: chmod 0640 {path}")
