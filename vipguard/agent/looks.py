"""What is to be looked at on this tick? Each probe is sent only when its last has come back."""

from __future__ import annotations

from ..checks import writer
from ..model.effect import ProbeDisk, ProbePeer, ProbeServer
from ..model.evidence import Answer
from . import last_word, readers
from .draft import Draft
from .world import Starting, probing

PEER_CHANNELS_TICKS = 10
DISK_S, DISK_SHARE = 1.0, 0.25  # of `hang_s`


def look(draft: Draft) -> None:
    """The local server says by a lock in its session whether this node would take over."""
    world, limits = draft.world, draft.world.policy.limits
    candidate = world.may_open and world.verdict is not None and world.verdict.standing == "candidate"
    fit = candidate and not isinstance(world.phase, Starting) and writer.fit(draft.sight)
    draft.send(ProbeServer(limits.deadline_s, fit, readers.offered(draft)))
    busy, said = probing(world), last_word.is_gone(world)
    for index, name in enumerate(world.peers):
        if name not in busy:
            channels = (world.ticks + index) % PEER_CHANNELS_TICKS == 0 or world.peers[name].eligible is None
            channels = channels or world.policy.lossless  # is it there, and near?
            draft.send(ProbePeer(limits.deadline_s, name, channels, gone=said))
    look_at_disk(draft)


def look_at_disk(draft: Draft) -> None:
    """Often enough that a standby whose disk stands has said so before a writer on the same storage is killed for its
    own; a write that has not come back is looked for on every tick."""
    world = draft.world
    seen = world.server if world.server is not None and world.server.facts is not None else world.server_before
    absent = world.server is None or world.server.answer is Answer.ABSENT
    facts = seen.facts if seen is not None and not absent else None
    waits = world.disk is not None and world.disk.waits_since_s is not None
    every_s = 0.0 if waits else min(DISK_S, DISK_SHARE * world.policy.limits.hang_s)
    due = world.disk_asked_s is None or draft.now_s - world.disk_asked_s >= every_s
    if facts is not None and facts.datadir and due:
        draft.set(disk_asked_s=draft.now_s)
        draft.send(ProbeDisk(2.0, facts.datadir, facts.log_dirs))
