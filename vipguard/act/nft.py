"""How does a client learn at once that nobody has the VIP just now? By a reset instead of silence.

In the gap of a move a client's SYN is dropped and its kernel tries again after a whole second. One rule on every node
answers it: packets for the VIP's port that still arrive here while the VIP is not here are refused. A second one
refuses them although it is here, for as long as the gate is shut: around a close and an opening, so that nobody
connects to a server that is about to be closed, or is not open yet.
"""

from __future__ import annotations

import ipaddress
import re
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path

from ..errors import CouldNotDo
from . import nft_set

_NFT_S_MAX = 5.0
_MOMENT_NFT_S_MAX = 0.5
MOMENT_S = 1  # for so long newcomers to a reader address that leaves are refused: it has left by then
SET = "shut"
_NEW = "tcp flags & (syn | ack) == syn"
SHUT_S = 15  # by itself the gate opens then, should nobody be left to do it


def table_name(cluster: str) -> str:
    """The cluster's own table; what nft allows in no name becomes its number in hexadecimal."""
    return "vipguard_" + re.sub(r"[^A-Za-z0-9]", lambda match: f"_{ord(match[0]):x}_", cluster)


def rule(interface: str, vip_ip: str, port: int) -> str:
    """The rule itself. `iifname` keeps it off what this host routes, `fib daddr type` off the VIP while it is here."""
    family = "ip" if ipaddress.ip_address(vip_ip).version == 4 else "ip6"
    return (
        f'iifname "{interface}" {family} daddr {vip_ip} tcp dport {port} '
        "fib daddr type != local reject with tcp reset"
    )


Places = Sequence[tuple[str, str]]  # (interface, address)


def _set(ip: str) -> str:
    """A set holds addresses of one family."""
    return SET if ipaddress.ip_address(ip).version == 4 else f"{SET}6"


def ruleset(cluster: str, places: Places, port: int) -> str:
    """What `nft -f` runs, as one transaction that gives the same from any earlier state of the table."""
    table = table_name(cluster)
    lines = [f"        {rule(interface, ip, port)}\n" for interface, ip in places]
    shut = {(interface, _set(ip)): "ip" if _set(ip) == SET else "ip6" for interface, ip in places}
    lines += [
        f'        iifname "{interface}" {family} daddr @{name} tcp dport {port} {_NEW} reject with tcp reset\n'
        for (interface, name), family in shut.items()
    ]
    return f"""table inet {table}
delete table inet {table}
table inet {table} {{
    set {SET} {{
        type ipv4_addr; flags timeout;
    }}
    set {SET}6 {{
        type ipv6_addr; flags timeout;
    }}
    chain refuse {{
        type filter hook prerouting priority raw; policy accept;
{"".join(lines)}    }}
}}
"""


def refuse_for_a_moment(cluster: str, ip: str) -> None:
    """New connections to an address that is about to leave are refused for MOMENT_S. Raises CouldNotDo."""
    element = f"element inet {table_name(cluster)} {_set(ip)} {{ {ip}"
    text = f"add {element} }}\ndelete {element} }}\nadd {element} timeout {MOMENT_S}s }}\n"
    _nft(["-f", "-"], text, _MOMENT_NFT_S_MAX)


class Gate:
    """Shut, it refuses connections to the VIP that is here; those that are made already are left alone.

    Where the rules could not be installed there is no gate: `shut` says so, `open` has nothing to do.
    """

    def __init__(self, cluster: str, vip_ip: str) -> None:
        self._table, self._set, self._ip = table_name(cluster), _set(vip_ip), vip_ip
        self._element = f"element inet {self._table} {self._set} {{ {vip_ip} }}"
        self._lock = threading.Lock()
        self._may_be_shut = True  # by a guard before this one

    def shut(self) -> None:
        """Again is for as long again. Raises CouldNotDo."""
        timed = self._element.replace(" }", f" timeout {SHUT_S}s }}")
        with self._lock:
            self._may_be_shut = True
            _nft(["-f", "-"], f"add {self._element}\ndelete {self._element}\nadd {timed}\n")

    def open(self) -> None:
        """Raises CouldNotDo when it may be shut still; it opens by itself after SHUT_S."""
        with self._lock:
            if self._may_be_shut:
                try:
                    nft_set.delete_address(self._table, self._set, self._ip)
                except CouldNotDo:
                    _nft(["-f", "-"], f"add {self._element}\ndelete {self._element}\n")
            self._may_be_shut = False


