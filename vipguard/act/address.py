"""How is a VIP removed that a dead keepalived left behind?

Only after the server is closed, and only while keepalived is dead: a living one adds the address again within 50 ms.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import time
from typing import Any

from ..errors import CouldNotDo

_GONE_S_MAX = 1.0
_TABLE_LOCAL, _PROTO_KERNEL, _SCOPE_HOST, _SCOPE_ANY, _SECONDARY = 255, 2, 254, 255, 0x01  # rtnetlink(7)


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


def withhold(interface: str, vip_ip: str) -> None:
    """Takes an IPv4 VIP's route away and leaves the address: no connection comes in any more, those here can be reset.

    A client that is reset comes back within a millisecond. It would be accepted while the address is still here, and
    its greeting would never leave once the address has gone. `give_back` undoes it. Raises CouldNotDo.
    """
    _local_route("del", interface, vip_ip)


def give_back(interface: str, vip_ip: str) -> None:
    """Makes a VIP that was withheld and never left answer again; nothing else anywhere else. Raises CouldNotDo."""
    _local_route("replace", interface, vip_ip)


def _local_route(verb: str, interface: str, vip_ip: str) -> None:
    """IPv6 is left alone: there the kernel would not take a route of ours away with its address."""
    from pyroute2 import IPRoute
    from pyroute2.netlink.exceptions import NetlinkError

    if ipaddress.ip_address(vip_ip).version == 6:
        return
    try:
        index = socket.if_nametoindex(interface)
        with IPRoute() as route:
            source = _source_of(list(route.get_addr(family=socket.AF_INET, index=index)), index, vip_ip)
            if source is None:
                return
            to_local = {"dst": f"{vip_ip}/32", "table": _TABLE_LOCAL, "type": "local", "oif": index}
            if verb != "del":
                route.route(verb, scope=_SCOPE_HOST, proto=_PROTO_KERNEL, prefsrc=source, **to_local)
                if (
                    _source_of(list(route.get_addr(family=socket.AF_INET, index=index)), index, vip_ip)
                    is not None
                ):
                    return
                # the address left in between: its route must not stay behind, this host would answer ARP for it
            route.route("del", scope=_SCOPE_ANY, **to_local)
    except NetlinkError as exc:
        if exc.code not in (errno.ESRCH, errno.EEXIST):
            raise CouldNotDo(f"cannot change the route of {vip_ip}: {exc}") from exc
    except OSError as exc:
        raise CouldNotDo(f"cannot change the route of {vip_ip}: {exc}") from exc


def _source_of(messages: list[Any], index: int, vip_ip: str) -> str | None:
    """The source that the kernel's own route of this address names, and looks for when it takes the address away: the
    primary address of its network. None where the address is not."""
    here = [
        (str(m.get_attr("IFA_LOCAL") or m.get_attr("IFA_ADDRESS")), m["prefixlen"], bool(m["flags"] & _SECONDARY))
        for m in messages
        if m["index"] == index
    ]
    mine = next(((prefix, secondary) for ip, prefix, secondary in here if ip == vip_ip), None)
    if mine is None or not mine[1]:
        return vip_ip if mine else None
    network = ipaddress.ip_network(f"{vip_ip}/{mine[0]}", strict=False)
    same = (ip for ip, prefix, secondary in here if not secondary and prefix == mine[0])
    return next((ip for ip in same if ipaddress.ip_address(ip) in network), vip_ip)


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
