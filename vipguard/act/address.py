"""How is a VIP removed that a dead keepalived left behind?

Only after the server is closed, and only while keepalived is dead: a living one adds the address again within 50 ms.
"""

from __future__ import annotations

import ipaddress
import socket
import time

from ..errors import CouldNotDo

_GONE_S_MAX = 1.0


def remove_vip(interface: str, vip_ip: str) -> bool:
    """Deletes `vip_ip`, with whatever prefix it is there, from `interface`; true when it was there.

    Looks again afterwards, so "removed" was seen. Raises CouldNotDo when it cannot be removed, or is there again.
    """
    from pyroute2 import IPRoute
    from pyroute2.netlink.exceptions import NetlinkError

    ip = ipaddress.ip_address(vip_ip)
    family = socket.AF_INET if ip.version == 4 else socket.AF_INET6
    try:
        index = socket.if_nametoindex(interface)
    except OSError:
        return False  # no interface, no address
    found = False
    try:
        with IPRoute() as route:
            until_s = time.monotonic() + _GONE_S_MAX
            while prefixes := _prefixes(route, index, family, ip):
                if time.monotonic() > until_s:
                    raise CouldNotDo(
                        f"{ip} comes back on {interface} after each removal: keepalived still runs"
                    )
                found = True
                for prefix in prefixes:
                    _delete(route, index, ip, prefix)
    except (OSError, NetlinkError) as exc:
        raise CouldNotDo(f"cannot remove {ip} from {interface}: {exc}") from exc
    return found


def _prefixes(
    route: object, index: int, family: int, ip: ipaddress.IPv4Address | ipaddress.IPv6Address
) -> list[int]:
    dump = route.get_addr(family=family, index=index)  # type: ignore[attr-defined]
    return [
        message["prefixlen"]
        for message in dump
        if message["index"] == index
        and ip == ipaddress.ip_address(message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS"))
    ]


def _delete(route: object, index: int, ip: object, prefix: int) -> None:
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        route.addr("del", index=index, address=str(ip), prefixlen=prefix)  # type: ignore[attr-defined]
    except NetlinkError as exc:
        if exc.code != 99:  # EADDRNOTAVAIL: somebody else was faster
            raise
