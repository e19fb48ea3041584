"""What becomes of an effect whose worker comes to it too late?"""

from __future__ import annotations

import queue

import pytest

from vipguard.agent.event import Did, Failed
from vipguard.agent.lanes import TOO_LATE, Lanes
from vipguard.agent.world import Flight
from vipguard.model import effect as do
from vipguard.model.evidence import ProcessId

NOW_S, PROCESS = 100.0, ProcessId(42, 7)


def result_of(effect: do.Effect, until_s: float) -> object:
    """Of one flight that a worker comes to at `NOW_S`."""
    reports: queue.SimpleQueue[Did] = queue.SimpleQueue()
    lanes = Lanes(lambda effect: "done", reports.put, lambda: NOW_S)
    lanes.start(Flight(1, effect, until_s - effect.deadline_s, until_s))
    lanes.close()
    return reports.get(timeout=10).result


@pytest.mark.parametrize(
    "effect",
    [
        do.WriteTrack(1.0, "0"),
        do.ResetClients(0.6, PROCESS),
        do.RemoveVip(1.0),
        do.ShutGate(0.5),
        do.KillServer(1.0, PROCESS),
        do.ClosePeer(1.0, "db2"),
        do.FencePeer(30.0, "db2"),
        do.WriteReaderTrack(1.0, "reports", "0"),
    ],
    ids=lambda effect: type(effect).__name__,
)
def test_what_could_undo_what_came_since_is_not_begun_after_its_deadline(effect: do.Effect) -> None:
    assert result_of(effect, NOW_S) == "done"
    assert result_of(effect, NOW_S - 0.001) == Failed(TOO_LATE, refused=True)


def test_what_gives_something_back_is_done_however_late() -> None:
    for effect in (do.Release(0.5, "db2"), do.DropOpener(0.5), do.DisarmClose(0.5)):
        assert result_of(effect, NOW_S - 5.0) == "done"
