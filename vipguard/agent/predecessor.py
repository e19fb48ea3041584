"""May an agent begin with this configuration, after the one before it? A writer is not closed for a changed word.

What the agent before this one kept says who this node was: the cluster, its own name, the VIP. Where it writes as
another one, the new agent does not begin. Where only `paths.state` changed, what was kept there is carried over.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from ..client import ask
from ..errors import ConfigError, CouldNotDo, VipguardError
from ..log import get_logger
from ..model.evidence import Answer
from ..model.memory import Completed
from ..model.policy import Policy
from ..probe.server import ServerProbe
from ..session import Connector, boottime_s
from ..session.process import is_exiting
from ..state import store
from ..state.pen import Pen

#: Who this node is: on a writer no restart takes a change of these up.
IDENTITY = ("cluster", "node", "vip")
LOOK_S = 0.5
ASK_S = 0.3
LEAVE_S = 0.5
_log = get_logger("agent")


def changed(keys: Iterable[str]) -> str:
    """What the operator has to do for a change that a reload does not take up."""
    keys = list(keys)
    said = f"{', '.join(keys)} changed: restart the agent to take that up, which harms no writer"
    refused = [key for key in keys if key in IDENTITY]
    if not refused:
        return said
    return f"{said}, because it is refused for {', '.join(refused)} while this node writes: move the writer away first"


def take_up(policy: Policy, boot_id: str, *, resident: bool) -> None:
    """Make `paths.state`, and bring what an agent of this boot kept elsewhere there. Raises ConfigError where this node
    writes under other names than those of `policy`."""
    _alone(policy)
    before = _kept_elsewhere(policy)
    found = store.find(f"{before}/state.json" if before else policy.paths.state_file)
    if found is not None:
        differing = differences(found, policy)
        done = found.memory.completed if found.memory.open else None
        if differing and done is not None and done.boot_id == boot_id and _may_be_open(policy, done):
            raise ConfigError(
                f"this node writes as {found.node} of cluster {found.cluster}"
                + (f" behind VIP {found.vip}" if found.vip else "")
                + f", and {policy.file or 'the configuration'} says {', '.join(differing)}: nothing was done. Change"
                " that back, or move the writer away first (`vipguard switchover`)"
            )
    if not os.path.isdir(policy.paths.state):  # making one that is there would wait for a disk that stands
        os.makedirs(policy.paths.state, mode=0o700, exist_ok=True)
    mine = found is not None and (found.cluster, found.node) == (policy.cluster, policy.node)
    taken = not before or not mine or _carry_over(policy, before)
    if resident:
        if mine and taken:
            _drop_old(policy)
        _leave(policy.paths.state_at, policy.paths.state)
        _leave(policy.paths.run_at, policy.paths.run)


def _alone(policy: Policy) -> None:
    """With another `paths.run` the lock is another one too: does the agent of before still live there?"""
    before = _told_by(policy.paths.run_at)
    if before in ("", policy.paths.run):
        return
    try:
        ask(f"{before}/agent.sock", "check", ASK_S)
    except VipguardError:
        return
    raise CouldNotDo(f"another vipguard guards this node already, with paths.run = {before}: stop it first")


def differences(found: store.Kept, policy: Policy) -> list[str]:
    """What the configuration says of this node that its last agent did not know it as."""
    said = []
    if found.cluster != policy.cluster:
        said.append(f"cluster {policy.cluster}")
    if found.node != policy.node:
        said.append(f"node {policy.node}")
    if found.vip not in ("", str(policy.vip.ip)):
        said.append(f"VIP {policy.vip.ip}")
    if policy.me.is_replica:
        said.append("that it is a replica")
    return said


def _may_be_open(policy: Policy, done: Completed) -> bool:
    """Only a server that is seen closed, or a process that is gone, is certainly not."""
    probe = ServerProbe(Connector.local(policy.mysql), policy)
    try:
        seen = probe.look(LOOK_S, boottime_s, channels=False)
    finally:
        probe.close()
    if seen.facts is not None:
        return not seen.facts.closed and seen.facts.process in (None, done.process)
    return seen.answer is not Answer.ABSENT or done.process is None or not is_exiting(done.process)


def _kept_elsewhere(policy: Policy) -> str:
    """Where an agent of this boot kept its memory, if that is elsewhere, and what is kept here is none, or older: of a
    time before that. "" for nowhere."""
    before = _told_by(policy.paths.state_at)
    if before in ("", policy.paths.state):
        return ""
    there = f"{before}/{os.path.basename(policy.paths.state_file)}"
    return before if _written_ns(there) > _written_ns(policy.paths.state_file) else ""


def _written_ns(path: str) -> int:
    """When; 0 for a file that is not there."""
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0


def _told_by(path: str) -> str:
    """The directory that a file of an earlier agent names; "" for none."""
    try:
        told = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""
    return told if os.path.isabs(told) else ""


def _leave(path: str, directory: str) -> None:
    """For a later agent. The one place lies beside the memory, on a disk that may stand: what is there already is not
    written again, and nobody waits for what is not. Without it a later change of paths is judged by less."""
    if _told_by(path) == directory:
        return
    pen = Pen()
    try:
        with contextlib.suppress(OSError):
            pen.replace(path, f"{directory}\n", LEAVE_S)
    finally:
        pen.close()


def _carry_over(policy: Policy, before: str) -> bool:
    """What the node must not forget; the journal stays where it is. The memory last: with it this counts as done. What
    an earlier agent had left here is older, and goes. False where that failed."""
    try:
        for path in _kept(policy):
            there = f"{before}/{os.path.basename(path)}"
            if os.path.lexists(there):
                shutil.copy2(there, f"{path}.new")
                os.rename(f"{path}.new", path)
            else:
                Path(path).unlink(missing_ok=True)
    except OSError as exc:
        _log.error("memory", rule="not-carried-over", reason=str(exc))
        return False
    _log.warning("memory", rule="carried-over", before=before, now=policy.paths.state)
    return True


def _drop_old(policy: Policy) -> None:
    """What this node's agent kept elsewhere in this boot is old from now on: should `paths.state` be that again."""
    before = _told_by(policy.paths.state_at)
    old = store.find(f"{before}/{os.path.basename(policy.paths.state_file)}") if before else None
    if before == policy.paths.state or old is None or (old.cluster, old.node) != (policy.cluster, policy.node):
        return
    for path in _kept(policy):
        with contextlib.suppress(OSError):
            os.unlink(f"{before}/{os.path.basename(path)}")


def _kept(policy: Policy) -> tuple[str, ...]:
    return (policy.paths.copy_mark, policy.paths.stood_down, policy.paths.state_file)
