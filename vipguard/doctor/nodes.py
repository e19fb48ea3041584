"""Do the nodes fit each other? Their configurations, versions and clocks, and whether each reaches the other."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence

from vipguard.doctor.diagnosis import Diagnosis, error, warning
from vipguard.doctor.survey import ServerSeen
from vipguard.model.policy import Policy

CLOCK_S_MAX = 2.0


def judge(policy: Policy, servers: Sequence[ServerSeen]) -> Iterator[Diagnosis]:
    """What only a look at several servers shows."""
    asked = [seen for seen in servers if not seen.failure]
    for seen in asked:
        yield from _configuration(seen)
        yield from _clock(seen)
        yield from _reachable(seen)
    yield from _reaching(policy, asked)
    yield from _versions(asked)


def _configuration(seen: ServerSeen) -> Iterator[Diagnosis]:
    """By the locks that an agent holds on its own server, named after what it goes by."""
    signs, name = seen.inside.signs, seen.node.name
    if signs is None:
        return
    if not signs["agent"]:
        if not seen.here:  # of this host's own the socket tells
            text = "no agent is seen to guard its server"
            yield warning("agent", "agent-not-seen", text, "run there: systemctl status vipguard-agent", name)
        return
    differ = [section for section, same in signs.items() if not same]
    if not differ:
        return
    what = f"in the part{'' if len(differ) == 1 else 's'} {', '.join(differ)}"
    if seen.here:
        text = f"the agent does not go by the configuration in the file, {what}"
        remedy = "run: systemctl reload vipguard-agent; its journal says what needs a restart"
        yield error("configuration", "configuration-not-taken-up", text, remedy, name)
    else:
        text = f"the agent there goes by another configuration than this node's file, {what}"
        yield error(
            "configuration", "configuration-differs", text, "copy the one file to all nodes and reload", name
        )


def _clock(seen: ServerSeen) -> Iterator[Diagnosis]:
    ahead_s = seen.inside.ahead_s
    if ahead_s is not None and abs(ahead_s) > CLOCK_S_MAX + seen.inside.within_s:
        word = "ahead of" if ahead_s > 0 else "behind"
        text = f"its clock is {abs(ahead_s):.1f} s {word} this host's"
        remedy = (
            "synchronise all nodes (chrony, systemd-timesyncd): lags and ends of maintenance are told by it"
        )
        yield warning("server", "clocks-apart", text, remedy, seen.node.name)


def _reachable(seen: ServerSeen) -> Iterator[Diagnosis]:
    """Does it listen where the others and the clients of the VIP ask?"""
    bind, name = seen.variables.get("bind_address", ""), seen.node.name
    listens = [word.strip() for word in bind.split(",")]
    if seen.variables.get("skip_networking", "OFF").upper() in ("ON", "1"):
        yield error("server", "no-network", "skip_networking is on: nobody reaches it", "remove it", name)
    elif bind and all(_narrow(word) for word in listens) and not _loopback(seen.node.address):
        text = f"bind_address = {bind}: it does not listen on the VIP when that comes"
        remedy = "set bind_address = 0.0.0.0 (or ::) in its my.cnf and restart it"
        yield error("server", "bind-address", text, remedy, name)


def _narrow(word: str) -> bool:
    """Is it one address, which cannot be the VIP's?"""
    return word not in ("*", "0.0.0.0", "::", "")


def _loopback(address: str) -> bool:
    return ipaddress.ip_address(address).is_loopback


def _reaching(policy: Policy, asked: Sequence[ServerSeen]) -> Iterator[Diagnosis]:
    """An agent that guards its server asks the others all the time: its sessions are seen, or something is closed."""
    here = next((seen for seen in asked if seen.here), None)
    for seen in asked:
        guarded = seen.inside.signs is not None and seen.inside.signs["agent"]
        known = here is not None and here.inside.asked_by is not None
        if seen.here or not guarded or not known or here is None or here.inside.asked_by is None:
            continue
        if seen.node.address not in here.inside.asked_by:
            text = f"its agent lives and has no session on this node's server: it cannot reach {policy.me.address}"
            remedy = f"open port {policy.mysql.port} of this host for {seen.node.address}; see its `vipguard status`"
            yield error("server", "peer-cannot-reach", text, remedy, seen.node.name)


def _versions(asked: Sequence[ServerSeen]) -> Iterator[Diagnosis]:
    series = {seen.node.name: ".".join(seen.version.split(".")[:2]) for seen in asked if seen.version}
    if len(set(series.values())) > 1:
        said = ", ".join(f"{name} {version}" for name, version in series.items())
        text = f"the servers are of different series ({said}): an older one may not understand a newer one's binary log"
        yield warning(
            "server", "versions-differ", text, "upgrade the standby first, and the others soon after"
        )
