"""What must keepalived be told, so that this node is guarded with no further step? A template, filled."""

from __future__ import annotations

import re
from string import Template

from vipguard.errors import ConfigError
from vipguard.model.policy import Policy

_PLAIN_PATH = re.compile(r"/[A-Za-z0-9._/+@:,-]*")


def keepalived_conf(policy: Policy, template: str, *, check: str, hook: str) -> str:
    """The complete configuration for this node; `check` and `hook` are the wrappers' paths.

    Raises ConfigError where the configuration file's own path cannot stand in it.
    """
    if not _PLAIN_PATH.fullmatch(policy.file):
        remedy = "name it by an absolute path of letters, digits and . _ / + @ : , -"
        raise ConfigError(
            "its path cannot stand in keepalived's configuration", file=policy.file, remedy=remedy
        )
    vip = policy.vip
    return Template(template).substitute(
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
        vip_lifetime=" preferred_lft 0" if vip.version == 6 else "",
        mysql_socket=policy.mysql.socket,
        agent_socket=policy.paths.agent_socket,
        instance=policy.instance,
        interface=vip.interface,
        router_id=vip.router_id,
        priority=policy.me.priority,
        advert_s=f"{vip.advert_s:g}",
        unicast=_unicast(policy) if policy.vrrp.unicast else "",
    )


def _startup_delay(policy: Policy) -> str:
    delay_s = policy.vrrp.startup_delay_s
    return f"    vrrp_startup_delay {delay_s:g}\n" if delay_s else ""


def _unicast(policy: Policy) -> str:
    peers = "".join(f"        {peer.address}\n" for peer in policy.peers)
    return f"    unicast_src_ip {policy.me.address}\n    unicast_peer {{\n{peers}    }}\n"
