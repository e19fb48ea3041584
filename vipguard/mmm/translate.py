"""What do MMM's settings come to here? Values for vipguard.toml, and a sentence for what has no counterpart.

Raises ConfigError where the files do not say which address the writer has and which nodes may have it.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Iterator

from vipguard.mmm.directives import BLOCKS, TOP
from vipguard.mmm.draft import Draft, Node, Reader
from vipguard.mmm.files import Block, Entry, Settings, wrong

PRIORITY_MAX, PRIORITY_STEP, PRIORITY_STEP_MIN = 250, 20, 10
CANDIDATES_MAX = PRIORITY_MAX // PRIORITY_STEP_MIN
SOURCE_PASSWORD_MAX = 32  # MySQL's CHANGE REPLICATION SOURCE
_NODE_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?", re.ASCII)
_CLUSTER_FILE = re.compile(r"mmm_(?:mon|agent|common|tools)_([A-Za-z0-9][\w.-]{0,40}?)\.conf", re.ASCII)
_ACCOUNT = re.compile(r"[A-Za-z0-9._-]{1,32}", re.ASCII)


def translate(settings: Settings) -> Draft:
    """Raises ConfigError."""
    draft = Draft(settings.files)
    hosts = settings.named("host")
    roles = settings.named("role")
    here = ", ".join(settings.files)
    if not hosts or not roles:
        raise wrong(here, f"has no <{'role' if hosts else 'host'} …>", "name mmm_common.conf too")
    role = _writer_role(settings, roles, here)
    _cluster_and_this(settings, draft, hosts)
    _nodes(draft, hosts, role)
    _vip(settings, draft, hosts, role)
    _readers(settings, draft, hosts, roles)
    _server(draft, hosts)
    _monitor(settings, draft, hosts)
    _backlog(settings, draft)
    draft.notes += [(place, about, sentence) for place, about, sentence in settings.remarks]
    draft.notes += _without_counterpart(settings)
    return draft


def _cluster_and_this(settings: Settings, draft: Draft, hosts: dict[str, Block]) -> None:
    clusters = {found[1] for name in settings.files if (found := _CLUSTER_FILE.fullmatch(name))}
    draft.cluster = clusters.pop() if len(clusters) == 1 else ""
    this = settings.entries.get("this")
    if this and this.value not in hosts:
        draft.note(this.place, "this", "names a host that has no block, so it is left out")
    elif this:
        draft.this = this.value


# -- the writer


def _writer_role(settings: Settings, roles: dict[str, Block], here: str) -> Block:
    exclusive = [role for role in roles.values() if _mode(role) == "exclusive"]
    active = settings.entries.get("active_master_role")
    if active:
        if active.value not in roles:
            problem = f"active_master_role names {active.value[:60]}, and there is no such <role …>"
            raise wrong(active.place, problem, f"name one of {', '.join(roles)[:200]}")
        if roles[active.value] not in exclusive:
            raise wrong(active.place, f"active_master_role names {active.value[:60]}, which is not exclusive",
                        "name the role whose address takes writes")  # fmt: skip
        return roles[active.value]
    if not exclusive:
        raise wrong(here, "has no role of mode exclusive, so nobody writes", "name mmm_common.conf too")
    if len(exclusive) > 1:
        names = " and ".join(role.name for role in exclusive)
        problem = f"{names} are exclusive, and no active_master_role says which of them takes writes"
        raise wrong(exclusive[1].place, problem, "write active_master_role and that role's name")
    return exclusive[0]


def _mode(role: Block) -> str:
    return role.entries["mode"].value if "mode" in role.entries else ""


def _members(role: Block, hosts: dict[str, Block]) -> list[str]:
    """The hosts of a role, the preferred one first. Raises ConfigError."""
    given = role.entries.get("hosts")
    if given is None:
        raise wrong(role.place, f"role {role.name} has no hosts", "write for example hosts db1, db2")
    prefer = role.entries.get("prefer")
    for entry in filter(None, (given, prefer)):
        for name in entry.items:
            if name not in hosts:
                problem = f"role {role.name} names the host {name[:60]}, which has no <host …>"
                raise wrong(entry.place, problem, f"name one of {', '.join(hosts)[:200]}, with commas between them")
    names = list(dict.fromkeys(given.items))
    if prefer and prefer.value in names:
        names.sort(key=lambda name: name != prefer.value)
    return names


def _nodes(draft: Draft, hosts: dict[str, Block], role: Block) -> None:
    draft.role = role.name
    wanted = _members(role, hosts)
    candidates = [name for name in wanted if _host_mode(hosts[name]) != "slave"]
    for name in wanted:
        if name not in candidates:
            sentence = f"{name} is of mode slave: it becomes a replica, which never writes"
            draft.note(hosts[name].place, "mode", sentence)
    if len(candidates) < 2:
        problem = f"role {role.name} may be had by {candidates[0] if candidates else 'no master'} alone"
        raise wrong(role.place, problem, "vipguard guards two nodes or more that can take writes: add one")
    if len(candidates) > CANDIDATES_MAX:
        problem = f"role {role.name} has {len(candidates)} hosts"
        raise wrong(role.place, problem, f"vipguard takes {CANDIDATES_MAX} nodes that can become the writer")
    step = PRIORITY_STEP if len(candidates) * PRIORITY_STEP <= PRIORITY_MAX else PRIORITY_STEP_MIN
    priorities = {name: PRIORITY_MAX - place * step for place, name in enumerate(candidates)}
    for name, host in hosts.items():
        if not _NODE_NAME.fullmatch(name):
            remedy = "rename it: at most 64 letters, digits and . _ -, with a letter or digit at both ends"
            raise wrong(host.place, f"{name[:60]} is no name for a node", remedy)
        draft.nodes.append(Node(name, _host_address(host), priorities.get(name, 0)))
        if name not in priorities and _host_mode(host) == "master":
            draft.note(host.place, "mode", f"{name} is a master that never has role {role.name}: it becomes a replica")
    if "prefer" in role.entries:
        sentence = "became the highest priority; nothing moves back to it by itself, but by `vipguard switchover`"
        draft.note(role.entries["prefer"].place, "prefer", sentence)


def _host_mode(host: Block) -> str:
    return host.entries["mode"].value if "mode" in host.entries else ""


def _host_address(host: Block) -> str:
    entry = host.entries.get("ip")
    if entry is None:
        raise wrong(host.place, f"host {host.name} has no ip", "write its address")
    return str(_ip(entry, f"host {host.name}", entry.value))


def _ip(entry: Entry, whose: str, text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        if "%" in text:
            raise ValueError("a scope, which differs from host to host")
        return ipaddress.ip_address(text)
    except ValueError as exc:
        remedy = "write the IPv4 or IPv6 address: names are not looked up in the middle of a failover"
        raise wrong(entry.place, f'{whose} has "{text[:60]}", which is no address', remedy) from exc


def _vip(settings: Settings, draft: Draft, hosts: dict[str, Block], role: Block) -> None:
    ips = role.entries.get("ips")
    if ips is None or not ips.items:
        raise wrong(role.place, f"role {role.name} has no ips", "write the address that takes writes")
    if len(ips.items) > 1:
        problem = f"role {role.name} has {len(ips.items)} ips, and an exclusive role has one"
        raise wrong(ips.place, problem, "leave the one that clients write to")
    draft.vip = _cidr(settings, ips, role)[0]
    found: dict[str, str] = {}
    for host in hosts.values():
        if entry := host.entries.get("cluster_interface"):
            plain = entry.value.partition(":")[0]
            if plain != entry.value:
                sentence = f'names a label of {plain[:20]}: keepalived puts the address on {plain[:20]} itself'
                draft.note(entry.place, "cluster_interface", sentence)
            found.setdefault(plain, entry.place)
    if len(found) > 1:
        names = ", ".join(name[:20] for name in found)
        sentence = f"differs between the hosts ({names}): vip.interface is one name: rename it, or use a file for each"
        draft.note(list(found.values())[1], "cluster_interface", sentence)
    draft.interface = next(iter(found), "")


def _cidr(settings: Settings, ips: Entry, role: Block) -> list[str]:
    """The addresses of a role with the prefix length that MMM gave them: all its bits, but for <ip> of a fork."""
    given = settings.named("ip")
    result = []
    for text in ips.items:
        address = _ip(ips, f"role {role.name}", text)
        prefix = str(address.max_prefixlen)
        if text in given and (cidr := given[text].entries.get("cidr")):
            if not re.fullmatch(r"\d{1,3}", cidr.value, re.ASCII) or int(cidr.value) > address.max_prefixlen:
                raise wrong(cidr.place, f"cidr of {text[:60]} is no prefix length", f"write 1 to {prefix}")
            prefix = cidr.value
        result.append(f"{address}/{int(prefix)}")
    return result


def _readers(settings: Settings, draft: Draft, hosts: dict[str, Block], roles: dict[str, Block]) -> None:
    for role in roles.values():
        if role.name == draft.role:
            continue
        members = _members(role, hosts)
        ips = role.entries.get("ips")
        if ips is None or not ips.items:
            draft.note(role.place, "ips", f"role {role.name} has no address, so nothing becomes of it")
            continue
        if _mode(role) == "exclusive":
            draft.note(role.place, "mode", f"role {role.name} takes no writes, so its address is a reader's")
        prefer = members[0] if "prefer" in role.entries else ""
        for address in _cidr(settings, ips, role):
            draft.readers.append(Reader(role.name, address, tuple(members), prefer))


# -- the rest


def _server(draft: Draft, hosts: dict[str, Block]) -> None:
    ports = {host.entries["mysql_port"].value: host.entries["mysql_port"].place
             for host in hosts.values() if "mysql_port" in host.entries}  # fmt: skip
    if ports:
        text, place = next(iter(ports.items()))
        if len(ports) > 1:
            sentence = "differs between the hosts: mysql.port is one for all nodes' servers, so change the others"
            draft.note(list(ports.values())[1], "mysql_port", sentence)
        if re.fullmatch(r"\d{1,5}", text, re.ASCII) and 0 < int(text) < 65536:
            draft.port = int(text)
        else:
            draft.note(place, "mysql_port", "is no port, so 3306 is taken")
    users = {host.entries["replication_user"].value: host.entries["replication_user"].place
             for host in hosts.values() if "replication_user" in host.entries}  # fmt: skip
    if users:
        user, place = next(iter(users.items()))
        if len(users) > 1 or not _ACCOUNT.fullmatch(user) or user == "vipguard":
            why = "differs between the hosts" if len(users) > 1 else "is no name that vipguard takes"
            sentence = f"{why}: vipguard_repl is taken; point the servers at their sources with it"
            draft.note(place, "replication_user", sentence)
        else:
            draft.replication_user = user
    for host in hosts.values():
        entry = host.entries.get("replication_password")
        if entry and len(entry.value) > SOURCE_PASSWORD_MAX:
            sentence = f"has more than {SOURCE_PASSWORD_MAX} characters, which MySQL does not take: choose a new one"
            draft.note(entry.place, "replication_password", sentence)
            break


def _monitor(settings: Settings, draft: Draft, hosts: dict[str, Block]) -> None:
    monitor = settings.blocks.get("monitor", {}).get("")
    if monitor is None:
        return
    entries = monitor.entries
    if "ping_ips" in entries:
        _witnesses(draft, entries["ping_ips"], entries["ip"].value if "ip" in entries else "")
    if (count := _number(draft, entries, "flap_count", 1, 1000)) is not None:
        draft.losses_max = int(count)
    draft.window_s = _number(draft, entries, "flap_duration", 1, 86400)
    if "mode" in entries and entries["mode"].value != "active":
        sentence = "is no setting here: `vipguard maintenance on --cluster` pauses the cluster until you say off"
        draft.note(entries["mode"].place, "mode", sentence)


def _witnesses(draft: Draft, entry: Entry, monitor: str) -> None:
    """Those of ping_ips that prove something: no node, no VIP, and not the monitor's host."""
    ours = {node.address for node in draft.nodes}
    ours |= {address.partition("/")[0] for address in (draft.vip, *(reader.address for reader in draft.readers))}
    for text in entry.items:
        try:
            address = str(ipaddress.ip_address(text))
        except ValueError:
            draft.note(entry.place, "ping_ips", "names what is no address: names are not looked up, so it is left out")
            continue
        if address in ours:
            sentence = "names nodes or their VIPs: a witness is a host outside the cluster, so they are left out"
            draft.note(entry.place, "ping_ips", sentence)
        elif address == monitor or ipaddress.ip_address(address).is_loopback:
            draft.note(entry.place, "ping_ips", "names the monitor's host, which may go, so it is left out")
        else:
            draft.witnesses.append(address)
    draft.witnesses = list(dict.fromkeys(draft.witnesses))


