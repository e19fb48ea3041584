"""When does what fail, and for how long? The faults of one run, drawn from its seed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from .faults import (
    End,
    blind,
    block_close,
    crash_loop,
    cut_pair,
    cut_pings,
    cut_sql,
    cut_vrrp,
    cut_witness,
    fatal_io,
    full_disk,
    hang_in_the_kernel,
    hang_mysqld,
    io_gives_up,
    isolate,
    kill_agent,
    kill_keepalived,
    kill_mysqld,
    late_workers,
    link_down,
    lose_socket,
    lossy,
    one_way,
    pause_host,
    power_off,
    refuse_pair,
    respawn_keepalived,
    restart_agent,
    shut_keepalived,
    slow_apply,
    slow_mysqld,
    slow_network,
    stall_disk,
    stop_agent,
    stop_keepalived,
    stop_mysqld,
    witness_down,
)
from .operators import (
    bounce_agent,
    close_by_hand,
    open_by_hand,
    order_move,
    promote,
    solo,
    stand_down,
    stop_both,
    stop_io,
    stop_sql,
)
from .sequences import (
    STAGED_S,
    away,
    cut_pair_staged,
    isolate_staged,
    late_guard,
    leave_unguarded,
    pause_in_a_cut,
    refuse_one_way,
    retake_alone,
)

if TYPE_CHECKING:
    from .cluster import Cluster
    from .host import Host
    from .situations import Situation

Fault = Callable[["Cluster", "Host"], End]

COMMON: tuple[Fault, ...] = (
    kill_mysqld, crash_loop, hang_mysqld, power_off, pause_host, kill_agent, stop_agent, kill_keepalived,
    shut_keepalived, stop_keepalived, link_down, isolate, isolate_staged, order_move, bounce_agent,
)  # fmt: skip
RARE: tuple[Fault, ...] = (
    stop_mysqld, lose_socket, slow_mysqld, restart_agent, respawn_keepalived, cut_pair, cut_pair_staged, cut_sql,
    cut_vrrp, cut_pings, one_way, witness_down, cut_witness, lossy, slow_network, blind, late_workers, block_close,
    full_disk, stall_disk, hang_in_the_kernel, refuse_pair, refuse_one_way, late_guard, retake_alone, fatal_io,
    pause_in_a_cut, away, io_gives_up, slow_apply, stop_io, stop_sql, stop_both, open_by_hand, close_by_hand, promote,
    solo, stand_down, leave_unguarded, leave_unguarded,
)  # fmt: skip
#: what may last for minutes
LONG: tuple[Fault, ...] = (
    isolate, isolate_staged, link_down, cut_pair, cut_pair_staged, cut_sql, cut_vrrp, refuse_pair, refuse_one_way,
    pause_host, power_off, stop_agent, kill_agent, hang_mysqld, stall_disk, blind, stop_io, stop_sql, stop_both,
    fatal_io, witness_down, away, away,
)  # fmt: skip


class Schedule:
    """`mend` ends what has not ended; from then on it takes up to `staged_s` until all is repaired."""

    staged_s = STAGED_S

    def __init__(self, cluster: Cluster) -> None:
        self.cluster, self.engine = cluster, cluster.engine
        self._running: list[tuple[str, End]] = []

    def order(self, begin_s: float, lasts_s: float | None = None, faults: tuple[Fault, ...] = ()) -> None:
        """One fault, drawn from `faults` if there are any, `begin_s` from now."""
        rng = self.engine.rng
        fault = rng.choice(faults or (COMMON if rng.random() < 0.6 else RARE))
        # half of the time the one that writes is hit, whoever that will be then
        target = None if rng.random() < 0.6 else rng.choice(list(self.cluster.hosts))
        if lasts_s is None:
            lasts_s = rng.choice((rng.uniform(0.01, 0.6), rng.uniform(0.3, 3.0), rng.uniform(1.0, 15.0)))
        self.engine.at(begin_s, self.begin, fault, target, lasts_s)

    def stage(self, situation: Situation) -> float:
        """That one alone, about whoever writes then; for how long it goes on."""
        rng = self.engine.rng
        begin_s, lasts_s = rng.uniform(0.0, 1.0), rng.uniform(situation.low_s, situation.high_s)
        self.engine.at(begin_s, self.begin, situation.fault, None, lasts_s)
        return begin_s + lasts_s + rng.uniform(8.0, 14.0)

    def begin(self, fault: Fault, target: str | None, lasts_s: float) -> None:
        """On `target`, by default on whoever writes now."""
        writers = self.cluster.laws.writers()
        host = self.cluster.hosts[target] if target else (writers or list(self.cluster.hosts.values()))[0]
        if not host.powered:
            return
        name = getattr(fault, "__name__", "")
        self.cluster.begun[name] += 1
        self.engine.tell("FAULT", f"{name} {host.name} for {lasts_s:.2f} s")
        entry = (f"{name} {host.name}", fault(self.cluster, host))
        self._running.append(entry)
        self.engine.at(lasts_s, self._end, entry)

    def _end(self, entry: tuple[str, End]) -> None:
        if entry in self._running:
            self._running.remove(entry)
            self.engine.tell("FAULT", f"ends: {entry[0]}")
            entry[1]()

    def mend(self) -> None:
        """Everything is repaired, and what is dead is started."""
        for entry in list(self._running):
            self._end(entry)
        for host in self.cluster.hosts.values():
            host.restarts = True  # a supervisor is there: a guard may still have to kill
            host.boot()
            host.unpause()
            host.start_server()
            host.start_agent()
            host.start_keepalived()
        self.engine.tell("FAULT", "all is mended")
        self._watch_power()

    def _watch_power(self) -> None:
        """Who is fenced by an order that was under way is switched on again."""
        for host in self.cluster.hosts.values():
            host.boot()
        self.engine.at(5.0, self._watch_power)
