"""Which metrics are there, and how does each come out of the agent's status? One table.

Names and units after https://prometheus.io/docs/practices/naming/. Every sample has the labels `cluster` and `node`.
What was not seen has no sample: an absent series is the one honest way to say so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.core import Metric as Family

from . import reading as of
from .reading import Status

COMMON = ("cluster", "node")


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. `read` gives its samples: the values of `labels`, and a number or, of a histogram, its counts."""

    name: str
    kind: Literal["gauge", "counter", "histogram"]
    text: str
    read: Callable[[Status], Iterable[Any]]
    labels: tuple[str, ...] = ()


#: The only one that is there while the agent is silent.
UP = Metric("agent_up", "gauge", "Does this node's agent answer? Where it is 0 there is nothing else here.", of.nothing)

METRICS: tuple[Metric, ...] = (
    # who is what
    Metric("role", "gauge", "1 for what this node is: writer, taking, standby or replica.", of.role, ("role",)),
    Metric("vip_present", "gauge", "Is the writer VIP on this node's interface?", of.flag("vip")),
    Metric("writable", "gauge", "Does this node's server accept writes?", of.flag("writable")),
    Metric("writers_seen", "gauge", "How many nodes are writable, as seen from here.", of.writers),
    Metric("eligible", "gauge", "May this node take or keep the VIP, by which rule?", of.eligible, ("rule",)),
    Metric("epoch", "gauge", "The highest epoch that this node knows.", of.epoch),
    # what it stands on
    Metric("server_up", "gauge", "Does this node's server answer?", of.server),
    Metric("keepalived_up", "gauge", "Does keepalived run here?", of.flag("keepalived")),
    Metric("vrrp_state", "gauge", "1 for keepalived's state: MASTER, BACKUP or FAULT.", of.vrrp, ("state",)),
    Metric("link_up", "gauge", "Has the VIP's interface a carrier?", of.flag("link_up")),
    Metric("peer_up", "gauge", "Does that node's server answer, as seen from here?", of.peers, ("peer",)),
    Metric(
        "peer_certificate_expiry_timestamp_seconds",
        "gauge",
        "When the certificate of that node's server ends; no sample without TLS.",
        of.certificates,
        ("peer",),
    ),
    Metric("witness_up", "gauge", "Has that witness answered lately?", of.witnesses, ("witness",)),
    Metric("duplicate_address", "gauge", "Does another host answer for the VIP of this holder?", of.flag("duplicate")),
    Metric("disk_free_bytes", "gauge", "Free space of the data directory's file system.", of.number("disk_free_bytes")),
    Metric("disk_writable", "gauge", "Can the data directory's file system be written?", of.flag("disk_writable")),
    Metric(
        "disk_wait_seconds",
        "gauge",
        "For how long a write of vipguard's own to the disks of the data and the logs has not come back.",
        of.number("disk_waits_s"),
    ),
    Metric("check_ok", "gauge", "Is that check OK? No sample where it saw nothing.", of.checks, ("check",)),
    Metric(
        "check_duration_seconds",
        "gauge",
        "How long the newest look took that the check rests on: of the server, the disk, a witness.",
        of.check_durations,
        ("check",),
    ),
    # reader addresses
    Metric("reader_present", "gauge", "Is that reader address on this node?", of.readers("here"), ("reader",)),
    Metric("reader_eligible", "gauge", "May this node hold it?", of.readers("eligibility"), ("reader",)),
    Metric("reader_came", "counter", "How often it came to this node.", of.readers("came"), ("reader",)),
    Metric("reader_went", "counter", "How often it left this node.", of.readers("went"), ("reader",)),
    # replication
    Metric(
        "replication_thread_running",
        "gauge",
        "Does that replication thread run: io, sql?",
        of.threads,
        ("channel", "thread"),
    ),
    Metric(
        "replication_drained",
        "gauge",
        "Has all been applied that was received? A takeover waits for it.",
        of.drained,
        ("channel",),
    ),
    Metric(
        "replication_lag_seconds",
        "gauge",
        "How far this node is behind. method: heartbeat, behind the writer; seen, by the server's word; last-good, when"
        " its source was last there.",
        of.lag,
        ("method",),
    ),
    Metric("errant_gtids", "gauge", "Ranges of GTIDs that this node has and the writer lacks.", of.errant),
    Metric("diverged", "gauge", "Is this node apart, because it has what the writer lacks?", of.said("diverged")),
    Metric("semi_sync_waiting_commits", "gauge", "Commits that wait for a standby now.", of.semi_sync("waiting")),
    Metric(
        "semi_sync_wait_seconds",
        "gauge",
        "For how long commits have waited while none was acknowledged.",
        of.semi_sync("commits_wait_s"),
    ),
    Metric("solo", "gauge", "Under lossless: are writes acknowledged without a standby?", of.semi_sync("solo")),
    # what keeps it out
    Metric("maintenance", "gauge", "Is this node in maintenance?", of.in_maintenance),
    Metric("cluster_paused", "gauge", "Is the cluster paused?", of.paused),
    Metric(
        "maintenance_since_timestamp_seconds",
        "gauge",
        "Since when the node is in maintenance, or the cluster paused. scope: node, cluster.",
        of.maintenance_since,
        ("scope",),
    ),
    Metric("stood_down", "gauge", "Does this node's server stay closed by somebody's word?", of.said("stood_down")),
    Metric(
        "stood_down_since_timestamp_seconds",
        "gauge",
        "Since when it does.",
        of.stood_down_since,
    ),
    Metric("damped", "gauge", "Is this node parked because it flapped?", of.damped),
    Metric("eligibility_losses", "gauge", "Losses of eligibility within damping.window_s.", of.number("losses")),
    # what has happened since the agent began
    Metric("transitions", "counter", "Changes of standing: candidate, taking, holder.", of.transitions, ("from", "to")),
    Metric("alerts", "counter", "Log lines of warning or error, by their event.", of.alerts, ("level", "event")),
    Metric("fence_failures", "counter", "Calls of the fence command that failed.", of.noted("error", "fenced")),
    Metric(
        "possible_losses",
        "counter",
        "Takeovers here that may have lost acknowledged writes, or for certain have.",
        of.noted("warning", "may-be-lost"),
    ),
    Metric("takeover_seconds", "histogram", "Completed takeovers, from the VIP to the epoch row.", of.takeover),
    Metric(
        "takeover_step_seconds", "histogram", "Steps of takeovers, of those given up too.", of.takeover_steps, ("step",)
    ),
    Metric(
        "client_stall_estimate_seconds",
        "gauge",
        "Of the last takeover here: from the last sight of the old writer to the opening.",
        of.told("stall_s"),
    ),
    Metric("garp_sent", "counter", "Announcements of the VIP: gratuitous ARP or unsolicited NA.", of.told("announced")),
    Metric("state_file_age_seconds", "gauge", "Since when the state file was not written.", of.told("state_age_s")),
    Metric("build_info", "gauge", "Always 1: what runs here.", of.build, ("version", "flavor", "server")),
)


