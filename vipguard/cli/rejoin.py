"""`vipguard rejoin`: this node went apart; the operator says what becomes of the transactions that only it has.

Exit codes: 0 nothing to decide, or done; 1 something to decide, or done and not joined yet; 2 refused; 3 failed.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from .app import App, pass_app

if TYPE_CHECKING:
    from ..act.copy import Plan, Tell
    from ..agent.apart import Apart
    from ..model.gtid import GtidSet
    from ..model.policy import Policy

EXIT_TO_DECIDE = EXIT_NOT_YET = 1
EXIT_REFUSED = 2
HOLD_S = 5.0  # for the agent to hold this node apart
JOIN_S = 60.0
POLL_S = 0.2


@click.command()
@click.option("--accept", is_flag=True, help="Apply on the writer what only this node has.")
@click.option("--discard", is_flag=True, help="Give this node's data up: make it a fresh copy of the writer.")
@click.option("--yes", is_flag=True, help="Do not ask; what will be done is printed all the same.")
@click.option("--json", "as_json", is_flag=True, help="Print what was seen as JSON (without the other options).")
@pass_app
def command(app: App, accept: bool, discard: bool, yes: bool, as_json: bool) -> int:
    """Show what this node has and the writer lacks, and decide about it.

    Run it on the node that stays apart. Without --accept or --discard it only looks.

    Exit codes: 0 nothing to decide, or done; 1 something to decide, or done but not joined yet; 2 refused; 3 failed.
    """
    from ..agent.apart import look

    if accept and discard:
        raise click.UsageError("--accept and --discard are two answers to one question: give one of them.")
    policy = app.policy()
    seen = look(policy)
    if discard:
        return _discard(policy, seen, yes)
    if accept:
        return _accept(policy, seen, yes)
    if as_json:
        click.echo(json.dumps(_as_json(seen), indent=2))
    else:
        for line in shown(seen):
            click.echo(line)
    return EXIT_TO_DECIDE if seen.to_decide else 0


# -- what was seen


def _as_json(seen: Apart) -> dict[str, Any]:
    from ..agent.apart import why_not_discard

    lacking = seen.lacking
    return {
        "node": seen.policy.node,
        "writer": seen.writer.name if seen.writer else None,
        "gtid": str(seen.home.gtid) if seen.home else None,
        "lacking": None if lacking is None else str(lacking),
        "transactions": None if lacking is None else lacking.count(),
        "copy_unfinished": None if seen.unfinished is None else seen.unfinished.since,
        "to_decide": seen.to_decide,
        "discard_refused": why_not_discard(seen),
    }


def shown(seen: Apart) -> Iterator[str]:
    """What was seen, a line each, and what may be done about it."""
    node, writer = seen.policy.node, seen.writer.name if seen.writer else "the writer"
    if seen.unfinished is not None or seen.unfinished_reason:
        since = seen.unfinished.since if seen.unfinished else seen.unfinished_reason
        yield f"{node} is no whole copy: one was begun ({since}) and not finished"
        yield "vipguard rejoin --discard   makes it again"
        return
    if seen.home is None:
        yield f"{node}: its server cannot be asked: {seen.home_reason}"
        return
    if seen.lacking is None:
        from ..agent.apart import why_not_discard

        yield f"{node} has {seen.home.gtid}; with whom to compare it is not seen: {why_not_discard(seen)}"
        return
    if seen.lacking.is_empty:
        yield f"{node} has nothing that {writer} lacks: there is nothing to decide, its agent lets it join by itself"
        return
    yield f"{node} has {_count(seen.lacking)} that {writer} lacks: {seen.lacking}"
    yield f"  to look at them: {_look_command(seen, seen.lacking)}"
    yield "vipguard rejoin --accept    applies them on the writer, whole or not at all, if nothing there contradicts"
    yield "vipguard rejoin --discard   gives them up: this node becomes a fresh copy of the writer"


def _count(lacking: GtidSet) -> str:
    number = lacking.count()
    return "1 transaction" if number == 1 else f"{number} transactions"


def _look_command(seen: Apart, lacking: GtidSet) -> str:
    """The command line that prints these transactions' rows."""
    home = seen.home
    assert home is not None
    files = f"{home.binlog or home.datadir + 'binlog'}.[0-9]*"
    if home.flavor == "mysql":
        return f"mysqlbinlog --base64-output=DECODE-ROWS -vv --include-gtids='{lacking}' {files}"
    ends = [(source[0], server, spans) for source, server, spans in lacking.parts]
    start = ",".join(f"{domain}-{server}-{spans[0][0] - 1}" for domain, server, spans in ends)
    stop = ",".join(f"{domain}-{server}-{spans[-1][1]}" for domain, server, spans in ends)
    return (
        f"mariadb-binlog --base64-output=DECODE-ROWS -vv --start-position={start} --stop-position={stop} {files}"
    )


# -- a fresh copy


def _discard(policy: Policy, seen: Apart, yes: bool) -> int:
    from ..act import copy
    from ..agent import apart
    from ..state import mark

    refused = apart.why_not_discard(seen)
    if refused is not None:
        click.echo(f"vipguard: no fresh copy is made: {refused}", err=True)
        return EXIT_REFUSED
    plan = _plan(policy, seen)
    copy.check(plan)
    for line in _what_it_costs(seen, plan):
        click.echo(line)
    if not yes and not click.confirm(f"Make {policy.node} a fresh copy of {plan.writer.name} now?"):
        return EXIT_REFUSED
    mark.put(policy.paths.copy_mark, _mark(plan))
    _hold_apart(policy, seen)
    began_s = time.monotonic()
    try:
        with _telling() as tell:
            have = copy.make(plan, tell)
    except BaseException:
        click.echo(
            f"vipguard: the copy is not whole; {policy.node} stays apart until `vipguard rejoin --discard` is through",
            err=True,
        )
        raise
    mark.remove(policy.paths.copy_mark)
    click.echo(f"{policy.node} is a copy of {plan.writer.name} ({time.monotonic() - began_s:.1f} s): {have}")
    return _wait_joined(policy, seen)


