"""Named healthy values: a standby that could take over, and a writer. A test changes one thing in them."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_interface
from typing import Any

from vipguard.model.evidence import (
    AddressEvidence,
    Answer,
    Channel,
    DiskEvidence,
    EpochRow,
    KeepalivedEvidence,
    ProcessId,
    ServerEvidence,
    ServerFacts,
)
from vipguard.model.gtid import GtidSet
from vipguard.model.policy import Node, Policy, Vip
from vipguard.model.reader import Reader
from vipguard.model.sight import GoodLag, PeerSight, Sight

NOW_S = 1000.0
READER = Reader("reader1", ip_interface("10.73.0.101/24"), "eth0", 101, ("db1", "db2"))
POLICY = Policy(
    cluster="orders",
    node="db1",
    vip=Vip(ip_interface("10.73.0.100/24"), "eth0", 51),
    nodes=(Node("db1", "10.73.0.11", 200, 1), Node("db2", "10.73.0.12", 180, 2)),
    witnesses=("10.73.0.1",),
)
#: Without a heartbeat: the lag is what the server says.
BEATLESS = replace(POLICY, limits=replace(POLICY.limits, heartbeat_s=0.0))
PROCESS = ProcessId(4242, 99)
GTIDS = GtidSet.parse("mariadb", "1-1-5,2-2-70")
NOTHING = GtidSet.empty("mariadb")
CHANNEL = Channel(
    name="", source_host="10.73.0.12", source_port=3306, io="running", sql_running=True, lag_s=0.0,
    received=GTIDS, applied=True,
)  # fmt: skip
FACTS = ServerFacts(
    flavor="mariadb", version="10.11.6-MariaDB", server_id=1, closed=True, gtid=GTIDS, open_lock=None,
    claim_lock=None, connection_id=7, epoch=EpochRow(3, "db2", "boot-2"), channels=(CHANNEL,), datadir="/var/lib/mysql",
    fit_lock=7, process=PROCESS,
)  # fmt: skip
WRITER_FACTS = replace(FACTS, server_id=2, closed=False, open_lock=9, fit_lock=None, process=None)
SERVER = ServerEvidence(Answer.ANSWERED, NOW_S - 0.05, NOW_S - 0.049, FACTS)
PEER = PeerSight(
    POLICY.peers[0],
    ServerEvidence(Answer.ANSWERED, NOW_S - 0.04, NOW_S - 0.039, WRITER_FACTS),
    alive_s=NOW_S - 0.039,
    eligible=False,
)
DISK = DiskEvidence(NOW_S - 1.0, free_bytes=50_000_000_000, total_bytes=90_000_000_000, writable=True)

#: db1 is closed, follows db2, and could take over
STANDBY = Sight(
    now_s=NOW_S,
    policy=POLICY,
    server=SERVER,
    address=AddressEvidence(NOW_S - 10, vip_present=False, link_up=True),
    keepalived=KeepalivedEvidence(alive=True, state="BACKUP", state_at_s=NOW_S - 100),
    disk=DISK,
    peers={"db2": PEER},
    witnesses={"10.73.0.1": NOW_S - 0.1},
    outside_s=NOW_S - 0.05,
    watching_since_s=NOW_S - 100,
    good_lag=GoodLag(0.0, NOW_S - 0.05, frozenset({"db2"}), "db2"),
    errant=NOTHING,
)
#: db1 has the VIP and is open; db2 is closed and could take over
WRITER = replace(
    STANDBY,
    server=replace(
        SERVER, facts=replace(FACTS, closed=False, open_lock=9, epoch=EpochRow(3, "db1", "boot-1"))
    ),
    address=AddressEvidence(NOW_S - 10, vip_present=True, link_up=True),
    keepalived=KeepalivedEvidence(
        alive=True,
        state="MASTER",
        state_at_s=NOW_S - 90,
        advert_left_s=NOW_S - 0.05,
        looked_at_s=NOW_S - 0.01,
    ),
    peers={"db2": replace(PEER, evidence=replace(PEER.evidence, facts=FACTS), eligible=True)},
)
#: db1 is a replica, and follows the writer
REPLICA = replace(
    STANDBY,
    policy=replace(POLICY, nodes=(replace(POLICY.nodes[0], priority=0, role="replica"), POLICY.nodes[1])),
)
#: db1 has just got the VIP: closed, and taking over
TAKER = replace(STANDBY, address=WRITER.address, keepalived=WRITER.keepalived)

SILENT = ServerEvidence(Answer.SILENT, NOW_S - 0.5, NOW_S, reason="said nothing")
BLIND = ServerEvidence(Answer.BLIND, NOW_S - 0.1, NOW_S, reason="access denied")
ABSENT = ServerEvidence(Answer.ABSENT, NOW_S - 0.1, NOW_S, reason="connection refused")


def with_facts(sight: Sight, **changes: Any) -> Sight:
    """The same with another local server."""
    assert sight.server is not None and sight.server.facts is not None
    return replace(sight, server=replace(sight.server, facts=replace(sight.server.facts, **changes)))


def with_peer(sight: Sight, **changes: Any) -> Sight:
    assert PEER.evidence is not None
    facts = replace(PEER.evidence.facts or FACTS, **changes)  # type: ignore[arg-type]
    peer: PeerSight = replace(PEER, evidence=replace(PEER.evidence, facts=facts))
    return replace(sight, peers={"db2": peer})


def with_channel(sight: Sight, **changes: Any) -> Sight:
    """The same with another replication channel."""
    return with_facts(sight, channels=(replace(CHANNEL, **changes),))


def without_source(sight: Sight, **changes: Any) -> Sight:
    """The same a moment after its source was killed."""
    if sight.server is None or sight.server.facts is None:
        return sight
    gone = {"io": "connecting", "lag_s": None, "io_errno": 2003, "io_error": "refused", **changes}
    return with_channel(sight, **gone)


def last_seen(sight: Sight, lag_s: float, at_s: float, gone_s: float | None = None) -> Sight:
    """The same with the writer last seen at `at_s`, and known to be gone since `gone_s`."""
    peers = {name: replace(peer, gone_s=gone_s) for name, peer in sight.peers.items()}
    return replace(sight, good_lag=GoodLag(lag_s, at_s, frozenset(peers)), peers=peers)


def hung(sight: Sight) -> Sight:
    """The same after the local server said nothing for longer than `hang_s`."""
    return replace(sight, server=SILENT, server_silent_since_s=NOW_S - sight.policy.limits.hang_s - 0.1)


def stalled_disk(waits_s: float, still_s: float | None = None, **changes: Any) -> DiskEvidence:
    """Looked at just now: a write of vipguard's own has not come back for so long, and nothing else moved meanwhile."""
    still_s = waits_s if still_s is None else still_s
    changes = {"waits_since_s": NOW_S - waits_s, "still_since_s": NOW_S - still_s, **changes}
    return replace(DISK, seen_at_s=NOW_S, place="/var/lib/mysql", **changes)


def cut_off(sight: Sight) -> Sight:
    """The same after nobody outside answered for longer than `lease_s`."""
    return replace(sight, outside_s=NOW_S - 2.0, witnesses={"10.73.0.1": NOW_S - 2.0})
