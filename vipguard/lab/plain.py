"""What do people run without vipguard? keepalived, a bash check with the client program, and a notify script:
to compare with.
"""

from __future__ import annotations

import shlex

from vipguard.lab.spec import INTERFACE, LabSpec

CONFIG = """\
global_defs {{
    router_id {node}
    vrrp_version 3
    enable_script_security
    script_user root
}}
vrrp_script check_mysql {{
    script "/etc/keepalived/check_mysql"
    interval 2
    fall 2
    rise 2
}}
vrrp_instance writer {{
    state BACKUP
    interface {interface}
    virtual_router_id 51
    priority {priority}
    advert_int {advert_s:g}
    nopreempt
    track_script {{
        check_mysql
    }}
    virtual_ipaddress {{
        {vip}/{prefix} dev {interface}
    }}
    notify /etc/keepalived/notify
}}
"""
CHECK = """\
#!/bin/bash
exec {client} --connect-timeout=1 -N -e 'SELECT 1' >/dev/null 2>&1
"""
NOTIFY = """\
#!/bin/bash
# $3 is the new state; MySQL's super_read_only goes with read_only there
case "$3" in
MASTER) {client} -e 'SET GLOBAL read_only = 0' ;;
*)      {client} -e 'SET GLOBAL {closing} = 1' ;;
esac
"""


def files(spec: LabSpec, node: str, client: list[str]) -> dict[str, tuple[str, int]]:
    """Path: text and mode. `client` is the command line of the client program, up to its first option."""
    line = shlex.join([*client, "-uroot", "-S/run/mysqld/mysqld.sock"])
    closing = "super_read_only" if spec.flavor == "mysql" else "read_only"
    config = CONFIG.format(
        node=node, interface=INTERFACE, priority=spec.priority(node), advert_s=spec.advert_s,
        vip=spec.vip, prefix=spec.prefix,
    )  # fmt: skip
    return {
        "/etc/keepalived/keepalived.conf": (config, 0o644),
        "/etc/keepalived/check_mysql": (CHECK.format(client=line), 0o755),
        "/etc/keepalived/notify": (NOTIFY.format(client=line, closing=closing), 0o755),
    }
