"""How far behind the writer is a server, by the writer's heartbeat?

The writer keeps one row, its own server id's, at its own time; what a replica has of that row says up to when it has
applied. Both times are by the writer's clock, so clocks apart do not matter. Times are microseconds since 1970.
"""

from __future__ import annotations

from dataclasses import dataclass

STALE = 4.0  # heartbeats: a writer whose newest is older than so many does not beat
RESOLUTION = 2.0  # heartbeats: a lag of less may be one that is on its way


@dataclass(frozen=True, slots=True)
class Row:
    """The newest beat of the writer `server_id`, and the first of the series that it belongs to: a writer that begins
    anew, after an opening or a silence, begins a new series."""

    server_id: int
    beat_us: int
    since_us: int


@dataclass(frozen=True, slots=True)
class Beats:
    """The rows on one server. `clock_us`: that server's clock when they were read."""

    clock_us: int
    rows: tuple[Row, ...] = ()

    def of(self, server_id: int) -> Row | None:
        return next((row for row in self.rows if row.server_id == server_id), None)


@dataclass(frozen=True, slots=True)
class Behind:
    """The lag behind the writer `node`, in seconds. `live`: by its present beats; else those before it was gone."""

    lag_s: float
    node: str
    live: bool = True


def lag_s(server_id: int, writers: Beats | None, replicas: Beats | None, heartbeat_s: float) -> float | None:
    """How many seconds a replica with the rows `replicas` is behind the writer `server_id`; `writers` was read before.

    To a heartbeat's length. None where that says nothing: the writer does not beat, or one of the two has no table. A
    replica that lacks the whole series is as far behind as the series is long, at least.
    """
    newest = writers.of(server_id) if writers is not None else None
    if writers is None or replicas is None or newest is None:
        return None
    if writers.clock_us - newest.beat_us > STALE * heartbeat_s * 1e6:
        return None
    there = replicas.of(server_id)
    if there is not None and there.since_us > newest.since_us:
        return None  # a newer series, which began after the writer was asked; or the writer's clock was set back
    same = there is not None and there.since_us == newest.since_us
    reached_us = there.beat_us if there is not None and same else newest.since_us
    return max(0, newest.beat_us - reached_us) / 1e6
