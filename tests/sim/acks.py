"""Who waits for whom? Semi-synchronous replication, AFTER_SYNC and without a fallback: a source's commits."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from vipguard.model.evidence import SemiSync

if TYPE_CHECKING:
    from .mysqld import Mysqld, Session, Txn


class Acks:
    """The source's side of one server process; it boots switched off."""

    def __init__(self, server: Mysqld) -> None:
        self.server, self.on, self.acked = server, False, 0
        self.mute = server.host.node.is_replica  # as its my.cnf says
        self._waiting: list[tuple[Txn, Session, Callable[[], None]]] = []

    @property
    def waiting(self) -> int:
        self._waiting = [entry for entry in self._waiting if entry[1].alive]
        return len(self._waiting)

    def wait(self, txn: Txn, session: Session, told: Callable[[], None]) -> None:
        """`told` is called when the client may be told that its commit is done: at once while this is off."""
        if not self.on:
            told()
        else:
            self._waiting.append((txn, session, told))

    def switch(self, on: bool) -> None:
        """Off lets everybody go on who waits."""
        self.on = on
        if not on:
            self._go_on(lambda txn: True)

    def received(self, source: int, number: int) -> None:
        """A replica has this server's transactions up to `number`."""
        if source == self.server.host.server_id:
            self._go_on(lambda txn: txn.number <= number)

    def _go_on(self, which: Callable[[Txn], bool]) -> None:
        done = [entry for entry in self._waiting if which(entry[0])]
        self._waiting = [entry for entry in self._waiting if not which(entry[0])]
        for _, session, told in done:
            if session.alive:
                self.acked += 1
                told()

    def facts(self) -> SemiSync:
        server = self.server
        return SemiSync(
            source_enabled=self.on,
            source_on=self.on,
            clients=sum(not replica.acks.mute for replica in server.replicas),
            waiting=self.waiting,
            acked=self.acked,
            replica_enabled=not self.mute,
            replica_on=server.link is not None and not self.mute,
        )
