"""What does the configuration file say, and can it be right? TOML to a frozen `Policy`, or one clear sentence.

The sections are the dataclasses of `model.policy`: a field there is a key here, with its type and its default.
Relations between settings are checked in `_relations`. Loading is also the one place that looks at the host for the
defaults: its name, and its default gateway as the witness.
"""

from __future__ import annotations

import dataclasses
import difflib
import ipaddress
import itertools
import math
import os
import re
import socket
import stat
import tomllib
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from vipguard.errors import ConfigError
from vipguard.model import policy as model
from vipguard.model.policy import Policy

WRAPPER_S = 1.0  # keepalived gives the check wrapper one second
PRIORITY_MAX = 200
PRIORITY_STEP = 10
PROBES_IN_LEASE = 3
LOCK_NAME_MAX = 64  # MySQL's limit for GET_LOCK
NODE_NAME_MAX = 64
USER_NAME_MAX = 32  # MySQL's; MariaDB takes 80
SOURCE_PASSWORD_MAX = 32  # MySQL's CHANGE REPLICATION SOURCE
SOCKET_PATH_MAX = 107  # sun_path without its closing zero
FILE_BYTES_MAX = 1_000_000

_SECTIONS: dict[str, type[Any]] = {
    "mysql": model.Mysql,
    "replication": model.Replication,
    "limits": model.Limits,
    "paths": model.Paths,
    "disk": model.Disk,
    "fence": model.Fence,
    "vrrp": model.Vrrp,
}
_TOP: dict[str, Any] = {
    "cluster": str,
    "node": str,
    "silent_peer": get_type_hints(Policy)["silent_peer"],
    "durability": get_type_hints(Policy)["durability"],
}
_TABLES = ("vip", "nodes", "witness", *_SECTIONS)
_WANTED = {str: "a string in quotes", int: "a whole number", float: "a number", bool: "true or false"}
_NOT_KEYS = ("password",)  # read from password_file
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
# nothing that keepalived or a shell reads as more than itself
_PLAIN_PATH = re.compile(r"/[A-Za-z0-9._/+@:,-]*")
_S = TypeVar("_S")
_Table = dict[str, Any]


class _At:
    """A place in one file: makes the sentences that name it."""

    def __init__(self, file: str, path: str = "") -> None:
        self.file, self.path = file, path

    def __truediv__(self, key: str) -> _At:
        shown = key if _NAME.fullmatch(key) else f'"{key[:60]}"'
        return _At(self.file, f"{self.path}.{shown}" if self.path else shown)

    def wrong(self, problem: str, remedy: str) -> ConfigError:
        problem, remedy = (_one_line(text) for text in (problem, remedy))
        return ConfigError(problem, file=self.file, key=self.path, remedy=remedy)


def load(path: str, *, secrets: bool = True) -> Policy:
    """The policy that the file at `path` gives this host.

    Without `secrets` the password files are not looked at and the passwords stay empty: for readers of the agent's
    socket. Raises ConfigError, and nothing else, whatever the file holds.
    """
    at = _At(str(path))
    document = _parse(at, _read(at, str(path)))
    _known(at, document, (*_TOP, *_TABLES))
    for name in _TABLES:
        if not isinstance(document.get(name, {}), dict):
            raise (at / name).wrong(
                "must be a table", f"write [{name}] on a line of its own and its keys below it"
            )
    top = {key: _value(at / key, hint, document[key]) for key, hint in _TOP.items() if key in document}
    if "cluster" not in top:
        raise (at / "cluster").wrong("is missing", 'name the cluster, for example cluster = "orders"')
    nodes = _nodes(at / "nodes", document.get("nodes", {}))
    vip = _vip(at / "vip", document.get("vip", {}))
    sections = {
        name: _section(at / name, _SECTIONS[name], document[name]) for name in _SECTIONS if name in document
    }
    node = _own_node(at / "node", top.pop("node", None), nodes)
    witnesses = _witnesses(at / "witness", document.get("witness", {}), vip)
    policy = Policy(file=at.file, node=node, vip=vip, nodes=nodes, witnesses=witnesses, **top, **sections)
    _relations(at, policy)
    return _with_secrets(at, policy) if secrets else policy


