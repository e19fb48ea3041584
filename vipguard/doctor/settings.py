"""Can this configuration guard this host? What loads, and still leaves a hole."""

from __future__ import annotations

from collections.abc import Iterator

from vipguard.doctor.diagnosis import Diagnosis, error, warning
from vipguard.errors import ConfigError, CouldNotLook
from vipguard.model.policy import Policy
from vipguard.probe import procnet
from vipguard.session import boottime_s


def refused(mistake: ConfigError) -> Diagnosis:
    """A configuration that does not load."""
    place = ": ".join(part for part in (mistake.file, mistake.key) if part)
    return error("configuration", "refused", f"{place}: {mistake.problem}", mistake.remedy)


def judge(policy: Policy) -> Iterator[Diagnosis]:
    """What the loader cannot refuse: it is legal, or true on another host."""
    if not policy.witnesses:
        text = "no witness: [witness] names none, and this host has no default gateway"
        remedy = "name a host that answers pings and is no node, as witness.addresses"
        yield warning("configuration", "no-witness", f"{text}; nobody opens against a silent peer", remedy)
    if policy.silent_peer == "open" and not policy.witnesses:
        text = 'silent_peer = "open" has no effect without a witness'
        yield warning("configuration", "silent-peer", text, 'name a witness, or write silent_peer = "wait"')
    yield from _here(policy)


def _here(policy: Policy) -> Iterator[Diagnosis]:
    try:
        seen = procnet.look(policy.vip.interface, policy.me.address, boottime_s)
    except CouldNotLook as exc:
        yield warning("configuration", "not-looked-at", str(exc), "run doctor as root")
        return
    if not seen.vip_present:
        text = f"this host does not have the address {policy.me.address} of node {policy.node}"
        yield error("configuration", "not-this-host", text, "correct `node`, or the node's address")
    if not seen.link_up:
        text = f"interface {policy.vip.interface} is missing, down, or has no carrier"
        yield error("configuration", "interface-down", text, "correct vip.interface, or bring it up")
