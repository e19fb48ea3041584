"""What must keepalived be told, so that this node is guarded with no further step? A template, filled."""

from __future__ import annotations

import re
from collections.abc import Sequence
from string import Template

from vipguard.errors import ConfigError
from vipguard.model.policy import Policy
from vipguard.model.reader import WRITER_LOWER, Reader

_PLAIN_PATH = re.compile(r"/[A-Za-z0-9._/+@:,-]*")


def keepalived_conf(policy: Policy, template: str, *, check: str, hook: str) -> str:
    """The complete configuration for this node; `check` and `hook` are the wrappers' paths.

    Raises ConfigError where the configuration file's own path cannot stand in it, and where nothing would: a replica
    has no instance but those of its reader addresses.
    """
    if not needed(policy):
        problem = f"says that {policy.node} is a replica without reader addresses: keepalived has nothing to do there"
        raise ConfigError(problem, file=policy.file, key=f"nodes.{policy.node}.role", remedy="leave it out there")
    if not _PLAIN_PATH.fullmatch(policy.file):
        remedy = "name it by an absolute path of letters, digits and . _ / + @ : , -"
        raise ConfigError(
            "its path cannot stand in keepalived's configuration", file=policy.file, remedy=remedy
        )
    vip = policy.vip
    head, writer, *parts = re.split(r"^@[a-z]+\n", template, flags=re.MULTILINE)
    text = Template(head if policy.me.is_replica else head + writer).substitute(
        cluster=policy.cluster,
        node=policy.node,
        router_name=f"{policy.cluster}-{policy.node}",
        config=policy.file,
        startup_delay=_startup_delay(policy),
        fifo=policy.paths.fifo,
        track_file=policy.paths.track_file,
        check=check,
        hook=hook,
        # the wrapper compares with /proc/net/if_inet6, which knows no abbreviations
        vip_full=vip.address.ip.exploded,
        vip_cidr=vip.address.with_prefixlen,
        # or the kernel would choose the VIP for this host's own connections, and peers would refuse its accounts
        vip_lifetime=_lifetime(vip.version),
        mysql_socket=policy.mysql.socket,
        agent_socket=policy.paths.agent_socket,
        instance=policy.instance,
        interface=vip.interface,
        router_id=vip.router_id,
        priority=policy.me.priority,
        advert_s=f"{vip.advert_s:g}",
        unicast=_unicast(policy) if policy.vrrp.unicast else "",
    )
    return text + _readers(policy, parts, check)


def needed(policy: Policy) -> bool:
    """Has keepalived anything to do on this node?"""
    return bool(policy.own_readers) or not policy.me.is_replica


def _readers(policy: Policy, template: Sequence[str], check: str) -> str:
    """The instances of the reader addresses that this node may hold, by their parts of the template."""
    if not policy.own_readers:
        return ""
    head, mark, one = template
    marked = any(reader.writer == "last" for reader in policy.own_readers)
    told = Template(mark).substitute(writer_mark=policy.paths.writer_mark, writer_lower=WRITER_LOWER)
    text = head + (told if marked else "\n")
    return (
        text
        + "".join(_reader(policy, reader, one, check) for reader in policy.own_readers).rstrip("\n")
        + "\n"
    )


def _reader(policy: Policy, reader: Reader, template: str, check: str) -> str:
    return Template(template).substitute(
        name=reader.name,
        config=policy.file,
        check=check,
        track_file=policy.paths.reader_file(reader.name),
        writer_mark="        vipguard_writer\n" if reader.writer == "last" else "",
        vip_full=reader.address.ip.exploded,
        vip_cidr=reader.address.with_prefixlen,
        vip_lifetime=_lifetime(reader.version),
        mysql_socket=policy.mysql.socket,
        agent_socket=policy.paths.agent_socket,
        interface=reader.interface,
        router_id=reader.router_id,
        priority=reader.priority(policy.node),
        advert_s=f"{policy.vip.advert_s:g}",
        unicast=_unicast(policy, reader) if policy.vrrp.unicast else "",
    )


def _lifetime(version: int) -> str:
    return " preferred_lft 0" if version == 6 else ""


def _startup_delay(policy: Policy) -> str:
    delay_s = policy.vrrp.startup_delay_s
    return f"    vrrp_startup_delay {delay_s:g}\n" if delay_s else ""


def _unicast(policy: Policy, reader: Reader | None = None) -> str:
    """To all nodes; of a reader address to those that may hold it."""
    others = [peer for peer in policy.peers if reader is None or peer.name in reader.nodes]
    peers = "".join(f"        {peer.address}\n" for peer in others)
    return f"    unicast_src_ip {policy.me.address}\n    unicast_peer {{\n{peers}    }}\n"