def _read(at: _At, path: str) -> bytes:
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


def _parse(at: _At, content: bytes) -> _Table:
    try:
        return tomllib.loads(content.decode())
    except UnicodeDecodeError as exc:
        raise at.wrong(f"is not UTF-8 text (byte {exc.start})", "save it as UTF-8") from exc
    except (tomllib.TOMLDecodeError, ValueError, RecursionError) as exc:
        raise at.wrong(f"is not TOML: {exc}", "correct that place") from exc


def _known(at: _At, table: _Table, known: tuple[str, ...]) -> None:
    for key in table:
        if key not in known:
            near = difflib.get_close_matches(key.lower(), known, n=1, cutoff=0.5)
            remedy = f"did you mean {near[0]!r}?" if near else f"remove it; known here are {', '.join(known)}"
            raise (at / key).wrong("is an unknown key", remedy)


def _section(at: _At, shape: type[_S], table: _Table) -> _S:
    hints = {key: hint for key, hint in get_type_hints(shape).items() if key not in _NOT_KEYS}
    _known(at, table, tuple(hints))
    return shape(**{key: _value(at / key, hints[key], value) for key, value in table.items()})


def _value(at: _At, hint: Any, value: Any) -> Any:
    """`value` as the type `hint` says; an integer serves as a number, a bool never does."""
    if get_origin(hint) is Literal:
        if value not in get_args(hint) or not isinstance(value, str):
            choices = " or ".join(f'"{choice}"' for choice in get_args(hint))
            raise at.wrong(f"is {_shown(value)}", f"write {choices}")
        return value
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value) if abs(value) < 10**15 else math.inf
    if type(value) is not hint:
        raise at.wrong(f"is {_shown(value)}", f"write {_WANTED[hint]}")
    if hint is str and not (value and value.isprintable()):
        raise at.wrong("is empty or has control characters", "write a plain text")
    if hint in (int, float) and not (math.isfinite(value) and value > 0):
        raise at.wrong(f"is {_shown(value)}", "write a number above zero")
    return value


def _need(at: _At, table: _Table, key: str, hint: Any, example: str) -> Any:
    if key not in table:
        raise (at / key).wrong("is missing", f"write for example {key} = {example}")
    return _value(at / key, hint, table[key])


def _vip(at: _At, table: _Table) -> model.Vip:
    _known(at, table, tuple(field.name for field in dataclasses.fields(model.Vip)))
    text = _need(at, table, "address", str, '"10.73.0.100/24"')
    interface = _need(at, table, "interface", str, '"eth0"')
    router_id = _need(at, table, "router_id", int, "51")
    advert_s = _value(at / "advert_s", float, table.get("advert_s", 0.1))
    at_address = at / "address"
    form = 'write the address and its prefix length, for example "10.73.0.100/24" or "fd00::100/64"'
    if "/" not in text or "%" in text:
        raise at_address.wrong(f"is {_shown(text)}, which is not in CIDR form", form)
    try:
        address = ipaddress.ip_interface(text)
    except ValueError as exc:
        raise at_address.wrong(f"is {_shown(text)}, which is no address", form) from exc
    net, ip = address.network, address.ip
    edge = net.num_addresses > 2 and (
        ip == net.network_address or (ip.version == 4 and ip == net.broadcast_address)
    )
    if edge or ip.is_multicast or ip.is_loopback or ip.is_unspecified:
        raise at_address.wrong(
            f"is {_shown(text)}, which no host can have", "choose a free address of the network"
        )
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._@:-]{0,14}", interface):
        raise (at / "interface").wrong(
            f"is {_shown(interface)}", "write an interface's name as `ip link` shows it"
        )
    if not 1 <= router_id <= 255:
        raise (at / "router_id").wrong(f"is {router_id}", "choose 1 to 255, unused by others in this network")
    if not 0.01 <= advert_s <= 40:
        raise (at / "advert_s").wrong(f"is {advert_s:g}", "choose 0.01 to 40 seconds; 0.1 is proven")
    return model.Vip(address, interface, router_id, advert_s)