def _plan(policy: Policy, seen: Apart) -> Plan:
    from ..act.copy import Plan
    from ..agent.apart import follows
    from ..session import Deadline

    assert seen.home is not None and seen.writer is not None and policy.replication is not None
    deadline = Deadline(policy.copy.within_s)
    home = seen.home
    return Plan(
        policy, policy.replication, home.flavor, seen.writer, follows(seen), home.datadir, deadline
    )


def _mark(plan: Plan) -> Any:
    from datetime import datetime

    from ..model.evidence import ProcessId
    from ..session.process import stat_fields
    from ..state.mark import Mark

    fields = stat_fields(os.getpid())
    assert fields is not None
    since = datetime.now().astimezone().isoformat(timespec="seconds")
    return Mark(since, plan.writer.name, plan.follows, ProcessId(os.getpid(), int(fields[19])))


def _what_it_costs(seen: Apart, plan: Plan) -> Iterator[str]:
    from ..agent.apart import databases

    names = databases(seen)
    listed = f" ({', '.join(names[:8])}{', …' if len(names) > 8 else ''})" if names else ""
    yield f"All data of the server on {seen.policy.node}{listed} will be destroyed and copied from {plan.writer.name}."
    if seen.lacking is None or seen.lacking.is_empty:
        yield f"Nothing that is here is missing on {plan.writer.name}."
    else:
        yield f"Lost for good: {_count(seen.lacking)} that {plan.writer.name} lacks: {seen.lacking}"
        for name, peer in seen.sight.peers.items():
            theirs = peer.evidence.facts.gtid if peer.evidence and peer.evidence.facts else None
            if name != plan.writer.name and theirs is not None and theirs.contains(seen.lacking):
                yield f"{name} has them too: discard them there as well, before it joins"
    yield "Until the copy is whole, and caught up, this node cannot take over."


def _hold_apart(policy: Policy, seen: Apart) -> None:
    """Nothing is destroyed before the agent has seen the mark, and rests without the VIP."""
    from ..client import status
    from ..errors import CouldNotDo
    from ..state import mark

    if seen.agent is None:
        return
    until_s = time.monotonic() + HOLD_S
    while True:
        now = status(policy.paths.agent_socket, HOLD_S)
        own = now["nodes"][0]
        if now["phase"] == "resting" and own["copying"] and own["vip"] is False and own["track_file"] != "1":
            return
        if time.monotonic() > until_s:
            mark.remove(policy.paths.copy_mark)
            raise CouldNotDo(
                f"the agent does not hold this node apart: {now['phase']}, {own['rule']}; nothing was touched",
                refused=True,
            )
        time.sleep(POLL_S)


def _wait_joined(policy: Policy, seen: Apart) -> int:
    """Until the agent has let the node join, and it may take over."""
    from ..client import status

    if seen.agent is None:
        click.echo("no agent runs here: it will let this node join when it is started")
        return EXIT_NOT_YET
    until_s = time.monotonic() + JOIN_S
    own: dict[str, Any] = {}
    while time.monotonic() < until_s:
        own = status(policy.paths.agent_socket, HOLD_S)["nodes"][0]
        if own["eligibility"] == "eligible":
            click.echo(f"{policy.node} has joined and can take over")
            return 0
        time.sleep(POLL_S)
    click.echo(f"vipguard: {policy.node} cannot take over yet: {own['rule']}: {own['text']}", err=True)
    return EXIT_NOT_YET


@contextmanager
def _telling() -> Iterator[Tell]:
    if not sys.stdout.isatty():
        yield _Lines()
        return
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn()) as bar:
        yield _Bar(bar)


class _Bar:
    """On a terminal."""

    def __init__(self, bar: Any) -> None:
        self._bar = bar
        self._task: Any = None

    def step(self, text: str) -> None:
        if self._task is not None:
            task = self._bar.tasks[self._task]
            self._bar.update(self._task, total=task.completed or 1, completed=task.completed or 1)
        self._task = self._bar.add_task(text, total=None)

    def progress(self, done: int, total: int) -> None:
        if self._task is not None:
            self._bar.update(self._task, completed=done, total=total)

    def warn(self, text: str) -> None:
        self._bar.console.print(f"vipguard: {text}", style="yellow", highlight=False)


class _Lines:
    """In a pipe: a line for each step, and for each tenth of it."""

    def __init__(self) -> None:
        self._tenth = 0

    def step(self, text: str) -> None:
        self._tenth = 0
        click.echo(text)

    def progress(self, done: int, total: int) -> None:
        tenth = 10 * done // total if total else 0
        if tenth > self._tenth:
            self._tenth = tenth
            click.echo(f"  {done / 1e6:.1f} MB of about {total / 1e6:.1f}")

    def warn(self, text: str) -> None:
        click.echo(f"vipguard: {text}", err=True)


# -- accepting


def _accept(policy: Policy, seen: Apart, yes: bool) -> int:
    click.echo("vipguard: this version cannot accept transactions by itself: apply them by hand, or discard them", err=True)
    return EXIT_REFUSED
