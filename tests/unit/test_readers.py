"""What becomes of a reader address? The agent's pure core: when it lets go, gives way, takes back, waits, cleans up."""

from __future__ import annotations

from dataclasses import replace

import healthy
import pytest
from core import Core, bereft, guarded_writer, standby
from core import writer as lone_writer
from healthy import CHANNEL, POLICY

from vipguard.agent import readers
from vipguard.agent.event import Command, ReaderSeen, Tick
from vipguard.model import effect as do
from vipguard.model.evidence import AddressEvidence, Answer, ServerFacts
from vipguard.model.maintenance import Maintenance
from vipguard.model.policy import Damping, Policy
from vipguard.model.reading import ReaderEvidence

READER = replace(healthy.READER, return_s=2.0)
PEER_IP = "10.73.0.12"


def policy(**changes: object) -> Policy:
    return replace(POLICY, readers=(replace(READER, **changes),))  # type: ignore[arg-type]


class Address:
    """The reader address in the surroundings of a core: the core's effects on it are carried out by hand."""

    def __init__(self, core: Core, here: bool = False, state: str | None = "BACKUP") -> None:
        self.core, self.here, self.track, self.state = core, here, "0", state
        self.left_s: float | None = None
        self.heard: dict[str, tuple[float, int]] = {}
        core.world = replace(core.world, readers=readers.begin(core.world.policy))
        self.see()
        self.rest()

    def see(self) -> None:
        now_s = self.core.now
        left_s = now_s - 0.02 if self.here and self.left_s is None else self.left_s
        address = AddressEvidence(now_s, self.here, True)
        seen = ReaderEvidence(address, left_s, now_s, dict(self.heard), self.state, self.track)  # type: ignore[arg-type]
        self.core.step(ReaderSeen("reader1", seen))

    def rest(self) -> list[str]:
        """Carry out what is due; the effects on the address, in order."""
        done: list[str] = []
        for _ in range(20):
            due = [flight for flight in self.core.flights if isinstance(flight.effect, do.OfReader)]
            if not due:
                break
            flight = due[0]
            self.core.flights.remove(flight)
            effect = flight.effect
            if isinstance(effect, do.WriteReaderTrack):
                self.track = effect.value
                done.append(f"track {effect.value}")
            elif isinstance(effect, do.RemoveReader):
                self.here = False
                done.append("remove")
            else:
                done.append("reset")
            self.core.report(flight, None)
            self.see()
        return done

    def move(self, here: bool, holder: str | None = None) -> list[str]:
        self.here = here
        self.heard = {} if holder is None else {holder: (self.core.now, 190)}
        self.see()
        return self.rest()

    def wait(self, seconds: float) -> list[str]:
        """Time passes; whoever advertises goes on. What was done about the address."""
        done: list[str] = []
        until_s = self.core.now + seconds
        while self.core.now < until_s - 1e-9:
            self.core.wait(0.1)
            self.heard = {ip: (self.core.now, priority) for ip, (_, priority) in self.heard.items()}
            self.see()
            done += self.rest()
            for _ in range(20):
                others = [f.effect for f in self.core.flights if not isinstance(f.effect, do.OfReader)]
                if not others:
                    break
                self.core.do(type(others[0]))
            done += self.rest()
        return done

    @property
    def rule(self) -> str:
        verdict = self.core.world.readers["reader1"].verdict
        return verdict.rule if verdict is not None else ""

    def offered(self) -> bool:
        """Does the agent's probe hold the lock that others may give the address for?"""
        probes = [f.effect for f in self.core.flights if isinstance(f.effect, do.ProbeServer)]
        if not probes:
            from vipguard.agent.draft import Draft

            return readers.offered(Draft(self.core.world, self.core.now)) == ("reader1",)
        return probes[-1].reads == ("reader1",)


def broken(core: Core) -> None:
    assert core.facts is not None
    core.facts = replace(core.facts, channels=(replace(CHANNEL, sql_running=False, sql_errno=1062, lag_s=None),))


def alone(core: Core) -> None:
    """Its server replicates from nobody."""
    assert core.facts is not None
    core.facts = replace(core.facts, channels=())


def mended(core: Core) -> None:
    assert core.facts is not None
    core.facts = replace(core.facts, channels=(CHANNEL,))


def peer_reads(core: Core, *names: str) -> None:
    assert isinstance(core.peer, ServerFacts)
    core.peer = replace(core.peer, reads=frozenset(names))


def on_the_standby(here: bool = True, **changes: object) -> tuple[Core, Address]:
    core = standby(policy(**changes))
    address = Address(core, here)
    assert address.track == "1"
    return core, address


def test_a_healthy_standby_may_hold_it() -> None:
    _, address = on_the_standby(here=False)
    assert (address.rule, address.track) == ("reader-ready", "1")


def test_a_holder_whose_replication_fails_resets_its_clients_and_lets_go() -> None:
    core, address = on_the_standby()
    broken(core)
    assert address.wait(0.2) == ["reset", "track 0"]
    assert address.rule == "reader-replication-broken"


