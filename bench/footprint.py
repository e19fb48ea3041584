"""What does the guard cost while nothing happens? Processor time and memory of the agents, and of one check."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from vipguard.lab import Lab, LabSpec, Node
from vipguard.lab.process import Daemon

CHECKS = 20
CPU_AIM_PERCENT, RSS_AIM_MB, CHECK_AIM_MS = 3.0, 90.0, 15.0


@dataclass(frozen=True)
class Footprint:
    """`cpu_percent` is of one core, with a probe each 0.1 s; `check_ms` is processor time of one check, by its kind."""

    flavor: str
    watched_s: float
    cpu_percent: dict[str, float]
    rss_mb: dict[str, float]
    check_ms: dict[str, float]


def measure(flavor: str, watched_s: float, say: Callable[[str], None]) -> Footprint:
    spec = LabSpec(name=f"bench{os.getpid()}f", flavor=flavor)  # type: ignore[arg-type]
    with Lab.create(spec) as lab:
        writer = lab.up().wait_healthy()
        standby = lab.others(writer)[0]
        time.sleep(3.0)  # a start has its own costs
        nodes = {"writer": writer, "standby": standby}
        before = {role: cpu_s(node.agent) for role, node in nodes.items()}
        began = time.monotonic()
        time.sleep(watched_s)
        elapsed = time.monotonic() - began
        cpu = {role: round(100 * (cpu_s(node.agent) - before[role]) / elapsed, 2) for role, node in nodes.items()}
        rss = {role: round(_rss_mb(node), 1) for role, node in nodes.items()}
        checks = {
            "agent answers, writer": _check_ms(writer, _script(writer)),
            "agent answers, standby": _check_ms(standby, _script(standby)),
        }
        standby.agent.kill9()
        checks["agent dead, standby"] = _check_ms(standby, _script(standby), times=5)
        client = " ".join([*writer.mysqld.client_argv(), "--connect-timeout=1", "-uroot", "-S/run/mysqld/mysqld.sock"])
        checks["bash and the client program"] = _check_ms(writer, f"bash -c \"exec {client} -N -e 'SELECT 1'\"")
    for role, percent in cpu.items():
        say(f"agent on the {role}: {percent:.2f} % of a core, {rss[role]:.0f} MB")
    for kind, ms in checks.items():
        say(f"one check, {kind}: {ms:.1f} ms of processor time")
    return Footprint(flavor, round(elapsed, 1), cpu, rss, checks)


def _script(node: Node) -> str:
    """The command line that keepalived runs as its check."""
    found = re.search(r'^\s*script "([^"]+)"', node.keepalived.config(), re.MULTILINE)
    assert found
    return found[1]


def cpu_s(daemon: Daemon) -> float:
    """User and system time of a process, its threads and its ended children (proc(5): fields 14 to 17)."""
    with open(f"/proc/{daemon.pid}/stat") as stream:
        fields = stream.read().rsplit(")", 1)[1].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def _rss_mb(node: Node) -> float:
    with open(f"/proc/{node.agent.pid}/status") as stream:
        found = re.search(r"^VmRSS:\s+(\d+) kB", stream.read(), re.MULTILINE)
    assert found
    return int(found[1]) / 1024


def _check_ms(node: Node, command: str, times: int = CHECKS) -> float:
    """User and system time of one run, the shell's loop apart."""
    script = f"TIMEFORMAT='%U %S'; time (for _ in $(seq {times}); do {command} >/dev/null 2>&1; done)"
    done = node.run(["bash", "-c", script], timeout_s=120, check=False)
    user, system = map(float, done.stderr.split()[-2:])
    return round(1000 * (user + system) / times, 2)
