"""What is a reader address, and who should hold it before whom?

Each has a VRRP instance of its own on the nodes that may hold it. The instance's priority says who takes it when
nobody has it; who comes back gets it from the holder, which gives way (`agent/readers.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface
from typing import Literal

#: What the writer has to do with it: it reads only where no other node can, as any other node, or never.
WriterReads = Literal["last", "yes", "no"]
PRIORITY_FIRST, PRIORITY_STEP = 200, 10
WRITER_LOWER = 100  # a writer that is the last resort comes after every other node
NODES_MAX = 10  # so that each node's priority is above 0, the writer's too


@dataclass(frozen=True, slots=True)
class Reader:
    """One reader address. `nodes`: who may hold it, the preferred one first and then in the order in which they follow.

    `name` is its VRRP instance's too. `lag_s_max`: no node that is further behind serves it. `return_s`: for so long a
    node must have been well before it is given the address back.
    """

    name: str
    address: IPv4Interface | IPv6Interface
    interface: str
    router_id: int
    nodes: tuple[str, ...]
    writer: WriterReads = "last"
    lag_s_max: float = 10.0
    return_s: float = 10.0

    @property
    def ip(self) -> str:
        return str(self.address.ip)

    @property
    def version(self) -> int:
        return self.address.version

    @property
    def prefer(self) -> str:
        return self.nodes[0]

    def priority(self, node: str, writer: bool = False) -> int:
        """VRRP's, of one of its nodes; `writer`: if that node is the writer."""
        lower = WRITER_LOWER if writer and self.writer == "last" else 0
        return PRIORITY_FIRST - PRIORITY_STEP * self.nodes.index(node) - lower
