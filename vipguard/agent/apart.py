"""What keeps this node apart from the writer, and may its data be given up? One look, for `vipguard rejoin`.

The local server is asked for what any server can tell: after a copy that was broken off vipguard's own table may be
missing, and the node must still be made whole.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from ..act.replication import look as look_at_replication
from ..client import status as ask_agent
from ..errors import Absent, CouldNotDo, VipguardError
from ..model.evidence import Channel
from ..model.gtid import GtidSet
from ..model.policy import Flavor, Node, Policy
from ..model.sight import Sight, epoch_of
from ..session import Deadline, Session, dialect_of
from ..state import mark
from .glance import Wanted, glance

ASK_S = 2.0


@dataclass(frozen=True, slots=True)
class Home:
    """This host's server: `closed` as for any node, `read_only` by the plain variable."""

    flavor: Flavor
    gtid: GtidSet
    closed: bool
    read_only: bool
    channels: tuple[Channel, ...]
    datadir: str
    binlog: str
    server_id: int | None = None


@dataclass(frozen=True, slots=True)
class Apart:
    """`lacking`: what this node has and the writer lacks; None where that could not be compared.

    `agent`: the agent's status; None where none runs. `agent_reason`: why it could not be asked.
    """

    policy: Policy
    sight: Sight
    home: Home | None
    home_reason: str
    writer: Node | None
    lacking: GtidSet | None
    unfinished: mark.Mark | None
    unfinished_reason: str
    agent: dict[str, Any] | None
    agent_reason: str

    @property
    def to_decide(self) -> bool:
        """Is there anything that this node does not get over by itself?"""
        marked = self.unfinished is not None or bool(self.unfinished_reason)
        return marked or (self.lacking is not None and not self.lacking.is_empty)


def look(policy: Policy) -> Apart:
    """This node's set is read before the writer's. Raises nothing for what the world does."""
    home, home_reason = _home(policy)
    sight = glance(policy, Wanted(peers=True), ASK_S, ASK_S).sight
    writers = sight.newest_writers
    facts = writers[0].evidence.facts if len(writers) == 1 and writers[0].evidence else None
    lacking = None
    if home is not None and facts is not None and facts.flavor == home.flavor:
        lacking = home.gtid.minus(facts.gtid, wrote=home.server_id)
    unfinished, unfinished_reason = None, ""
    try:
        unfinished = mark.read(policy.paths.copy_mark)
    except CouldNotDo as exc:
        unfinished_reason = str(exc)
    agent, agent_reason = None, ""
    try:
        agent = ask_agent(policy.paths.agent_socket, ASK_S)
    except Absent:
        pass
    except VipguardError as exc:
        agent_reason = str(exc)
    return Apart(
        policy=policy,
        sight=sight,
        home=home,
        home_reason=home_reason,
        writer=writers[0].node if len(writers) == 1 else None,
        lacking=lacking,
        unfinished=unfinished,
        unfinished_reason=unfinished_reason,
        agent=agent,
        agent_reason=agent_reason,
    )


def _home(policy: Policy) -> tuple[Home | None, str]:
    deadline = Deadline(ASK_S)
    try:
        session = Session.local(policy.mysql, deadline)
        try:
            dialect = dialect_of(session.flavor)
            own = session.ask((dialect.own_gtid(),), deadline)[0][0]
            more = session.query(
                "SELECT @@global.read_only, @@global.datadir, @@global.log_bin_basename, @@global.server_id",
                deadline=deadline,
            )[0]
            channels = look_at_replication(session, deadline)[1]
            home = Home(
                flavor=session.flavor,
                gtid=dialect.read_gtid(own),
                closed=dialect.read_closed(own),
                read_only=str(more[0]) not in ("0", "OFF"),
                channels=channels,
                datadir=str(more[1]),
                binlog=str(more[2] or ""),
                server_id=int(more[3]),
            )
            return home, ""
        finally:
            session.close()
    except VipguardError as exc:
        return None, str(exc)


