"""What does the configuration file say, and can it be right? TOML to a frozen `Policy`, or one clear sentence.

The sections are the dataclasses of `model.policy`: a field there is a key here, with its type and its default.
Loading is also the one place that looks at the host for the defaults: its name, and its default gateway as the
witness.
"""

from __future__ import annotations

import dataclasses
import itertools
import socket
import tomllib
from typing import Any, get_type_hints

from vipguard.config import readers, relations
from vipguard.config.host import default_gateways, secret, why_unsafe
from vipguard.config.values import NAME, At, Table, address, known, need, section, shown, value, witness
from vipguard.config.virtual import interface_name, router, virtual_address
from vipguard.model import policy as model
from vipguard.model.policy import Policy

__all__ = ["At", "load"]

FILE_BYTES_MAX = 1_000_000
PRIORITY_MAX = 250
PRIORITY_STEP = 10
NODE_NAME_MAX = 64
SERVER_ID_MAX = 2**32 - 1
SOURCE_PASSWORD_MAX = 32  # MySQL's CHANGE REPLICATION SOURCE

_SECTIONS: dict[str, type[Any]] = {
    "mysql": model.Mysql,
    "replication": model.Replication,
    "copy": model.Copy,
    "limits": model.Limits,
    "paths": model.Paths,
    "disk": model.Disk,
    "fence": model.Fence,
    "vrrp": model.Vrrp,
    "hooks": model.Hooks,
    "damping": model.Damping,
    "exporter": model.Exporter,
}
_TOP = {key: get_type_hints(Policy)[key] for key in ("cluster", "node", "silent_peer", "durability")}
_TABLES = ("vip", "nodes", "witness", *_SECTIONS)
_VIP_KEYS = tuple(field.name for field in dataclasses.fields(model.Vip))


def load(path: str, *, secrets: bool = True) -> Policy:
    """The policy that the file at `path` gives this host.

    Without `secrets` the password files and the fence command are not looked at and the passwords stay empty: for
    readers of the agent's socket. Raises ConfigError, and nothing else, whatever the file holds.
    """
    at = At(str(path))
    document = _parse(at, _read(at, str(path)))
    known(at, document, (*_TOP, *_TABLES, "reader"))
    for name in _TABLES:
        if not isinstance(document.get(name, {}), dict):
            raise (at / name).wrong(
                "must be a table", f"write [{name}] on a line of its own, and its keys below it"
            )
    top = {key: value(at / key, hint, document[key]) for key, hint in _TOP.items() if key in document}
    if "cluster" not in top:
        raise (at / "cluster").wrong("is missing", 'name the cluster, for example cluster = "orders"')
    nodes = _nodes(at / "nodes", document.get("nodes", {}))
    vip = _vip(at / "vip", document.get("vip", {}))
    node = _own_node(at / "node", top.pop("node", None), nodes)
    sections = {
        name: section(at / name, shape, document[name])
        for name, shape in _SECTIONS.items()
        if name in document
    }
    witnesses = _witnesses(
        at / "witness", document.get("witness", {}), (vip.ip, *(peer.address for peer in nodes))
    )
    lag_s_max = sections["limits"].lag_s_max if "limits" in sections else model.Limits().lag_s_max
    reading = readers.read(at, document.get("reader", []), vip, tuple(node.name for node in nodes), lag_s_max)
    policy = Policy(
        file=at.file, node=node, vip=vip, nodes=nodes, witnesses=witnesses, readers=reading, **top, **sections
    )
    relations.check(at, policy)
    readers.check(at, policy)
    return _with_secrets(at, policy) if secrets else policy