@pytest.mark.parametrize("here", [True, False])
def test_one_silent_round_takes_nothing_and_gives_nothing(here: bool) -> None:
    core, address = on_the_standby(here)
    core.facts, core.answer = None, Answer.SILENT
    assert address.wait(0.2) == ([] if here else ["track 0"])


def test_it_is_offered_only_after_it_was_well_for_return_s() -> None:
    core, address = on_the_standby(here=False)
    address.move(False, PEER_IP)
    assert not address.offered()
    address.wait(2.1)
    assert address.offered()
    broken(core)
    address.wait(0.2)
    assert not address.offered()
    mended(core)
    assert address.wait(0.3) == ["track 1"], "it may take the address where nobody has it, damped or not"
    assert not address.offered()
    address.wait(2.0)
    assert address.offered()


def test_each_further_loss_doubles_the_time_up_to_the_window() -> None:
    core, address = on_the_standby(here=False)
    reader, waits = READER, []
    for _ in range(12):
        address.wait(2.5)
        broken(core)
        address.wait(0.2)
        mended(core)
        address.wait(0.2)
        waits.append(round(readers.wait_s(core.world, reader, core.world.readers["reader1"].well_s or 0.0)))
    assert waits[:4] == [2, 4, 8, 16] and waits[-1] == POLICY.damping.window_s
    core.world = replace(core.world, policy=replace(core.world.policy, damping=Damping(losses_max=0)))
    assert readers.wait_s(core.world, reader, core.world.readers["reader1"].well_s or 0.0) == 2.0


def test_maintenance_and_a_round_that_saw_nothing_are_no_losses() -> None:
    core, address = on_the_standby()
    assert core.facts is not None
    address.wait(3)
    core.facts = replace(core.facts, maintenance=(Maintenance("db1", 1, None, ""),))
    address.wait(0.2)
    assert address.rule == "reader-maintenance" and core.world.readers["reader1"].losses == ()


@pytest.mark.parametrize("state", ["FAULT", None])
def test_it_is_not_offered_before_keepalived_would_take_it(state: str | None) -> None:
    _, address = on_the_standby(here=False)
    address.state = state
    address.wait(2.1)
    assert not address.offered()
    address.state = "BACKUP"
    address.wait(0.2)
    assert address.offered()


# -- giving way


def test_a_holder_gives_way_to_a_node_before_it_and_may_take_it_again_when_that_one_has_it() -> None:
    core, address = on_the_standby(nodes=("db2", "db1"), writer="yes")
    assert address.wait(1.0) == []
    peer_reads(core, "reader1")
    assert address.wait(0.2) == ["reset", "track 0"]
    assert "reader-gives-way" in core.rules
    assert address.wait(0.3) == []
    assert address.move(False, PEER_IP) == ["track 1"]
    assert core.world.readers["reader1"].giving is None


def test_it_does_not_give_way_to_one_behind_it_or_to_a_writer_that_is_the_last_resort() -> None:
    for changes in ({"writer": "yes"}, {"nodes": ("db2", "db1")}):
        core, address = on_the_standby(**changes)
        peer_reads(core, "reader1")
        assert address.wait(1.0) == []


def test_what_nobody_takes_comes_back_and_is_given_again_less_and_less_often() -> None:
    core, address = on_the_standby(nodes=("db2", "db1"), writer="yes")
    peer_reads(core, "reader1")
    gave_s = []
    for _ in range(3):
        before = core.now
        while address.track == "1" and core.now < before + 60:
            address.wait(0.1)
        gave_s.append(core.now - before)
        address.move(False)
        while address.track == "0" and core.now < before + 60:
            address.wait(0.1)
        address.move(True)
    assert core.rules.count("reader-not-taken") == 3
    assert gave_s[0] < 0.5 and 4.5 < gave_s[1] < 6 and 9 < gave_s[2] < 11


def test_nobody_gives_way_in_a_paused_cluster() -> None:
    core, address = on_the_standby(nodes=("db2", "db1"), writer="yes")
    assert core.facts is not None
    core.facts = replace(core.facts, maintenance=(Maintenance("*", 1, None, ""),))
    peer_reads(core, "reader1")
    assert address.wait(1.0) == []


def test_an_address_that_left_by_itself_leaves_no_connections_behind() -> None:
    _, address = on_the_standby()
    assert address.move(False, PEER_IP) == ["reset"]


# -- the writer


def test_a_writer_serves_it_as_last_resort_and_gives_way_to_any_other() -> None:
    core = guarded_writer(policy())
    address = Address(core, here=True)
    assert (address.rule, address.track) == ("reader-by-the-writer", "1")
    assert address.wait(0.5) == [] and core.world.writer_mark == "1"
    peer_reads(core, "reader1")
    assert address.wait(0.2) == ["reset", "track 0"]


def test_a_writer_that_never_serves_it_lets_it_go_although_nobody_else_could() -> None:
    core = lone_writer(policy(writer="no"))
    address = Address(core, here=True)
    assert (address.rule, address.track) == ("reader-never-the-writer", "0")


def test_a_writer_that_serves_it_as_any_node_keeps_it_where_it_is_preferred() -> None:
    core = guarded_writer(policy(writer="yes"))
    address = Address(core, here=True)
    peer_reads(core, "reader1")
    assert address.wait(1.0) == []


