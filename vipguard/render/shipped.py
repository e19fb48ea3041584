"""Where are the files that vipguard ships, and would keepalived run the wrappers among them?

keepalived's script security refuses a root script unless root alone can write every component of its path; newer
versions refuse symlinked directories too. A refused or missing script leaves the instance untracked, free to be
MASTER, so the question is asked before its name is printed.
"""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

from vipguard.errors import ConfigError

CHECK = "check"
HOOK = "hook"
TEMPLATE = "keepalived.conf.template"
_WRITABLE_BY_ALL_OR_GROUP = 0o022


def directory() -> Path:
    """The directory with keepalived's template and wrappers. Raises ConfigError when there is none.

    An installed package has it as PREFIX/share/vipguard/keepalived, a source tree beside the package.
    """
    package = Path(__file__).absolute().parent.parent
    tree = package.parent / "keepalived"
    if (package.parent / "setup.cfg").is_file() and (tree / TEMPLATE).is_file():
        return tree
    prefixes = dict.fromkeys([Path(sys.prefix), *package.parents])
    for prefix in prefixes:
        candidate = prefix / "share/vipguard/keepalived"
        if (candidate / TEMPLATE).is_file():
            return candidate
    problem = f"the files that vipguard ships for keepalived are missing below {sys.prefix}/share/vipguard"
    raise ConfigError(problem, remedy="install vipguard again, with pip and not editable")


def wrapper(name: str, shipped: Path) -> str:
    """The path of a wrapper that keepalived will run as root. Raises ConfigError when it would refuse or miss it."""
    path = shipped / name
    for part in (*reversed(path.parents), path):
        try:
            status = os.lstat(part)
        except OSError as exc:
            remedy = "install vipguard again, with pip and not editable"
            raise _refused(path, f"{part} cannot be looked at ({exc.strerror})", remedy) from exc
        _trusted(path, part, status)
    if not stat.S_ISREG(status.st_mode) or status.st_mode & 0o555 != 0o555:
        raise _refused(path, "it is not executable", f"run: chmod 0755 {path}")
    if any(char in str(path) for char in " \t\"'\\$#!{}"):
        raise _refused(
            path, "its path has characters that keepalived reads as syntax", "install vipguard elsewhere"
        )
    return str(path)


def _trusted(path: Path, part: Path, status: os.stat_result) -> None:
    if stat.S_ISLNK(status.st_mode):
        raise _refused(path, f"{part} is a symbolic link", "install vipguard below real directories")
    if status.st_uid != 0:
        remedy = f"run: chown root {part}, or install vipguard below directories of root"
        raise _refused(path, f"{part} is not owned by root", remedy)
    if status.st_mode & _WRITABLE_BY_ALL_OR_GROUP:
        remedy = f"run: chmod go-w {part}, or install vipguard below directories that root alone can write"
        raise _refused(
            path, f"{part} is writable by others than root (mode {status.st_mode & 0o7777:04o})", remedy
        )


def _refused(path: Path, reason: str, remedy: str) -> ConfigError:
    return ConfigError(f"keepalived would not run {path}: {reason}", remedy=remedy)
