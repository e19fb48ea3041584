"""How are the members of a lab wired? A bridge in the switch's namespace, a cable to each node and to the
client; cuts by nftables.

The switch holds the host address that serves as gateway and witness. Nothing is made in the host's own
network.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from vipguard.lab.namespace import Namespace
from vipguard.lab.spec import INTERFACE, PORT, LabSpec
from vipguard.lab.templates import command

BRIDGE = "br0"
TABLE_PREFIX = "fault_"
Traffic = Literal["all", "vrrp", "sql", "arp", "icmp"]
MATCHES: dict[Traffic, tuple[str, ...]] = {
    "all": ("",),
    "vrrp": ("ip protocol 112", "ip6 nexthdr 112"),
    "sql": (f"tcp dport {PORT}", f"tcp sport {PORT}"),
    "arp": ("ether type arp",),
    "icmp": ("ip protocol icmp", "ip6 nexthdr icmpv6"),
}


class Switch:
    """The bridge and its ports; a port has the name of the member at its other end."""

    def __init__(self, space: Namespace) -> None:
        self.space = space

    def build(self, spec: LabSpec) -> None:
        lines = [
            f"link add {BRIDGE} type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
            f"addr add {spec.host4(1)}/24 dev {BRIDGE}",
            f"addr add {spec.host6(1)}/64 dev {BRIDGE} nodad",
            f"link set {BRIDGE} up",
        ]
        self.ip(lines)

    def ip(self, lines: list[str]) -> None:
        self.space.run(["ip", "-batch", "-"], input="\n".join(lines) + "\n")

    def plug(self, spec: LabSpec, member: Namespace, number: int) -> None:
        """A cable to `member`, whose end is its eth0 with the addresses of `number`."""
        # made from inside the switch: nothing of it is ever in the host's own network namespace
        command(
            [
                *("nsenter", "-t", str(self.space.identity.pid), "-n"),
                *("ip", "link", "add", member.name, "type", "veth"),
                *("peer", "name", INTERFACE, "netns", str(member.identity.pid)),
            ],
            10,
        )
        self.ip([f"link set {member.name} master {BRIDGE}", f"link set {member.name} up"])
        member.run(
            ["ip", "-batch", "-"],
            input="\n".join(
                [
                    f"addr add {spec.host4(number)}/24 dev {INTERFACE}",
                    f"addr add {spec.host6(number)}/64 dev {INTERFACE} nodad",
                    f"link set {INTERFACE} up",
                    f"route add default via {spec.host4(1)}",
                    f"route add default via {spec.host6(1)}",
                ]
            )
            + "\n",
        )

    def port(self, member: str, up: bool) -> None:
        """Plug the member's cable out or in: its eth0 loses its carrier, and keeps its addresses."""
        self.ip([f"link set {member} {'up' if up else 'down'}"])

    @contextmanager
    def cut(
        self,
        source: str | None,
        target: str | None,
        *,
        traffic: Traffic = "all",
        both_ways: bool = True,
        percent: int = 100,
    ) -> Iterator[None]:
        """Lose frames from `source` to `target` (None: anybody, the host address on the bridge included)
        until the exit.
        """
        if source is None and target is None:
            raise ValueError("a cut has at least one end")
        pairs = [(source, target), (target, source)] if both_ways else [(source, target)]
        dice = "" if percent >= 100 else f"numgen random mod 100 < {percent}"
        rules: list[tuple[str, str]] = []
        for start, end in pairs:
            for match in MATCHES[traffic]:
                into = f'iifname "{start}"' if start else ""
                out = f'oifname "{end}"' if end else ""
                rules.append(("forward", f"{into} {out} {match} {dice} drop"))
                if end is None:
                    rules.append(("input", f"{into} {match} {dice} drop"))
                if start is None:
                    rules.append(("output", f"{out} {match} {dice} drop"))
        with self.rules(rules):
            yield

    @contextmanager
    def cut_host(self, member: str) -> Iterator[None]:
        """Lose what goes between `member` and the host address on the bridge, and nothing else."""
        with self.rules([("input", f'iifname "{member}" drop'), ("output", f'oifname "{member}" drop')]):
            yield

    @contextmanager
    def rules(self, rules: list[tuple[str, str]]) -> Iterator[None]:
        """nftables rules of the bridge, as (hook, rule), until the exit."""
        table = f"{TABLE_PREFIX}{uuid.uuid4().hex[:8]}"
        body = "".join(
            f"chain {hook} {{\n type filter hook {hook} priority 0; policy accept;\n"
            + "".join(f" {rule}\n" for where, rule in rules if where == hook)
            + "}\n"
            for hook in ("forward", "input", "output")
        )
        self.space.run(["nft", "-f", "-"], input=f"table bridge {table} {{\n{body}}}\n")
        try:
            yield
        finally:
            if self.space.alive:
                self.space.run(["nft", "delete", "table", "bridge", table], check=False)

    def heal(self, members: list[str]) -> None:
        """Undo every cut and plug every cable in, whoever made the fault."""
        tables = self.space.run(["nft", "list", "tables"]).stdout.split()
        for name in tables:
            if name.startswith(TABLE_PREFIX):
                self.space.run(["nft", "delete", "table", "bridge", name], check=False)
        self.ip([f"link set {member} up" for member in members])