def test_a_writer_that_stood_still_serves_nothing_that_another_may_have_written_past() -> None:
    core = guarded_writer(policy())
    address = Address(core, here=True)
    alone(core)
    assert address.wait(0.5) == []
    core.now += 60
    core.step(Tick(60.0))
    assert core.phase == "Closing"
    assert address.rule == "reader-replication-broken"
    assert address.rest() == ["reset", "track 0"]


def test_a_writer_that_closes_without_a_pause_goes_on_serving() -> None:
    core = guarded_writer(policy())
    address = Address(core, here=True)
    alone(core)
    assert address.wait(0.5) == []
    core.move_vip(False)
    address.see()
    assert core.phase == "Closing"
    assert address.rule == "reader-wrote-lately" and address.rest() == []


def test_a_taker_whose_receiving_was_stopped_for_the_move_goes_on_serving() -> None:
    core = bereft(policy())
    address = Address(core, here=True)
    core.move_vip(True)
    core.world = replace(core.world, memory=replace(core.world.memory, stopped=None))
    assert core.phase == "Taking" and core.facts is not None
    core.facts = replace(core.facts, channels=(replace(CHANNEL, io="stopped", lag_s=None),))
    core.look()
    address.see()
    assert core.phase == "Taking"
    assert (address.rule, address.track) == ("reader-ready", "1")


def test_keepalived_is_told_who_the_writer_is() -> None:
    core = standby(policy())
    Address(core)
    core.go()
    assert core.world.writer_mark == "0"


# -- keepalived, the end


def test_an_address_that_a_dead_keepalived_left_behind_is_removed() -> None:
    core, address = on_the_standby()
    core.alive = False
    core.wait(0.1)
    assert address.rest()[:2] == ["reset", "remove"] and not address.here
    assert address.rule == "reader-keepalived-dead" and address.track == "0"


def test_an_address_whose_adverts_ceased_is_removed_and_one_whose_adverts_cannot_be_seen_is_not() -> None:
    core, address = on_the_standby()
    address.wait(0.5)
    address.left_s = core.now
    assert address.wait(0.8) == []
    assert address.wait(0.6)[:2] == ["reset", "remove"]


def test_the_wrapper_is_answered_by_what_the_agent_wants() -> None:
    core, address = on_the_standby()
    assert readers.answer(core.world, "reader1") == "0 reader-ready"
    broken(core)
    address.wait(0.2)
    assert readers.answer(core.world, "reader1") == "1 reader-replication-broken"
    assert readers.answer(core.world, "nobody") is None
    assert readers.answer(replace(core.world, readers=readers.begin(core.world.policy)), "reader1") == "3 starting"


def test_a_track_file_that_cannot_be_written_is_tried_again_and_said_once() -> None:
    core, address = on_the_standby()
    broken(core)
    core.wait(0.1)
    for _ in range(3):
        while core.sent(do.ResetReaders):
            core.report(core.take(do.ResetReaders), None)
        core.fail(do.WriteReaderTrack, "no space")
        address.see()
    assert core.rules.count("reader-track-unwritable") == 1
    assert "track 0" in address.rest()


def test_without_reader_addresses_nothing_is_done() -> None:
    core = standby()
    core.step(Command("undamp"))
    core.wait(1)
    assert not [f for f in core.flights if isinstance(f.effect, do.OfReader | do.MarkWriter)]


def test_who_has_it_is_told_by_presence_and_by_adverts() -> None:
    core, address = on_the_standby(here=False)
    assert readers.holder(core.world, READER, core.now) is None
    address.move(False, PEER_IP)
    assert readers.holder(core.world, READER, core.now) == "db2"
    address.move(False, "fe80::1")
    assert readers.holder(core.world, READER, core.now) == "db2", "who else could it be"
    three = replace(READER, nodes=("db1", "db2", "db3"))
    assert readers.holder(core.world, three, core.now) == ""
    assert readers.holder(core.world, READER, core.now + 5) is None
    address.move(True)
    assert readers.holder(core.world, READER, core.now) == "db1"


def test_an_address_that_has_just_left_is_not_asked_back_at_once() -> None:
    """Two nodes whose files differ would give it to and fro."""
    core, address = on_the_standby(nodes=("db2", "db1"), writer="yes")
    address.wait(5)
    peer_reads(core, "reader1")
    address.wait(0.2)
    address.move(False, PEER_IP)
    peer_reads(core)
    address.wait(1.5)
    assert not address.offered()
    address.wait(1.0)
    assert address.offered()


def test_an_address_that_nobody_has_for_long_is_an_alert_once() -> None:
    core, address = on_the_standby(here=False)
    address.wait(9.5)
    assert "reader-nowhere" not in core.rules
    address.wait(5)
    assert core.rules.count("reader-nowhere") == 1
    assert [note.level for note in core.notes if note.rule == "reader-nowhere"] == ["warning"]
    address.move(True)
    address.wait(1)
    address.move(False)
    address.wait(11)
    assert core.rules.count("reader-nowhere") == 2
