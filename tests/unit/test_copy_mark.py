"""The mark of a fresh copy: what it says, and what the agent's core makes of it."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import healthy
import pytest
from healthy import NOW_S, POLICY, STANDBY

from vipguard.agent.event import AddressSeen, CopySeen, Event, TrackSeen
from vipguard.agent.fold import see_peer, see_server
from vipguard.agent.step import step
from vipguard.agent.world import Closing, Resting, World, begin
from vipguard.errors import CouldNotDo
from vipguard.model.evidence import AddressEvidence, CopyEvidence, ProcessId, ServerEvidence
from vipguard.model.memory import Memory
from vipguard.session.process import stat_fields
from vipguard.state import mark
from vipguard.state.mark import Mark

COPY = CopyEvidence("09:00", "db2", working=True)
BROKEN_OFF = replace(COPY, working=False)


def me() -> ProcessId:
    fields = stat_fields(os.getpid())
    assert fields is not None
    return ProcessId(os.getpid(), int(fields[19]))


def test_a_mark_says_who_makes_the_copy_and_whether_that_process_lives(tmp_path: Path) -> None:
    path = str(tmp_path / "copy-unfinished")
    assert mark.look(path) is None and mark.read(path) is None
    made = Mark("09:00", "db2", "10.73.0.12", me())
    mark.put(path, made)
    assert mark.read(path) == made and mark.look(path) == COPY
    with pytest.raises(CouldNotDo, match="somebody began"):
        mark.put(path, made)
    mark.put(path, replace(made, by=ProcessId(os.getpid(), 1)), over=True)
    assert mark.look(path) == BROKEN_OFF, "the number is another process's by now"
    mark.remove(path)
    mark.remove(path)
    assert mark.look(path) is None and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[]", b'{"since": 3}'])
def test_a_mark_that_cannot_be_understood_is_a_mark(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "copy-unfinished"
    path.write_bytes(content)
    seen = mark.look(str(path))
    assert seen is not None and not seen.working
    with pytest.raises(CouldNotDo):
        mark.read(str(path))


def test_a_mark_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CouldNotDo):
        mark.put(str(tmp_path / "missing" / "copy-unfinished"), Mark("", "", "", me()))


# -- the core


def resting(*, vip: bool = False, closed: bool = True) -> World:
    """db1 at rest, its replication stopped since its boot, its set contained in the writer's."""
    stopped = replace(healthy.CHANNEL, io="stopped", sql_running=False, lag_s=None)
    seen = healthy.with_facts(STANDBY, closed=closed, channels=(stopped,)).server
    assert seen is not None
    world = begin(POLICY, "boot-1", NOW_S - 60, Memory())
    world = replace(world, phase=Resting(NOW_S - 50), address=AddressEvidence(NOW_S - 60, vip, True), track="1")
    world = see_server(world, seen)
    peer = STANDBY.peers["db2"].evidence
    assert peer is not None
    world = see_peer(world, "db2", replace(peer, asked_at_s=NOW_S - 0.01, seen_at_s=NOW_S))
    return replace(world, outside_s=NOW_S, witnesses=STANDBY.witnesses)


def after(world: World, *events: Event) -> tuple[World, set[str]]:
    sent: set[str] = set()
    for event in events:
        world, flights = step(world, event, NOW_S)
        sent |= {type(flight.effect).__name__ for flight in flights}
    return world, sent


NEUTRAL = TrackSeen("1")


def test_a_contained_node_joins_but_not_while_its_copy_is_not_whole() -> None:
    assert "StartReplication" in after(resting(), NEUTRAL)[1]
    world, sent = after(resting(), CopySeen(BROKEN_OFF), NEUTRAL)
    assert "StartReplication" not in sent
    assert world.verdict is not None and world.verdict.rule == "copy-unfinished"
    assert "StartReplication" in after(world, CopySeen(None), NEUTRAL)[1]


def test_the_end_of_a_copy_makes_joining_due_again() -> None:
    world = replace(resting(), join_due=False)
    assert "StartReplication" not in after(world, NEUTRAL)[1]
    assert "StartReplication" in after(world, CopySeen(COPY), CopySeen(None))[1]


def test_the_vip_moves_nothing_on_a_node_that_is_being_copied() -> None:
    world, sent = after(resting(), CopySeen(COPY), AddressSeen(AddressEvidence(NOW_S, True, True)))
    assert isinstance(world.phase, Resting) and not sent & {"Claim", "PrepareOpen", "Open"}
    assert world.verdict is not None and world.verdict.rule == "takeover-copy-unfinished"


def test_an_open_server_is_left_to_the_copy_only_while_that_works_and_without_the_vip() -> None:
    def phase(copy: CopyEvidence | None, vip: bool) -> object:
        world = resting(vip=vip)
        assert world.server is not None and world.server.facts is not None
        opened: ServerEvidence = replace(world.server, facts=replace(world.server.facts, closed=False))
        return type(after(replace(world, server=opened, copying=copy), NEUTRAL)[0].phase)

    assert phase(COPY, False) is Resting
    assert phase(BROKEN_OFF, False) is Closing
    assert phase(None, False) is Closing
    assert phase(COPY, True) is Closing
