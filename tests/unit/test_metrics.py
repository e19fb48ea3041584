"""The metrics: every one comes out of a status, none is guessed, and the page tells all of them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from exported import BLIND, STATUS, note
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from vipguard.agent.tally import BUCKETS_S, Tally
from vipguard.errors import CouldNotDo, Silent
from vipguard.export import metrics, textfile
from vipguard.export.source import Seen, Source

DOCS = Path(__file__).resolve().parents[2] / "docs" / "metrics.md"


def samples(status: dict[str, Any] | None) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """(name, labels without the common ones): value, as Prometheus would parse it."""
    registry = CollectorRegistry(auto_describe=False)

    class Collector:
        def collect(self) -> Any:
            return metrics.families(status, "orders", "db1")

    registry.register(Collector())  # type: ignore[arg-type]
    found = {}
    for family in text_string_to_metric_families(generate_latest(registry).decode()):
        for one in family.samples:
            assert (one.labels.pop("cluster"), one.labels.pop("node")) == ("orders", "db1")
            found[one.name, tuple(sorted(one.labels.items()))] = one.value
    return found


def test_every_metric_has_a_sample_in_a_full_status() -> None:
    names = {name.removeprefix("vipguard_") for name, _ in samples(STATUS)}
    for metric in metrics.METRICS:
        suffix = {"counter": "_total", "histogram": "_bucket"}.get(metric.kind, "")
        assert f"{metric.name}{suffix}" in names, metric.name


@pytest.mark.parametrize(
    ("name", "labels", "value"),
    [
        ("agent_up", {}, 1),
        ("role", {"role": "writer"}, 1),
        ("role", {"role": "standby"}, 0),
        ("vip_present", {}, 1),
        ("eligible", {"rule": "holder-healthy"}, 1),
        ("replication_thread_running", {"channel": "", "thread": "io"}, 1),
        ("replication_thread_running", {"channel": "", "thread": "sql"}, 0),
        ("replication_drained", {"channel": ""}, 1),
        ("replication_lag_seconds", {"method": "seen"}, 0.5),
        ("errant_gtids", {}, 0),
        ("diverged", {}, 0),
        ("peer_up", {"peer": "db2"}, 0),
        ("witness_up", {"witness": "10.0.0.1"}, 1),
        ("witness_up", {"witness": "10.0.0.2"}, 0),
        ("check_ok", {"check": "disk"}, 0),
        ("check_duration_seconds", {"check": "disk"}, 0.001),
        ("peer_certificate_expiry_timestamp_seconds", {"peer": "db2"}, 1_800_000_000),
        ("reader_present", {"reader": "r1"}, 1),
        ("reader_came_total", {"reader": "r1"}, 2),
        ("cluster_paused", {}, 1),
        ("maintenance", {}, 0),
        ("maintenance_since_timestamp_seconds", {"scope": "cluster"}, 1_700_000_000),
        ("stood_down", {}, 1),
        ("stood_down_since_timestamp_seconds", {}, 1_700_000_001),
        ("transitions_total", {"from": "candidate", "to": "taking"}, 1),
        ("fence_failures_total", {}, 1),
        ("garp_sent_total", {}, 5),
        ("takeover_seconds_count", {}, 1),
        ("takeover_seconds_sum", {}, 0.06),
        ("takeover_seconds_bucket", {"le": "0.05"}, 0),
        ("takeover_seconds_bucket", {"le": "0.1"}, 1),
        ("takeover_step_seconds_sum", {"step": "claim"}, 0.02),
        ("takeover_step_seconds_sum", {"step": "drain"}, 0.04),
        ("client_stall_estimate_seconds", {}, 0.12),
        ("build_info", {"version": "1.2", "flavor": "mariadb", "server": "10.11.6"}, 1),
    ],
)
def test_a_number_of_the_status_is_the_number_of_the_metric(name: str, labels: dict[str, str], value: float) -> None:
    assert samples(STATUS)[f"vipguard_{name}", tuple(sorted(labels.items()))] == pytest.approx(value)


def test_what_was_not_seen_has_no_sample() -> None:
    names = {name for name, _ in samples(BLIND)}
    for name in ("vip_present", "writable", "eligible", "replication_lag_seconds", "role", "server_up", "errant_gtids"):
        assert f"vipguard_{name}" not in names
    assert not any(name == "vipguard_check_ok" and ("check", "errant") in labels for name, labels in samples(STATUS))


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"lag_s": 3.0, "lag_rule": "lag-heartbeat", "lag_seen_s": 0.0}, {"heartbeat": 3.0, "seen": 0.0}),
        ({"lag_s": 3.0, "lag_rule": "lag-heartbeat", "lag_seen_s": None}, {"heartbeat": 3.0}),
        ({"lag_s": 2.0, "lag_rule": "lag-seen", "lag_seen_s": 2.0}, {"seen": 2.0}),
        ({"lag_s": 2.5, "lag_rule": "lag-last-good", "lag_seen_s": None}, {"last-good": 2.5}),
        ({"lag_s": None, "lag_rule": "lag-null", "lag_seen_s": None}, {}),
    ],
)
def test_the_lag_is_told_by_each_way_in_which_it_is_known(told: dict[str, Any], expected: dict[str, float]) -> None:
    found = samples({**STATUS, "nodes": [{**STATUS["nodes"][0], **told}]})
    lags = {dict(labels)["method"]: value for (name, labels), value in found.items() if name.endswith("lag_seconds")}
    assert lags == expected


def test_a_silent_agent_is_the_one_thing_that_is_told_of_it() -> None:
    assert samples(None) == {("vipguard_agent_up", ()): 0.0}


def test_a_node_that_is_a_replica_says_so() -> None:
    replica = {**STATUS["nodes"][0], "writer": False, "role": "replica", "standing": "candidate"}
    assert samples({**STATUS, "nodes": [replica]})["vipguard_role", (("role", "replica"),)] == 1


def test_an_abandoned_takeover_counts_no_steps() -> None:
    tally = Tally()
    for one in (note("takeover-step", "claim", at_ms=0), note("takeover-abandoned", "vip-gone", "warning")):
        tally.tell(one)
    assert tally.told()["takeover_steps"] == {} and sum(tally.told()["takeover"]["counts"]) == 0


def test_the_buckets_hold_what_a_client_notices() -> None:
    assert list(BUCKETS_S) == sorted(set(BUCKETS_S)) and BUCKETS_S[0] < 0.06 < BUCKETS_S[-1] < math.inf


def test_the_status_can_be_sent_as_json() -> None:
    assert json.loads(json.dumps(STATUS["counts"]))["takeover"]["sum_s"] == 0.06


def test_the_page_tells_every_metric() -> None:
    assert metrics.page() in DOCS.read_text(), "put what `python -m vipguard.export` prints into docs/metrics.md"


# -- the source


def test_many_that_ask_at_once_cost_one_question() -> None:
    asked: list[float] = []
    source = Source("/nowhere", lambda _, within_s: asked.append(within_s) or {"node": "db1"})  # type: ignore[func-returns-value]
    assert [source.get() for _ in range(100)] == [{"node": "db1"}] * 100
    assert len(asked) == 1


def test_a_silent_agent_is_none_with_its_reason() -> None:
    def silent(_: str, within_s: float) -> dict[str, Any]:
        raise Silent("the agent did not answer")

    source = Source("/nowhere", silent)
    assert source.look() == Seen(None, "the agent did not answer", None)


def test_since_when_an_agent_is_silent_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[dict[str, Any] | None] = [{"node": "db1"}, None]
    monkeypatch.setattr("vipguard.export.source.FRESH_S", 0.0)

    def ask(_: str, within_s: float) -> dict[str, Any]:
        answer = answers.pop(0)
        if answer is None:
            raise Silent("the agent did not answer")
        return answer

    source = Source("/nowhere", ask)
    answered_at = source.look().answered_at
    assert answered_at is not None and source.look() == Seen(None, "the agent did not answer", answered_at)


def test_stories_that_cannot_be_had_are_a_reason() -> None:
    assert Source("/nowhere/agent.sock").stories() == "no agent listens at /nowhere/agent.sock"


# -- the file


def test_the_textfile_is_replaced_whole_and_may_be_read(tmp_path: Path) -> None:
    for content in (b"one 1\n", b"two 2\n"):
        path = Path(textfile.write(str(tmp_path), content))
        assert path.read_bytes() == content and path.stat().st_mode & 0o777 == 0o644
    assert [one.name for one in tmp_path.iterdir()] == ["vipguard.prom"]


def test_a_broken_directory_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(CouldNotDo, match=r"cannot write .*: No such file or directory"):
        textfile.write(str(tmp_path / "gone"), b"")
