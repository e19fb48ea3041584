"""Each check against a healthy node, one change a test: outcome, rule, and the number it shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import healthy
import pytest
from healthy import (
    NOW_S,
    STANDBY,
    WRITER,
    last_seen,
    stalled_disk,
    with_channel,
    with_facts,
    without_source,
)

from vipguard.checks import CHECKS, writer
from vipguard.model.evidence import DiskEvidence, Order
from vipguard.model.finding import NO_THRESHOLDS, Finding, Outcome, Thresholds
from vipguard.model.gtid import GtidSet
from vipguard.model.ranges import Range
from vipguard.model.sight import Sight
from vipguard.model.verdict import Eligibility

OK, WARNING, CRITICAL, UNKNOWN = Outcome.OK, Outcome.WARNING, Outcome.CRITICAL, Outcome.UNKNOWN
DISK = healthy.DISK
UNWATCHED = replace(STANDBY, witnesses={"10.73.0.1": None}, outside_s=None, watching_since_s=NOW_S - 0.1)

ORDER = Order(domain=0, strict=True, parallel=False)


def in_domains(own: int, writers: int, *, parallel: bool) -> Sight:
    """A standby whose next sessions write in `own`, behind a writer that writes in `writers`."""
    peer = STANDBY.peers["db2"]
    assert peer.evidence is not None and peer.evidence.facts is not None
    facts = replace(peer.evidence.facts, order=replace(ORDER, domain=writers))
    seen = replace(STANDBY, peers={"db2": replace(peer, evidence=replace(peer.evidence, facts=facts))})
    return with_facts(seen, order=replace(ORDER, domain=own, parallel=parallel))


CASES: list[tuple[str, str, Sight, Outcome, str, float | None]] = [
    ("alive", "a server that answers", STANDBY, OK, "server-answers", 0.001),
    ("alive", "no server", replace(STANDBY, server=healthy.ABSENT), CRITICAL, "server-absent", None),
    ("alive", "a silent server", replace(STANDBY, server=healthy.SILENT), CRITICAL, "server-silent", None),
    ("alive", "a blind probe", replace(STANDBY, server=healthy.BLIND), UNKNOWN, "server-blind", None),
    ("alive", "a server not asked", replace(STANDBY, server=None), UNKNOWN, "server-not-seen", None),
    ("replication", "both threads", STANDBY, OK, "threads-running", 1),
    ("replication", "a dead source", without_source(STANDBY), WARNING, "source-gone", 1),
    (
        "replication",
        "a fatal error",
        with_channel(STANDBY, io="stopped", io_errno=1236),
        CRITICAL,
        "io-thread-failed",
        1,
    ),
    ("replication", "IO stopped", with_channel(STANDBY, io="stopped"), CRITICAL, "io-thread-stopped", 1),
    (
        "replication",
        "IO stopped by a takeover",
        replace(with_channel(STANDBY, io="stopped"), io_stopped_by_us=True),
        WARNING,
        "io-stopped-by-takeover",
        1,
    ),
    (
        "replication",
        "SQL stopped",
        with_channel(STANDBY, sql_running=False),
        CRITICAL,
        "sql-thread-stopped",
        1,
    ),
    (
        "replication",
        "a duplicate key",
        with_channel(STANDBY, sql_running=False, sql_errno=1062),
        CRITICAL,
        "sql-thread-failed",
        1,
    ),
    (
        "replication",
        "no channel",
        with_facts(STANDBY, channels=()),
        CRITICAL,
        "replication-not-configured",
        0,
    ),
    (
        "replication",
        "channels not asked",
        with_facts(STANDBY, channels=None),
        UNKNOWN,
        "replication-not-seen",
        None,
    ),
    (
        "replication",
        "no server",
        replace(STANDBY, server=healthy.ABSENT),
        UNKNOWN,
        "replication-not-seen",
        None,
    ),
    (
        "replication",
        "gtid_strict_mode is off",
        with_facts(STANDBY, order=replace(ORDER, strict=False)),
        CRITICAL,
        "strict-mode-off",
        1,
    ),
    ("replication", "parallel appliers, one domain", in_domains(0, 0, parallel=True), OK, "threads-running", 1),
    ("replication", "another domain, one applier", in_domains(0, 2, parallel=False), OK, "threads-running", 1),
    ("replication", "parallel appliers, two domains", in_domains(0, 2, parallel=True), WARNING, "order-at-risk", 1),
    ("lag", "no lag", STANDBY, OK, "lag-seen", 0),
    ("lag", "a lag at the limit", with_channel(STANDBY, lag_s=10.0), OK, "lag-seen", 10),
    ("lag", "a lag above the limit", with_channel(STANDBY, lag_s=10.5), CRITICAL, "lag-seen", 10.5),
    ("lag", "NULL", with_channel(STANDBY, lag_s=None), UNKNOWN, "lag-null", None),
    ("lag", "a dead source, the lag known", without_source(STANDBY), OK, "lag-last-good", 0),
    (
        "lag",
        "a dead source, the lag aged",
        last_seen(without_source(STANDBY), 4.0, 900.0, 908.5),
        CRITICAL,
        "lag-last-good",
        12.5,
    ),
    (
        "lag",
        "a dead source, no lag known",
        replace(without_source(STANDBY), good_lag=None),
        UNKNOWN,
        "lag-never-seen",
        None,
    ),
    ("lag", "no server", replace(STANDBY, server=healthy.SILENT), UNKNOWN, "lag-not-seen", None),
    ("read_only", "closed without the VIP", STANDBY, OK, "closed", 1),
    ("read_only", "open with the VIP", WRITER, OK, "open", 0),
    (
        "read_only",
        "open without the VIP",
        with_facts(STANDBY, closed=False),
        CRITICAL,
        "writable-without-vip",
        0,
    ),
    ("read_only", "closed with the VIP", with_facts(WRITER, closed=True), WARNING, "vip-without-writable", 1),
    ("read_only", "the VIP not looked at", replace(STANDBY, address=None), UNKNOWN, "vip-not-seen", 1),
    ("read_only", "no server", replace(STANDBY, server=healthy.ABSENT), UNKNOWN, "read-only-not-seen", None),
    ("errant", "nothing errant", STANDBY, OK, "nothing-errant", 0),
    (
        "errant",
        "two errant",
        replace(STANDBY, errant=GtidSet.parse("mariadb", "1-1-2")),
        CRITICAL,
        "errant-transactions",
        2,
    ),
    ("errant", "nothing compared", replace(STANDBY, errant=None), UNKNOWN, "errant-not-compared", None),
    ("disk", "room", STANDBY, OK, "disk-free", 50000),
    (
        "disk",
        "no room",
        replace(STANDBY, disk=replace(DISK, free_bytes=99_000_000)),
        CRITICAL,
        "disk-full",
        99,
    ),
    (
        "disk",
        "room at the limit",
        replace(STANDBY, disk=replace(DISK, free_bytes=100_000_000)),
        OK,
        "disk-free",
        100,
    ),
    (
        "disk",
        "mounted read-only",
        replace(STANDBY, disk=replace(DISK, writable=False)),
        CRITICAL,
        "disk-read-only",
        50000,
    ),
    ("disk", "a file system that hangs", replace(STANDBY, disk=None), UNKNOWN, "disk-not-seen", None),
    (
        "disk",
        "statvfs failed",
        replace(STANDBY, disk=DiskEvidence(NOW_S, None, None, None)),
        UNKNOWN,
        "disk-not-seen",
        None,
    ),
    ("disk", "no write comes back", replace(STANDBY, disk=stalled_disk(1.6)), CRITICAL, "disk-stalled", 50000),
    (
        "disk",
        "no write comes back, and there is no room",
        replace(STANDBY, disk=stalled_disk(1.6, free_bytes=1000)),
        CRITICAL,
        "disk-stalled",
        0,
    ),
    ("disk", "a slow disk", replace(STANDBY, disk=stalled_disk(3.1, still_s=0.3)), WARNING, "disk-slow", 50000),
    ("disk", "a write that has its time", replace(STANDBY, disk=stalled_disk(1.4)), OK, "disk-free", 50000),
    (
        "disk",
        "no file can be written",
        replace(STANDBY, disk=replace(DISK, sync_error="Permission denied")),
        UNKNOWN,
        "disk-unsynced",
        50000,
    ),
    ("witness", "a witness answers", STANDBY, OK, "witness-answers", 1),
    (
        "witness",
        "only a peer",
        replace(STANDBY, witnesses={"10.73.0.1": None}),
        WARNING,
        "only-peers-answer",
        0,
    ),
    ("witness", "none configured", replace(STANDBY, witnesses={}), WARNING, "only-peers-answer", 0),
    ("witness", "nobody for a lease", healthy.cut_off(STANDBY), CRITICAL, "isolated", 0),
    ("witness", "nobody, not for a lease yet", UNWATCHED, UNKNOWN, "witness-not-seen", None),
]


def ask(name: str, sight: Sight, thresholds: Thresholds = NO_THRESHOLDS) -> Finding:
    return CHECKS[name](sight, thresholds)


@pytest.mark.parametrize(("name", "sight", "outcome", "rule", "value"), [(n, *rest) for n, _, *rest in CASES],
                         ids=[f"{name}: {what}" for name, what, *_ in CASES])  # fmt: skip
def test_a_check_says(name: str, sight: Sight, outcome: Outcome, rule: str, value: float | None) -> None:
    finding = ask(name, sight)
    assert (finding.check, finding.outcome, finding.rule) == (name, outcome, rule)
    assert finding.text
    assert (finding.perf[0].value if finding.perf else None) == pytest.approx(value)


@pytest.mark.parametrize("name", CHECKS)
def test_a_check_of_nothing_seen_is_unknown_and_shows_no_number(name: str) -> None:
    nothing = Sight(now_s=NOW_S, policy=healthy.POLICY, watching_since_s=NOW_S)
    finding = ask(name, nothing)
    assert finding.outcome is UNKNOWN
    assert all(perf.value is None for perf in finding.perf)


THRESHOLDS: dict[str, Callable[[Sight], Sight]] = {
    "lag": lambda sight: with_channel(sight, lag_s=7.0),
    "disk": lambda sight: replace(sight, disk=replace(DISK, free_bytes=7_000_000)),
    "errant": lambda sight: replace(sight, errant=GtidSet.parse("mariadb", "1-1-7")),
}


@pytest.mark.parametrize("name", THRESHOLDS)
def test_given_ranges_replace_the_checks_own(name: str) -> None:
    sight = THRESHOLDS[name](STANDBY)
    assert ask(name, sight, Thresholds(critical=Range(0, 8))).outcome is OK
    assert ask(name, sight, Thresholds(critical=Range(0, 6))).outcome is CRITICAL
    assert ask(name, sight, Thresholds(warning=Range(0, 6))).outcome is WARNING
    assert ask(name, sight, Thresholds(warning=Range(0, 6), critical=Range(0, 5))).outcome is CRITICAL


def test_the_ranges_that_were_applied_stand_in_the_performance_data() -> None:
    assert ask("lag", STANDBY).perf[0].critical == Range.parse("~:10")
    given = Thresholds(Range.parse("3"), Range.parse("5"))
    assert (ask("lag", STANDBY, given).perf[0].warning, ask("lag", STANDBY, given).perf[0].critical) == (
        given.warning,
        given.critical,
    )


def test_no_range_makes_an_unknown_number_fine() -> None:
    for name in ("lag", "errant", "disk"):
        blind = replace(STANDBY, server=healthy.BLIND, errant=None, disk=None)
        assert ask(name, blind, Thresholds(critical=Range.parse("~:"))).outcome is UNKNOWN


def test_a_number_out_of_order_is_told_as_what_it_is() -> None:
    sight = with_channel(STANDBY, sql_running=False, sql_errno=1950, sql_error="an attempt to binlog GTID 0-1-4")
    found = CHECKS["replication"](sight, Thresholds())
    assert found.rule == "sql-thread-failed" and "wrote by itself" in found.text and "0-1-4" in found.text


def test_a_server_without_strict_mode_is_no_candidate_and_no_target() -> None:
    loose = with_facts(STANDBY, order=replace(ORDER, strict=False))
    verdict = writer.judge(loose, "candidate")
    assert (verdict.rule, verdict.eligibility) == ("replication-broken", Eligibility.INELIGIBLE)
    assert "gtid_strict_mode" in verdict.text
    assert writer.fit_from_afar(STANDBY) and not writer.fit_from_afar(loose)
