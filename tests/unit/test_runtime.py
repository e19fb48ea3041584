"""In what order does the loop tell the core what happened?"""

from __future__ import annotations

from unittest.mock import MagicMock

from core import Core, guarded_writer

from vipguard.agent.event import AddressSeen, TrackSeen
from vipguard.agent.runtime import Runtime
from vipguard.agent.world import Closing
from vipguard.model.effect import WriteTrack
from vipguard.model.evidence import AddressEvidence


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


def test_a_start_that_is_late_takes_no_vip_from_its_own_writer() -> None:
    """On a busy host it may take longer than a lease: that counts as a pause, and no file was looked at by then."""
    core = Core()
    runtime = Runtime.__new__(Runtime)
    runtime.world, runtime._tick_s, runtime._stop = core.world, core.now, True
    runtime.hands = runtime.story = runtime.alerts = runtime.tally = MagicMock()
    runtime.watch = MagicMock()
    runtime.watch.look.return_value = [TrackSeen("1"), AddressSeen(AddressEvidence(core.now, True, True))]
    runtime.now = lambda: core.now + 1.2
    runtime.run()
    ordered = [call.args[0].effect for call in runtime.hands.start.call_args_list]
    assert not [effect for effect in ordered if isinstance(effect, WriteTrack)] and runtime.world.track == "1"
    assert runtime.world.watching_s == core.now + 1.2, "it was a pause"
