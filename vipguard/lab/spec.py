"""What is a lab asked to be? Its names, addresses and settings, and the vipguard.toml that says the same."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from vipguard.lab.wait import LabError

Flavor = Literal["mariadb", "mysql"]
#: vipguard: agents and the rendered configuration · plain: keepalived with a bash check · none: servers only
Guard = Literal["vipguard", "plain", "none"]

INTERFACE = "eth0"
PORT = 3306
NODES_MAX = 9
APP_USER, APP_PASSWORD = "app", "app"


@dataclass(frozen=True)
class LabSpec:
    """A lab: `settings` are more TOML keys as {"limits": {"hang_s": 1.0}} or {"silent_peer": "wait"}.
    `readers`: more TOML keys for each reader address, which the lab gives an address and a router id.

    Labs are apart from each other (each has its own switch), so all use the same addresses.
    """

    name: str = "lab"
    flavor: Flavor = "mariadb"
    nodes: int = 2
    replicas: int = 0
    guard: Guard = "vipguard"
    ipv6: bool = False
    advert_s: float = 0.1
    readers: Sequence[Mapping[str, Any]] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,15}", self.name):
            raise LabError(f"{self.name!r} is no name for a lab: use up to 16 of a-z, 0-9 and -")
        if self.nodes < 2 or self.replicas < 0 or self.nodes + self.replicas > NODES_MAX:
            with_them = f" and {self.replicas} replicas" if self.replicas else ""
            raise LabError(f"a lab has 2 to {NODES_MAX} nodes, replicas counted, not {self.nodes}{with_them}")
        if self.flavor not in ("mariadb", "mysql"):
            raise LabError(f"{self.flavor!r} is no flavor: mariadb or mysql")

    @property
    def node_names(self) -> list[str]:
        """The candidates, then the replicas."""
        return [f"db{number}" for number in range(1, self.nodes + self.replicas + 1)]

    def is_replica(self, node: str) -> bool:
        return self.node_names.index(node) >= self.nodes

    @property
    def prefix(self) -> int:
        return 64 if self.ipv6 else 24

    def host(self, number: int) -> str:
        """The address that is used for replication, peers and the VIP: of the family that the lab is about."""
        return self.host6(number) if self.ipv6 else self.host4(number)

    @staticmethod
    def host4(number: int) -> str:
        return f"10.73.0.{number}"

    @staticmethod
    def host6(number: int) -> str:
        return f"fd00:73::{number}"

    @property
    def vip(self) -> str:
        return self.host(100)

    @property
    def witness(self) -> str:
        return self.host(1)

    def address(self, node: str) -> str:
        return self.host(10 + self.node_names.index(node) + 1)

    def priority(self, node: str) -> int:
        return 250 - 20 * self.node_names.index(node)

    def source_of(self, node: str) -> str:
        """The node it replicates from: the circle goes db1 → db2 → … → db1, and a replica follows db1 at first."""
        circle = self.node_names[: self.nodes]
        return circle[0] if self.is_replica(node) else circle[circle.index(node) - 1]

    def reads(self, node: str) -> bool:
        """Whether the node may hold a reader address."""
        return any(node in reader.get("nodes", self.node_names) for reader in self.readers)

    def reader_ip(self, number: int) -> str:
        """Of the reader address of that place in `readers`, from 0."""
        return self.host(101 + number)

    def toml(self) -> str:
        """vipguard.toml, one text for all nodes: each knows itself by its host name."""
        sections: dict[str, Any] = {
            "cluster": self.name,
            "vip": {
                "address": f"{self.vip}/{self.prefix}",
                "interface": INTERFACE,
                "router_id": 51,
                "advert_s": self.advert_s,
            },
            **{
                f"nodes.{name}": {
                    "address": self.address(name),
                    **({"role": "replica"} if self.is_replica(name) else {"priority": self.priority(name)}),
                }
                for name in self.node_names
            },
            "mysql": {"user": "vipguard", "password_file": "/etc/vipguard/password"},
            "replication": {
                "user": "vipguard_repl",
                "password_file": "/etc/vipguard/replication-password",
            },
            "witness": {"addresses": [self.witness]},
            "damping": {"losses_max": 0},  # a lab is broken on purpose, again and again
        }
        for key, value in self.settings.items():
            sections[key] = {**sections.get(key, {}), **value} if isinstance(value, Mapping) else value
        top = [
            f"{key} = {toml_value(value)}"
            for key, value in sections.items()
            if not isinstance(value, Mapping)
        ]
        for key, table in sections.items():
            if isinstance(table, Mapping):
                top += ["", f"[{key}]", *(f"{name} = {toml_value(value)}" for name, value in table.items())]
        for number, more in enumerate(self.readers):
            reader = {"address": f"{self.reader_ip(number)}/{self.prefix}", "router_id": 101 + number, **more}
            top += ["", "[[reader]]", *(f"{name} = {toml_value(value)}" for name, value in reader.items())]
        return "\n".join(top) + "\n"

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> LabSpec:
        return cls(**json.loads(text))


def toml_value(value: Any) -> str:
    """JSON's strings, numbers, booleans and lists of them are TOML's too."""
    return json.dumps(value, ensure_ascii=False)
