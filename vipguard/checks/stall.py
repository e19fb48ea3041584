"""Do writes to the disk come back? By vipguard's own, which it writes and syncs wherever a commit has to be.

A commit may wait for much: a lock, a replica, ten gigabytes before it. So what hangs is measured by a write that waits
for nothing but the disk, asleep in the kernel, while the device completes no other one. All pure.
"""

from __future__ import annotations

from ..model.sight import Sight

#: Some file systems do not tell what their device completes (NFS, ZFS, FUSE): there a slow one can't be told from one
#: that stands, but by patience.
UNCOUNTED_TIMES = 3.0
#: A standby says that it is unfit well before a writer on the same storage would be killed for it.
CANDIDATE_SHARE = 0.5
#: Where two disks stood together and go on together, the standby's word may be heard before this node has looked at
#: its own once more: a write that was done a moment ago looked as if it still waited.
FIT_S = 0.5


def waits_s(sight: Sight) -> float:
    """For how long the present write of ours had not come back when it was last looked at; 0 when none is under way."""
    disk = sight.disk
    if disk is None or disk.waits_since_s is None:
        return 0.0
    return max(0.0, disk.seen_at_s - max(disk.waits_since_s, sight.watching_since_s))


def still_s(sight: Sight) -> float:
    """For how long, besides, nothing had moved at all. What passed while this host stood still does not count."""
    disk = sight.disk
    if disk is None or disk.waits_since_s is None or disk.still_since_s is None:
        return 0.0
    return min(waits_s(sight), max(0.0, disk.seen_at_s - disk.still_since_s))


def stalled(sight: Sight) -> bool:
    """The disk stands: whoever commits now hangs. Proven for `hang_s`, and longer where its device can't be asked."""
    disk = sight.disk
    times = UNCOUNTED_TIMES if disk is not None and not disk.counted else 1.0
    return still_s(sight) >= sight.policy.limits.hang_s * times


def suspect(sight: Sight) -> bool:
    """It may be about to: nobody becomes the writer here, and nothing more is written that has no need to be."""
    return still_s(sight) >= sight.policy.limits.hang_s * CANDIDATE_SHARE


def replaceable(sight: Sight) -> bool:
    """Was another node known to be able to take over when this disk was seen to stand last, and for a while before?"""
    return sight.disk is not None and sight.peer_eligible_by(sight.disk.seen_at_s - FIT_S)


def slow(sight: Sight) -> bool:
    """A write of ours has not come back for `hang_s`, though something moves."""
    return waits_s(sight) >= sight.policy.limits.hang_s


def text(sight: Sight) -> str:
    """What was seen, for a person."""
    place = sight.disk.place if sight.disk is not None and sight.disk.place else "the data directory"
    said = f"a write of vipguard's own in {place} has not come back for {waits_s(sight):.1f} s"
    if not stalled(sight) and not suspect(sight):
        return f"{said}, though the disk completes others: it is slow"
    counted = sight.disk is not None and sight.disk.counted
    return f"{said}, and {'the disk completes no other' if counted else 'nothing there was seen to move'}"
