"""What shows in one look, where no agent watches? Evidence gathered once, and folded as the agent folds it.

Nothing that takes time to know is in it: no last good lag, no comparison before this one, no silence as long as a
lease or a hang, unless the look itself lasted that long.
"""

from __future__ import annotations

import select
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from ..errors import CouldNotLook
from ..model.evidence import Answer, DiskEvidence, KeepalivedEvidence, ServerEvidence
from ..model.gtid import GtidSet
from ..model.memory import Memory
from ..model.policy import Node, Policy
from ..model.sight import Sight, is_writer
from ..model.verdict import Standing
from ..probe import disk as disk_probe
from ..probe import procnet
from ..probe.keepalived import KeepalivedWatch
from ..probe.reach import Reach
from ..probe.server import ServerProbe
from ..session import Connector, Tls, boottime_s
from ..state import mark, standdown
from .event import Heard
from .fold import fold, see_address, see_peer, see_server
from .world import World, begin

_T = TypeVar("_T")
LATE_S = 0.1  # what a thread may need beyond its deadline


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to look at besides the local server and the VIP. `pings_s`: how long to wait for answers to pings."""

    peers: bool = False
    disk: bool = False
    pings_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Glance:
    """The world at the end of the look, and when that was. `blind` says what could not be looked at, and why."""

    world: World
    now_s: float
    blind: Mapping[str, str]

    @property
    def sight(self) -> Sight:
        return self.world.sight(self.now_s)


def glance(policy: Policy, wanted: Wanted, local_s: float, peers_s: float) -> Glance:
    """One look: the local server within `local_s`, then everything else side by side, the peers within `peers_s`.

    This node's set is read before the peers', so that a busy writer makes nobody look errant. Raises nothing for what
    the world does.
    """
    now, blind = boottime_s, dict[str, str]()
    world = begin(policy, "", now(), Memory())
    world = replace(world, copying=mark.look(policy.paths.copy_mark))
    world = replace(world, stood_down=standdown.look(policy.paths.stood_down))
    try:
        world = see_address(world, procnet.look(policy.vip.interface, policy.vip.ip, now))
    except CouldNotLook as exc:
        blind["address"] = str(exc)
    world = replace(world, keepalived=_keepalived(policy))
    pings = _Side(lambda: _ping(policy, wanted.pings_s)) if wanted.pings_s else None
    local = ServerProbe(Connector.local(policy.mysql), policy)
    world = see_server(world, local.look(local_s, now))
    local.close()
    asked = _ask_peers(policy, peers_s) if wanted.peers else {}
    world = _see_disk(world, peers_s) if wanted.disk else world
    for name, side in asked.items():
        seen = side.result(peers_s + LATE_S)
        world = see_peer(world, name, seen) if seen is not None else world
    watched = False
    if pings is not None:
        answers = pings.result(wanted.pings_s + LATE_S)
        if answers is None:
            blind["witness"] = pings.failure or "the pings were late"
        else:
            watched = wanted.pings_s >= policy.limits.lease_s
            world = fold(world, Heard(answers, {}), now())
    end_s = now()
    if not watched:  # what was not watched for a whole lease was not silent for one
        world = replace(world, watching_s=end_s)
    return Glance(_own_writer(world), end_s, blind)


def servers(policy: Policy, within_s: float) -> Sight:
    """What this node's server and the peers' tell in one look, each within `within_s` seconds."""
    return glance(policy, Wanted(peers=True), within_s, within_s).sight


def standing(sight: Sight) -> Standing:
    """What this node is to the VIP. An open server where the VIP is counts as the writer: one look can't tell more."""
    if not sight.vip_here:
        return "candidate"
    facts = sight.server.facts if sight.server else None
    return "taking" if facts is not None and facts.closed else "holder"


def _own_writer(world: World) -> World:
    """The writer has nothing that the writer lacks, even if every other node lacks it."""
    if world.server is None or world.server.facts is None or not is_writer(world.server):
        return world
    return replace(world, errant=GtidSet.empty(world.server.facts.flavor))


def _keepalived(policy: Policy) -> KeepalivedEvidence:
    """What one look tells of it: its notify lines were for the agent that reads them."""
    watch = KeepalivedWatch(policy.vrrp.pid_file, fifo=policy.paths.fifo)
    try:
        alive = watch.look()
        unheld_since_s = 0.0 if alive and watch.has_fifo() is False else None
        return KeepalivedEvidence(
            alive=alive, started_s=watch.began_s(), stands=watch.stands(), unheld_since_s=unheld_since_s
        )
    finally:
        watch.close()


class _Side(Generic[_T]):
    """Work on a thread of its own, which ends with the process at the latest."""

    def __init__(self, work: Callable[[], _T]) -> None:
        self._done: list[_T] = []
        self.failure = ""
        self._thread = threading.Thread(target=self._run, args=(work,), daemon=True)
        self._began_s = time.monotonic()
        self._thread.start()

    def _run(self, work: Callable[[], _T]) -> None:
        try:
            self._done.append(work())
        except CouldNotLook as exc:
            self.failure = str(exc)

    def result(self, within_s: float) -> _T | None:
        """What the work gave, waited for until `within_s` after its beginning; None when it failed or was late."""
        self._thread.join(max(0.0, self._began_s + within_s - time.monotonic()))
        return self._done[0] if self._done else None


def _ask_peers(policy: Policy, deadline_s: float) -> dict[str, _Side[ServerEvidence]]:
    """Every peer at once, each on a thread of its own."""
    try:
        tls = Tls.of(policy.mysql)
    except CouldNotLook as exc:
        reason, at_s = str(exc), boottime_s()
        blind = ServerEvidence(Answer.BLIND, at_s, at_s, reason=reason)
        return {node.name: _Side(lambda: blind) for node in policy.peers}
    return {node.name: _Side(_asking(policy, node, tls, deadline_s)) for node in policy.peers}


def _asking(policy: Policy, node: Node, tls: Tls, deadline_s: float) -> Callable[[], ServerEvidence]:
    connector = Connector.peer(node.address, policy.mysql, tls)
    probe = ServerProbe(connector, policy)

    def ask() -> ServerEvidence:
        try:
            return probe.look(deadline_s, boottime_s)
        finally:
            probe.close()
            connector.close()

    return ask


def _see_disk(world: World, deadline_s: float) -> World:
    """A dead network file system holds statvfs for ever, so it has a thread of its own."""
    facts = world.server.facts if world.server else None
    if facts is None or not facts.datadir:
        return world
    datadir = facts.datadir
    side: _Side[DiskEvidence] = _Side(lambda: disk_probe.look(datadir, boottime_s))
    return replace(world, disk=side.result(deadline_s))


def _ping(policy: Policy, watch_s: float) -> dict[str, tuple[float, float]]:
    """Who answers, as address to (answered, sent): rounds until every witness has, or until `watch_s` is over.

    Raises CouldNotLook without the right to ping.
    """
    peers = [node.address for node in policy.peers]
    reach = Reach(policy.witnesses, peers, boottime_s)
    awaited, found = set(policy.witnesses or peers), dict[str, tuple[float, float]]()
    answers = select.poll()  # select() takes no descriptor above 1023
    answers.register(reach.fileno(), select.POLLIN)
    until_s = boottime_s() + watch_s
    try:
        while awaited - found.keys() and boottime_s() < until_s:
            reach.send()
            next_s = min(until_s, boottime_s() + policy.limits.probe_s)
            while awaited - found.keys() and boottime_s() < next_s:
                answers.poll(max(0.0, next_s - boottime_s()) * 1000)
                found.update(reach.drain())
    finally:
        reach.close()
    return found
