"""Which reader addresses are there, and can they be right? `[[reader]]` tables to frozen values, with the defaults."""

from __future__ import annotations

import dataclasses
import ipaddress
from collections.abc import Sequence
from typing import Any

from vipguard.config.values import At, Table, known, need, shown, value
from vipguard.config.virtual import interface_name, router, virtual_address
from vipguard.model import policy as model
from vipguard.model.reader import NODES_MAX, Reader, WriterReads

NAME_MAX = 16
RETURN_S_MAX = 3600
_KEYS = ("name", "address", "router_id", "interface", "nodes", "prefer", "writer", "lag_s_max", "return_s")


def read(at: At, tables: Any, vip: model.Vip, nodes: tuple[str, ...], lag_s_max: float) -> tuple[Reader, ...]:
    """In the file's order. Without `prefer` a reader prefers the node of its own that the fewest others do."""
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        problem, remedy = "must be tables", "write [[reader]] on a line of its own, and its keys below it"
        raise (at / "reader").wrong(problem, remedy)
    found = []
    for number, table in enumerate(tables, 1):
        found.append(_reader(_place(at, number), table, f"reader{number}", vip, nodes, lag_s_max))
    counts = dict.fromkeys(nodes, 0)
    for table, reader in zip(tables, found, strict=True):
        if "prefer" in table:
            counts[reader.nodes[0]] += 1
    for number, (table, reader) in enumerate(zip(tables, found, strict=True)):
        if "prefer" not in table:
            prefer = min(reader.nodes, key=counts.__getitem__)
            counts[prefer] += 1
            found[number] = dataclasses.replace(reader, nodes=_from(reader.nodes, prefer))
    return tuple(found)


def _place(at: At, number: int) -> At:
    """The file has no key for it: [[reader]] number one, two, three."""
    return At(at.file, f"reader[{number}]")


def _reader(
    at: At, table: Table, name: str, vip: model.Vip, nodes: tuple[str, ...], lag_s_max: float
) -> Reader:
    known(at, table, _KEYS)
    address = virtual_address(at / "address", need(at, table, "address", str, '"10.73.0.101/24"'))
    router_id = router(at / "router_id", need(at, table, "router_id", int, "52"))
    name = _name(at / "name", value(at / "name", str, table.get("name", name)))
    holders = _nodes(at / "nodes", table["nodes"], nodes) if "nodes" in table else nodes
    if len(holders) > NODES_MAX:
        problem = f"has {len(holders)} nodes"
        raise (at / "nodes").wrong(problem, f"name at most {NODES_MAX} nodes that may hold it")
    if "prefer" in table:
        prefer = value(at / "prefer", str, table["prefer"])
        if prefer not in holders:
            remedy = f"name one of {', '.join(holders)}"
            raise (at / "prefer").wrong(f"is {shown(prefer)}, which may not hold it", remedy)
        holders = _from(holders, prefer)
    return Reader(
        name=name,
        address=address,
        interface=interface_name(
            at / "interface", value(at / "interface", str, table.get("interface", vip.interface))
        ),
        router_id=router_id,
        nodes=holders,
        writer=value(at / "writer", WriterReads, table.get("writer", "last")),
        lag_s_max=value(at / "lag_s_max", float, table.get("lag_s_max", lag_s_max)),
        return_s=value(at / "return_s", float, table.get("return_s", 10.0)),
    )


def _name(at: At, name: str) -> str:
    plain = name.replace("-", "").replace("_", "")
    if not (plain.isascii() and plain.isalnum()) or len(name) > NAME_MAX or name[0] in "-_":
        raise at.wrong(f"is {shown(name)}", f"use at most {NAME_MAX} letters, digits, - and _")
    return name


def _nodes(at: At, given: Any, nodes: tuple[str, ...]) -> tuple[str, ...]:
    if not isinstance(given, list) or not given or not all(isinstance(item, str) for item in given):
        raise at.wrong(f"is {shown(given)}", 'write a list of nodes, for example ["db1", "db2"]')
    for item in given:
        if item not in nodes:
            raise at.wrong(
                f"names {shown(item)}, which is not among [nodes]", f"name some of {', '.join(nodes)}"
            )
    if len(set(given)) < len(given):
        raise at.wrong("names a node twice", "name each node once")
    return tuple(given)


def _from(nodes: Sequence[str], first: str) -> tuple[str, ...]:
    at = nodes.index(first)
    return (*nodes[at:], *nodes[:at])


# -- with the rest of the configuration


def check(at: At, policy: model.Policy) -> None:
    """Raises ConfigError where a reader's name, address or router id is another's too."""
    names: dict[str, str] = {policy.instance: "the writer's instance"}
    router_ids = {policy.vip.router_id: "vip.router_id"}
    addresses = {
        policy.vip.ip: "the VIP",
        **{node.address: f"node {node.name}'s own address" for node in policy.nodes},
    }
    addresses |= {name: f"the witness {name}" for name in policy.witnesses}
    for number, reader in enumerate(policy.readers, 1):
        here = _place(at, number)
        if reader.name in names:
            raise (here / "name").wrong(
                f"is {reader.name}, which is {names[reader.name]}'s", "give it another name"
            )
        if reader.router_id in router_ids:
            problem = f"is {reader.router_id}, and so is {router_ids[reader.router_id]}"
            raise (here / "router_id").wrong(problem, "give each address a router id of its own")
        if reader.ip in addresses:
            problem = f"is {reader.ip}, {addresses[reader.ip]}"
            raise (here / "address").wrong(problem, "give it an address of its own")
        names[reader.name], router_ids[reader.router_id] = reader.name, f"{reader.name}'s"
        addresses[reader.ip] = f"{reader.name}'s too"
        _family(here, policy, reader)
        if reader.return_s > RETURN_S_MAX:
            problem = f"is {reader.return_s:g} seconds, more than an hour"
            raise (here / "return_s").wrong(problem, f"choose at most {RETURN_S_MAX}")


def _family(at: At, policy: model.Policy, reader: Reader) -> None:
    for node in policy.nodes:
        if policy.vrrp.unicast and ipaddress.ip_address(node.address).version != reader.version:
            problem = f"is {reader.address}, not of the family of node {node.name}'s address, and vrrp.unicast is true"
            raise (at / "address").wrong(
                problem, "give them addresses of one family, or set vrrp.unicast false"
            )
