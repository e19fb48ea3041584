"""Is the VIP on this host's interface, and does the interface have a carrier?

The kernel tells of changes by netlink; each relevant message makes a fresh dump, so that what is reported is what is,
not what was. pyroute2 writes and reads the messages; its own sockets bring an asyncio loop each, so these are plain.
"""

from __future__ import annotations

import errno
import ipaddress
import select
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any

from pyroute2.netlink import NLM_F_DUMP, NLM_F_REQUEST, nlmsg
from pyroute2.netlink.rtnl import RTM_DELADDR, RTM_DELLINK, RTM_GETADDR, RTM_GETLINK, RTM_NEWADDR, RTM_NEWLINK
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from ..errors import CouldNotLook
from ..model.evidence import AddressEvidence

_GROUPS = 0x1 | 0x10 | 0x100  # RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR
_SOL_NETLINK, _NETLINK_GET_STRICT_CHK, _NETLINK_EXT_ACK = 270, 12, 11
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
# IFF_UP, IFF_RUNNING (what keepalived goes by), IFF_LOWER_UP (the carrier, with no delay)
_UP = 0x1 | 0x40 | 0x10000
_TENTATIVE, _OPTIMISTIC, _DADFAILED = 0x40, 0x04, 0x08
_HEADER = struct.Struct("=IHHII")
_INDEX = struct.Struct("=I")
_DUMP_S_MAX = 0.5  # the kernel answers within the system call; this bounds what must not happen
_READ_BYTES = 65536
_EVENTS_MAX = 256


class AddressWatch:
    """Follows `vip_ip` (without a prefix) on `interface`. Register with `epoll_mask`; any thread may `look`.

    The interface may be missing, come later, or be made anew: it is looked up by name each time.
    """

    epoll_mask = select.EPOLLIN

    def __init__(self, interface: str, vip_ip: str, now: Callable[[], float]) -> None:
        """Raises CouldNotLook when no netlink socket can be had. `now`: seconds of CLOCK_BOOTTIME."""
        self.interface, self._now = interface, now
        self._ip = ipaddress.ip_address(vip_ip)
        self._name = interface.encode() + b"\0"
        self._index, self._pending = 0, False
        self._socket = _netlink(_GROUPS)
        self._socket.setblocking(False)
        self._index = interface_index(interface)

    def fileno(self) -> int:
        return self._socket.fileno()

    def drain(self) -> AddressEvidence | None:
        """What is now, if something about the interface changed since the last call; else None. Never blocks.

        Raises CouldNotLook when the fresh dump fails; the next call tries again. Messages lost to a full buffer
        (ENOBUFS) make a fresh dump too.
        """
        changed, self._pending = self._pending, True
        for _ in range(_EVENTS_MAX):
            try:
                data = self._socket.recv(_READ_BYTES)
            except (BlockingIOError, InterruptedError):
                break
            except OSError as exc:
                if exc.errno != errno.ENOBUFS:
                    raise CouldNotLook(f"cannot read netlink events: {exc.strerror}") from exc
                changed = True
                continue
            changed = changed or any(
                self._concerns(kind, data, offset, end) for kind, offset, end in _split(data)
            )
        evidence = self.look() if changed else None
        self._pending = False
        return evidence

    def _concerns(self, kind: int, data: bytes, offset: int, end: int) -> bool:
        if end - offset < 24:
            return False
        (index,) = _INDEX.unpack_from(data, offset + 20)  # ifaddrmsg and ifinfomsg have it at the same place
        if kind in (RTM_NEWADDR, RTM_DELADDR):
            return index == self._index
        if kind in (RTM_NEWLINK, RTM_DELLINK):
            return index == self._index or self._name in data[offset:end]
        return False

    def look(self) -> AddressEvidence:
        """A fresh dump now: about 0.3 ms of CPU, by a socket of its own. Raises CouldNotLook."""
        asked_at_s = self._now()
        index = interface_index(self.interface)
        self._index = index
        if not index:
            return AddressEvidence(asked_at_s, vip_present=False, link_up=False)
        with _netlink(0) as sock:
            present = any(
                usable for found, usable in addresses(sock, index, self._ip.version) if found == self._ip
            )
            return AddressEvidence(asked_at_s, vip_present=present, link_up=_link_up(sock, index))

    def close(self) -> None:
        self._socket.close()


AnyAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


def interface_index(name: str) -> int:
    """The kernel's number of an interface in this network namespace, or 0 when there is none of that name."""
    try:
        return socket.if_nametoindex(name)
    except OSError:
        return 0


def addresses(sock: socket.socket, index: int, version: int) -> Iterator[tuple[AnyAddress, bool]]:
    """Each address of the interface, and whether the host answers for it.

    An IPv6 address that is tentative or that failed its duplicate detection is there and does not work: a node
    that cannot receive on the VIP does not hold it. keepalived adds its VIPs with `nodad`, so theirs never are.
    """
    request = ifaddrmsg()
    request["family"], request["index"] = (socket.AF_INET if version == 4 else socket.AF_INET6), index
    for message in ask(sock, request, RTM_GETADDR, NLM_F_DUMP, ifaddrmsg):
        if message["index"] != index:
            continue  # a kernel without strict checking dumps every interface
        text = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
        if text is None:
            continue
        flags = message.get_attr("IFA_FLAGS")
        flags = message["flags"] if flags is None else flags
        tentative = flags & _TENTATIVE and not flags & _OPTIMISTIC
        yield ipaddress.ip_address(text), not (version == 6 and (tentative or flags & _DADFAILED))


def _link_up(sock: socket.socket, index: int) -> bool:
    request = ifinfmsg()
    request["index"] = index
    for message in ask(sock, request, RTM_GETLINK, 0, ifinfmsg):
        return bool(message["flags"] & _UP == _UP)
    return False


def netlink() -> socket.socket:
    """A route netlink socket for `ask`, with a bounded wait. Raises CouldNotLook."""
    return _netlink(0)


def _netlink(groups: int) -> socket.socket:
    try:
        sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        try:
            sock.bind((0, groups))
            sock.settimeout(_DUMP_S_MAX)
            sock.setsockopt(_SOL_NETLINK, _NETLINK_EXT_ACK, 1)
            if not groups:
                sock.setsockopt(_SOL_NETLINK, _NETLINK_GET_STRICT_CHK, 1)
        except OSError:
            sock.close()
            raise
    except OSError as exc:
        raise CouldNotLook(f"cannot open a netlink socket: {exc.strerror}") from exc
    return sock


def ask(sock: socket.socket, request: Any, kind: int, flags: int, answer: type[nlmsg]) -> list[Any]:
    """The kernel's messages in reply to one request, decoded as `answer`. "No such device" is an empty reply.

    All are read before the first is given out: one left in the socket would answer the next question.
    Raises CouldNotLook for every other refusal, and when the kernel does not answer within 0.5 s.
    """
    request["header"]["type"], request["header"]["flags"] = kind, flags | NLM_F_REQUEST
    request["header"]["sequence_number"] = 1
    request.encode()
    messages: list[Any] = []
    try:
        sock.send(request.data)
        while True:
            data = sock.recv(_READ_BYTES)
            for message_kind, offset, end in _split(data):
                if message_kind == _NLMSG_DONE:
                    return messages
                if message_kind == _NLMSG_ERROR:
                    _raise_error(struct.unpack_from("=i", data, offset + 16)[0])
                    return messages
                message = answer(data[offset:end])
                message.decode()
                messages.append(message)
            if flags & NLM_F_DUMP != NLM_F_DUMP:
                return messages
    except OSError as exc:
        raise CouldNotLook(f"cannot ask the kernel by netlink: {exc.strerror or exc}") from exc


def _raise_error(code: int) -> None:
    if code and -code not in (errno.ENODEV, errno.ENXIO, errno.ENOENT):
        raise OSError(-code, errno.errorcode.get(-code, str(code)))


def _split(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Kind, start and end of each netlink message; stops at one that claims to be longer than what came."""
    offset = 0
    while offset + 16 <= len(data):
        length, kind, *_ = _HEADER.unpack_from(data, offset)
        if length < 16 or offset + length > len(data):
            return
        yield kind, offset, offset + length
        offset += (length + 3) & ~3