def _nodes(at: _At, table: _Table) -> tuple[model.Node, ...]:
    if len(table) < 2:
        problem = "are missing" if not table else "has one node only"
        raise at.wrong(
            problem, "write a table [nodes.NAME] with address and priority for each of two or more nodes"
        )
    nodes = [_node(at / name, name, table[name]) for name in sorted(table)]
    owner: dict[str, str] = {}
    for node in nodes:
        if node.address in owner:
            problem = f"is {node.address}, the address of node {owner[node.address]} too"
            raise (at / node.name / "address").wrong(problem, "give each node its own address")
        owner[node.address] = node.name
    by_priority = sorted(nodes, key=lambda node: node.priority)
    for low, high in itertools.pairwise(by_priority):
        if high.priority - low.priority < PRIORITY_STEP:
            problem = f"is {high.priority}, too near to node {low.name}'s {low.priority}"
            remedy = f"keep priorities at least {PRIORITY_STEP} apart, or two nodes become MASTER at once"
            raise (at / high.name / "priority").wrong(problem, remedy)
    return tuple(nodes)


def _node(at: _At, name: str, table: Any) -> model.Node:
    if not isinstance(table, dict):
        raise at.wrong("must be a table", f"write [nodes.{name}] with address and priority below it")
    if not _NAME.fullmatch(name) or len(name) > NODE_NAME_MAX:
        raise at.wrong(
            "is no name for a node", f"use at most {NODE_NAME_MAX} letters, digits and . _ - between them"
        )
    _known(at, table, ("address", "priority"))
    address = _address(at / "address", _need(at, table, "address", str, '"10.73.0.11"'))
    priority = _need(at, table, "priority", int, "200")
    if priority > PRIORITY_MAX:
        remedy = f"choose at most {PRIORITY_MAX}: above it two nodes hold the VIP for some milliseconds"
        raise (at / "priority").wrong(f"is {priority}", remedy)
    return model.Node(name, address, priority)


def _address(at: _At, text: str) -> str:
    try:
        address = ipaddress.ip_address(text)
    except ValueError as exc:
        remedy = "write an IPv4 or IPv6 address without prefix; names are not looked up in the middle of a failover"
        raise at.wrong(f"is {_shown(text)}", remedy) from exc
    if address.is_multicast or address.is_unspecified or getattr(address, "is_reserved", False):
        raise at.wrong(f"is {_shown(text)}, which no host can have", "write the host's own address")
    return str(address)


def _own_node(at: _At, name: str | None, nodes: tuple[model.Node, ...]) -> str:
    known = ", ".join(node.name for node in nodes)
    if name is not None:
        if name not in {node.name for node in nodes}:
            remedy = f"add [nodes.{name}] or name one of {known}"
            raise at.wrong(f"is {_shown(name)}, which is not among [nodes]", remedy)
        return name
    host = socket.gethostname()
    for candidate in (host, host.partition(".")[0]):
        if any(node.name == candidate for node in nodes):
            return candidate
    problem = f"is not set, and this host's name {_shown(host)} is not among [nodes]"
    raise at.wrong(problem, f"set node to one of {known}")


def _witnesses(at: _At, table: _Table, vip: model.Vip) -> tuple[str, ...]:
    _known(at, table, ("addresses",))
    if "addresses" in table:
        at_list = at / "addresses"
        value = table["addresses"]
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise at_list.wrong(f"is {_shown(value)}", 'write a list of addresses, for example ["10.73.0.1"]')
        found = tuple(dict.fromkeys(_address(at_list, item) for item in value))
    else:
        found = default_gateways()[:1]
    if not found:
        from vipguard.log import get_logger

        get_logger("config").warning(
            "no witness",
            file=at.file,
            key=f"{at.path}.addresses",
            effect="nobody opens against a silent peer",
        )
    if vip.ip in found:
        raise (at / "addresses").wrong(
            f"names the VIP {vip.ip}", "name hosts that stay where they are, such as the router"
        )
    return found


