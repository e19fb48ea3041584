"""Which packets does the kernel hand to a probe, and when did each arrive? Socket filters and kernel time stamps."""

from __future__ import annotations

import ctypes
import socket
import struct
import time
from collections.abc import Callable, Sequence
from typing import Any

ETH_P_ALL = 0x0003
PACKET_OUTGOING = 4
PROTOCOL_OFFSET = 0xFFFFF000  # SKF_AD_OFF + SKF_AD_PROTOCOL: the packet's EtherType wherever its data begins
ANCILLARY_BYTES = socket.CMSG_SPACE(16)
_SO_ATTACH_FILTER, _SO_TIMESTAMPNS = 26, 35
_TIMESPEC = struct.Struct("@ll")

# Operations of classic BPF, as `man 7 bpf` and the kernel's filter.rst name them.
LD_B, LD_H, LD_W, LDX_IHL, LD_B_X, LD_H_X, JEQ, RET = 0x30, 0x28, 0x20, 0xB1, 0x50, 0x48, 0x15, 0x06
Instruction = tuple[int, int, int, int]  # operation, jump if true, jump if false, operand


def attach_filter(sock: socket.socket, program: Sequence[Instruction]) -> None:
    """Lets the socket receive only what `program` accepts; the kernel drops the rest without waking anybody."""
    code = b"".join(struct.pack("=HBBI", op, yes, no, k) for op, yes, no, k in program)
    buffer = ctypes.create_string_buffer(code, len(code))  # alive until the kernel has copied it
    fprog = struct.pack("@HP", len(program), ctypes.addressof(buffer))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, fprog)


def accept_when(*tests: tuple[int, int, int]) -> list[Instruction]:
    """A program that accepts a packet when each (load operation, offset, value) holds.

    An LD_B_X or LD_H_X counts its offset from the end of the IPv4 header.
    """
    program: list[Instruction] = []
    for load, offset, value in tests:
        if load in (LD_B_X, LD_H_X):
            program.append((LDX_IHL, 0, 0, 0))
        program += [(load, 0, 0, offset), (JEQ, 0, -1, value)]
    program += [(RET, 0, 0, 0xFFFF), (RET, 0, 0, 0)]
    last = len(program) - 1
    return [(op, yes, last - at - 1 if no == -1 else no, k) for at, (op, yes, no, k) in enumerate(program)]


def accept_either(first: Sequence[Instruction], second: Sequence[Instruction]) -> list[Instruction]:
    """A program that accepts what either of two programs of `accept_when` accepts."""
    return [*first[:-1], *second]


class KernelTime:
    """Turns the kernel's time stamps (SO_TIMESTAMPNS, CLOCK_REALTIME) into CLOCK_BOOTTIME seconds.

    A reader that comes late learns when a packet arrived, not when it was read. When the real-time clock was set in
    between, the older of the two possible answers is given: evidence must never look fresher than it is.
    """

    def __init__(self, sock: socket.socket, now: Callable[[], float]) -> None:
        sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._now = now
        self._read_until_s = self._begun_s = now()
        self._offset_s = self._earlier_offset_s = self._begun_s - time.clock_gettime(time.CLOCK_REALTIME)

    def begin(self) -> float:
        """Call before each round of reading; gives the time of its beginning."""
        self._begun_s = self._now()
        self._earlier_offset_s, self._offset_s = (
            self._offset_s,
            self._begun_s - time.clock_gettime(time.CLOCK_REALTIME),
        )
        return self._begun_s

    def of(self, ancillary: Sequence[tuple[int, int, bytes]]) -> float:
        """When the packet with this ancillary data arrived; the end of the last round where it has no stamp."""
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS and len(data) >= _TIMESPEC.size:
                seconds, nanoseconds = _TIMESPEC.unpack_from(data)
                at_s = seconds + nanoseconds / 1e9 + min(self._offset_s, self._earlier_offset_s)
                return max(self._read_until_s, min(at_s, self._now()))
        return self._read_until_s

    def end(self, drained: bool) -> None:
        """Call after each round. `drained`: nothing was left, so whatever comes now arrived after this round began."""
        if drained:
            self._read_until_s = self._begun_s


def receive(sock: socket.socket, size: int) -> tuple[bytes, list[tuple[int, int, bytes]], Any] | None:
    """One packet that is ready: data, ancillary data, sender; None when there is none. Raises OSError otherwise."""
    try:
        data, ancillary, _, sender = sock.recvmsg(size, ANCILLARY_BYTES, socket.MSG_DONTWAIT)
    except (BlockingIOError, InterruptedError):
        return None
    return data, ancillary, sender
