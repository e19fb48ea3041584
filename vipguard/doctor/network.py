"""Does the link carry what a failover needs? ARP, keepalived's adverts, and the VIP's port."""

from __future__ import annotations

import select
import socket
import struct
from collections.abc import Iterator, Sequence

from vipguard.doctor.diagnosis import Diagnosis, error, warning
from vipguard.doctor.survey import ServerSeen
from vipguard.errors import Absent, CouldNotLook, Silent, VipguardError
from vipguard.model.policy import Policy
from vipguard.probe import procnet
from vipguard.probe.adverts import AdvertsSeen, AdvertWatch
from vipguard.probe.duplicate import Answers, ask_many
from vipguard.session import Deadline, Lost, Session, Tls, boottime_s

ARP_S = 0.3
ARP_TRIES = 3
ADVERTS = 5  # as many intervals are listened for
LISTEN_S_MIN = 0.5
CONNECT_S = 1.0
_VRRP = 112
_ADVERTISEMENT = (0x21, 0x31)  # version 2 or 3, type 1


def judge(policy: Policy, servers: Sequence[ServerSeen]) -> Iterator[Diagnosis]:
    """Takes about a second. What needs root and has it not is `not-looked-at`."""
    if policy.vip.interface == "lo":  # a cluster within one host has no link
        return
    try:
        here = procnet.look(policy.vip.interface, policy.vip.ip, boottime_s)
        if not here.link_up:
            return  # settings.py says so
        answers = _who(policy)
        heard, passed = _listen(policy)
    except CouldNotLook as exc:
        yield warning("network", "not-looked-at", str(exc), "run doctor as root")
        return
    yield from arp(policy, servers, answers)
    held_elsewhere = not here.vip_present and bool(answers.get(policy.vip.ip))
    yield from adverts(policy, bool(here.vip_present), held_elsewhere, heard, passed)
    if held_elsewhere:
        yield from port(policy)


def _who(policy: Policy) -> Answers:
    """One packet can be lost, so that who is silent is asked again."""
    wanted = [policy.vip.ip, *(node.address for node in policy.peers)]
    answers = ask_many(policy.vip.interface, wanted, ARP_S, first=True)
    for _ in range(ARP_TRIES - 1):
        silent = [ip for ip, macs in answers.items() if macs == () and ip != policy.vip.ip]
        if silent:
            answers = {**answers, **ask_many(policy.vip.interface, silent, ARP_S, first=True)}
    return answers


def _listen(policy: Policy) -> tuple[AdvertsSeen, bool]:
    """What is on the wire, and whether an advert passed this host's packet filter, as keepalived's must."""
    watch = AdvertWatch(policy.vip.interface, policy.vip.router_id, boottime_s)
    try:
        raw = _raw(policy)
    except OSError as exc:
        watch.close()
        raise CouldNotLook(f"cannot listen for VRRP: {exc.strerror}") from exc
    seen, passed = watch.drain(), False
    heard = select.poll()
    heard.register(watch, select.POLLIN)
    heard.register(raw, select.POLLIN)
    try:
        until_s = boottime_s() + max(LISTEN_S_MIN, ADVERTS * policy.vip.advert_s)
        while (left_s := until_s - boottime_s()) > 0:
            ready = [descriptor for descriptor, _ in heard.poll(left_s * 1000)]
            seen = watch.drain()
            passed |= raw.fileno() in ready and _is_ours(policy, raw.recv(256))
        return seen, passed
    finally:
        watch.close()
        raw.close()


def _raw(policy: Policy) -> socket.socket:
    """Receives what keepalived receives: behind the packet filter, of the group that it joins."""
    version, index = policy.vip.version, socket.if_nametoindex(policy.vip.interface)
    raw = socket.socket(
        socket.AF_INET if version == 4 else socket.AF_INET6, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _VRRP
    )
    try:
        if version == 4 and not policy.vrrp.unicast:
            group = socket.inet_pton(socket.AF_INET, "224.0.0.18") + struct.pack("=ii", 0, index)
            raw.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
        elif not policy.vrrp.unicast:
            group = socket.inet_pton(socket.AF_INET6, "ff02::12") + struct.pack("=I", index)
            raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group)
    except OSError:
        raw.close()
        raise
    return raw


