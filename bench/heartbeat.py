"""What does the writer's heartbeat cost? The same pair with it and without, by turns."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from bench.footprint import cpu_s
from vipguard.lab import Lab, LabSpec, Node
from vipguard.lab.node import CONFIG_FILE
from vipguard.lab.process import Daemon

TURNS = 4  # of each
FEW_S = 5.0  # writes a second, so that the writer beats at all: an idle one does not


@dataclass
class Turn:
    """With it or without, each list a number for each turn. Processor time in % of a core and the binary
    log beside a client that writes `FEW_S` rows a second."""

    agent_writer: list[float] = field(default_factory=list)
    agent_standby: list[float] = field(default_factory=list)
    server_writer: list[float] = field(default_factory=list)
    server_standby: list[float] = field(default_factory=list)
    binlog_bytes_h: list[float] = field(default_factory=list)
    commits_s: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Heartbeat:
    """`turns` by "on" and "off"; `every_s`: how often it beats when on; `watched_s`: how long a turn is."""

    flavor: str
    every_s: float
    watched_s: float
    turns: dict[str, Turn]


def measure(flavor: str, watched_s: float, say: Callable[[str], None]) -> Heartbeat:
    """Each turn is `watched_s` with a client that writes little, and then as long with one as fast as it may."""
    spec = LabSpec(name=f"bench{os.getpid()}h", flavor=flavor)  # type: ignore[arg-type]
    found = {"on": Turn(), "off": Turn()}
    with Lab.create(spec) as lab:
        writer = lab.up().wait_healthy()
        standby = lab.others(writer)[0]
        text = {node: node.read(CONFIG_FILE) for node in (writer, standby)}
        for number in range(2 * TURNS):
            way = ("on", "off")[(number + number // 2) % 2]  # on off off on: what drifts hits both alike
            for node in (writer, standby):
                node.write(CONFIG_FILE, f"{text[node]}\n[limits]\nheartbeat_s = {0.5 if way == 'on' else 0}\n")
                node.agent.terminate()
                node.start_agent()
            lab.wait_healthy()
            time.sleep(3.0)  # a start has its own costs
            _turn(lab, writer, standby, watched_s, found[way])
            idle, commits = found[way].server_writer[-1], found[way].commits_s[-1]
            say(f"heartbeat {way}: server {idle:.2f} % of a core, {commits:.0f} commits a second")
    return Heartbeat(flavor, 0.5, watched_s, found)


def _turn(lab: Lab, writer: Node, standby: Node, watched_s: float, into: Turn) -> None:
    daemons: dict[str, Daemon] = {
        "agent_writer": writer.agent, "agent_standby": standby.agent,
        "server_writer": writer.mysqld, "server_standby": standby.mysqld,
    }  # fmt: skip
    with lab.client(rate=FEW_S) as client:
        client.wait_acks(1)
        before, written = {name: cpu_s(one) for name, one in daemons.items()}, _binlog(writer)
        began_s = time.monotonic()
        time.sleep(watched_s)
        elapsed_s = time.monotonic() - began_s
        for name, one in daemons.items():
            getattr(into, name).append(round(100 * (cpu_s(one) - before[name]) / elapsed_s, 2))
        into.binlog_bytes_h.append(round((_binlog(writer) - written) / elapsed_s * 3600))
    with lab.client(rate=0) as client:
        began_ns = time.monotonic_ns()
        time.sleep(watched_s)
        acks = [ns for ns, _ in client.seen().acks if ns >= began_ns]
    into.commits_s.append(round(len(acks) / ((acks[-1] - began_ns) / 1e9), 1))


def _binlog(node: Node) -> int:
    return sum(int(row["File_size"]) for row in node.mysqld.sql("SHOW BINARY LOGS"))


def rows(one: Heartbeat) -> list[tuple[str, ...]]:
    """The table: medians of the turns."""
    on, off = one.turns["on"], one.turns["off"]
    told = [(f"{one.flavor}: heartbeat each {one.every_s:g} s", "on", "off", "on / off")]
    names = {
        "agent on the writer, % of a core": "agent_writer",
        "agent on the standby": "agent_standby",
        "server of the writer": "server_writer",
        "server of the standby": "server_standby",
        "binary log, bytes an hour, the client's too": "binlog_bytes_h",
        "commits a second of one client": "commits_s",
    }
    for what, name in names.items():
        with_it, without = (statistics.median(getattr(turn, name)) for turn in (on, off))
        digits = 2 if with_it < 100 else 0
        ratio = f"{with_it / without:.2f}" if without else "-"
        told.append((what, f"{with_it:.{digits}f}", f"{without:.{digits}f}", ratio))
    return told
