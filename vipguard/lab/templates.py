"""Where do servers and empty data directories come from, fast? From a cache that is filled once for all labs
of a machine.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from vipguard.lab.wait import LabError

CACHE = Path("/var/cache/vipguard-lab")
MYSQL_SERIES = "9.7"
MYSQL_TREE = CACHE / f"mysql-{MYSQL_SERIES}"
Progress = Callable[[str], None]


def command(argv: list[str], timeout_s: float, **more: object) -> str:
    """The output of a command of the host; LabError with its last words when it fails."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout_s, check=False, **more)  # type: ignore[call-overload]
    except FileNotFoundError as exc:
        raise LabError(f"{argv[0]} is not installed") from exc
    except subprocess.TimeoutExpired as exc:
        raise LabError(f"{argv[0]} did not end within {timeout_s:.0f} s") from exc
    if done.returncode != 0:
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-5:])
        raise LabError(f"{' '.join(argv[:3])} … failed with {done.returncode}: {tail}")
    return str(done.stdout)


@contextmanager
def cache_lock() -> Iterator[None]:
    """One process at a time fills the cache; the others wait and find it filled."""
    CACHE.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(CACHE / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def once(final: Path, make: Callable[[Path], None]) -> Path:
    """`final`, made by `make(temporary)` if it is missing: it appears by rename, whole or not at all."""
    if final.exists():
        return final
    with cache_lock():
        if not final.exists():
            part = final.with_name(final.name + ".part")
            shutil.rmtree(part, ignore_errors=True)
            try:
                make(part)
                part.rename(final)
            except BaseException:
                shutil.rmtree(part, ignore_errors=True)
                raise
    return final


def mariadb_version() -> str:
    text = command(["mariadbd", "--no-defaults", "--version"], 20)
    found = re.search(r"Ver (\d+\.\d+\.\d+)", text)
    if not found:
        raise LabError(f"mariadbd does not tell its version: {text.strip()}")
    return found[1]


def mariadb_template(progress: Progress) -> Path:
    """An initialised data directory of the installed MariaDB, root without a password."""

    def make(part: Path) -> None:
        progress("initialising a MariaDB data directory (once)")
        part.mkdir(parents=True)
        command(
            [
                "mariadb-install-db", "--no-defaults", "--user=root", "--auth-root-authentication-method=normal",
                "--skip-test-db", f"--datadir={part}", "--innodb-log-file-size=16M",
            ],
            120,
        )  # fmt: skip

    return once(CACHE / f"mariadb-{mariadb_version()}-data", make)


def mysql_argv(program: str = "usr/sbin/mysqld") -> list[str]:
    """How a program of the unpacked tree is started without chroot: by the tree's own dynamic loader.

    The loader is called through a link with the program's name, so that /proc shows `mysqld` and not the
    loader's name.
    """
    tree = MYSQL_TREE
    link = tree / "lab-bin" / Path(program).name
    libraries = ":".join(
        str(tree / part) for part in ("usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu", "usr/lib")
    )
    return [str(link), "--library-path", libraries, "--argv0", Path(program).name, str(tree / program)]


def mysql_places() -> list[str]:
    tree = MYSQL_TREE
    return [
        f"--basedir={tree}/usr",
        f"--lc-messages-dir={tree}/usr/share/mysql",
        f"--plugin-dir={tree}/usr/lib/mysql/plugin",
    ]


def mysql_tree(progress: Progress) -> Path:
    """The unpacked MySQL server; refuses another series than the one that everything here was measured with."""

    def make(part: Path) -> None:
        progress(f"fetching MySQL {MYSQL_SERIES} from Debian sid (once, about a minute)")
        include = "--include=mysql-server-core,mysql-client-core"
        command(["debootstrap", "--variant=minbase", include, "sid", str(part)], 900)
        shutil.rmtree(part / "var/cache/apt", ignore_errors=True)

    if os.uname().machine != "x86_64":
        raise LabError(
            f"the lab's MySQL {MYSQL_SERIES} is for x86_64 only, and this machine is {os.uname().machine}"
        )
    tree = once(MYSQL_TREE, make)
    links = tree / "lab-bin"
    links.mkdir(exist_ok=True)
    for name in ("mysqld", "mysql"):
        if not (links / name).is_symlink():
            (links / name).symlink_to("../lib64/ld-linux-x86-64.so.2")
    text = command([*mysql_argv(), "--no-defaults", "--version"], 20)
    found = re.search(r"Ver (\d+\.\d+)\.\d+", text)
    if not found or found[1] != MYSQL_SERIES:
        have = found[1] if found else text.strip()
        raise LabError(
            f"Debian sid gives MySQL {have} now, and the lab is for {MYSQL_SERIES}: use --flavor mariadb"
        )
    return tree


def mysql_template(progress: Progress) -> Path:
    """An initialised data directory of MySQL, root without a password, without an identity of its own."""
    mysql_tree(progress)
    # a release may change the data directory's format, so it is named for the whole version
    version = re.search(r"Ver (\S+)", command([*mysql_argv(), "--no-defaults", "--version"], 20))
    assert version

    def make(part: Path) -> None:
        progress("initialising a MySQL data directory (once)")
        part.mkdir(parents=True)
        command(
            [
                *mysql_argv(), "--no-defaults", *mysql_places(), "--secure-file-priv=", "--mysqlx=OFF", "--user=root",
                "--initialize-insecure", f"--datadir={part}", "--innodb-redo-log-capacity=32M",
                f"--log-error={part.parent / 'mysql-initialize.log'}",
            ],
            180,
        )  # fmt: skip
        (part / "auto.cnf").unlink(missing_ok=True)

    return once(CACHE / f"mysql-{version[1]}-data", make)


def copy_tree(source: Path, target: Path) -> None:
    """Copy a directory's content with owners and modes; shares blocks where the file system can."""
    target.mkdir(parents=True, exist_ok=True)
    command(["cp", "-a", "--reflink=auto", f"{source}/.", str(target)], 120)
