"""How is an effect on a reader address carried out? In the lane of that address."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from ..act import address, nft, tcp, track_file
from ..errors import CouldNotDo
from ..log import get_logger
from ..model import effect as do
from ..model.policy import Policy
from ..model.reader import Reader
from ..session.process import is_exiting

_log = get_logger("agent")


class ReaderHands:
    """`policy` gives the one in force now. Each raises CouldNotDo where it could not be done."""

    def __init__(self, policy: Callable[[], Policy]) -> None:
        self._policy = policy

    def _reader(self, effect: do.OfReader) -> Reader:
        return next(reader for reader in self._policy().readers if reader.name == effect.name)

    def write_track(self, effect: do.WriteReaderTrack) -> None:
        path = self._policy().paths.reader_file(effect.name)
        track_file.write(path, cast(track_file.Value, effect.value))

    def mark_writer(self, effect: do.MarkWriter) -> None:
        policy = self._policy()
        if any(reader.writer == "last" for reader in policy.own_readers):
            track_file.write(policy.paths.writer_mark, cast(track_file.Value, effect.value))

    def reset(self, effect: do.ResetReaders) -> int:
        """Where the server lives, newcomers are refused first, or they would come in between."""
        policy, reader = self._policy(), self._reader(effect)
        if effect.process is None or not is_exiting(effect.process):
            try:
                nft.refuse_for_a_moment(policy.cluster, reader.ip)
            except CouldNotDo as exc:
                _log.debug("reset-readers", rule="gate-not-shut", reader=reader.name, reason=str(exc))
        return tcp.reset_clients(reader.ip, policy.mysql.port, effect.process)

    def remove(self, effect: do.RemoveReader) -> None:
        reader = self._reader(effect)
        address.remove_vip(reader.interface, reader.ip)
