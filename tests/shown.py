"""What a node shows to others than its operator: metrics, and the status page as a browser gets it."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client.parser import text_string_to_metric_families

from vipguard.lab import Lab, Node

FETCH = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=2).read().decode())"


def metrics(node: Node) -> dict[tuple[str, str], float]:
    """(name, the values of its own labels in the order of their names): value."""
    found = {}
    for family in text_string_to_metric_families(node.vipguard("exporter", "--once").stdout):
        for one in family.samples:
            own = [value for label, value in sorted(one.labels.items()) if label not in ("cluster", "node")]
            found[one.name.removeprefix("vipguard_"), ",".join(own)] = one.value
    return found


@contextmanager
def exporters(lab: Lab) -> Iterator[None]:
    """One on each node, as the units run them."""
    processes = [
        node.space.spawn([*node.vipguard_argv, "exporter"], node.directory / "log" / "exporter.log")
        for node in lab.nodes.values()
    ]
    try:
        yield
    finally:
        for process in processes:
            process.signal(signal.SIGKILL)


def page(lab: Lab, node: Node) -> str:
    """From the clients' network; "" where nobody answers."""
    url = f"http://{node.address}:9728/"
    return lab.client_space.run([sys.executable, "-c", FETCH, url], check=False).stdout