def _backlog(settings: Settings, draft: Draft) -> None:
    checks = settings.blocks.get("check", {})
    for name in ("rep_backlog", "default"):
        if name in checks and "max_backlog" in checks[name].entries:
            draft.lag_s_max = _number(draft, checks[name].entries, "max_backlog", 0, 3600)
            return


def _number(draft: Draft, entries: dict[str, Entry], key: str, least: int, most: int) -> float | None:
    entry = entries.get(key)
    if entry is None:
        return None
    if re.fullmatch(r"\d{1,9}", entry.value, re.ASCII) and least <= int(entry.value) <= most:
        return float(entry.value)
    draft.note(entry.place, key, f"is no whole number from {least} to {most}, so vipguard's own default is taken")
    return None


def _without_counterpart(settings: Settings) -> Iterator[tuple[str, str, str]]:
    for kind, name, entry in settings.every():
        table = BLOCKS[kind] if kind else TOP
        if name in table:
            if sentence := table[name]:
                yield entry.place, name, sentence
            continue
        elsewhere = [f"<{block}>" for block, names in BLOCKS.items() if name in names]
        near = difflib.get_close_matches(name[:60], table, n=1, cutoff=0.7)
        known = f"it belongs into {' or '.join(elsewhere)}" if elsewhere else ""
        known = known or (f"did you mean {near[0]}?" if near else "MMM 2.2.1 does not know it")
        yield entry.place, name[:60], f"is not read here: {known}"

