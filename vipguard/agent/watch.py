"""What came in? All descriptors that the agent waits on, in one epoll, drained into events.

Nothing here blocks. Adverts and pings wake nobody: they are read on the tick, adverts also when keepalived says
something.
"""

from __future__ import annotations

import contextlib
import os
import select
from collections.abc import Callable

from ..act import track_file
from ..checks import vrrp
from ..errors import CouldNotDo, CouldNotLook
from ..log import get_logger
from ..model.evidence import KeepalivedEvidence, ProcessId
from ..model.policy import Policy
from ..probe.address import AddressWatch
from ..probe.adverts import AdvertWatch
from ..probe.fifo import FifoWatch
from ..probe.keepalived import KeepalivedWatch
from ..probe.reach import Reach
from ..session.process import is_exiting
from ..state import mark, standdown
from .event import (
    AddressSeen,
    CopySeen,
    Event,
    Heard,
    KeepalivedSeen,
    ProcessExiting,
    StoodDownSeen,
    TrackSeen,
)
from .reader_watch import ReaderWatch

BEGAN_S = 0.05  # how much later than its first line a process may seem to have begun: its time is told in hundredths
_log = get_logger("watch")


class Watch:
    """Every watcher of one agent. `now` is CLOCK_BOOTTIME in seconds."""

    def __init__(self, policy: Policy, now: Callable[[], float], *, readers: bool = False) -> None:
        """Makes the FIFO and the track files if missing. `readers`: watch the reader addresses too.

        Raises CouldNotDo and CouldNotLook with one sentence.
        """
        self.policy, self._now = policy, now
        track_file.ensure(policy.paths.track_file, track_file.INELIGIBLE)
        self._fifo = self._open_fifo()
        self._readers = ReaderWatch(policy, now) if readers else None
        self._address = AddressWatch(policy.vip.interface, policy.vip.ip, now)
        self._adverts = AdvertWatch(policy.vip.interface, policy.vip.router_id, now)
        self._keepalived = KeepalivedWatch(policy.vrrp.pid_file, fifo=policy.paths.fifo)
        self._held = False
        self._unheld_s: float | None = None  # since when nobody has the FIFO open
        self._reach = self._reaching(policy)
        self._seen = KeepalivedEvidence()
        self._heard: dict[str, float] = {}
        self._priorities: dict[str, int] = {}
        self._ignored: set[str] = set()
        self.epoll = select.epoll()
        for watcher in (self._fifo, self._address, self._keepalived):
            self.epoll.register(watcher.fileno(), watcher.epoll_mask)
        for fd in self._readers.filenos() if self._readers else ():
            self.epoll.register(fd, select.EPOLLIN)

    def _open_fifo(self) -> FifoWatch:
        others = frozenset(reader.name for reader in self.policy.readers)
        return FifoWatch(self.policy.paths.fifo, self.policy.instance, others)

    def _reaching(self, policy: Policy) -> Reach:
        hosts = [node.address for node in policy.peers]
        return Reach(policy.witnesses, hosts, self._now, policy.vip.interface)

    def follow(self, policy: Policy) -> None:
        """Take over a new configuration's witnesses."""
        if policy.witnesses != self.policy.witnesses:
            reach = self._reaching(policy)
            self._reach.close()
            self._reach = reach
        self.policy = policy

    def wait(self, timeout_s: float) -> set[int]:
        """The descriptors that became ready within `timeout_s` seconds."""
        return {fd for fd, _ in self.epoll.poll(max(0.0, timeout_s))}

    def drain(self, ready: set[int]) -> list[Event]:
        """The events of the ready descriptors; the caller's own descriptors are left alone."""
        events: list[Event] = []
        if ready & {self._fifo.fileno(), self._keepalived.fileno(), self._address.fileno()}:
            events.append(KeepalivedSeen(self._look_at_keepalived()))
        if self._address.fileno() in ready:
            events.extend(self._addresses())
        if self._readers is not None:
            events.extend(self._readers.drain(ready))
        return events

    def _addresses(self) -> list[Event]:
        try:
            evidence = self._address.drain()
        except CouldNotLook as exc:
            if "address" not in self._ignored:
                self._ignored.add("address")
                _log.error("address", rule="addresses-not-seen", reason=str(exc))
            return []
        self._ignored.discard("address")
        return [AddressSeen(evidence)] if evidence is not None else []

    def tick(self) -> list[Event]:
        """Everything that is looked at on each tick; the witnesses and the peers' hosts are asked again."""
        answers = self._reach.drain()
        self._reach.send()
        keepalived = self._look_at_keepalived()
        return [
            *self._addresses(),  # a look that failed is made again
            KeepalivedSeen(keepalived),
            Heard(answers, self._heard, self._priorities),
            TrackSeen(track_file.read(self.policy.paths.track_file)),
            CopySeen(mark.look(self.policy.paths.copy_mark)),
            StoodDownSeen(standdown.look(self.policy.paths.stood_down)),
            *(self._readers.tick() if self._readers else ()),
        ]

    def look(self) -> list[Event]:
        """The marks on disk and the addresses, afresh: a start that knew of the VIP alone would overwrite a "1"."""
        paths = self.policy.paths
        seen: list[Event] = [
            TrackSeen(track_file.read(paths.track_file)),
            CopySeen(mark.look(paths.copy_mark)),
            StoodDownSeen(standdown.look(paths.stood_down)),
        ]
        with contextlib.suppress(CouldNotLook):
            seen.append(AddressSeen(self._address.look()))
        return [*seen, *(self._readers.look() if self._readers else ())]

    def exiting(self, process: ProcessId | None) -> list[Event]:
        """Whether the server's process is being taken down: seen long before its sockets close."""
        return [ProcessExiting(process)] if process is not None and is_exiting(process) else []

    def _look_at_keepalived(self) -> KeepalivedEvidence:
        seen = self._fifo.drain()
        if self._fifo.moved():
            self._reopen_fifo()
        for line in seen.ignored:
            if line.why not in self._ignored:
                self._ignored.add(line.why)
                _log.warning("fifo", rule="line-ignored", line=line.line, why=line.why)
        if self._readers is not None:
            self._readers.say(seen.events)
        said = [e.state for e in seen.events if e.instance == self.policy.instance and not e.word.endswith("_PRIORITY")]
        state, at_s = self._seen.state, self._seen.state_at_s
        if said and said[-1] != state:
            state, at_s = said[-1], self._now()
        alive = self._lives(seen.writer)
        began_s = self._keepalived.began_s()
        if alive is False or (began_s is not None and at_s is not None and at_s < began_s - BEGAN_S):
            state = at_s = None  # that was said by another process
        adverts = self._adverts.drain()
        self._heard = {sender: heard_s for sender, (heard_s, _) in adverts.heard.items()}
        spoken = {sender: priority for sender, (_, priority) in adverts.heard.items() if priority}
        self._priorities = {s: p for s, p in (self._priorities | spoken).items() if s in self._heard}
        self._seen = KeepalivedEvidence(
            alive=alive,
            hung_up=seen.hung_up,
            state=state,
            state_at_s=at_s,
            advert_left_s=adverts.left_at_s,
            looked_at_s=adverts.looked_at_s,
            started_s=began_s,
            stands=self._keepalived.stands(),
            writer=seen.writer,
            unheld_since_s=self._unheld_s if alive else None,
        )
        return self._seen

    def _lives(self, writer: bool) -> bool | None:
        """By its process; where that was never seen, as from a container, by whether somebody has the FIFO open, which
        ends for a moment when keepalived reads its configuration again."""
        now_s = self._now()
        self._unheld_s = None if writer else (now_s if self._unheld_s is None else self._unheld_s)
        self._held = self._held or writer
        lives = self._keepalived.look()
        if lives or self._keepalived.ever_seen or not self._held:
            return lives
        return self._unheld_s is None or now_s - self._unheld_s < vrrp.SETTLE_S

    def _reopen_fifo(self) -> None:
        try:
            fifo = self._open_fifo()
        except CouldNotDo as exc:
            if "fifo" not in self._ignored:
                self._ignored.add("fifo")
                _log.error("fifo", rule="fifo-lost", reason=str(exc))
            return
        _log.warning("fifo", rule="fifo-replaced", path=self.policy.paths.fifo)
        self._ignored.discard("fifo")
        with contextlib.suppress(OSError):
            self.epoll.unregister(self._fifo.fileno())
        self._fifo.close()
        self._fifo = fifo
        self.epoll.register(fifo.fileno(), fifo.epoll_mask)

    def passed(self, reader: str, yes: bool) -> None:
        """keepalived's script was told so of a reader address."""
        if self._readers is not None:
            self._readers.passed(reader, yes)

    def goodbye(self) -> None:
        """At a clean stop, as to the reader addresses."""
        if self._readers is not None:
            self._readers.goodbye()

    def close(self) -> None:
        for watcher in (self._fifo, self._address, self._adverts, self._keepalived, self._reach):
            watcher.close()
        if self._readers is not None:
            self._readers.close()
        self.epoll.close()


class Wake:
    """A descriptor by which other threads, and signals, end the wait."""

    def __init__(self) -> None:
        self._fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def fileno(self) -> int:
        return self._fd

    def set(self) -> None:
        os.eventfd_write(self._fd, 1)

    def clear(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._fd)
