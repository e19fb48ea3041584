"""May this agent say that its server's process is gone, and to whom has it said so?

Its peers take it for a proof, so it is said of a process that is known, was seen to end, and was the last one that
answered; and it is taken back before any other one could be opened. It is said in the sessions that look at the
peers, as a lock, which ends with its session.
"""

from __future__ import annotations

from ..model.effect import ProbePeer
from ..model.evidence import Answer, ProcessId
from .draft import Draft
from .world import World


def suspect(world: World) -> ProcessId | None:
    """The process to look for: the last one that answered; of an agent to which none has, the one that an agent before
    it opened in this boot."""
    if world.process is not None:
        return world.process if world.exited != world.process else None
    done = world.memory.completed
    absent = world.server is not None and world.server.answer is Answer.ABSENT
    return done.process if absent and done is not None and done.boot_id == world.boot_id else None


def is_gone(world: World) -> bool:
    """Can no process of this node's server commit? One that takes no connections may: it shuts down, or lost its
    socket. So may one whose process could not be told."""
    if world.server is None or world.server.answer is not Answer.ABSENT:
        return False
    if world.process is None:
        return _gone_with_the_boot(world)
    before = world.server_before.facts if world.server_before is not None else None
    return world.exited == world.process and (before is None or before.process == world.process)


def _gone_with_the_boot(world: World) -> bool:
    """No process of this boot was ever opened here: what wrote, wrote before it."""
    done, memory = world.memory.completed, world.memory
    return done is not None and done.boot_id != world.boot_id and done.epoch == memory.epoch


def keep(draft: Draft) -> None:
    """At once, to each peer; then with each look at it."""
    world = draft.world
    if not is_gone(world):
        if world.gone_to:
            draft.set(gone_to=frozenset())
        return
    draft.set(said_gone_s=draft.now_s)
    for name in world.peers.keys() - world.gone_to:
        draft.send(ProbePeer(world.policy.limits.deadline_s, name, gone=True))
        flight = draft.world.flights[f"ProbePeer:{name}"]
        if isinstance(flight.effect, ProbePeer) and flight.effect.gone:
            draft.set(gone_to=draft.world.gone_to | {name})
