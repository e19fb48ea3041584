"""How does a client learn at once that nobody has the VIP just now? By a reset instead of silence.

In the gap of a move a client's SYN is dropped and its kernel tries again after a whole second. One rule on every node
answers it: packets for the VIP's port that still arrive here while the VIP is not here are refused.
"""

from __future__ import annotations

import ipaddress
import re
import subprocess
from pathlib import Path

from ..errors import CouldNotDo

_NFT_S_MAX = 5.0


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


def ruleset(cluster: str, interface: str, vip_ip: str, port: int) -> str:
    """What `nft -f` runs, as one transaction that gives the same from any earlier state of the table."""
    table = table_name(cluster)
    return f"""table inet {table}
delete table inet {table}
table inet {table} {{
    chain refuse {{
        type filter hook prerouting priority raw; policy accept;
        {rule(interface, vip_ip, port)}
    }}
}}
"""


def install(cluster: str, interface: str, vip_ip: str, port: int) -> None:
    """Puts the rule in force, replacing an earlier one. Running it twice is running it once; takes up to 5 s.

    Raises CouldNotDo with a sentence when nft is missing or refuses, and where the rule would cut somebody off: the
    interface is a bridge port, or this host forwards packets that come in by it. An old rule is removed then.
    """
    if not re.fullmatch(r"[^\s\"/{};\\]{1,15}", interface):
        raise CouldNotDo(f"{interface!r} is no name of an interface", refused=True)
    obstacle = why_not(interface, vip_ip)
    if obstacle is not None:
        remove(cluster)
        raise CouldNotDo(
            f"clients are not refused but left waiting in the gap of a move: {obstacle}", refused=True
        )
    _nft(["-f", "-"], ruleset(cluster, interface, vip_ip, port))


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


def _nft(arguments: list[str], text: str = "") -> str:
    try:
        done = subprocess.run(
            ["nft", *arguments], input=text, capture_output=True, text=True, timeout=_NFT_S_MAX, check=False
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
