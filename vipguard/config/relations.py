"""Do the settings fit each other, and mean something? What no single key's type can say."""

from __future__ import annotations

import dataclasses
import ipaddress
import os
import re

from vipguard.config.values import NAME, At, shown
from vipguard.model import policy as model
from vipguard.model.policy import Policy
from vipguard.model.witness import parse as parse_witness

WRAPPER_S = 1.0  # keepalived gives the check wrapper one second
PROBES_IN_LEASE = 3
LOCK_NAME_MAX = 64  # MySQL's limit for GET_LOCK
USER_NAME_MAX = 32  # MySQL's; MariaDB takes 80
SOCKET_PATH_MAX = 107  # sun_path without its closing zero
PORT_MAX = 65535
DOMAIN_MAX = 4294967294  # the highest marks a copy that is not whole
STARTUP_DELAY_S_MAX = 60
HOOKS_S_MAX = 600
LOSSES_MAX = 1000
WINDOW_S_MAX = 86400

# nothing that keepalived or a shell reads as more than itself
_PLAIN_PATH = re.compile(r"/[A-Za-z0-9._/+@:,-]*")


def check(at: At, policy: Policy) -> None:
    """Raises ConfigError for the first relation that does not hold."""
    _cluster(at / "cluster", policy)
    _users(at, policy)
    _paths(at, policy)
    _limits(at / "limits", policy.limits)
    _fence(at / "fence", policy)
    _damping(at / "damping", policy.damping)
    if policy.hooks.deadline_s > HOOKS_S_MAX:
        problem = f"is {policy.hooks.deadline_s:g}"
        raise (at / "hooks" / "deadline_s").wrong(problem, f"choose at most {HOOKS_S_MAX} seconds")
    _exporter(at / "exporter", policy.exporter)
    _addresses(at, policy)
    if policy.mysql.port > PORT_MAX:
        raise (at / "mysql" / "port").wrong(f"is {policy.mysql.port}", f"choose 1 to {PORT_MAX}")
    if policy.mysql.gtid_domain_id > DOMAIN_MAX:
        problem = f"is {policy.mysql.gtid_domain_id}"
        raise (at / "mysql" / "gtid_domain_id").wrong(problem, f"choose 0 to {DOMAIN_MAX}, the same on every node")
    if policy.vrrp.startup_delay_s > STARTUP_DELAY_S_MAX:
        problem = f"is {policy.vrrp.startup_delay_s:g}"
        raise (at / "vrrp" / "startup_delay_s").wrong(
            problem, f"choose at most {STARTUP_DELAY_S_MAX} seconds"
        )


def _cluster(at: At, policy: Policy) -> None:
    names = [policy.claim_lock, policy.open_lock, policy.fit_lock]
    names += [lock(node.name) for node in policy.nodes for lock in (policy.move_lock, policy.gone_lock)]
    names += [policy.read_lock(reader.name) for reader in policy.readers]
    longest = LOCK_NAME_MAX - max(map(len, names)) + len(policy.cluster)
    if not NAME.fullmatch(policy.cluster) or len(policy.cluster) > longest:
        remedy = f"use at most {longest} letters, digits and . _ - between them: it ends the names of locks"
        raise at.wrong(f"is {shown(policy.cluster)}", remedy)


def _users(at: At, policy: Policy) -> None:
    users = [("mysql", policy.mysql.user), ("copy", policy.copy.user)]
    if policy.replication:
        users.append(("replication", policy.replication.user))
        if policy.replication.user == policy.mysql.user:
            problem = f"is {shown(policy.mysql.user)}, which is mysql.user too"
            raise (at / "replication" / "user").wrong(
                problem, "use two accounts, each with its own privileges"
            )
    for name, user in users:
        if not re.fullmatch(r"[A-Za-z0-9._-]+", user) or len(user) > USER_NAME_MAX:
            remedy = f"use at most {USER_NAME_MAX} letters, digits and . _ -"
            raise (at / name / "user").wrong(f"is {shown(user)}", remedy)


def _damping(at: At, damping: model.Damping) -> None:
    if damping.losses_max > LOSSES_MAX:
        raise (at / "losses_max").wrong(
            f"is {shown(damping.losses_max)}", f"choose at most {LOSSES_MAX}; 0 is never"
        )
    for key in ("window_s", "recovery_block_s"):
        if getattr(damping, key) > WINDOW_S_MAX:
            problem = f"is {getattr(damping, key):g} seconds, more than a day"
            raise (at / key).wrong(problem, f"choose at most {WINDOW_S_MAX}")