def _read(at: At, path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
    except FileNotFoundError:
        raise at.wrong("there is no such file", "create it, or name another one with --config") from None
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
        raise at.wrong(f"cannot be read ({reason})", "name a readable file with --config") from exc
    if len(content) > FILE_BYTES_MAX:
        raise at.wrong("is larger than a megabyte", "name a configuration file with --config")
    return content


def _parse(at: At, content: bytes) -> Table:
    try:
        return tomllib.loads(content.decode())
    except UnicodeDecodeError as exc:
        raise at.wrong(f"is not UTF-8 text (byte {exc.start})", "save it as UTF-8") from exc
    except (ValueError, RecursionError) as exc:
        raise at.wrong(f"is not TOML: {exc}", "correct that place") from exc


def _vip(at: At, table: Table) -> model.Vip:
    known(at, table, _VIP_KEYS)
    text = need(at, table, "address", str, '"10.73.0.100/24"')
    interface = need(at, table, "interface", str, '"eth0"')
    router_id = need(at, table, "router_id", int, "51")
    vip = model.Vip(virtual_address(at / "address", text), interface, router_id)
    if "advert_s" in table:
        vip = dataclasses.replace(vip, advert_s=value(at / "advert_s", float, table["advert_s"]))
    interface_name(at / "interface", interface)
    router(at / "router_id", router_id)
    hundredths = vip.advert_s * 100  # VRRPv3 counts in them, in 12 bits
    if not 0.5 < hundredths < 4000.5 or abs(hundredths - round(hundredths)) > 1e-6:
        remedy = "choose 0.01 to 40 seconds in whole hundredths; 0.1 is proven"
        raise (at / "advert_s").wrong(f"is {vip.advert_s:g}", remedy)
    return vip


def _nodes(at: At, table: Table) -> tuple[model.Node, ...]:
    if len(table) < 2:
        problem = "is missing" if not table else "has one node only"
        raise at.wrong(
            problem, "write a table [nodes.NAME] with address and priority for each of two or more nodes"
        )
    nodes = [_node(at / name, name, table[name], place) for place, name in enumerate(sorted(table), 1)]
    candidates = [node for node in nodes if not node.is_replica]
    if len(candidates) < 2:
        remedy = "two or more must be able to become the writer: nodes without role, each with a priority"
        raise at.wrong(f"has {len(candidates) or 'no'} candidate{'' if len(candidates) == 1 else 's'}", remedy)
    for low, high in itertools.pairwise(sorted(candidates, key=lambda node: node.priority)):
        if high.priority - low.priority < PRIORITY_STEP:
            problem = f"is {high.priority}, too near to node {low.name}'s {low.priority}"
            remedy = f"keep priorities at least {PRIORITY_STEP} apart, or two nodes become MASTER at once"
            raise (at / high.name / "priority").wrong(problem, remedy)
    for key in ("address", "server_id"):
        owner: dict[Any, str] = {}
        for node in nodes:
            mine = getattr(node, key)
            if mine in owner:
                problem = f"is {mine}, and so is node {owner[mine]}'s"
                raise (at / node.name / key).wrong(problem, f"give each node its own {key}")
            owner[mine] = node.name
    return tuple(nodes)


def _node(at: At, name: str, table: Any, place: int) -> model.Node:
    if not isinstance(table, dict):
        raise at.wrong("must be a table", f"write [nodes.{name[:60]}] with address and priority below it")
    if not NAME.fullmatch(name) or len(name) > NODE_NAME_MAX:
        remedy = f"use at most {NODE_NAME_MAX} letters, digits and . _ - between them"
        raise at.wrong("is no name for a node", remedy)
    known(at, table, ("address", "priority", "server_id", "role"))
    own = address(at / "address", need(at, table, "address", str, '"10.73.0.11"'))
    role: model.Role = value(at / "role", model.Role, table.get("role", "candidate"))
    if role == "replica" and "priority" in table:
        remedy = "remove it, or the role: a replica never becomes the writer"
        raise (at / "priority").wrong("is said of a replica", remedy)
    priority = 0 if role == "replica" else need(at, table, "priority", int, "250")
    if priority > PRIORITY_MAX:
        remedy = f"choose at most {PRIORITY_MAX}: above it two nodes hold the VIP for some milliseconds"
        raise (at / "priority").wrong(f"is {shown(priority)}", remedy)
    server_id = value(at / "server_id", int, table.get("server_id", place))
    if server_id > SERVER_ID_MAX:
        raise (at / "server_id").wrong(f"is {shown(server_id)}", f"choose 1 to {SERVER_ID_MAX}")
    return model.Node(name, own, priority, server_id, role)


def _own_node(at: At, name: str | None, nodes: tuple[model.Node, ...]) -> str:
    names = [node.name for node in nodes]
    if name is not None:
        if name not in names:
            remedy = f"add [nodes.{name[:60]}] or name one of {', '.join(names)}"
            raise at.wrong(f"is {shown(name)}, which is not among [nodes]", remedy)
        return name
    host = socket.gethostname()
    for candidate in (host, host.partition(".")[0]):
        if candidate in names:
            return candidate
    problem = f"is not set, and this host's name {shown(host)} is not among [nodes]"
    raise at.wrong(problem, f"set node to one of {', '.join(names)}")


def _witnesses(at: At, table: Table, ours: tuple[str, ...]) -> tuple[str, ...]:
    """What the file names, else the default gateway, unless that is one of `ours`, which prove nothing."""
    known(at, table, ("addresses",))
    if "addresses" in table:
        at_list, given = at / "addresses", table["addresses"]
        if not isinstance(given, list) or not all(isinstance(item, str) for item in given):
            raise at_list.wrong(f"is {shown(given)}", 'write a list of addresses, for example ["10.73.0.1"]')
        found = tuple(dict.fromkeys(witness(at_list, item) for item in given))
    else:
        found = tuple(gateway for gateway in default_gateways() if gateway not in ours)[:1]
    if not found:
        from vipguard.log import get_logger

        effect = "nobody opens against a silent peer"
        get_logger("config").warning("no witness", file=at.file, key="witness.addresses", effect=effect)
    return found


def _with_secrets(at: At, policy: Policy) -> Policy:
    if policy.fence.command and (problem := why_unsafe(policy.fence.command)):
        remedy = "name a program that root alone can change, in directories that root alone can change"
        raise (at / "fence" / "command").wrong(f"names {policy.fence.command}, which {problem}", remedy)
    mysql, replication = policy.mysql, policy.replication
    if not mysql.password_file:
        remedy = 'name the file with the account\'s password, for example "/etc/vipguard/password"'
        raise (at / "mysql" / "password_file").wrong("is missing", remedy)
    mysql = dataclasses.replace(mysql, password=secret(at / "mysql" / "password_file", mysql.password_file))
    if replication and replication.password_file:
        at_file = at / "replication" / "password_file"
        replication = dataclasses.replace(replication, password=secret(at_file, replication.password_file))
        if len(replication.password) > SOURCE_PASSWORD_MAX:
            problem = f"names {replication.password_file}, which holds {len(replication.password)} characters"
            remedy = f"use at most {SOURCE_PASSWORD_MAX}: MySQL takes no more from a replica"
            raise at_file.wrong(problem, remedy)
    copy = policy.copy
    if copy.password_file:
        at_file = at / "copy" / "password_file"
        copy = dataclasses.replace(copy, password=secret(at_file, copy.password_file))
    return dataclasses.replace(policy, mysql=mysql, replication=replication, copy=copy)
