"""Whom does this host reach? Every witness by its own means, and the peers' hosts, in one watcher.

A witness is an address, asked by ping and, where it is on the VIP's link and answers no pings, by ARP or neighbour
solicitation, as a peer's host is; or an address with a port, asked by a TCP connect. Nothing here blocks.
"""

from __future__ import annotations

import ipaddress
import select
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from ..errors import CouldNotLook
from ..model.witness import parse
from .knock import Knocker
from .witness import Pinger, Pong

if TYPE_CHECKING:
    from .link import LinkAsker

QUIET_ROUNDS = 2  # pings in a row that went unanswered before ARP is tried


def by_link_name(host: str) -> str:
    """What a peer's host is called that was heard on the link, and not by ping."""
    return f"{host} on the link"


class Reach:
    """Asks `witnesses` (by their names) and `hosts` (addresses) on each `send`; `drain` tells who answered.

    Without `interface` nobody is asked by ARP, which keeps what that needs out of short-lived commands.
    """

    epoll_mask = select.EPOLLIN

    def __init__(
        self,
        witnesses: Iterable[str],
        hosts: Iterable[str],
        now: Callable[[], float],
        interface: str | None = None,
    ) -> None:
        """Raises CouldNotLook for a name that is none, and without the right to open raw sockets."""
        try:
            found = [parse(name) for name in witnesses]
        except ValueError as exc:
            raise CouldNotLook(f"a witness cannot be asked: {exc}") from exc
        self._pinged = [witness.name for witness in found if witness.port is None]
        self._hosts = [host for host in hosts if host not in self._pinged]
        self._unanswered = dict.fromkeys([*self._pinged, *self._hosts], 0)
        self._pinger = Pinger([*self._pinged, *self._hosts], now)
        self._knocker = Knocker([witness for witness in found if witness.port is not None], now)
        self._asker = self._link_asker(interface, now) if self._unanswered else None
        self._epoll = select.epoll()
        for watcher in (self._pinger, self._knocker):
            self._epoll.register(watcher.fileno(), watcher.epoll_mask)

    @staticmethod
    def _link_asker(interface: str | None, now: Callable[[], float]) -> LinkAsker | None:
        if interface is None:
            return None
        from .link import LinkAsker

        return LinkAsker(interface, now)

    def fileno(self) -> int:
        """Readable when somebody answered a ping or a connect; answers by ARP are found on the tick only."""
        return self._epoll.fileno()

    def send(self) -> None:
        """One round. Never blocks, raises nothing."""
        self._pinger.send()
        self._knocker.send()
        quiet = [name for name, rounds in self._unanswered.items() if rounds >= QUIET_ROUNDS]
        if self._asker is not None and quiet:
            self._asker.send(quiet)
        for name in self._unanswered:
            self._unanswered[name] += 1

    def drain(self) -> dict[str, Pong]:
        """For each name that answered since the last call, its answer to the newest round. Never blocks.

        A host that answers on the link alone is called `by_link_name(host)`: this node is not cut off then, but a
        switch may answer for a host that is dead."""
        answers = self._pinger.drain()
        for name in answers:
            if name in self._unanswered:
                self._unanswered[name] = 0
        answers.update(self._knocker.drain())
        by_link = self._asker.drain() if self._asker is not None else {}
        for name in self._pinged if by_link else ():
            answer = by_link.get(ipaddress.ip_address(name))
            if answer is not None:
                answers[name] = max(answers.get(name, answer), answer, key=lambda pong: pong.sent_at_s)
        for host in self._hosts if by_link else ():
            answer = by_link.get(ipaddress.ip_address(host))
            if answer is not None:
                answers[by_link_name(host)] = answer
        return answers

    def close(self) -> None:
        self._pinger.close()
        self._knocker.close()
        if self._asker is not None:
            self._asker.close()
        self._epoll.close()
