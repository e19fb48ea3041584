"""What does this host say where the file only points: its default gateway, and the passwords in their files?"""

from __future__ import annotations

import ipaddress
import os
import stat

from vipguard.config.values import At, shown

_GATEWAY = 0x2  # RTF_GATEWAY of linux/route.h
_ONE_LINE = "write the password in it, on one line"


def default_gateways(proc: str = "/proc/net") -> tuple[str, ...]:
    """This host's default gateways, best first: IPv4, then IPv6, by metric. Empty where there is none."""
    routes: list[tuple[int, int, str]] = []
    for line in _lines(f"{proc}/route")[1:]:
        column = line.split()
        if len(column) >= 8 and column[1] == column[7] == "00000000" and int(column[3], 16) & _GATEWAY:
            gateway = ipaddress.IPv4Address(bytes.fromhex(column[2])[::-1])
            routes.append((4, int(column[6]), str(gateway)))
    for line in _lines(f"{proc}/ipv6_route"):
        column = line.split()
        if (
            len(column) >= 10
            and column[0] == "0" * 32
            and column[1] == "00"
            and int(column[8], 16) & _GATEWAY
        ):
            gateway6 = ipaddress.IPv6Address(bytes.fromhex(column[4]))
            scope = f"%{column[9]}" if gateway6.is_link_local else ""
            routes.append((6, int(column[5], 16), f"{gateway6}{scope}"))
    return tuple(dict.fromkeys(gateway for _, _, gateway in sorted(routes)))


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read().splitlines()
    except OSError:
        return []


def why_unsafe(path: str) -> str | None:
    """Why root must not run the program at `path`, in a few words; None when only root can change it.

    Every directory on the way to it counts: who may write there may put another file in its place.
    """
    if not path.startswith("/"):
        return "is no absolute path"
    try:
        real = os.path.realpath(path, strict=True)
        status = os.stat(real)
        for part in {*_above(path), *_above(real), real}:
            found = os.lstat(part)
            if found.st_uid != 0:
                return f"is not safe: {part} does not belong to root"
            if found.st_mode & 0o022 and not stat.S_ISLNK(found.st_mode):
                return f"is not safe: others than root may write {part} (mode {found.st_mode & 0o7777:04o})"
    except OSError as exc:
        return f"cannot be run ({exc.strerror or exc})"
    if not stat.S_ISREG(status.st_mode):
        return "is no regular file"
    return None if status.st_mode & 0o111 else "is not executable"


def _above(path: str) -> list[str]:
    """The directories on the way to `path`, and `path` itself where it is a link."""
    parts = path.split("/")
    found = ["/", *("/".join(parts[:end]) for end in range(2, len(parts)))]
    return [*found, path] if os.path.islink(path) else found


def secret(at: At, path: str) -> str:
    """The one line of a file that only its owner and group can read. Raises ConfigError for any other file."""
    if not path.startswith("/"):
        raise at.wrong(f"is {shown(path)}", "write an absolute path")
    try:
        # O_NONBLOCK: a FIFO in that place must not hang the agent's reload
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            _closed_to_others(at, path, os.fstat(file.fileno()))
            content = file.read(4096)
    except PermissionError as exc:
        raise at.wrong(f"names {path}, which you may not read", "run this as root, or let this user read it") from exc
    except OSError as exc:
        remedy = "write the password in it, mode 0600"
        raise at.wrong(f"names {path}, which cannot be read ({exc.strerror or exc})", remedy) from exc
    try:
        password = content.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError as exc:
        raise at.wrong(f"names {path}, which is not UTF-8 text", _ONE_LINE) from exc
    if not password:
        raise at.wrong(f"names {path}, which is empty", _ONE_LINE)
    if not password.isprintable():
        raise at.wrong(f"names {path}, which has more than one line or control characters", _ONE_LINE)
    return password


def _closed_to_others(at: At, path: str, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise at.wrong(f"names {path}, which is no regular file", "name a file that holds the password")
    if status.st_mode & 0o007:
        problem = f"names {path}, which others can read (mode {status.st_mode & 0o7777:04o})"
        raise at.wrong(problem, f"run: chmod 0600 {path}")