def why_not_accept(seen: Apart) -> str | None:
    """The sentence that forbids applying this node's transactions on the writer; None when nothing does."""
    if seen.unfinished is not None or seen.unfinished_reason:
        return "this node is no whole copy: what it has is worth nothing"
    if seen.home is None:
        return f"this node's server must run for it: {seen.home_reason}"
    if not seen.home.closed:
        return "this node's server is open"
    if seen.writer is None or seen.lacking is None:
        return _no_writer(seen.sight)
    if seen.lacking.is_empty:
        return f"{seen.writer.name} lacks nothing that is here"
    if seen.lacking.sequences() > 1:
        return f"they are of {seen.lacking.sequences()} sources, whose order among each other is not known"
    return None


def why_not_discard(seen: Apart) -> str | None:
    """The sentence that forbids a fresh copy of this node now; None when nothing does."""
    policy, sight = seen.policy, seen.sight
    if sight.address is None:
        return "it could not be seen whether the VIP is here"
    if sight.vip_here:
        return f"the VIP {policy.vip.ip} is on this node"
    if seen.agent_reason:
        return f"the agent of this node hangs, so it cannot be held apart: {seen.agent_reason}"
    if seen.agent is not None and seen.agent["phase"] not in ("resting", "starting"):
        return f"the agent of this node is not at rest: {seen.agent['phase']}"
    if seen.unfinished is not None and mark.is_working(seen.unfinished):
        return f"process {seen.unfinished.by.pid} makes a fresh copy already, since {seen.unfinished.since}"
    if seen.home is None:
        return f"this node's server must run for it: {seen.home_reason}"
    half = seen.unfinished is not None
    if not (seen.home.closed or (half and seen.home.read_only)):
        return "this node's server is open"
    if seen.writer is None:
        return _no_writer(sight)
    facts = next(p.evidence.facts for n, p in sight.peers.items() if n == seen.writer.name and p.evidence)
    if facts is not None and facts.flavor != seen.home.flavor:
        return f"{seen.writer.name} is {facts.flavor}, this node is {seen.home.flavor}"
    if policy.replication is None or not policy.replication.password:
        return (
            "the configuration has no [replication] with a password_file: the copy could not be followed up"
        )
    if os.geteuid() != 0:
        return "only root may do that"
    return None


def _no_writer(sight: Sight) -> str:
    writers = sight.writers
    if len(writers) > 1:
        return f"there are {len(writers)} writers: {', '.join(w.node.name for w in writers)}"
    if writers:
        epoch = epoch_of(writers[0].evidence)
        return (
            f"{writers[0].node.name} is open with epoch {epoch}, and this node knows epoch {sight.own_epoch}"
        )
    told = ", ".join(
        f"{name} {peer.evidence.answer.value if peer.evidence else 'not asked'}"
        for name, peer in sight.peers.items()
    )
    return f"no writer answers ({told})"


def follows(seen: Apart) -> str:
    """Whom to replicate from after the copy: the same node as before, if it is one; else, and for a replica, the
    writer."""
    assert seen.writer is not None
    if seen.policy.me.is_replica:
        return seen.writer.address
    before = [seen.unfinished.follows] if seen.unfinished is not None else []
    before += [channel.source_host for channel in seen.home.channels] if seen.home is not None else []
    addresses = {node.address for node in seen.policy.peers}
    return next((host for host in before if host in addresses), seen.writer.address)


def databases(seen: Apart) -> list[str]:
    """The names of this node's databases, by the directories that the server keeps them in."""
    system = ("mysql", "sys", "performance_schema", "information_schema")
    try:
        found = os.scandir(seen.home.datadir if seen.home else "/nonexistent")
    except OSError:
        return []
    with found:
        return sorted(e.name for e in found if e.is_dir() and e.name not in system and e.name[:1] not in "#.")
