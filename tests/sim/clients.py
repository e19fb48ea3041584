"""Who writes? Clients that go where the VIP answers, and clients that stay on one server as long as it lets them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .mysqld import Mysqld, Session, Txn
from .network import CLIENT

if TYPE_CHECKING:
    from .cluster import Cluster
    from .host import Host


class Writer:
    """One connection that inserts row after row. `home`: the node it connects to, None for the VIP."""

    def __init__(self, cluster: Cluster, every_s: float, home: Host | None = None) -> None:
        self.cluster, self.engine, self.every_s, self.home = cluster, cluster.engine, every_s, home
        self.server: Mysqld | None = None
        self.session: Session | None = None
        self.waits: Session | None = None
        self.acknowledged: list[Txn] = []
        self.engine.at(self.engine.between(0.0, every_s), self._try)

    def _try(self) -> None:
        self.engine.at(self.every_s * self.engine.between(0.5, 1.5), self._try)
        if self.waits is not None and self.waits.alive and self.server is not None and self.server.alive:
            return  # its commit has not come back yet
        self.waits = None
        host = self.home or self.cluster.route()
        if host is None or not self._passes(host):
            return
        server = host.mysqld
        if server is None or not server.alive or host.paused:
            self.session = None
            return
        session = self.session if self.server is server else None
        if (session is None or not session.alive) and server.leaving:
            return
        if session is None or not session.alive:
            session = server.connect(CLIENT, guard=False, local=False)
            self.server, self.session = server, session
        server.at(self.engine.between(0.0005, 0.003), self._commit, server, session)

    def _passes(self, host: Host) -> bool:
        return self.cluster.network.both_ways(CLIENT, host.name, "sql")

    def _commit(self, server: Mysqld, session: Session) -> None:
        if not session.alive or server.closed:
            return
        done: list[Txn] = []

        def told() -> None:
            self.waits = None
            if done and self._passes(server.host):
                done[0].acknowledged = True
                self.cluster.laws.histories.acknowledge(done[0])
                self.acknowledged.append(done[0])
            early.append(True)

        early: list[bool] = []
        self.waits = session
        txn = server.commit(session, told)
        done.append(txn)
        if early:
            told()

    def reset(self, host: Host) -> None:
        if self.home is None and self.server is not None and self.server.host is host and self.session is not None:
            if self.server.alive:
                self.server.drop(self.session)
            self.session = None
