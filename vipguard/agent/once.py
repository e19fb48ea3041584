"""What is due where no agent answers? One reconcile, for keepalived's hook, the timer and the command line.

It does what the resident agent does, until nothing is due. Where an agent holds the lock and answers nobody, it may
close without the lock; it opens only after ending that agent.
"""

from __future__ import annotations

import fcntl
import os
import signal
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager

from ..client import ask
from ..errors import CouldNotDo, VipguardError
from ..log import get_logger
from ..model.policy import Policy
from .runtime import Runtime
from .world import Resting, World, Writing

ASK_S = 0.3
SETTLE_S = 1.5
ONE_SHOT_S = 45.0  # the longest that one runs: `hook --within`, and some
LOCK_POLL_S = 0.01
_log = get_logger("hook")


class Lock:
    """Only one guard acts on a node: a POSIX record lock, whose holder the kernel names."""

    def __init__(self, path: str) -> None:
        """Raises CouldNotDo when the file cannot be made."""
        try:
            os.makedirs(os.path.dirname(path), mode=0o750, exist_ok=True)
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as exc:
            raise CouldNotDo(f"cannot make the lock file {path}: {exc.strerror}") from exc

    def take(self) -> bool:
        try:
            fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def holder(self) -> int | None:
        """The process that holds the lock; None when nobody else does."""
        request = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        kind, _, _, _, pid = struct.unpack("hhqqi4x", fcntl.fcntl(self._fd, fcntl.F_GETLK, request))
        return None if kind == fcntl.F_UNLCK else int(pid)

    def end_holder(self) -> None:
        """Kill the silent guard that holds the lock, by pidfd so that no other process is hit."""
        pid = self.holder()
        if pid is None:
            return
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        try:
            if self.holder() == pid:
                _log.warning("agent-ended", rule="silent-agent", pid=pid)
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        except ProcessLookupError:
            pass
        finally:
            os.close(descriptor)

    def close(self) -> None:
        os.close(self._fd)


@contextmanager
def guarding(policy: Policy) -> Iterator[None]:
    """The lock for as long as an agent runs. Raises CouldNotDo when another agent has it.

    A one-shot gives it back by itself: stopping an agent makes keepalived call one, and the next agent must outwait it.
    """
    lock = Lock(policy.paths.agent_lock)
    try:
        until_s = time.monotonic() + ONE_SHOT_S
        while not lock.take():
            if _agent_answers(policy) or time.monotonic() > until_s:
                raise CouldNotDo(f"another vipguard (process {lock.holder()}) guards this node already")
            time.sleep(LOCK_POLL_S)
        yield
    finally:
        lock.close()


def _agent_answers(policy: Policy) -> bool:
    try:
        ask(policy.paths.agent_socket, "check", ASK_S)
    except VipguardError:
        return False
    return True


def reconcile(policy: Policy, within_s: float) -> str:
    """One reconcile, bounded by `within_s` seconds. Returns what was done in a sentence; raises CouldNotDo."""
    if answer := _wake(policy):
        return f"the agent answers ({answer}) and was woken"
    return _reconcile(policy, within_s)


def wake_or_reconcile(policy: Policy, within_s: float) -> str | None:
    """What the agent answers; None where none does, and one reconcile was made. Raises CouldNotDo."""
    answer = _wake(policy)
    if answer is None:
        _reconcile(policy, within_s)
    return answer


def _reconcile(policy: Policy, within_s: float) -> str:
    lock = Lock(policy.paths.agent_lock)
    try:
        mine = lock.take()
        world = _settle(policy, within_s, may_open=mine)
        if not mine and _wants_to_open(world):
            if answer := _wake(policy):
                return f"the agent answers by now ({answer})"
            lock.end_holder()
            for _ in range(100):
                if lock.take():
                    world = _settle(policy, within_s, may_open=True)
                    break
                time.sleep(LOCK_POLL_S)
        return f"reconciled once: {type(world.phase).__name__.lower()}"
    finally:
        lock.close()


def _wake(policy: Policy) -> str | None:
    """What the agent answers; None where none does. One that has just started needs a moment for that."""
    try:
        return ask(policy.paths.agent_socket, "hook", ASK_S)
    except VipguardError as exc:
        _log.info("hook", rule="no-agent", reason=str(exc))
        return None


def _wants_to_open(world: World) -> bool:
    vip = world.address is not None and world.address.vip_present
    facts = world.server.facts if world.server else None
    may = world.stood_down is None
    return may and isinstance(world.phase, Resting) and vip and facts is not None and facts.closed


def _settle(policy: Policy, within_s: float, *, may_open: bool) -> World:
    """Run the loop until nothing is due any more, or time is up."""
    runtime = Runtime(policy, resident=False, may_open=may_open)
    began_s = runtime.now()

    def settled(world: World, now_s: float) -> bool:
        if now_s - began_s > within_s:
            return True
        quiet = all(key.startswith("Probe") for key in world.flights)
        if now_s - began_s < SETTLE_S or not quiet:
            return False
        if isinstance(world.phase, Resting) and world.phase.since_s <= now_s:
            return not may_open or not _wants_to_open(world) or world.hold_off is not None
        return isinstance(world.phase, Writing)

    try:
        runtime.run(settled)
    finally:
        runtime.close()
    return runtime.world