def families(status: Status | None, cluster: str, node: str) -> Iterator[Family]:
    """Every metric of one status; without one, only that the agent is silent."""
    common = [cluster, node]
    up = GaugeMetricFamily(f"vipguard_{UP.name}", UP.text, labels=COMMON)
    up.add_metric(common, float(status is not None))
    yield up
    if status is not None:
        for metric in METRICS:
            yield _family(metric, status, common)


def _family(metric: Metric, status: Status, common: list[str]) -> Family:
    name, labels = f"vipguard_{metric.name}", (*COMMON, *metric.labels)
    if metric.kind == "histogram":
        histogram = HistogramMetricFamily(name, metric.text, labels=labels)
        for values, buckets, sum_s in metric.read(status):
            histogram.add_metric([*common, *values], buckets, sum_s)
        return histogram
    family = (CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily)(name, metric.text, labels=labels)
    for values, number in metric.read(status):
        family.add_metric([*common, *values], number)
    return family


def page() -> str:
    """docs/metrics.md's table."""
    rows = []
    for metric in (UP, *METRICS):
        name = f"vipguard_{metric.name}{'_total' if metric.kind == 'counter' else ''}"
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        rows.append(f"| `{name}` | {metric.kind} | {labels} | {metric.text} |")
    return "\n".join(("| name | kind | labels | |", "|---|---|---|---|", *rows)) + "\n"
