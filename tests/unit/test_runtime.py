"""In what order does the loop tell the core what happened?"""

from __future__ import annotations

from unittest.mock import MagicMock

from core import guarded_writer

from vipguard.agent.event import TrackSeen
from vipguard.agent.runtime import Runtime
from vipguard.agent.world import Closing


def test_a_pause_in_the_middle_of_a_turn_is_the_first_that_the_core_hears_of_after_it() -> None:
    """Else it would take its own pause for the silence of everybody else."""
    core = guarded_writer()
    runtime = Runtime.__new__(Runtime)
    runtime.world, runtime._tick_s = core.world, core.now
    runtime.hands = runtime.story = runtime.alerts = runtime.tally = MagicMock()
    runtime.now = lambda: core.now + 1.2
    runtime._steps([TrackSeen("1"), TrackSeen("1")])
    assert isinstance(runtime.world.phase, Closing) and runtime.world.phase.rule == "paused"
    assert runtime._tick_s == core.now + 1.2
