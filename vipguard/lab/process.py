"""What is a daemon of a node? Something with a log, a pid and ways to hurt it; one class for each kind stands
elsewhere.
"""

from __future__ import annotations

import json
import signal
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from vipguard.lab.namespace import Identity
from vipguard.lab.wait import wait_until

if TYPE_CHECKING:
    from vipguard.lab.node import Node


class Daemon(ABC):
    """A process of a node that outlives the command which started it. Its identity is on disk, for the next
    command.
    """

    #: One word: the name of the log and of the record.
    kind: str
    niceness = 0

    def __init__(self, node: Node) -> None:
        self.node = node
        self.log = node.directory / "log" / f"{self.kind}.log"
        self._record = node.directory / "log" / f"{self.kind}.pid"

    @abstractmethod
    def argv(self) -> list[str]: ...

    def env(self) -> Mapping[str, str]:
        return {}

    def start(self, *, again_s: float | None = None) -> None:
        """Start it unless it lives; does not wait until it is ready. `again_s`: start it again that long
        after its end.
        """
        if self.alive:
            return
        argv = ["nice", "-n", str(self.niceness), *self.argv()] if self.niceness else self.argv()
        identity = self.node.space.spawn(argv, self.log, env=self.env(), again_s=again_s)
        self._record.write_text(json.dumps([identity.pid, identity.start, again_s is not None]))

    def _recorded(self) -> tuple[Identity, bool] | None:
        try:
            pid, start, looped = json.loads(self._record.read_text())
        except (OSError, ValueError):
            return None
        return Identity(pid, start), looped

    @property
    def identity(self) -> Identity | None:
        """The living process, None when it is dead (between two runs of a restarted one, too)."""
        recorded = self._recorded()
        if recorded is None or not recorded[0].alive:
            return None
        identity, looped = recorded
        if not looped:
            return identity
        return next(
            (child for child in self.node.space.children(identity.pid) if comm(child.pid) != "sleep"), None
        )

    @property
    def alive(self) -> bool:
        return self.identity is not None

    @property
    def ended(self) -> bool:
        """Dead for good: nobody will start it again by itself."""
        recorded = self._recorded()
        return recorded is None or not recorded[0].alive

    @property
    def pid(self) -> int | None:
        """As the host sees it; inside the node the same process has another number."""
        identity = self.identity
        return identity.pid if identity else None

    def all_identities(self) -> list[Identity]:
        identity = self.identity
        return [identity, *self.node.space.children(identity.pid)] if identity else []

    def signal(self, number: int) -> None:
        """Send a signal to it alone (`kill9`, `stop` and `cont` take its children along)."""
        identity = self.identity
        if identity:
            identity.signal(number)

    def end_restarts(self) -> Identity | None:
        """Let nobody start it again; the process that runs now, if one does."""
        recorded = self._recorded()
        if recorded is None or not recorded[1]:
            return self.identity
        loop = recorded[0]
        loop.signal(signal.SIGSTOP)  # it starts nothing while its child is looked for
        running = self.identity
        loop.signal(signal.SIGKILL)
        if running:
            self._record.write_text(json.dumps([running.pid, running.start, False]))
        return running

    def kill9(self) -> None:
        """SIGKILL, all its processes; returns when they are gone. Stopped first: a child of keepalived's that hears of
        its parent's death would say goodbye."""
        identities = self.all_identities()
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for identity in identities:
                identity.signal(number)
        wait_until(lambda: not any(one.alive for one in identities), 20, f"the death of {self}")

    def terminate(self, within_s: float = 30.0) -> None:
        """SIGTERM, and wait for its end; a restarting one stays down."""
        victim = self.end_restarts()
        if victim:
            victim.signal(signal.SIGTERM)
            victim.signal(signal.SIGCONT)
            wait_until(lambda: not victim.alive, within_s, f"the end of {self} after SIGTERM")

    def stop(self) -> None:
        """SIGSTOP: it lives, holds its sockets and answers nothing."""
        for identity in self.all_identities():
            identity.signal(signal.SIGSTOP)

    def cont(self) -> None:
        for identity in self.all_identities():
            identity.signal(signal.SIGCONT)

    def log_text(self, start: int = 0) -> str:
        """The log from byte `start` on ("" when there is none)."""
        try:
            with self.log.open("rb") as stream:
                stream.seek(start)
                return stream.read().decode(errors="replace")
        except OSError:
            return ""

    def log_tail(self, lines: int = 15) -> str:
        return "\n".join(self.log_text(max(0, self.log_size() - 64 * 1024)).splitlines()[-lines:])

    def log_size(self) -> int:
        try:
            return self.log.stat().st_size
        except OSError:
            return 0

    def __str__(self) -> str:
        return f"{self.kind} of {self.node.name}"


def comm(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""
