"""How do the neighbours learn at once that the VIP is here now? By gratuitous ARP or an unsolicited advertisement.

keepalived announces once when it adds the VIP; the node opens later, and repeats it then. Frames are built once and
sent as they are: with scapy a frame takes a millisecond, sending it takes 20 µs.
"""

from __future__ import annotations

import fcntl
import ipaddress
import socket
import struct
import time
from pathlib import Path

from ..errors import CouldNotDo

_SIOCGIFHWADDR = 0x8927
_BROADCAST, _NOBODY = "ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00"


class Announcer:
    """Announces `vip_ip` on `interface`. Made once (that imports scapy: 31 MB, and 2 MB more for IPv6), used often."""

    def __init__(self, interface: str, vip_ip: str) -> None:
        """Imports what it needs, so that the first announcement is no slower than the others; opens nothing."""
        self.interface, self._ip = interface, ipaddress.ip_address(vip_ip)
        self._built_for = ""
        self._socket: socket.socket | None = None  # kept: closing a packet socket takes 10 to 20 ms
        self._frames: tuple[bytes, ...] = build_frames(_NOBODY, self._ip, router=False)

    def send(self) -> None:
        """Each frame once. Raises CouldNotDo when the interface is missing or down, or packets may not be sent."""
        try:
            mac = _mac_of(self.interface)
            if mac != self._built_for:  # a bond that failed over, a replaced card
                self._frames = build_frames(mac, self._ip, router=_forwards_ipv6(self.interface))
                self._built_for = mac
            if self._socket is None:
                self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
            for frame in self._frames:
                self._socket.sendto(frame, socket.MSG_DONTWAIT, (self.interface, 0))
        except OSError as exc:
            raise CouldNotDo(f"cannot announce {self._ip} on {self.interface}: {exc.strerror}") from exc

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def announce(self, repeats: int, spacing_s: float) -> None:
        """Sends `repeats` times, `spacing_s` seconds apart, blocking meanwhile. Raises CouldNotDo as `send` does."""
        for at in range(repeats):
            if at:
                time.sleep(spacing_s)
            self.send()


def announce(interface: str, vip_ip: str, repeats: int = 5, spacing_s: float = 0.1) -> None:
    """One announcement for those who make only one. Raises CouldNotDo."""
    announcer = Announcer(interface, vip_ip)
    try:
        announcer.announce(repeats, spacing_s)
    finally:
        announcer.close()


def build_frames(
    mac: str, ip: ipaddress.IPv4Address | ipaddress.IPv6Address, router: bool
) -> tuple[bytes, ...]:
    """The Ethernet frames that say "`ip` is at `mac`" to all.

    IPv4: both forms of RFC 5227, 3, request and reply, since neighbours differ in which one they believe. IPv6: RFC
    4861, 7.2.6, with the override flag; the router flag must tell the truth, or hosts drop a default route through us.
    """
    from scapy.layers.l2 import ARP, Ether

    if ip.version == 4:
        to_all = Ether(src=mac, dst=_BROADCAST, type=0x0806)
        request = ARP(op=1, hwsrc=mac, psrc=str(ip), hwdst=_NOBODY, pdst=str(ip))
        reply = ARP(op=2, hwsrc=mac, psrc=str(ip), hwdst=_BROADCAST, pdst=str(ip))
        return bytes(to_all / request), bytes(to_all / reply)
    from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6NDOptDstLLAddr, IPv6

    advert = ICMPv6ND_NA(tgt=str(ip), R=int(router), S=0, O=1) / ICMPv6NDOptDstLLAddr(lladdr=mac)
    to_nodes = Ether(src=mac, dst="33:33:00:00:00:01", type=0x86DD)
    return (bytes(to_nodes / IPv6(src=str(ip), dst="ff02::1", hlim=255) / advert),)


def _mac_of(interface: str) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        reply = fcntl.ioctl(sock, _SIOCGIFHWADDR, struct.pack("256s", interface.encode()[:15]))
    return reply[18:24].hex(":")


def _forwards_ipv6(interface: str) -> bool:
    try:
        return Path(f"/proc/sys/net/ipv6/conf/{interface}/forwarding").read_text().strip() != "0"
    except OSError:
        return False