def default_gateways(proc: str = "/proc/net") -> tuple[str, ...]:
    """This host's default gateways, best first: IPv4, then IPv6, by metric. Empty where there is none, or no /proc."""
    routes: list[tuple[int, int, str]] = []
    for line in _lines(f"{proc}/route")[1:]:
        column = line.split()
        if len(column) >= 8 and column[1] == column[7] == "00000000" and int(column[3], 16) & 2:
            gateway = ipaddress.IPv4Address(bytes.fromhex(column[2])[::-1])
            routes.append((4, int(column[6]), str(gateway)))
    for line in _lines(f"{proc}/ipv6_route"):
        column = line.split()
        if len(column) >= 10 and column[0] == "0" * 32 and column[1] == "00" and int(column[8], 16) & 2:
            gateway6 = ipaddress.IPv6Address(bytes.fromhex(column[4]))
            scope = f"%{column[9]}" if gateway6.is_link_local else ""
            routes.append((6, int(column[5], 16), f"{gateway6}{scope}"))
    return tuple(dict.fromkeys(gateway for _, _, gateway in sorted(routes)))


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read().splitlines()
    except OSError:
        return []


def _relations(at: _At, policy: Policy) -> None:
    """What no single key can get wrong, and what single keys mean beyond their types."""
    _names(at, policy)
    _limits(at / "limits", policy.limits)
    for node in policy.nodes:
        if node.address == policy.vip.ip:
            remedy = "give the VIP an address of its own"
            raise (at / "vip" / "address").wrong(
                f"is {policy.vip.ip}, node {node.name}'s own address", remedy
            )
        if node.address in policy.witnesses:
            remedy = "name a host that is none of the nodes, such as the router"
            raise (at / "witness" / "addresses").wrong(
                f"names node {node.name}'s address {node.address}", remedy
            )
        if policy.vrrp.unicast and ipaddress.ip_address(node.address).version != policy.vip.version:
            problem = f"is true, but node {node.name}'s address is not of the VIP's family"
            raise (at / "vrrp" / "unicast").wrong(
                problem, "give VIP and nodes addresses of one family, or set it false"
            )
    if policy.mysql.port > 65535:
        raise (at / "mysql" / "port").wrong(f"is {policy.mysql.port}", "choose 1 to 65535")
    if policy.vrrp.startup_delay_s > 60:
        raise (at / "vrrp" / "startup_delay_s").wrong(
            f"is {policy.vrrp.startup_delay_s:g}", "choose at most 60 seconds"
        )
    sockets = ("mysql.socket", policy.mysql.socket), ("paths.run", policy.paths.agent_socket)
    for key, path in sockets:
        if len(os.fsencode(path)) > SOCKET_PATH_MAX:
            problem = f"makes the socket's path longer than {SOCKET_PATH_MAX} bytes"
            raise (at / key).wrong(problem, "choose a shorter path")


def _names(at: _At, policy: Policy) -> None:
    longest = LOCK_NAME_MAX - len(policy.claim_lock) + len(policy.cluster)
    if not _NAME.fullmatch(policy.cluster) or len(policy.cluster) > longest:
        remedy = f"use at most {longest} letters, digits and . _ - between them: it ends the names of locks"
        raise (at / "cluster").wrong(f"is {_shown(policy.cluster)}", remedy)
    users = [("mysql", policy.mysql.user)]
    if policy.replication:
        users.append(("replication", policy.replication.user))
        if policy.replication.user == policy.mysql.user:
            problem = f"is {_shown(policy.mysql.user)}, which is mysql.user too"
            raise (at / "replication" / "user").wrong(
                problem, "use two accounts, each with its own privileges"
            )
    for section, user in users:
        if not _NAME.fullmatch(user.replace("_", "x")) or len(user) > USER_NAME_MAX:
            remedy = f"use at most {USER_NAME_MAX} letters, digits and . _ -"
            raise (at / section / "user").wrong(f"is {_shown(user)}", remedy)
    paths = {
        "mysql.socket": policy.mysql.socket,
        "mysql.tls_ca": policy.mysql.tls_ca,
        "paths.run": policy.paths.run,
        "paths.state": policy.paths.state,
        "vrrp.pid_file": policy.vrrp.pid_file,
    }
    for key, path in paths.items():
        if path and not _PLAIN_PATH.fullmatch(path):
            remedy = "write an absolute path of letters, digits and . _ / + @ : , -"
            raise (at / key).wrong(f"is {_shown(path)}", remedy)


