"""What does the new vipguard.toml look like? A draft as text, with a comment where the operator has a word to say."""

from __future__ import annotations

import re

from vipguard.mmm.draft import Draft, Node

FILL_IN = "FILL IN"
_SERVER_ID = f"# {FILL_IN}: what SELECT @@server_id says there; it must not change\n# server_id = 1\n"
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)


def quoted(text: str) -> str:
    """A basic string of TOML, in ASCII: standard output may have no other letters."""
    plain = (c if c.isascii() and c.isprintable() and c not in '"\\' else f"\\U{ord(c):08x}" for c in text)
    return f'"{"".join(plain)}"'


def key(text: str) -> str:
    return text if _BARE_KEY.fullmatch(text) else quoted(text)


def render(draft: Draft) -> str:
    """Complete but for the lines that say FILL IN."""
    candidates = [node for node in draft.nodes if node.priority]
    replicas = [node for node in draft.nodes if not node.priority]
    parts = [
        _head(draft),
        _vip(draft),
        *(_candidate(node) for node in candidates),
        *map(_replica, replicas),
        *_readers(draft),
        _mysql(draft),
        _replication(draft),
        _limits(draft),
        _damping(draft),
        _witness(draft),
    ]
    return "\n".join(part for part in parts if part)


def _head(draft: Draft) -> str:
    names = ", ".join(draft.files)
    cluster = (
        f"cluster = {quoted(draft.cluster)}\n"
        if draft.cluster
        else "# MMM had no name for it: any will do that is not another cluster's here\ncluster = \"mysql\"\n"
    )
    this = f"# this file came from {quoted(draft.this)}\n" if draft.this else ""
    example = draft.this or draft.nodes[0].name
    return (
        f"# Made from MMM's {names} by `vipguard import-mmm`: one file for all nodes.\n"
        f"# What says {FILL_IN} is yours to say; then `vipguard doctor` looks at the rest.\n"
        f"{cluster}"
        f"{this}"
        f"# only on a host whose own name is not its node's: node = {quoted(example)}\n"
    )


def _vip(draft: Draft) -> str:
    interface = (
        f"interface = {quoted(draft.interface)}\n"
        if draft.interface
        else f'# {FILL_IN}: the interface that gets it\n# interface = "eth0"\n'
    )
    return (
        f"[vip]\n# MMM's role {_comment(draft.role)}, with the prefix length that MMM gave it\n"
        f"address = {quoted(draft.vip)}\n{interface}"
        f"# {FILL_IN}: 1 to 255, not used by another keepalived in this network\n# router_id = 51\n"
    )


def _comment(text: str) -> str:
    return "".join(c if c.isascii() and c.isprintable() else "?" for c in text)


def _candidate(node: Node) -> str:
    return (
        f"[nodes.{key(node.name)}]\naddress = {quoted(node.address)}\npriority = {node.priority}\n"
        f"{_SERVER_ID}"
    )


def _replica(node: Node) -> str:
    return f"[nodes.{key(node.name)}]\naddress = {quoted(node.address)}\nrole = \"replica\"\n{_SERVER_ID}"


def _readers(draft: Draft) -> list[str]:
    parts = []
    for number, reader in enumerate(draft.readers, 52):
        hosts = ", ".join(quoted(name) for name in reader.nodes)
        prefer = f"prefer = {quoted(reader.prefer)}\n" if reader.prefer else ""
        told = f"# {FILL_IN}: 1 to 255, not used by another keepalived in this network\n"
        parts.append(
            f"# MMM's role {_comment(reader.role)}\n"
            f"[[reader]]\naddress = {quoted(reader.address)}\n{told}# router_id = {number}\nnodes = [{hosts}]\n{prefer}"
            '# as MMM had it; without this line the writer serves it only where no other node can\nwriter = "yes"\n'
        )
    return parts


def _mysql(draft: Draft) -> str:
    port = f"port = {draft.port}\n" if draft.port != 3306 else ""
    told = f"# {FILL_IN}: a new password, in that file, mode 0600\n"
    return f'[mysql]\n{told}password_file = "/etc/vipguard/password"\n{port}'


def _replication(draft: Draft) -> str:
    user = f"user = {quoted(draft.replication_user)}\n" if draft.replication_user else ""
    which = "replication_user's password" if user else "a new password"
    return (
        f"[replication]\n{user}# {FILL_IN}: {which}, in that file, mode 0600\n"
        'password_file = "/etc/vipguard/replication-password"\n'
    )


def _limits(draft: Draft) -> str:
    return "" if draft.lag_s_max is None else f"[limits]\n# MMM's max_backlog\nlag_s_max = {draft.lag_s_max:g}\n"


def _damping(draft: Draft) -> str:
    losses = "" if draft.losses_max is None else f"losses_max = {draft.losses_max}\n"
    window = "" if draft.window_s is None else f"window_s = {draft.window_s:g}\n"
    if not losses and not window:
        return ""
    told = "# MMM's flap_count and flap_duration; a flapping node is parked for window_s, then it may again\n"
    return f"[damping]\n{told}{losses}{window}"


def _witness(draft: Draft) -> str:
    if draft.witnesses:
        names = ", ".join(quoted(address) for address in draft.witnesses)
        return f"[witness]\n# MMM's ping_ips, without the cluster's own\naddresses = [{names}]\n"
    return (
        f"# {FILL_IN}: a host outside the cluster that answers pings; left so it is the default gateway\n"
        '# [witness]\n# addresses = ["192.0.2.1"]\n'
    )


def fill_in(text: str) -> list[str]:
    """What is left to the operator: one line for each mark in `text`, with its key."""
    table, lines, found = "", text.splitlines(), []
    for number, line in enumerate(lines):
        if line.startswith("["):
            table = line.strip("[]")
        elif line.startswith(f"# {FILL_IN}: "):
            below = [part.removeprefix("# ") for part in lines[number + 1 : number + 3]]
            if below[0].startswith("["):
                table = below.pop(0).strip("[]")
            place = f"{table}.{below[0].partition(' ')[0]}"
            found.append(f"to fill in, line {number + 1}: {place}: {line.removeprefix(f'# {FILL_IN}: ')}")
    return found
