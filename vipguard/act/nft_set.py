"""How is an element taken out of an nftables set at once? By netlink: clients wait for it, and the program nft needs
some milliseconds of a processor for the same.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import struct

from ..errors import CouldNotDo

_NETFILTER, _SUBSYSTEM, _INET = 12, 10, 1  # netlink family; NFNL_SUBSYS_NFTABLES; NFPROTO_INET
_BEGIN, _END, _DELETE = 0x10, 0x11, _SUBSYSTEM << 8 | 14  # NFT_MSG_DELSETELEM
_REQUEST, _ACK, _ERROR, _NESTED = 0x1, 0x4, 2, 0x8000
_TABLE, _SET, _ELEMENTS, _ELEMENT, _KEY, _VALUE = 1, 2, 3, 1, 1, 1
_HEADER = struct.Struct("=IHHII")
_WAIT_S = 0.5


def delete_address(table: str, name: str, ip: str) -> None:
    """Take `ip` out of set `name` of the inet table; nothing happens where it is not in it, or there is no such set.

    Raises CouldNotDo when the kernel refuses, or does not answer within half a second.
    """
    elements = _nest(_ELEMENTS, _nest(_ELEMENT, _nest(_KEY, _attribute(_VALUE, ipaddress.ip_address(ip).packed))))
    body = _attribute(_TABLE, table.encode() + b"\0") + _attribute(_SET, name.encode() + b"\0") + elements
    batch = _message(_BEGIN, _REQUEST, 1, 0, _SUBSYSTEM) + _message(_DELETE, _REQUEST | _ACK, 2, _INET, 0, body)
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETFILTER) as sock:
            sock.settimeout(_WAIT_S)
            sock.bind((0, 0))
            sock.send(batch + _message(_END, _REQUEST, 3, 0, _SUBSYSTEM))
            code = _answer(sock)
    except OSError as exc:
        raise CouldNotDo(f"the kernel could not be asked to change nftables: {exc.strerror or exc}") from exc
    if code not in (0, errno.ENOENT):
        raise CouldNotDo(f"the kernel refused to change nftables: {errno.errorcode.get(code, code)}", refused=True)


def _answer(sock: socket.socket) -> int:
    """The kernel's error number, 0 for none. Of a batch it tells each message's that failed or asked for a word."""
    data = sock.recv(65536)
    while True:
        length, kind, *_ = _HEADER.unpack_from(data)
        if kind == _ERROR:
            return -int(struct.unpack_from("=i", data, _HEADER.size)[0])
        data = data[(length + 3) & ~3 :] or sock.recv(65536)


def _message(kind: int, flags: int, number: int, family: int, resource: int, body: bytes = b"") -> bytes:
    payload = struct.pack("!BBH", family, 0, resource) + body
    return _HEADER.pack(_HEADER.size + len(payload), kind, flags, number, 0) + payload


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def _nest(kind: int, value: bytes) -> bytes:
    return _attribute(kind | _NESTED, value)