def install(cluster: str, interface: str, vip_ip: str, port: int, readers: Places = ()) -> list[str]:
    """Puts the rules in force, replacing earlier ones: for the VIP, and for `readers`, the other addresses.
    Running it twice is running it once; takes up to 5 s. Returns why some of `readers` were left out.

    Raises CouldNotDo with a sentence when nft is missing or refuses, and where the rule would cut somebody off: the
    interface is a bridge port, or this host forwards packets that come in by it. Old rules are removed then.
    """
    for name in (interface, *(name for name, _ in readers)):
        if not re.fullmatch(r"[^\s\"/{};\\]{1,15}", name):
            raise CouldNotDo(f"{name!r} is no name of an interface", refused=True)
    obstacle = why_not(interface, vip_ip)
    if obstacle is not None:
        remove(cluster)
        raise CouldNotDo(
            f"clients are not refused but left waiting in the gap of a move: {obstacle}", refused=True
        )
    obstacles = {place: why_not(*place) for place in readers}
    served = [place for place, why in obstacles.items() if why is None]
    _nft(["-f", "-"], ruleset(cluster, [(interface, vip_ip), *served], port))
    return [f"{ip}: {why}" for (_, ip), why in obstacles.items() if why is not None]


def remove(cluster: str) -> None:
    """Takes the rule away; nothing happens when there is none. Raises CouldNotDo when nft is missing or refuses."""
    table = table_name(cluster)
    _nft(["-f", "-"], f"table inet {table}\ndelete table inet {table}\n")


def installed(cluster: str, interface: str, vip_ip: str, port: int) -> bool:
    """Whether just this rule is in force. Raises CouldNotDo when nft is missing."""
    try:
        listing = _nft(["list", "table", "inet", table_name(cluster)])
    except CouldNotDo as exc:
        if exc.refused:
            return False
        raise
    return rule(interface, vip_ip, port) in listing


def why_not(interface: str, vip_ip: str) -> str | None:
    """Why the rule must not be installed here, as half a sentence, or None.

    A bridge port's packets are those of guests. A host that forwards may be the very router by which clients on this
    link reach the VIP; `iifname` does not tell their packets from strays.
    """
    from pyroute2 import IPRoute

    family = "ipv4" if ipaddress.ip_address(vip_ip).version == 4 else "ipv6"
    try:
        with IPRoute() as route:
            for message in route.link("get", ifname=interface):
                info = message.get_attr("IFLA_LINKINFO")
                if info is not None and info.get_attr("IFLA_INFO_SLAVE_KIND") == "bridge":
                    return f"{interface} is a port of a bridge"
    except Exception as exc:  # pyroute2's own errors share no base with OSError in all versions
        return f"cannot tell whether {interface} is a port of a bridge ({exc})"
    try:
        forwarding = Path(f"/proc/sys/net/{family}/conf/{interface}/forwarding").read_text().strip()
    except OSError:
        forwarding = "0"  # no IPv6 here
    if forwarding != "0":
        return f"this host forwards what comes in by {interface} ({family} forwarding is on)"
    return None


def _nft(arguments: list[str], text: str = "", within_s: float = _NFT_S_MAX) -> str:
    try:
        done = subprocess.run(
            ["nft", *arguments], input=text, capture_output=True, text=True, timeout=within_s, check=False
        )
    except FileNotFoundError as exc:
        raise CouldNotDo(
            "the program nft is missing: clients are not refused but left waiting in the gap of a move"
        ) from exc
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise CouldNotDo(f"nft could not be run: {exc}") from exc
    if done.returncode != 0:
        raise CouldNotDo(f"nft refused: {' '.join(done.stderr.split())}", refused=True)
    return done.stdout
