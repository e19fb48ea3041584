"""Does the simulator notice when the core is wrong? Deliberate bugs, each on a copy of vipguard of its own.

`make sabotage`, or in tests/: `python -m sim.sabotage NAME…`. A bug is a patch in bugs/, without line numbers: what
it takes away, with the lines about it, must stand in its file exactly once. Where the code has moved on it is to be
written anew. It is caught by a seed that breaks with it and not without it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import vipguard

from .campaign import write
from .run import situated

SEEDS = 200
BEGIN, END = "<!-- sabotage: begin -->", "<!-- sabotage: end -->"
TESTS = Path(__file__).parents[1]
BUGS = Path(__file__).parent / "bugs"
PACKAGE = Path(vipguard.__file__).parent


class DoesNotApply(AssertionError):
    """The text that a bug replaces is not there, or more than once."""


@dataclass(frozen=True, slots=True)
class Bug:
    """`edits`: file in vipguard/, what stands there, what takes its place."""

    name: str
    edits: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, slots=True)
class Caught:
    """`seed` None: by none of them."""

    bug: Bug
    seed: int | None
    what: str


def bugs(place: Path = BUGS) -> list[Bug]:
    """All of them, by name."""
    return [read(file.stem, file.read_text()) for file in sorted(place.glob("*.patch"))]


def read(name: str, patch: str) -> Bug:
    """Of each hunk: `--- FILE`, then lines that stay (a blank before), go (-) or come (+)."""
    edits = []
    for hunk in patch.split("--- ")[1:]:
        file, *lines = hunk.rstrip("\n").split("\n")
        old = "".join(f"{line[1:]}\n" for line in lines if line[0] in " -")
        new = "".join(f"{line[1:]}\n" for line in lines if line[0] in " +")
        edits.append((file, old, new))
    return Bug(name, tuple(edits))


def apply(bug: Bug, package: Path) -> None:
    """Break the copy in `package`."""
    for name, old, new in bug.edits:
        file = package / name
        text = file.read_text()
        found = [match.start() for match in re.finditer(f"^{re.escape(old)}", text, re.M)]
        if len(found) != 1:
            raise DoesNotApply(f"bugs/{bug.name}.patch does not apply to {name}, which has {len(found)} times:\n{old}")
        file.write_text(text[: found[0]] + new + text[found[0] + len(old) :])


def order(seeds: range) -> list[int]:
    """By turns one that has a situation and one that has none."""
    staged, drawn = ([seed for seed in seeds if (situated(seed) is None) is none] for none in (False, True))
    return [seed for pair in zip_longest(staged, drawn) for seed in pair if seed is not None]


def hunt(bug: Bug, seeds: range) -> Caught:
    """The first of `seeds`, in their order, that a broken copy does not survive."""
    left = order(seeds)
    with tempfile.TemporaryDirectory(prefix="sabotage-") as place:
        copy = Path(place) / "vipguard"
        shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
        apply(bug, copy)
        while left:
            seed, what = _run(Path(place), left)
            if seed is None:
                break
            if _run(PACKAGE.parent, [seed])[0] is None:
                return Caught(bug, seed, what)
            left = left[left.index(seed) + 1 :]
    return Caught(bug, None, "")


def _run(root: Path, seeds: list[int]) -> tuple[int | None, str]:
    argv = [sys.executable, "-P", "-m", "sim.hunting", *map(str, seeds)]
    env = {**os.environ, "PYTHONPATH": f"{root}:{TESTS}", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=True, cwd=root, timeout=3600)
    found = json.loads(done.stdout)
    return found["seed"], found["what"]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="sim.sabotage", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("names", nargs="*", help="only these")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--write", type=Path, help="the page that gets the table")
    args = parser.parse_args(argv)
    chosen = [bug for bug in bugs() if not args.names or bug.name in args.names]
    found = []
    with ThreadPoolExecutor(args.jobs) as pool:
        for caught in pool.map(lambda bug: hunt(bug, range(args.seeds)), chosen):
            found.append(caught)
            told = f"seed {caught.seed}: {caught.what}" if caught.seed is not None else "NOT CAUGHT"
            print(f"{caught.bug.name:<42} {told}", flush=True)
    print(summary(found, args.seeds))
    if args.write is not None:
        write(args.write, table(found, args.seeds), BEGIN, END)
    return 1 if any(caught.seed is None for caught in found) else 0


def summary(found: list[Caught], seeds: int) -> str:
    count = sum(caught.seed is not None for caught in found)
    return f"{count} of {len(found)} deliberate bugs are caught within {seeds} seeds"


def _law(what: str) -> str:
    """Without the nodes' names."""
    law = what.split(":", maxsplit=1)[0]
    return law if law.startswith(("law ", "lossless")) else f"no end: {law}"


def table(found: list[Caught], seeds: int) -> str:
    """As Markdown: by which seed, and by which law."""
    rows = []
    for caught in found:
        law = "**not caught**" if caught.seed is None else _law(caught.what)
        rows.append(f"| {caught.bug.name} | {'' if caught.seed is None else caught.seed} | {law} |")
    return "\n".join([f"{summary(found, seeds)}.", "", "| bug | seed | what broke |", "|---|---:|---|", *rows, ""])


if __name__ == "__main__":
    sys.exit(main())
