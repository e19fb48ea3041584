"""Why does a replication thread stand: by an error, because its source was gone for too long, or by a hand?

Neither flavour clears the last error when somebody stops a thread that was looking for its source. MySQL says which
attempt that was, of how many; MariaDB only how many there are, so that the time it had for them must tell.
"""

from __future__ import annotations

import re

from ..model.evidence import Channel
from .replication import SOURCE_GONE

_ATTEMPT = re.compile(r"attempt (\d+)/(\d+)")
_RETRIES = re.compile(r"retry-time: (\d+)\s+maximum-retries: (\d+)")
_PART = 0.9  # of the time for all attempts: an attempt may end at once


def runs(channel: Channel) -> bool:
    """Both threads, or the IO thread looks for its source."""
    return channel.sql_running and channel.io != "stopped"


def by_hand(channel: Channel, searched_s_max: float | None) -> bool:
    """Did somebody stop one of its threads? `searched_s_max`: no longer than that can the IO thread have looked for its
    source; None where it was not seen to. Of a server that was just booted this says nothing."""
    if not channel.sql_running and not channel.sql_errno:
        return True
    if channel.io != "stopped":
        return False
    if not channel.io_errno:
        return True
    if channel.io_errno not in SOURCE_GONE:
        return False
    if (attempt := _ATTEMPT.search(channel.io_error)) is not None:
        return int(attempt[1]) < int(attempt[2])
    retries = _RETRIES.search(channel.io_error)
    if retries is None or searched_s_max is None:
        return False
    return searched_s_max < _PART * int(retries[1]) * int(retries[2])


def failed(channel: Channel) -> bool:
    """Does each thread that stands do so for an error that only one that was started meets?"""
    searching = _ATTEMPT.search(channel.io_error) is not None or _RETRIES.search(channel.io_error) is not None
    io = channel.io != "stopped" or (channel.io_errno not in SOURCE_GONE and not searching)
    return io and (channel.sql_running or bool(channel.sql_errno))


def may_be_tried(channel: Channel) -> bool:
    """Does its IO thread stand for an error alone, or for a source that was gone for too long?"""
    return channel.sql_running and channel.io == "stopped" and bool(channel.io_errno)