def _is_ours(policy: Policy, data: bytes) -> bool:
    """IPv4's raw sockets give the header too, IPv6's don't."""
    start = (data[0] & 15) * 4 if policy.vip.version == 4 and data else 0
    return data[start : start + 2] in (bytes((kind, policy.vip.router_id)) for kind in _ADVERTISEMENT)


def arp(policy: Policy, servers: Sequence[ServerSeen], answers: Answers) -> Iterator[Diagnosis]:
    """Of a peer whose server answers, so that its host is there."""
    for seen in servers:
        if seen.here or seen.failure or answers.get(seen.node.address) != ():
            continue
        text = f"{seen.node.address} answers SQL and no ARP question on {policy.vip.interface}"
        text += ": were its server down, this node could not tell that from a host that is cut off"
        remedy = "let ARP pass there: arptables, arp_ignore, port security, a switch that answers for it"
        yield warning("network", "arp-filtered", text, remedy, seen.node.name)


def adverts(
    policy: Policy, holder: bool, held_elsewhere: bool, heard: AdvertsSeen, passed: bool
) -> Iterator[Diagnosis]:
    """The holder's leave, or the others' arrive."""
    vip, way = policy.vip, "unicast" if policy.vrrp.unicast else "multicast"
    if heard.looked_at_s is None:
        text = f"nothing can be heard on {vip.interface}"
        yield warning("network", "not-looked-at", text, "see whether it is up", policy.node)
    elif holder and heard.left_at_s is None:
        text = f"this node has the VIP, and no advert of router id {vip.router_id} leaves {vip.interface}"
        yield error(
            "network", "adverts-silent", text, "see whether keepalived runs or is stopped", policy.node
        )
    elif held_elsewhere and not heard.heard:
        text = f"another node has the VIP, and none of its adverts ({way}, router id {vip.router_id}) arrives here"
        remedy = (
            "let VRRP (protocol 112, 224.0.0.18) pass: firewalls, IGMP snooping; or set vrrp.unicast = true"
        )
        yield error(
            "network",
            "adverts-unheard",
            f"{text}: keepalived would take the VIP as well",
            remedy,
            policy.node,
        )
    elif held_elsewhere and not passed:
        text = f"the holder's adverts arrive on {vip.interface}, and this host's packet filter drops them"
        remedy = "let protocol 112 (VRRP) in: nft list ruleset, iptables -S"
        yield error("network", "adverts-filtered", f"{text}: keepalived hears none", remedy, policy.node)
    for address, (_, priority) in heard.heard.items():
        yield from _priority(policy, address, priority)


def _priority(policy: Policy, address: str, priority: int) -> Iterator[Diagnosis]:
    """Who sends is told by its address, but for a node with several, and IPv6's link-local ones."""
    node = next((node for node in policy.nodes if node.address == address), None)
    known = {0, 255, *(node.priority for node in policy.nodes)}
    if node is not None and priority not in (0, 255, node.priority):
        text = f"its adverts have priority {priority}, the configuration says {node.priority}"
        remedy = "install there what `vipguard render keepalived` prints, and reload keepalived"
        yield warning("network", "advert-priority", text, remedy, node.name)
    elif node is None and priority not in known:
        router_id = policy.vip.router_id
        text = f"{address}, which is no node, sends adverts of router id {router_id} with priority {priority}"
        yield error("network", "router-id-taken", text, "choose a vip.router_id of your own on this link")


def port(policy: Policy) -> Iterator[Diagnosis]:
    """As a client would ask the writer. That it knows the account is another question."""
    try:
        Session.peer(policy.vip.ip, policy.mysql, Tls.of(policy.mysql), Deadline(CONNECT_S)).close()
    except (Absent, Silent, Lost) as exc:
        text = f"the VIP answers ARP, and its port {policy.mysql.port} not: {exc}"
        remedy = "see `vipguard status` for the writer, and bind_address and the firewall there"
        yield error("network", "vip-port-closed", text, remedy)
    except VipguardError:
        return
