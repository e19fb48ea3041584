"""Can keepalived hold this? The values of an address that moves: the address itself, its interface, its router id."""

from __future__ import annotations

import ipaddress
import re

from vipguard.config.values import At, shown


def interface_name(at: At, name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._@:-]{0,14}", name):
        raise at.wrong(f"is {shown(name)}", "write an interface's name as `ip link` shows it")
    return name


def router(at: At, number: int) -> int:
    if not 1 <= number <= 255:
        raise at.wrong(f"is {shown(number)}", "choose 1 to 255, unused by others in this network")
    return number


def virtual_address(at: At, text: str) -> ipaddress.IPv4Interface | ipaddress.IPv6Interface:
    """In CIDR form, and one that a host can have."""
    form = 'write the address and its prefix length, for example "10.73.0.100/24" or "fd00::100/64"'
    if not re.fullmatch(r"[0-9A-Fa-f.:]+/[0-9]{1,3}", text):
        raise at.wrong(f"is {shown(text)}, which is not in CIDR form", form)
    try:
        found = ipaddress.ip_interface(text)
    except ValueError as exc:
        raise at.wrong(f"is {shown(text)}, which is no address", form) from exc
    ip, network = found.ip, found.network
    first, last = network.network_address, network.broadcast_address
    is_edge = network.num_addresses > 2 and (ip == first or (ip.version == 4 and ip == last))
    if (
        is_edge
        or ip.is_multicast
        or ip.is_loopback
        or ip.is_unspecified
        or (ip.version == 4 and ip.is_reserved)
    ):
        raise at.wrong(f"is {shown(text)}, which no host can have", "choose a free address of the network")
    return found
