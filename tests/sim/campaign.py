"""What do many seeds come to? `make campaign SEEDS=50000`: ranges of seeds in processes of their own, counted together.

Run in tests/: `python -m sim.campaign --seeds 50000 --write ../docs/reliability.md`. Ends with 1 where a law broke or
no writer came back without a rule that says why; each such seed is named: `pytest tests/sim --seed N` tells its story.
"""

from __future__ import annotations

import argparse
import gc
import math
import multiprocessing
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from .laws import Broken
from .run import Stuck, build, play

CHUNK = 20
BEGIN, END = "<!-- campaign: begin -->", "<!-- campaign: end -->"


@dataclass
class Figures:
    """Of one seed, or of many together."""

    seeds: int = 0
    openings: int = 0
    simulated_s: float = 0.0
    events: int = 0
    cpu_s: float = 0.0
    shapes: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    pardons: Counter[str] = field(default_factory=Counter)
    waits: Counter[str] = field(default_factory=Counter)  # for a person, by the rule that says so
    broken: dict[int, str] = field(default_factory=dict)

    def add(self, other: Figures) -> None:
        for name in ("seeds", "openings", "simulated_s", "events", "cpu_s"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in ("shapes", "faults", "pardons", "waits"):
            getattr(self, name).update(getattr(other, name))
        self.broken.update(other.broken)


def one(seed: int) -> Figures:
    """Play it, whatever comes of it."""
    began_s, figures = time.process_time(), Figures(seeds=1)
    cluster = build(seed)
    try:
        outcome = play(seed, cluster=cluster)
    except (Broken, Stuck) as exc:
        figures.broken[seed] = str(exc)
    except Exception as exc:  # the core or the simulator: a defect as well
        figures.broken[seed] = repr(exc)
    else:
        figures.waits.update(outcome.waits)
    figures.openings, figures.events = cluster.laws.openings, cluster.engine.events
    figures.simulated_s = cluster.engine.now - cluster.began_s
    figures.shapes[cluster.shape] += 1
    figures.faults, figures.pardons = cluster.begun, cluster.laws.pardons.given
    figures.cpu_s = time.process_time() - began_s
    return figures


def many(seeds: range) -> Figures:
    together, usual = Figures(), gc.get_threshold()
    gc.set_threshold(50_000, 20, 50)
    try:
        for seed in seeds:
            together.add(one(seed))
    finally:
        gc.set_threshold(*usual)
    return together


def chunks(seeds: range) -> Iterator[range]:
    return (seeds[at : at + CHUNK] for at in range(0, len(seeds), CHUNK))


def campaign(seeds: range, jobs: int, until_broken: bool = False, within_s: float = math.inf) -> Figures:
    """In `jobs` processes; `until_broken` ends it at the first chunk with a law that broke, `within_s` after that
    time: what it counts then are the first so many seeds."""
    together, began_s = Figures(), time.monotonic()
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        for figures in _results(pool.map(many, chunks(seeds)), together, began_s, len(seeds)):
            together.add(figures)
            if (until_broken and together.broken) or time.monotonic() - began_s > within_s:
                pool.shutdown(cancel_futures=True)
                break
    return together


def _results(found: Iterable[Figures], sofar: Figures, began_s: float, total: int) -> Iterator[Figures]:
    told_s = time.monotonic()
    for figures in found:
        yield figures
        if time.monotonic() - told_s > 30.0:
            told_s = time.monotonic()
            took_s, broken = told_s - began_s, len(sofar.broken)
            print(f"{sofar.seeds} of {total} seeds, {took_s:.0f} s, {broken} broken", file=sys.stderr)


def text(figures: Figures, first: int, took_s: float, jobs: int) -> str:
    """As Markdown, of the seeds from `first` on."""
    hours, each_s = figures.simulated_s / 3600, figures.cpu_s / max(1, figures.seeds)
    lines = [
        f"Seeds {first} to {first + figures.seeds - 1}: **{figures.seeds:,} runs**, **{figures.openings:,} failovers**",
        f"(openings of a server), {hours:,.0f} simulated hours, {figures.events:,} events; {took_s / 60:,.0f} minutes",
        f"in {jobs} processes, {each_s:.2f} s of processor time a run.",
        "",
        f"Laws broken: **{len(figures.broken)}**.",
        *(f"- seed {seed}: {what}" for seed, what in sorted(figures.broken.items())[:50]),
        "",
        *_table("clusters", figures.shapes, "runs"),
        *_table("fault", figures.faults, "times"),
        *_table("pardon", figures.pardons, "times"),
        *_table("no writer in the end: waits for a person by", figures.waits, "runs"),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _table(what: str, counted: Counter[str], unit: str) -> list[str]:
    rows = [f"| {name} | {count:,} |" for name, count in counted.most_common()] or ["| none | 0 |"]
    return [f"| {what} | {unit} |", "|---|---:|", *rows, ""]


def write(page: Path, figures: str, begin: str = BEGIN, end: str = END) -> None:
    """Between the page's two marks."""
    whole = page.read_text()
    if begin not in whole or end not in whole:
        raise SystemExit(f"{page} has no place for the figures: {begin} … {end}")
    before, after = whole.split(begin)[0], whole.split(end)[1]
    page.write_text(f"{before}{begin}\n\n{figures}\n{end}{after}")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="sim.campaign", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seeds", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--write", type=Path, help="the page that gets the figures")
    parser.add_argument("--until-broken", action="store_true")
    parser.add_argument("--minutes", type=float, default=math.inf, help="then end, with the seeds played by then")
    args = parser.parse_args(argv)
    seeds, began_s = range(args.first, args.first + args.seeds), time.monotonic()
    figures = campaign(seeds, args.jobs, args.until_broken, args.minutes * 60)
    told = text(figures, args.first, time.monotonic() - began_s, args.jobs)
    print(told)
    if args.write is not None:
        write(args.write, told)
    return 1 if figures.broken else 0


def laws(figures: Figures) -> Counter[str]:
    """Which laws broke how often."""
    return Counter((re.match(r"(law \d|lossless)", what) or ["other"])[0] for what in figures.broken.values())


if __name__ == "__main__":
    sys.exit(main())
