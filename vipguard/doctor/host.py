"""Is this host ready? Its disks, the operator's hooks, and the rule that refuses connections in the gap of a move."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence

from vipguard.act import hooks, nft
from vipguard.doctor.diagnosis import Diagnosis, error, warning
from vipguard.doctor.survey import ServerSeen
from vipguard.errors import CouldNotDo
from vipguard.model.evidence import DiskEvidence
from vipguard.model.policy import Policy
from vipguard.probe import disk
from vipguard.session import boottime_s

_STAT_S = 2.0
_LITTLE = 0.1
_ENOUGH_MB = 20_000  # a tenth of a large disk is plenty
_MB = 1_000_000
_EVENTS = ("before-open", "after-open", "after-close", "on-alert")


def judge(policy: Policy, servers: Sequence[ServerSeen], guarded: bool) -> Iterator[Diagnosis]:
    """`guarded`: an agent answers, which would have put its rule in force."""
    here = next((seen for seen in servers if seen.here and not seen.failure), None)
    yield from _disks(policy, here)
    yield from user_hooks(policy)
    if guarded:
        yield from _refusal(policy)


def _disks(policy: Policy, here: ServerSeen | None) -> Iterator[Diagnosis]:
    """Each file system once, named by the first that lives on it."""
    places = {"the state directory": policy.paths.state}
    if here is not None:
        names = {
            "the data": "datadir",
            "the binary log": "log_bin_basename",
            "the relay log": "relay_log_basename",
        }
        told = {what: here.variables.get(variable, "") for what, variable in names.items()}
        folders = {what: path if what == "the data" else os.path.dirname(path) for what, path in told.items()}
        places = {**{what: path for what, path in folders.items() if path}, **places}
    devices = set()
    for what, path in places.items():
        try:
            device = os.stat(path).st_dev
        except OSError:
            continue
        if device not in devices:
            devices.add(device)
            yield from room(policy, what, path, _stat(path))


def _stat(path: str) -> DiskEvidence | None:
    """On a thread of its own: a dead network file system holds statvfs for ever."""
    found: list[DiskEvidence] = []
    side = threading.Thread(target=lambda: found.append(disk.look(path, boottime_s)), daemon=True)
    side.start()
    side.join(_STAT_S)
    return found[0] if found else None


def room(policy: Policy, what: str, path: str, seen: DiskEvidence | None) -> Iterator[Diagnosis]:
    """Of one file system."""
    if seen is None or seen.free_bytes is None or not seen.total_bytes:
        text = f"the file system of {what} ({path}) does not answer"
        yield warning("host", "not-looked-at", text, "see whether it hangs: df", policy.node)
        return
    free_mb, total_mb = seen.free_bytes // _MB, seen.total_bytes // _MB
    text = f"{what} ({path}) has {free_mb} MB of {total_mb} MB left"
    if seen.writable is False:
        text = f"the file system of {what} ({path}) is mounted read-only"
        yield error(
            "host", "disk-read-only", text, "see the kernel's log; repair it and mount it again", policy.node
        )
    elif free_mb < policy.disk.free_mb_min:
        text = f"{text}, less than disk.free_mb_min = {policy.disk.free_mb_min}"
        yield error(
            "host", "disk-full", text, "make room; binary logs go with PURGE BINARY LOGS", policy.node
        )
    elif free_mb < min(_LITTLE * total_mb, _ENOUGH_MB):
        yield warning("host", "disk-nearly-full", text, "make room before it is full", policy.node)


def user_hooks(policy: Policy) -> Iterator[Diagnosis]:
    """What lies in hooks.d to be run, and will not be."""
    folder = policy.hooks.directory
    for event in _EVENTS:
        for why in hooks.find(folder, event).refused:
            say = error if event == "before-open" and policy.hooks.before_open_required else warning
            forbids = ", and so forbids every opening" if say is error else ""
            remedy = "run: chown root, chmod go-w on it and the directories above; chmod -x switches one off"
            yield say(
                "host", "hook-refused", f"the {event} hook {why}: it is not run{forbids}", remedy, policy.node
            )
    try:
        others = [entry.name for entry in os.scandir(folder) if entry.is_dir() and entry.name not in _EVENTS]
    except OSError:
        return
    if others:
        text = f"{folder} has directories that no event is named after: {', '.join(sorted(others))}"
        yield warning("host", "hook-event-unknown", text, f"name them {', '.join(_EVENTS)}", policy.node)


def _refusal(policy: Policy) -> Iterator[Diagnosis]:
    vip, cost = policy.vip, "in a move, clients wait a second and not some milliseconds"
    try:
        places = [(vip.interface, vip.ip), *((reader.interface, reader.ip) for reader in policy.readers)]
        places = [place for place in places if not nft.installed(policy.cluster, *place, policy.mysql.port)]
        places = [place for place in places if place[1] == vip.ip or nft.why_not(*place) is None]
        if not places:
            return
        obstacle = nft.why_not(vip.interface, vip.ip)
    except CouldNotDo as exc:
        yield warning(
            "host", "nftables-absent", f"{exc}", "install nftables, restart vipguard-agent", policy.node
        )
        return
    if obstacle is not None:
        text, remedy = (
            f"connections are not refused, for {obstacle}: {cost}",
            "it is safe; docs/fencing.md says more",
        )
        yield warning("host", "refusal-impossible", text, remedy, policy.node)
    else:
        text = f"the rule that refuses connections is not in force (somebody flushed it?): {cost}"
        yield warning(
            "host", "refusal-missing", text, "restart vipguard-agent, which harms no writer", policy.node
        )
