"""What shows of the reader addresses on this host? Of each its address, adverts, VRRP state and track file.

Only a resident agent watches them. Adverts wake nobody: they are read on the tick.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from ..act import track_file
from ..errors import CouldNotDo, CouldNotLook
from ..log import get_logger
from ..model.evidence import AddressEvidence
from ..model.policy import Policy
from ..model.reader import Reader
from ..model.reading import ReaderEvidence
from ..model.vrrp import VrrpEvent
from ..probe.address import AddressWatch
from ..probe.adverts import AdvertWatch
from .event import Event, ReaderSeen

_log = get_logger("watch")


class _Watched:
    """One reader address."""

    def __init__(self, reader: Reader, path: str, now: Callable[[], float]) -> None:
        self.path = path
        self.address = AddressWatch(reader.interface, reader.ip, now)
        self.adverts = AdvertWatch(reader.interface, reader.router_id, now)
        self.seen = ReaderEvidence()
        self.blind = False


class ReaderWatch:
    """Of all reader addresses that this node may hold."""

    def __init__(self, policy: Policy, now: Callable[[], float]) -> None:
        """Makes the track files that are missing. Raises CouldNotDo and CouldNotLook with one sentence."""
        paths = policy.paths
        if any(reader.writer == "last" for reader in policy.own_readers):
            track_file.ensure(paths.writer_mark, track_file.INELIGIBLE)
        self._all: dict[str, _Watched] = {}
        for reader in policy.own_readers:
            path = paths.reader_file(reader.name)
            track_file.ensure(path, track_file.INELIGIBLE)
            self._all[reader.name] = _Watched(reader, path, now)

    def filenos(self) -> list[int]:
        """The descriptors to wait for; readable ones are drained by `drain`."""
        return [watched.address.fileno() for watched in self._all.values()]

    def say(self, events: Iterable[VrrpEvent]) -> None:
        """Take note of what keepalived said of them."""
        for event in events:
            watched = self._all.get(event.instance)
            if watched is not None and not event.word.endswith("_PRIORITY"):  # said in FAULT too
                watched.seen = replace(watched.seen, state=event.state)

    def passed(self, name: str, yes: bool) -> None:
        """Take note of what keepalived's script was told."""
        if (watched := self._all.get(name)) is not None:
            watched.seen = replace(watched.seen, passed=yes)

    def drain(self, ready: set[int]) -> list[Event]:
        """Of those whose address may have come or gone."""
        found: list[Event] = []
        for name, watched in self._all.items():
            if watched.address.fileno() in ready and self._address(watched, watched.address.drain):
                self._rest(watched)
                found.append(ReaderSeen(name, watched.seen))
        return found

    def tick(self) -> list[Event]:
        """Everything of each, read now."""
        for watched in self._all.values():
            self._address(watched, watched.address.drain)
            self._rest(watched)
        return [ReaderSeen(name, watched.seen) for name, watched in self._all.items()]

    def look(self) -> list[Event]:
        """The same with the addresses afresh."""
        for watched in self._all.values():
            self._address(watched, watched.address.look)
            self._rest(watched)
        return [ReaderSeen(name, watched.seen) for name, watched in self._all.items()]

    def _address(self, watched: _Watched, ask: Callable[[], AddressEvidence | None]) -> bool:
        try:
            address = ask()
        except CouldNotLook as exc:
            if not watched.blind:
                _log.error("address", rule="addresses-not-seen", reason=str(exc))
            watched.blind = True
            return False
        watched.blind = False
        if address is None:
            return False
        watched.seen = replace(watched.seen, address=address)
        return True

    def _rest(self, watched: _Watched) -> None:
        adverts = watched.adverts.drain()
        watched.seen = replace(
            watched.seen,
            left_at_s=adverts.left_at_s,
            looked_at_s=adverts.looked_at_s,
            heard=adverts.heard,
            track=track_file.read(watched.path),
        )

    def goodbye(self) -> None:
        """At a clean stop the address that is not here is not to come; one that is here stays."""
        for watched in self._all.values():
            if not watched.seen.here:
                try:
                    track_file.write(watched.path, track_file.INELIGIBLE)
                except CouldNotDo as exc:
                    _log.warning("track-file", rule="track-file-unwritable", reason=str(exc))

    def close(self) -> None:
        for watched in self._all.values():
            watched.address.close()
            watched.adverts.close()
