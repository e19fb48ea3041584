"""What is measured, and in which order? Outages on both guards by turns, then what agent and heartbeat cost at rest.

`python -m bench` from the source tree; needs root. Results go to bench/results/ as JSON, and to the screen as tables.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from bench import footprint, heartbeat, moves, outages, report, scrapes
from vipguard.lab import LabError, need_root

RESULTS = Path(__file__).absolute().parent / "results"


def arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=0, help="rounds of each fault (default: 5, MySQL 3)")
    parser.add_argument("--flavor", choices=["mariadb", "mysql"], action="append", help="default: both")
    parser.add_argument("--fault", choices=list(outages.FAULTS), action="append", help="default: all")
    parser.add_argument("--moves", type=int, default=20, help="planned moves on each guard; 0: none (default: 20)")
    parser.add_argument("--no-faults", action="store_true", help="planned moves and the idle agent alone")
    parser.add_argument("--no-plain", action="store_true", help="leave plain keepalived out")
    parser.add_argument("--idle-s", type=float, default=20.0, help="how long the idle agent is watched; 0: not")
    parser.add_argument("--beat-s", type=float, default=10.0, help="a turn with the heartbeat or without; 0: none")
    parser.add_argument("--visits", type=int, default=40, help="visits at each of the exporter's pages; 0: none")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    wanted = arguments(argv)
    try:
        need_root()
    except LabError as exc:
        print(f"bench: {exc}", file=sys.stderr)
        return 1
    results = report.Results.begin()
    for flavor in wanted.flavor or ["mariadb", "mysql"]:
        rounds = wanted.rounds or (5 if flavor == "mariadb" else 3)
        guards = ["vipguard"] if wanted.no_plain else ["vipguard", "plain"]
        faults = wanted.fault or list(outages.FAULTS)
        if not wanted.no_faults:
            told = f"{rounds} rounds of {', '.join(faults)} on {' and '.join(guards)}, by turns"
            print(f"== {flavor}: {told}", flush=True)
            results.rounds += outages.measure(flavor, guards, faults, rounds, say)
        if wanted.moves:
            print(f"== {flavor}: {wanted.moves} planned moves on {' and '.join(guards)}, by turns", flush=True)
            results.moves += moves.measure(flavor, guards, wanted.moves, say)
        if wanted.idle_s:
            results.footprints.append(footprint.measure(flavor, wanted.idle_s, say))
        if wanted.beat_s:
            results.heartbeats.append(heartbeat.measure(flavor, wanted.beat_s, say))
        if wanted.visits:
            results.visits += scrapes.measure(flavor, wanted.visits, say)
    print()
    print(report.text(results))
    path = RESULTS / f"{time.strftime('%Y-%m-%d-%H%M%S')}.json"
    report.save(results, path)
    print(f"\nwritten to {os.path.relpath(path)}")
    return 0


def say(text: str) -> None:
    print(f"  {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
