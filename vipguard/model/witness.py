"""What does a witness's name say: which host, and which port where it is asked by TCP?"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

PORT_MAX = 65535


@dataclass(frozen=True, slots=True)
class Witness:
    """`address` is numeric, an IPv6 one perhaps with its zone. `port` None: asked by ping, and by ARP on its link."""

    address: str
    port: int | None = None

    @property
    def name(self) -> str:
        """As the operator writes it, in its shortest form: `ADDRESS`, `ADDRESS:PORT` or `[ADDRESS]:PORT`."""
        if self.port is None:
            return self.address
        return endpoint(self.address, self.port)


def endpoint(address: str, port: int) -> str:
    """`ADDRESS:PORT`, or `[ADDRESS]:PORT` for IPv6."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def parse(text: str) -> Witness:
    """Raises ValueError for what is none of the three forms."""
    found = re.fullmatch(r"(?:\[([^\[\]]+)\]|([0-9.]+)):([0-9]{1,5})", text)
    address, port = (found[1] or found[2], int(found[3])) if found else (text, None)
    if port is not None and not 1 <= port <= PORT_MAX:
        raise ValueError(f"{port} is no port")
    ip = ipaddress.ip_address(address)
    if found is not None and (ip.version == 6) != (found[1] is not None):
        raise ValueError(f"{text}: brackets are for IPv6 addresses")
    return Witness(str(ip), port)
