"""Does a changed value differ from the first by what was changed, and by nothing else?"""

from __future__ import annotations

import dataclasses

import pytest
from healthy import POLICY

from vipguard.agent.draft import UNSHOWN, Draft
from vipguard.agent.world import begin
from vipguard.model.changed import replace
from vipguard.model.gtid import GtidSet
from vipguard.model.ledger import EpochRow, History
from vipguard.model.memory import Memory
from vipguard.model.sight import GoodLag

WORLD = begin(POLICY, "boot", 5.0, Memory())


def test_a_world_is_changed_as_dataclasses_would() -> None:
    assert replace(WORLD, gap_s=3.0, track="1") == dataclasses.replace(WORLD, gap_s=3.0, track="1")
    assert WORLD.gap_s == 0.0


def test_a_value_with_slots_is_changed_too() -> None:
    assert replace(GoodLag(1.0, 2.0), at_s=4.0) == GoodLag(1.0, 4.0)


@pytest.mark.parametrize("value", [WORLD, GoodLag(1.0, 2.0)], ids=["without-slots", "with-slots"])
def test_a_name_that_is_no_field_is_refused(value: object) -> None:
    with pytest.raises(TypeError):
        replace(value, no_such_field=1)


def test_what_was_worked_out_of_a_value_is_worked_out_anew_when_it_is_changed() -> None:
    history = History(GtidSet.empty("mysql"), EpochRow(3, "db1", "boot"), None)
    assert history.newest == EpochRow(3, "db1", "boot")
    for changed in (replace(history, row=None), dataclasses.replace(history, row=None)):
        assert changed.newest is None
        assert changed == History(GtidSet.empty("mysql"), None, None)
    with pytest.raises(TypeError):
        replace(history, newest=None)


def test_a_draft_looks_once_at_each_state_of_its_world() -> None:
    draft = Draft(WORLD, 6.0)
    first = draft.sight
    draft.set(gap_s=WORLD.gap_s)
    assert draft.world is WORLD
    assert draft.sight is first
    draft.set(outside_s=6.0)
    assert draft.sight.outside_s == 6.0
    assert first.outside_s is None


def test_no_sight_shows_what_a_draft_changes_without_looking_anew() -> None:
    changes = {name: object() for name in UNSHOWN}
    assert dataclasses.replace(WORLD, **changes).sight(6.0) == WORLD.sight(6.0)
    draft = Draft(WORLD, 6.0)
    first = draft.sight
    draft.set(ticks=WORLD.ticks + 1)
    assert draft.sight is first
