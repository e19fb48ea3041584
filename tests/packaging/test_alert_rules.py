"""The alert rules, tried by Prometheus' own tool: each fires when it must and keeps still when all is well."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from stand_in import REPOSITORY

from vipguard.export.metrics import METRICS, UP

pytestmark = pytest.mark.packaging

RULES = REPOSITORY / "prometheus" / "vipguard.rules.yml"
TEXT = RULES.read_text()
NAMES = re.findall(r"- alert: (\w+)", TEXT)
RUNBOOK = (REPOSITORY / "docs" / "runbook.md").read_text()

STEADY = "x40"  # so many samples more, one in 15 s: ten minutes
DB1 = 'cluster="orders",node="db1"'
DB2 = 'cluster="orders",node="db2"'
#: A healthy pair: db1 writes, db2 could take over.
HEALTHY: dict[str, str] = {
    f'vipguard_role{{{DB1},role="writer"}}': "1",
    f'vipguard_role{{{DB1},role="standby"}}': "0",
    f'vipguard_role{{{DB2},role="writer"}}': "0",
    f'vipguard_role{{{DB2},role="standby"}}': "1",
    f"vipguard_writable{{{DB1}}}": "1",
    f"vipguard_writable{{{DB2}}}": "0",
    f"vipguard_writers_seen{{{DB1}}}": "1",
    f"vipguard_writers_seen{{{DB2}}}": "1",
    f"vipguard_vip_present{{{DB1}}}": "1",
    f"vipguard_vip_present{{{DB2}}}": "0",
    f'vipguard_eligible{{{DB1},rule="holder-healthy"}}': "1",
    f'vipguard_eligible{{{DB2},rule="candidate-ready"}}': "1",
    f"vipguard_agent_up{{{DB1}}}": "1",
    f"vipguard_agent_up{{{DB2}}}": "1",
    f"vipguard_keepalived_up{{{DB1}}}": "1",
    f"vipguard_keepalived_up{{{DB2}}}": "1",
    f'vipguard_witness_up{{{DB2},witness="10.0.0.1"}}': "1",
    f'vipguard_witness_up{{{DB2},witness="10.0.0.2"}}': "0",
    f'vipguard_replication_lag_seconds{{{DB2},method="seen"}}': "1",
    f'vipguard_replication_thread_running{{{DB2},channel="",thread="io"}}': "1",
    f"vipguard_errant_gtids{{{DB2}}}": "0",
    f"vipguard_diverged{{{DB2}}}": "0",
    f"vipguard_damped{{{DB2}}}": "0",
    f"vipguard_duplicate_address{{{DB1}}}": "0",
    f"vipguard_maintenance{{{DB2}}}": "0",
    f"vipguard_cluster_paused{{{DB1}}}": "0",
    f"vipguard_disk_free_bytes{{{DB2}}}": "5e10",
    f"vipguard_disk_writable{{{DB2}}}": "1",
    f"vipguard_disk_wait_seconds{{{DB2}}}": "0",
    f'vipguard_peer_certificate_expiry_timestamp_seconds{{{DB1},peer="db2"}}': "2000000",  # its clock begins at 0
    f"vipguard_semi_sync_wait_seconds{{{DB1}}}": "0",
    f'vipguard_reader_present{{{DB1},reader="r1"}}': "0",
    f'vipguard_reader_present{{{DB2},reader="r1"}}': "1",
    f"vipguard_fence_failures_total{{{DB2}}}": "0",
    f"vipguard_possible_losses_total{{{DB2}}}": "0",
    f'vipguard_transitions_total{{{DB2},from="candidate",to="taking"}}': "0",
    'up{job="vipguard",instance="db2:9728"}': "1",
}
RISES = "0x20 1x20"

#: What is wrong, against the healthy pair, for each alert; a value None leaves the series out.
WRONG: dict[str, dict[str, str | None]] = {
    "VipguardNoWriter": {
        f'vipguard_role{{{DB1},role="writer"}}': "0",
        f"vipguard_writers_seen{{{DB1}}}": "0",
        f"vipguard_writers_seen{{{DB2}}}": "0",
    },
    "VipguardTwoWriters": {f"vipguard_writable{{{DB2}}}": "1"},
    "VipguardVipWithoutWritableDatabase": {f"vipguard_writable{{{DB1}}}": None},
    "VipguardWritableWithoutVip": {f"vipguard_vip_present{{{DB1}}}": "0"},
    "VipguardStandbyCannotTakeOver": {
        f'vipguard_eligible{{{DB2},rule="candidate-ready"}}': None,
        f'vipguard_eligible{{{DB2},rule="lag-exceeded"}}': "0",
    },
    "VipguardNobodyCanTakeOver": {f'vipguard_eligible{{{DB2},rule="candidate-ready"}}': "0"},
    "VipguardReplicationLag": {f'vipguard_replication_lag_seconds{{{DB2},method="seen"}}': "11"},
    "VipguardReplicationStopped": {f'vipguard_replication_thread_running{{{DB2},channel="",thread="io"}}': "0"},
    "VipguardDiverged": {f"vipguard_diverged{{{DB2}}}": "1"},
    "VipguardErrantTransactions": {f"vipguard_errant_gtids{{{DB2}}}": "2"},
    "VipguardFlapping": {f"vipguard_damped{{{DB2}}}": "1"},
    "VipguardFenceFailed": {f"vipguard_fence_failures_total{{{DB2}}}": RISES},
    "VipguardAgentSilent": {f"vipguard_agent_up{{{DB2}}}": "0"},
    "VipguardNotScraped": {'up{job="vipguard",instance="db2:9728"}': "0"},
    "VipguardNothingScraped": {f"vipguard_agent_up{{{DB1}}}": None, f"vipguard_agent_up{{{DB2}}}": None},
    "VipguardTextfileOld": {'node_textfile_mtime_seconds{instance="db2:9100",file="/x/vipguard.prom"}': "-200"},
    "VipguardKeepalivedDead": {f"vipguard_keepalived_up{{{DB2}}}": "0"},
    "VipguardWitnessLost": {f'vipguard_witness_up{{{DB2},witness="10.0.0.1"}}': "0"},
    "VipguardDuplicateAddress": {f"vipguard_duplicate_address{{{DB1}}}": "1"},
    "VipguardMaintenanceTooLong": {
        f'vipguard_maintenance_since_timestamp_seconds{{{DB2},scope="node"}}': "-20000",  # the tool's clock begins at 0
    },
    "VipguardDiskStalls": {f"vipguard_disk_wait_seconds{{{DB2}}}": "4"},
    "VipguardStoodDown": {f"vipguard_stood_down_since_timestamp_seconds{{{DB2}}}": "-20000"},
    "VipguardDiskNearlyFull": {f"vipguard_disk_free_bytes{{{DB2}}}": "5e8"},
    "VipguardCertificateNearItsEnd": {
        f'vipguard_peer_certificate_expiry_timestamp_seconds{{{DB1},peer="db2"}}': "1000000",
    },
    "VipguardReaderAddressLost": {f'vipguard_reader_present{{{DB2},reader="r1"}}': "0"},
    "VipguardCommitsWait": {f"vipguard_semi_sync_wait_seconds{{{DB1}}}": "3"},
    "VipguardMayHaveLostWrites": {f"vipguard_possible_losses_total{{{DB2}}}": RISES},
}


def fired(tmp_path: Path, wrong: dict[str, str | None]) -> set[str]:
    """The names of the alerts that fire after ten minutes of it, by promtool: it is asked for what does not fire."""
    series = {**HEALTHY, **wrong}
    values = {
        name: value if value is None or " " in value else f"{value}{STEADY}" for name, value in series.items()
    }
    inputs = [{"series": name, "values": value} for name, value in values.items() if value is not None]
    tests: dict[str, Any] = {
        "rule_files": [str(RULES)],
        "evaluation_interval": "5s",
        "tests": [
            {
                "interval": "15s",
                "input_series": inputs,
                "alert_rule_test": [{"eval_time": "9m30s", "alertname": name, "exp_alerts": []} for name in NAMES],
            }
        ],
    }
    file = tmp_path / "tests.yml"
    file.write_text(json.dumps(tests))  # JSON is YAML
    done = subprocess.run(["promtool", "test", "rules", str(file)], capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    assert ("FAILED" in said) == bool(done.returncode), said
    return set(re.findall(r"alertname: (\w+)", said)) if done.returncode else set()


def test_the_rules_are_rules() -> None:
    done = subprocess.run(["promtool", "check", "rules", str(RULES)], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and f"{len(NAMES)} rules found" in done.stdout, done.stdout + done.stderr


def test_a_healthy_pair_alerts_nobody(tmp_path: Path) -> None:
    assert fired(tmp_path, {}) == set()


def test_every_alert_is_tried() -> None:
    assert set(WRONG) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_it_fires(name: str, tmp_path: Path) -> None:
    assert name in fired(tmp_path, WRONG[name])


def test_a_moment_of_two_writers_in_a_move_is_no_alert(tmp_path: Path) -> None:
    """Two scrapes at different moments of a move may both find their node writable."""
    assert "VipguardTwoWriters" not in fired(tmp_path, {f"vipguard_writable{{{DB2}}}": "0x37 1x1 0x5"})


def test_who_is_out_on_purpose_alerts_nobody(tmp_path: Path) -> None:
    out = {
        f'vipguard_eligible{{{DB2},rule="candidate-ready"}}': None,
        f'vipguard_eligible{{{DB2},rule="maintenance"}}': "0",
        f"vipguard_maintenance{{{DB2}}}": "1",
    }
    assert not {"VipguardStandbyCannotTakeOver", "VipguardNobodyCanTakeOver"} & fired(tmp_path, out)


SILENT_DB1: dict[str, str | None] = {name: None for name in HEALTHY if 'node="db1"' in name}


def test_a_writer_whose_agent_alone_is_dead_is_still_the_writer(tmp_path: Path) -> None:
    """The other node sees that it writes."""
    found = fired(tmp_path, {**SILENT_DB1, f"vipguard_agent_up{{{DB1}}}": "0"})
    assert "VipguardAgentSilent" in found and "VipguardNoWriter" not in found


def test_a_standby_that_is_unfit_by_one_rule_after_the_other_is_told_of(tmp_path: Path) -> None:
    by_turns: dict[str, str | None] = {f'vipguard_eligible{{{DB2},rule="candidate-ready"}}': None}
    by_turns[f'vipguard_eligible{{{DB2},rule="lag-exceeded"}}'] = "0 0 stale stale " * 10
    by_turns[f'vipguard_eligible{{{DB2},rule="replication-broken"}}'] = "_ _ 0 0 stale stale " + "0 0 stale stale " * 9
    assert "VipguardStandbyCannotTakeOver" in fired(tmp_path, by_turns)


def test_a_paused_cluster_is_told_of_by_the_pause_alone(tmp_path: Path) -> None:
    out = {
        f'vipguard_eligible{{{DB2},rule="candidate-ready"}}': None,
        f'vipguard_eligible{{{DB2},rule="cluster-paused"}}': "0",
        f"vipguard_cluster_paused{{{DB1}}}": "1",
        f"vipguard_cluster_paused{{{DB2}}}": "1",
    }
    assert not {"VipguardStandbyCannotTakeOver", "VipguardNobodyCanTakeOver"} & fired(tmp_path, out)


def test_every_alert_names_metrics_that_exist_a_severity_and_its_runbook() -> None:
    suffix = {"counter": "_total"}
    known = {f"vipguard_{metric.name}{suffix.get(metric.kind, '')}" for metric in (UP, *METRICS)}
    assert set(re.findall(r"\bvipguard_[a-z_]+", TEXT)) <= known
    blocks = TEXT.split("- alert: ")[1:]
    for name, block in zip(NAMES, blocks, strict=True):
        assert re.search(r"severity: (warning|critical)\n", block), name
        assert f"runbook: docs/runbook.md#{name.lower()}\n" in block, name
        assert f"\n## {name}\n" in RUNBOOK, f"docs/runbook.md has no section {name}"
    assert set(re.findall(r"^## (Vipguard\w+)$", RUNBOOK, re.M)) == set(NAMES)


def test_the_lag_by_the_heartbeat_goes_before_the_servers_word(tmp_path: Path) -> None:
    lag = f"vipguard_replication_lag_seconds{{{DB2},method="
    assert fired(tmp_path, {f'{lag}"seen"}}': "100", f'{lag}"heartbeat"}}': "1"}) == set()
    assert fired(tmp_path, {f'{lag}"seen"}}': "0", f'{lag}"heartbeat"}}': "11"}) == {"VipguardReplicationLag"}
