"""The Grafana dashboard asks for metrics and labels that exist, in expressions that Prometheus understands.

Grafana itself is not packaged for Debian 12, so nothing here has drawn it; what can be known without it is held.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from stand_in import REPOSITORY

from vipguard.export.metrics import COMMON, METRICS, UP

pytestmark = pytest.mark.packaging

DASHBOARD: dict[str, Any] = json.loads((REPOSITORY / "prometheus" / "grafana-dashboard.json").read_text())
EXPRESSIONS = [
    *(target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]),
    *(annotation["expr"] for annotation in DASHBOARD["annotations"]["list"]),
]
SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}
LABELS = {
    f"vipguard_{metric.name}{suffix}": {*COMMON, *metric.labels}
    for metric in (UP, *METRICS)
    for suffix in SUFFIXES[metric.kind]
}


def test_every_expression_asks_for_metrics_and_labels_that_exist() -> None:
    for expression in EXPRESSIONS:
        for name, selector in re.findall(r"\b(vipguard_\w+)\{([^}]*)\}", expression):
            assert name in LABELS, expression
            assert set(re.findall(r"(\w+)=", selector)) <= LABELS[name], expression


def test_every_legend_shows_labels_that_its_expression_leaves() -> None:
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            shown = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            grouped = re.search(r"\bby \(([^)]*)\)", target["expr"])
            name = re.search(r"\bvipguard_\w+", target["expr"])
            assert name is not None
            left = {word.strip() for word in grouped[1].split(",")} if grouped else LABELS[name[0]]
            assert shown <= left, f"{panel['title']}: {target['expr']}"


def test_prometheus_understands_every_expression(tmp_path: Path) -> None:
    rules = [
        {"record": f"x:{number}", "expr": expression.replace("$cluster", "orders")}
        for number, expression in enumerate(EXPRESSIONS)
    ]
    file = tmp_path / "rules.yml"
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    done = subprocess.run(["promtool", "check", "rules", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and f"{len(rules)} rules found" in done.stdout, done.stdout + done.stderr


def test_it_can_be_provisioned_for_any_prometheus_and_any_cluster() -> None:
    names = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    assert names == {"datasource", "cluster"}
    for panel in DASHBOARD["panels"]:
        assert panel["datasource"]["uid"] == "${datasource}" and panel["title"] and panel["targets"]
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_no_panel_covers_another() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + dx, at["y"] + dy) for dx in range(at["w"]) for dy in range(at["h"])}
        assert not cells & taken and at["x"] + at["w"] <= 24, panel["title"]
        taken |= cells