def _limits(at: _At, limits: model.Limits) -> None:
    if limits.deadline_s >= WRAPPER_S:
        remedy = f"choose less than {WRAPPER_S:g}: keepalived kills the check wrapper after a second"
        raise (at / "deadline_s").wrong(f"is {limits.deadline_s:g}", remedy)
    if limits.probe_s < 0.01:
        raise (at / "probe_s").wrong(f"is {limits.probe_s:g}", "choose at least 0.01 seconds; 0.1 is proven")
    # without the margin 3 * 0.1 = 0.30000000000000004 would refuse lease_s = 0.3
    if limits.lease_s < PROBES_IN_LEASE * limits.probe_s - 1e-9:
        problem = f"is {limits.lease_s:g}, less than {PROBES_IN_LEASE} probes of {limits.probe_s:g} s"
        remedy = f"raise it to {PROBES_IN_LEASE * limits.probe_s:g} or more, or lower limits.probe_s"
        raise (at / "lease_s").wrong(problem, remedy)
    if limits.hang_s < limits.deadline_s:
        problem = f"is {limits.hang_s:g}, less than one probe's deadline_s = {limits.deadline_s:g}"
        raise (at / "hang_s").wrong(problem, f"raise it to {limits.deadline_s:g} or more")
    for field in dataclasses.fields(limits):
        if getattr(limits, field.name) > 3600:
            problem = f"is {getattr(limits, field.name):g} seconds, more than an hour"
            raise (at / field.name).wrong(problem, "choose seconds, at most 3600")


def _with_secrets(at: _At, policy: Policy) -> Policy:
    mysql = policy.mysql
    if not mysql.password_file:
        remedy = 'name the file with the account\'s password, for example "/etc/vipguard/password"'
        raise (at / "mysql" / "password_file").wrong("is missing", remedy)
    mysql = dataclasses.replace(mysql, password=_secret(at / "mysql" / "password_file", mysql.password_file))
    replication = policy.replication
    if replication and replication.password_file:
        at_file = at / "replication" / "password_file"
        replication = dataclasses.replace(replication, password=_secret(at_file, replication.password_file))
        if len(replication.password) > SOURCE_PASSWORD_MAX:
            remedy = f"use at most {SOURCE_PASSWORD_MAX} characters: MySQL takes no more from a replica"
            raise at_file.wrong(f"holds {len(replication.password)} characters", remedy)
    return dataclasses.replace(policy, mysql=mysql, replication=replication)


def _secret(at: _At, path: str) -> str:
    """The one line of a file that only its owner and group can read."""
    if not path.startswith("/"):
        raise at.wrong(f"is {_shown(path)}", "write an absolute path")
    try:
        # O_NONBLOCK: a FIFO in that place must not hang the agent's reload
        with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise at.wrong(
                    f"names {path}, which is no regular file", "name a file that holds the password"
                )
            if status.st_mode & 0o007:
                problem = f"names {path}, which others can read (mode {status.st_mode & 0o7777:04o})"
                raise at.wrong(problem, f"run: chmod 0600 {path}")
            content = file.read(4096)
    except OSError as exc:
        reason = exc.strerror or str(exc)
        raise at.wrong(
            f"names {path}, which cannot be read ({reason})", "write the password in it, mode 0600"
        ) from exc
    try:
        password = content.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError as exc:
        raise at.wrong(
            f"names {path}, which is not UTF-8 text", "write the password in it, on one line"
        ) from exc
    if not password:
        raise at.wrong(f"names {path}, which is empty", "write the password in it, on one line")
    if not password.isprintable():
        raise at.wrong(f"names {path}, which has more than one line", "write the password in it, on one line")
    return password


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return f'"{value[:60]}"'
    if isinstance(value, bool):
        return str(value).lower()
    # str() of an int of thousands of digits raises ValueError
    if isinstance(value, int) and abs(value) >= 10**15:
        return "a huge number"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, dict | list):
        return "a table" if isinstance(value, dict) else "a list"
    return "a date or time"


def _one_line(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)
