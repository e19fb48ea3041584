"""How do clients learn that their connection is over? The kernel resets every connection to the VIP, while it is here.

A killed server's sockets close only when its memory is torn down, up to a second later; the VIP has left by then, and
their last packet with it: a client that waits for an answer would wait until its own time-out. Sockets are destroyed
by sock_diag(7), SOCK_DESTROY (CONFIG_INET_DIAG_DESTROY, in Debian's kernels).
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import struct
from collections.abc import Iterator, Set

from ..errors import CouldNotDo
from ..model.evidence import ProcessId
from ..session.process import is_done, stat_fields

_SOCK_DIAG, _BY_FAMILY, _DESTROY = 4, 20, 21
_REQUEST, _ACK, _DUMP = 0x1, 0x4, 0x300
_ERROR, _DONE = 2, 3
_HEADER = struct.Struct("=IHHII")
_BODY = struct.Struct("=BBBBI48s")  # inet_diag_req_v2: family, protocol, ext, pad, states, sockid
_STATES = sum(1 << state for state in (1, 3, 4, 5, 8))  # established, SYN received, FIN wait 1 and 2, close wait
_LISTENING = 1 << 10
_WAIT_S = 0.5
_PF_EXITING = 0x4
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_ANY: tuple[Address, ...] = (ipaddress.IPv4Address(0), ipaddress.IPv6Address(0))
_BYTES = 1 << 17
_BATCH = 100


def reset_clients(vip_ip: str, port: int, dying: ProcessId | None = None) -> int:
    """Reset every TCP connection of this network namespace to `vip_ip` and `port`; how many sockets that were.

    Where `dying`, the server's process, is being taken down and not gone yet, its listening sockets are destroyed
    first: the kernel would still accept the clients that come back, and nobody would ever greet them. While that
    process is there no supervisor has started another, so no other server's socket can be meant.
    Raises CouldNotDo when the kernel can't do it, or does not answer within half a second.
    """
    local = ipaddress.ip_address(vip_ip)
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _SOCK_DIAG) as sock:
            sock.settimeout(_WAIT_S)
            found: list[tuple[int, bytes]] = []
            if dying is not None and is_dying(dying):
                found = list(_sockets(sock, port, _LISTENING, {local, *_ANY}))
                _destroy(sock, found)
            connections = list(_sockets(sock, port, _STATES, {local}))
            for start in range(0, len(connections), _BATCH):
                _destroy(sock, connections[start : start + _BATCH])
    except OSError as exc:
        raise CouldNotDo(f"cannot reset the connections to {vip_ip}: {exc.strerror or exc}") from exc
    return len(found) + len(connections)


def is_dying(process: ProcessId) -> bool:
    """Flagged PF_EXITING by the kernel, or killed and asleep in it, and still there."""
    fields = stat_fields(process.pid)
    if fields is None or int(fields[19]) != process.start_ticks:
        return False
    return bool(int(fields[6]) & _PF_EXITING) or is_done(process)


def _sockets(sock: socket.socket, port: int, states: int, locals_: Set[Address]) -> Iterator[tuple[int, bytes]]:
    for family in (socket.AF_INET, socket.AF_INET6):
        for ident in list(_dump(sock, family, port, states)):
            if _local(family, ident) in locals_:
                yield family, ident


def _dump(sock: socket.socket, family: int, port: int, states: int) -> Iterator[bytes]:
    ident = struct.pack("!H", port) + bytes(46)
    _send(sock, [(_BY_FAMILY, _REQUEST | _DUMP, family, states, ident)])
    while True:
        data, offset = sock.recv(_BYTES), 0
        while offset + _HEADER.size <= len(data):
            length, kind, *_ = _HEADER.unpack_from(data, offset)
            if kind == _DONE:
                return
            if kind == _ERROR:
                _raise(data, offset)
                return
            sockid = data[offset + 20 : offset + 68]
            if len(sockid) == 48 and sockid[:2] == ident[:2]:
                yield sockid
            offset += (max(length, _HEADER.size) + 3) & ~3


def _local(family: int, ident: bytes) -> Address:
    if family == socket.AF_INET:
        return ipaddress.IPv4Address(ident[4:8])
    address = ipaddress.IPv6Address(ident[4:20])
    return address.ipv4_mapped or address  # a server that listens on :: has its IPv4 clients there


def _destroy(sock: socket.socket, found: list[tuple[int, bytes]]) -> None:
    if not found:  # another address's clients were reset a moment ago; the kernel refuses an empty message
        return
    _send(sock, [(_DESTROY, _REQUEST | _ACK, family, 0, ident) for family, ident in found])
    answers = 0
    while answers < len(found):
        data, offset = sock.recv(_BYTES), 0
        while offset + _HEADER.size <= len(data):
            length, kind, *_ = _HEADER.unpack_from(data, offset)
            if kind == _ERROR:
                _raise(data, offset)
                answers += 1
            offset += (max(length, _HEADER.size) + 3) & ~3


def _send(sock: socket.socket, requests: list[tuple[int, int, int, int, bytes]]) -> None:
    messages = []
    for number, (kind, flags, family, states, ident) in enumerate(requests, start=1):
        body = _BODY.pack(family, socket.IPPROTO_TCP, 0, 0, states, ident)
        messages.append(_HEADER.pack(_HEADER.size + len(body), kind, flags, number, 0) + body)
    sock.send(b"".join(messages))


def _raise(data: bytes, offset: int) -> None:
    code = -struct.unpack_from("=i", data, offset + _HEADER.size)[0]
    if code not in (0, errno.ENOENT, errno.ENODATA):  # a connection that ended meanwhile is reset enough
        raise OSError(code, errno.errorcode.get(code, str(code)))
