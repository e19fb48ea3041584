"""A real Prometheus scrapes a real pair, and its Alertmanager tells a receiver that nobody writes, and of the end."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from guarded import SETTINGS
from lawful import laws_hold
from stand_in import REPOSITORY

from vipguard.lab import Lab, LabSpec, faults
from vipguard.lab.client import Client

#: Appends the body of each POST to the file that it is given, a line each.
RECEIVER = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with open(sys.argv[1], "ab") as file:
            file.write(body.replace(b"\\n", b" ") + b"\\n")
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", 9999), Handler).serve_forever()
"""
ASK = """
import urllib.request
url = "http://127.0.0.1:9090/api/v1/query?query=sum(vipguard_agent_up)"
print(urllib.request.urlopen(url, timeout=2).read().decode())
"""


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab.create(LabSpec(name=f"p{os.getpid()}", settings=SETTINGS)) as lab, laws_hold(lab.up()):
        yield lab


def start(lab: Lab, directory: Path) -> Path:
    """Exporters on the nodes; Prometheus, Alertmanager and a receiver on the client; where that one writes."""
    for node in lab.nodes.values():
        node.space.spawn([*node.vipguard_argv, "exporter"], node.directory / "log" / "exporter.log")
    targets = [f"{node.address}:9728" for node in lab.nodes.values()]
    (directory / "prometheus.yml").write_text(
        json.dumps(
            {
                "global": {"scrape_interval": "1s", "evaluation_interval": "1s", "scrape_timeout": "1s"},
                "rule_files": [str(REPOSITORY / "prometheus" / "vipguard.rules.yml")],
                "scrape_configs": [{"job_name": "vipguard", "static_configs": [{"targets": targets}]}],
                "alerting": {"alertmanagers": [{"static_configs": [{"targets": ["127.0.0.1:9093"]}]}]},
            }
        )
    )
    (directory / "alertmanager.yml").write_text(
        json.dumps(
            {
                "route": {"receiver": "test", "group_wait": "1s", "group_interval": "1s", "group_by": ["alertname"]},
                "receivers": [
                    {
                        "name": "test",
                        "webhook_configs": [{"url": "http://127.0.0.1:9999/", "send_resolved": True}],
                    }
                ],
            }
        )
    )
    received = directory / "received.jsonl"
    space = lab.client_space
    space.spawn([sys.executable, "-c", RECEIVER, str(received)], directory / "receiver.log")
    space.spawn(
        [
            "prometheus-alertmanager", f"--config.file={directory}/alertmanager.yml", "--cluster.listen-address=",
            f"--storage.path={directory}/alertmanager", "--web.listen-address=127.0.0.1:9093",
        ],
        directory / "alertmanager.log",
    )  # fmt: skip
    space.spawn(
        [
            "prometheus", f"--config.file={directory}/prometheus.yml", f"--storage.tsdb.path={directory}/data",
            "--web.listen-address=127.0.0.1:9090",
        ],
        directory / "prometheus.log",
    )  # fmt: skip
    return received


def told(received: Path, name: str) -> list[dict[str, Any]]:
    """The alerts of that name that the receiver was told of, oldest first."""
    if not received.exists():
        return []
    messages = [json.loads(line) for line in received.read_text().splitlines()]
    return [alert for message in messages for alert in message["alerts"] if alert["labels"]["alertname"] == name]


def test_that_nobody_writes_is_told_to_a_receiver_and_that_it_is_over(lab: Lab, tmp_path: Path) -> None:
    writer = lab.wait_healthy()
    standby = lab.others(writer)[0]
    received = start(lab, tmp_path)

    def scraped() -> bool:
        answer = lab.client_space.run([sys.executable, "-c", ASK], check=False).stdout
        return bool(answer) and [row["value"][1] for row in json.loads(answer)["data"]["result"]] == ["2"]

    def logs() -> str:
        return "\n".join(f"--- {path.name}\n{path.read_text()[-2000:]}" for path in tmp_path.glob("*.log"))

    lab.wait(scraped, 30, f"both agents to be scraped\n{logs()}")
    with faults.kill_keepalived(standby):
        with faults.kill_mysqld(writer):
            lab.wait(lambda: told(received, "VipguardNoWriter"), 60, "the alert to arrive")
            alert = told(received, "VipguardNoWriter")[0]
            assert alert["status"] == "firing" and alert["labels"]["severity"] == "critical"
            assert alert["annotations"]["runbook"] == "docs/runbook.md#vipguardnowriter"
        lab.wait(lambda: lab.writer() is not None, 30, "a writer")
        lab.wait(
            lambda: told(received, "VipguardNoWriter")[-1]["status"] == "resolved", 60, "the alert to be over"
        )
    with Client(lab, rate=50) as client:
        client.wait_acks(5)
    assert not told(received, "VipguardTwoWriters")
