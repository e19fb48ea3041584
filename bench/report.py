"""How are the results told? Tables with median, worst and ratio, and the same as JSON."""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bench import heartbeat
from bench.footprint import CHECK_AIM_MS, CPU_AIM_PERCENT, RSS_AIM_MB, Footprint
from bench.moves import Move
from bench.outages import FAULTS, Round
from bench.scrapes import AIM_MS as SCRAPE_AIM_MS
from bench.scrapes import Visits
from vipguard import __version__

#: Milliseconds of the median, MariaDB: `lease_s` + `close_s` + 0.2 s for a lost link. Two writers: never, on any.
MOVE_AIM_MS = 60.0
AIMS_MS = {"kill-mysqld": 100.0, "link-down": 900.0, "kill-keepalived": None, "stop-mysqld": 1500.0}


@dataclass
class Results:
    version: str
    when: str
    machine: str
    rounds: list[Round] = field(default_factory=list)
    moves: list[Move] = field(default_factory=list)
    footprints: list[Footprint] = field(default_factory=list)
    heartbeats: list[heartbeat.Heartbeat] = field(default_factory=list)
    visits: list[Visits] = field(default_factory=list)

    @classmethod
    def begin(cls) -> Results:
        machine = f"{platform.system()} {platform.release()}, {os.cpu_count()} processors"
        return cls(__version__, time.strftime("%Y-%m-%d %H:%M:%S"), machine)


def save(results: Results, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(results), indent=1) + "\n")


def text(results: Results) -> str:
    parts = [f"vipguard {results.version}, {results.when}, {results.machine}"]
    for flavor in dict.fromkeys(one.flavor for one in results.rounds):
        parts.append(_outages(flavor, [one for one in results.rounds if one.flavor == flavor]))
    if results.moves:
        parts.append(_moves(results.moves))
    parts += [_footprint(one) for one in results.footprints]
    parts += ["\n".join(_table(heartbeat.rows(one))) for one in results.heartbeats]
    if results.visits:
        parts.append(_visits(results.visits))
    return "\n\n".join(parts)


def _outages(flavor: str, rounds: list[Round]) -> str:
    head = f"{flavor}: outage of a client at 500 inserts a second, ms (median / worst); two writers, ms (worst)"
    rows = [("fault", "vipguard", "plain keepalived", "ratio", "two writers", "plain", "lost", "plain", "aim")]
    for fault, (name, _) in FAULTS.items():
        ours = [one for one in rounds if (one.fault, one.guard) == (fault, "vipguard")]
        plain = [one for one in rounds if (one.fault, one.guard) == (fault, "plain")]
        if ours:
            rows.append((name, _times(ours), _times(plain), _ratio(ours, plain), _two(ours), _two(plain),
                         _lost(ours), _lost(plain), _aim(flavor, fault, ours)))  # fmt: skip
    return "\n".join([head, *_table(rows)])


def _moves(moves: list[Move]) -> str:
    head = "planned moves: stall of a client at 500 inserts a second, ms (median / worst); other errors than the cut"
    rows = [("flavor", "guard", "moves", "stall", "other errors", "lost", "two writers", "aim")]
    for flavor, guard in dict.fromkeys((one.flavor, one.guard) for one in moves):
        of = [one for one in moves if (one.flavor, one.guard) == (flavor, guard)]
        median = statistics.median(one.stall_ms for one in of)
        aim = f"below {MOVE_AIM_MS:g}: " + ("kept" if median < MOVE_AIM_MS else "MISSED") if guard == "vipguard" else ""
        rows.append((flavor, guard, str(len(of)), f"{median:.0f} / {max(one.stall_ms for one in of):.0f}",
                     str(sum(one.errors for one in of)), str(sum(one.lost for one in of)),
                     f"{max(one.two_writers_ms for one in of):.0f}", aim))  # fmt: skip
    return "\n".join([head, *_table(rows)])


def _median(rounds: list[Round]) -> float:
    return statistics.median(one.outage_ms for one in rounds)


def _times(rounds: list[Round]) -> str:
    if not rounds:
        return "-"
    worst = max(one.outage_ms for one in rounds)
    return f"{_median(rounds):.0f} / {worst:.0f}" + ("+" if any(one.over for one in rounds) else "")


def _ratio(ours: list[Round], plain: list[Round]) -> str:
    if not plain or not _median(ours) or max(one.two_writers_ms for one in plain) > 100:
        return "-"  # a second writer is no better availability
    return f"{_median(plain) / _median(ours):.1f}x"


def _two(rounds: list[Round]) -> str:
    return f"{max(one.two_writers_ms for one in rounds):.0f}" if rounds else "-"


def _lost(rounds: list[Round]) -> str:
    return f"{sum(one.lost for one in rounds)} of {sum(one.acknowledged for one in rounds)}" if rounds else "-"


def _aim(flavor: str, fault: str, ours: list[Round]) -> str:
    if any(one.two_writers_ms > 0 for one in ours):
        return "MISSED: two writers"
    aim = AIMS_MS[fault] if flavor == "mariadb" else None
    if aim is None:
        return "no second writer: kept"
    return f"below {aim:.0f}: " + ("kept" if _median(ours) < aim else "MISSED")


def _footprint(one: Footprint) -> str:
    def row(what: str, value: float, unit: str, aim: float | None) -> tuple[str, ...]:
        kept = "" if aim is None else f"below {aim:g}: " + ("kept" if value < aim else "MISSED")
        return what, f"{value:.1f} {unit}", kept

    rows = [(f"{one.flavor}: what it costs", "", "aim")]
    for role, percent in one.cpu_percent.items():
        rows.append(row(f"idle agent on the {role}, processor", percent, "%", CPU_AIM_PERCENT))
    rows += [row(f"idle agent on the {role}, memory", v, "MB", RSS_AIM_MB) for role, v in one.rss_mb.items()]
    for kind, value in one.check_ms.items():
        rows.append(row(f"one check: {kind}", value, "ms", CHECK_AIM_MS if kind.startswith("agent answers") else None))
    return "\n".join(_table(rows))


def _visits(visits: list[Visits]) -> str:
    head = ("one visit at the exporter", "median / worst", "processor", "bytes", "ratio", "aim")
    rows: list[tuple[str, ...]] = [head]
    for one in visits:
        plain = [other for other in visits if other.flavor == one.flavor][-1]
        kept = f"below {SCRAPE_AIM_MS:g}: " + ("kept" if one.median_ms < SCRAPE_AIM_MS else "MISSED")
        times = f"{one.median_ms:.1f} / {max(one.took_ms):.1f} ms"
        ratio = "" if one is plain else f"{one.median_ms / plain.median_ms:.1f}"
        aim = kept if one.what == "/metrics" else ""
        rows.append((f"{one.flavor} {one.what}", times, f"{one.cpu_ms:.1f} ms", str(one.bytes), ratio, aim))
    return "\n".join(_table(rows))


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return [lines[0], "  ".join("-" * width for width in widths), *lines[1:]]
