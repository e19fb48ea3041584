"""Is the VIP on this host, by /proc alone? For a command that looks once and must start fast: no netlink, no dump.

The check wrapper reads the same files in shell. What is asked is whether the host answers for the address, on
whichever interface it stands.
"""

from __future__ import annotations

import fcntl
import ipaddress
import socket
import struct
from collections.abc import Callable, Iterable

from ..errors import CouldNotLook
from ..model.evidence import AddressEvidence

_TENTATIVE, _OPTIMISTIC, _DADFAILED = 0x40, 0x04, 0x08
_SIOCGIFFLAGS = 0x8913
_UP_AND_RUNNING = 0x1 | 0x40  # IFF_UP, IFF_RUNNING
_IFREQ = struct.Struct("16sh22x")


def look(interface: str, vip_ip: str, now: Callable[[], float], proc: str = "/proc/net") -> AddressEvidence:
    """Whether `vip_ip` is here and the link of `interface` is up. `now`: seconds of CLOCK_BOOTTIME.

    Raises CouldNotLook when the kernel's lists cannot be read.
    """
    seen_at_s = now()
    address = ipaddress.ip_address(vip_ip)
    if address.version == 4:
        present = in_fib_trie(_lines(f"{proc}/fib_trie"), str(address))
    else:
        present = in_if_inet6(_lines(f"{proc}/if_inet6", missing_is_empty=True), address.packed.hex())
    return AddressEvidence(seen_at_s, vip_present=present, link_up=link_up(interface))


def in_fib_trie(lines: Iterable[str], ip: str) -> bool:
    """An own address is a leaf `|-- A`, and among the lines below it one says `/32 host LOCAL`."""
    leaf = ""
    for line in lines:
        words = line.split()
        if words[:1] == ["|--"]:
            leaf = words[1] if len(words) > 1 else ""
        elif words[:1] == ["+--"]:
            leaf = ""
        elif leaf == ip and words == ["/32", "host", "LOCAL"]:
            return True
    return False


def in_if_inet6(lines: Iterable[str], digits: str) -> bool:
    """`digits`: the address as 32 hexadecimal digits. One whose duplicate detection runs or failed doesn't work."""
    for line in lines:
        words = line.split()
        if len(words) < 6 or words[0] != digits:
            continue
        flags = int(words[4], 16)
        tentative = flags & _TENTATIVE and not flags & _OPTIMISTIC
        if not tentative and not flags & _DADFAILED:
            return True
    return False


def link_up(interface: str) -> bool:
    """Is the interface up, with a carrier? False when there is none of that name."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            answer = fcntl.ioctl(sock, _SIOCGIFFLAGS, _IFREQ.pack(interface.encode()[:15], 0))
    except OSError:
        return False
    return _IFREQ.unpack(answer)[1] & _UP_AND_RUNNING == _UP_AND_RUNNING


def _lines(path: str, missing_is_empty: bool = False) -> list[str]:
    """`missing_is_empty`: without IPv6 the kernel has no such file, and no such address."""
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read().splitlines()
    except FileNotFoundError as exc:
        if missing_is_empty:
            return []
        raise CouldNotLook(f"cannot read {path}: {exc.strerror}") from exc
    except OSError as exc:
        raise CouldNotLook(f"cannot read {path}: {exc.strerror}") from exc