def _exporter(at: At, exporter: model.Exporter) -> None:
    try:
        ipaddress.ip_address(exporter.address or "::")
    except ValueError as exc:
        remedy = 'write an address of this host, or "0.0.0.0" or "::" for all of them'
        raise (at / "address").wrong(f"is {shown(exporter.address)}", remedy) from exc
    if exporter.port > PORT_MAX:
        raise (at / "port").wrong(f"is {exporter.port}", f"choose 1 to {PORT_MAX}")
    if exporter.user and not exporter.password_file:
        raise (at / "password_file").wrong("is missing", "name the file with the password of exporter.user")
    if exporter.password_file and not exporter.user:
        raise (at / "user").wrong("is missing", "name who comes with the password of exporter.password_file")
    if exporter.tls_certificate and not exporter.tls_key:
        remedy = "name the file with the certificate's key; the same file, where it holds both"
        raise (at / "tls_key").wrong("is missing", remedy)
    if ":" in exporter.user:
        raise (at / "user").wrong(f"is {shown(exporter.user)}", "choose a name without a colon")
    if exporter.tls_key and not exporter.tls_certificate:
        raise (at / "tls_certificate").wrong("is missing", "name the certificate that exporter.tls_key belongs to")


def _fence(at: At, policy: Policy) -> None:
    fence = policy.fence
    if fence.required and not fence.command:
        remedy = "name the fence agent as fence.command, or leave it away"
        raise (at / "required").wrong("is true, and there is no fence.command", remedy)
    if fence.deadline_s > 3600:
        raise (at / "deadline_s").wrong(f"is {fence.deadline_s:g}, more than an hour", "choose at most 3600")
    for key, _ in fence.options:
        if key in ("action", "option", "nodename"):
            remedy = "remove it: vipguard says action=off and the node's name itself"
            raise (at / "options" / key).wrong("is not yours to choose", remedy)
    names = [node.name for node in policy.nodes]
    for name, _ in fence.plugs:
        if name not in names:
            raise (at / "plugs" / name).wrong("is no node", f"name one of {', '.join(names)}")


def _paths(at: At, policy: Policy) -> None:
    paths = {
        "fence.command": policy.fence.command,
        "hooks.directory": policy.hooks.directory,
        "mysql.socket": policy.mysql.socket,
        "mysql.tls_ca": policy.mysql.tls_ca,
        "paths.run": policy.paths.run,
        "paths.state": policy.paths.state,
        "vrrp.pid_file": policy.vrrp.pid_file,
    }
    for key, path in paths.items():
        if path and not _PLAIN_PATH.fullmatch(path):
            remedy = "write an absolute path of letters, digits and . _ / + @ : , -"
            raise (at / key).wrong(f"is {shown(path)}", remedy)
    for key, path in ("mysql.socket", policy.mysql.socket), ("paths.run", policy.paths.agent_socket):
        if len(os.fsencode(path)) > SOCKET_PATH_MAX:
            problem = f"makes a socket's path of more than {SOCKET_PATH_MAX} bytes"
            raise (at / key).wrong(problem, "choose a shorter path")


def _limits(at: At, limits: model.Limits) -> None:
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
    if 0 < limits.heartbeat_s < limits.probe_s:
        problem = f"is {limits.heartbeat_s:g}, less than limits.probe_s = {limits.probe_s:g}"
        raise (at / "heartbeat_s").wrong(problem, f"choose {limits.probe_s:g} or more, or 0 for none")
    if limits.hang_s < limits.deadline_s:
        problem = f"is {limits.hang_s:g}, less than one probe's deadline_s = {limits.deadline_s:g}"
        raise (at / "hang_s").wrong(problem, f"raise it to {limits.deadline_s:g} or more")
    if limits.lag_s_max <= limits.hang_s:
        problem = f"is {limits.lag_s_max:g}, not above limits.hang_s = {limits.hang_s:g}"
        remedy = "raise it, or lower hang_s: the time for which a hung writer is not seen counts as lag"
        raise (at / "lag_s_max").wrong(problem, remedy)
    for field in dataclasses.fields(limits):
        if getattr(limits, field.name) > 3600:
            problem = f"is {getattr(limits, field.name):g} seconds, more than an hour"
            raise (at / field.name).wrong(problem, "choose seconds, at most 3600")


def _addresses(at: At, policy: Policy) -> None:
    at_vip, at_witnesses = at / "vip" / "address", at / "witness" / "addresses"
    witnesses = [parse_witness(name).address for name in policy.witnesses]
    for node in policy.nodes:
        if node.address == policy.vip.ip:
            remedy = "give the VIP an address of its own"
            raise at_vip.wrong(f"is {policy.vip.ip}, node {node.name}'s own address", remedy)
        if node.address in witnesses:
            remedy = "name a host that is none of the nodes, such as the router"
            raise at_witnesses.wrong(f"names node {node.name}'s address {node.address}", remedy)
        if policy.vrrp.unicast and ipaddress.ip_address(node.address).version != policy.vip.version:
            problem = f"is true, but node {node.name}'s address is not of the VIP's family"
            remedy = "give VIP and nodes addresses of one family, or set it false"
            raise (at / "vrrp" / "unicast").wrong(problem, remedy)
    if policy.vip.ip in witnesses:
        remedy = "name hosts that stay where they are, such as the router"
        raise at_witnesses.wrong(f"names the VIP {policy.vip.ip}", remedy)
