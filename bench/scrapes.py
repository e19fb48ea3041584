"""What does one visit at the exporter cost? Beside prometheus_client's own server, which has the same numbers ready.

Both on the writer of an idle pair, asked by turns from its own namespace; each visit at ours is late enough that the
agent is asked anew.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from vipguard.lab import Lab, LabSpec, Node
from vipguard.lab.namespace import Identity

AIM_MS = 20.0
TURNS = 5
_PORT, _PLAIN_PORT = 9728, 9729
_PLAIN = f"""
import sys
import threading
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.parser import text_string_to_metric_families
found = list(text_string_to_metric_families(sys.argv[1]))
class Ready:
    def collect(self):
        return found
registry = CollectorRegistry()
registry.register(Ready())
start_http_server({_PLAIN_PORT}, sys.argv[2], registry)
threading.Event().wait()
"""
#: Prints the bytes of the last answer, and the milliseconds of each visit.
_VISIT = """
import json, sys, time, urllib.request
took = []
for _ in range(int(sys.argv[2])):
    time.sleep(0.6)
    began = time.perf_counter()
    body = urllib.request.urlopen(sys.argv[1], timeout=5).read()
    took.append(1000 * (time.perf_counter() - began))
print(json.dumps([len(body), took]))
"""


@dataclass(frozen=True)
class Visits:
    """`took_ms`: of each visit, until its last byte. `cpu_ms`: processor time of the server, a visit."""

    flavor: str
    what: str
    bytes: int
    took_ms: list[float]
    cpu_ms: float

    @property
    def median_ms(self) -> float:
        return statistics.median(self.took_ms)


def measure(flavor: str, times: int, say: Callable[[str], None]) -> list[Visits]:
    """`times` visits at each page, by turns."""
    spec = LabSpec(name=f"bench{os.getpid()}s", flavor=flavor)  # type: ignore[arg-type]
    with Lab.create(spec) as lab:
        node = lab.up().wait_healthy()
        ours = node.space.spawn([*node.vipguard_argv, "exporter"], node.directory / "log" / "exporter.log")
        url = f"http://{node.address}:{_PORT}"
        lab.wait(lambda: _visit(node, f"{url}/metrics", 1) is not None, 15, "the exporter to answer")
        numbers = node.vipguard("exporter", "--once").stdout
        log = node.directory / "log" / "plain.log"
        plain = node.space.spawn([sys.executable, "-c", _PLAIN, numbers, node.address], log)
        plain_url = f"http://{node.address}:{_PLAIN_PORT}/metrics"
        lab.wait(lambda: _visit(node, plain_url, 1) is not None, 15, f"the plain server, whose log is {log}, to answer")
        try:
            found = _by_turns(flavor, node, ours, plain, times)
        finally:
            for process in (ours, plain):
                process.signal(9)
    for one in found:
        say(f"{one.what}: {one.median_ms:.1f} ms, {one.cpu_ms:.1f} ms of processor time, {one.bytes} bytes")
    return found


def _by_turns(flavor: str, node: Node, ours: Identity, plain: Identity, times: int) -> list[Visits]:
    url = f"http://{node.address}:{_PORT}"
    pages = {
        "/metrics": (f"{url}/metrics", ours),
        "/, the status page": (f"{url}/", ours),
        "/metrics of prometheus_client, numbers ready": (f"http://{node.address}:{_PLAIN_PORT}/metrics", plain),
    }
    took: dict[str, list[float]] = {what: [] for what in pages}
    cpu, size = dict.fromkeys(pages, 0.0), dict.fromkeys(pages, 0)
    left = times
    while left > 0:
        for what, (at, server) in pages.items():
            before = _cpu_ms(server.pid)
            answer = _visit(node, at, min(TURNS, left))
            assert answer is not None, f"{at} does not answer"
            size[what] = answer[0]
            took[what] += answer[1]
            cpu[what] += _cpu_ms(server.pid) - before
        left -= TURNS
        time.sleep(0.1)
    return [Visits(flavor, what, size[what], took[what], round(cpu[what] / len(took[what]), 2)) for what in pages]


def _visit(node: Node, url: str, times: int) -> tuple[int, list[float]] | None:
    done = node.run([sys.executable, "-c", _VISIT, url, str(times)], check=False, timeout_s=60)
    if done.returncode:
        return None
    size, took = json.loads(done.stdout)
    return size, took


def _cpu_ms(pid: int) -> float:
    """User and system time so far, all threads (proc(5): /proc/PID/schedstat is finer, but of one thread)."""
    with open(f"/proc/{pid}/stat") as stream:
        fields = stream.read().rsplit(")", 1)[1].split()
    return 1000 * sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")
