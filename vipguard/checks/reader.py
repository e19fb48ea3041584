"""May this node take, or keep, a reader address now? The verdict, by one table.

The first row that applies decides. What is blind decides as for the writer's VIP: it makes no candidate eligible and
takes no address from a holder. Who is unfit lets the address go even where nobody else is fit: a client that is
refused knows that it got no answer, one that reads old rows does not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..model.reader import Reader
from ..model.sight import Sight
from ..model.verdict import Verdict
from . import rows

NO, YES, UNSEEN = rows.NO, rows.YES, rows.UNSEEN


@dataclass(frozen=True, slots=True)
class Reading:
    """`here`: this node has the address. `writer`: it is the writer. `wrote_s`: for how long it has not been any more,
    None if it never was; `diverged`: why its data are apart from the others'.
    """

    sight: Sight
    reader: Reader
    here: bool = False
    writer: bool = False
    wrote_s: float | None = None
    diverged: str | None = None


Row = tuple[str, Callable[[Reading], rows.Decision | None]]


def _seen(row: rows.Decide) -> Callable[[Reading], rows.Decision | None]:
    return lambda reading: row(reading.sight)


def _paused(reading: Reading) -> rows.Decision | None:
    """keepalived keeps what it has."""
    return rows.paused(reading.sight) if reading.here else rows.paused_candidate(reading.sight)


def _diverged(reading: Reading) -> rows.Decision | None:
    return (NO, f"its data are apart from the writer's: {reading.diverged}", ()) if reading.diverged else None


def _never(reading: Reading) -> rows.Decision | None:
    if not reading.writer or reading.reader.writer != "no":
        return None
    return NO, "this node is the writer, which never serves this address", ()


def _by_the_writer(reading: Reading) -> rows.Decision | None:
    if not reading.writer:
        return None
    last = ", until another node can serve it" if reading.reader.writer == "last" else ""
    return YES, f"this node is the writer{last}", ()


def _wrote_lately(reading: Reading) -> rows.Decision | None:
    """Whatever its replication says: it had everything when it stopped to be the writer."""
    wrote_s, lag_s_max = reading.wrote_s, reading.reader.lag_s_max
    if wrote_s is None or wrote_s >= lag_s_max:
        return None
    ago_s = round(wrote_s, 1)
    return (
        YES,
        f"this node was the writer until {ago_s:g} s ago",
        (("ago_s", ago_s), ("lag_s_max", lag_s_max)),
    )


def _lag_exceeded(reading: Reading) -> rows.Decision | None:
    return rows.lag_above(reading.sight, reading.reader.lag_s_max)


TABLE: tuple[Row, ...] = (
    ("reader-paused", _paused),
    ("reader-keepalived-dead", _seen(rows.keepalived_dead)),
    ("reader-server-not-asked", _seen(rows.not_asked)),
    ("reader-server-absent", _seen(rows.absent)),
    ("reader-server-hung", _seen(rows.hung)),
    ("reader-server-silent", _seen(rows.silent)),
    ("reader-server-blind", _seen(rows.blind)),
    ("reader-other-cluster", _seen(rows.other_cluster)),
    ("reader-copy-unfinished", _seen(rows.copying)),
    ("reader-maintenance", _seen(rows.maintenance)),
    ("reader-isolated", _seen(rows.isolated)),
    ("reader-diverged", _diverged),
    ("reader-never-the-writer", _never),
    ("reader-by-the-writer", _by_the_writer),
    ("reader-wrote-lately", _wrote_lately),
    ("reader-replication-broken", _seen(rows.threads)),
    ("reader-lag-unknown", _seen(rows.lag_unknown)),
    ("reader-lag-exceeded", _lag_exceeded),
    ("reader-ready", lambda _: (YES, "this node can serve the address", ())),
)

#: What makes a node ineligible without a fault of its own.
NO_FAULTS = frozenset(
    {"reader-paused", "reader-maintenance", "reader-copy-unfinished", "reader-never-the-writer"}
)


def judge(reading: Reading) -> Verdict:
    """The verdict of the first row that applies; the last row always does."""
    for rule, row in TABLE:
        decision = row(reading)
        if decision is not None:
            eligibility, text, numbers = decision
            return Verdict("holder" if reading.here else "candidate", eligibility, rule, text, numbers)
    raise AssertionError("the table has no last row")
