"""`vipguard rejoin`: this node went apart; the operator says what becomes of the transactions that only it has.

Exit codes: 0 nothing to decide, or done; 1 something to decide, or done and not joined yet; 2 refused; 3 failed.
"""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any

import click

from .app import App, pass_app

if TYPE_CHECKING:
    from ..act.copy import Plan
    from ..agent.apart import Apart
    from ..model.policy import Mysql, Policy

EXIT_TO_DECIDE = EXIT_NOT_YET = 1
EXIT_REFUSED = 2
EXIT_NOT_SEEN = 3
HOLD_S = 5.0  # for the agent to hold this node apart
JOIN_S = 60.0
POLL_S = 0.2
ACCEPT_S = 120.0


@click.command()
@click.option("--accept", is_flag=True, help="Apply on the writer what only this node has.")
@click.option("--discard", is_flag=True, help="Give this node's data up: make it a fresh copy of the writer.")
@click.option("--yes", is_flag=True, help="Do not ask; what will be done is printed all the same.")
@click.option("--as", "user", metavar="USER", help="With --accept: as whom, on the writer (see docs/rejoin.md).")
@click.option("--password-file", metavar="FILE", help="With --as: its password; asked for otherwise.")
@click.option("--json", "as_json", is_flag=True, help="Print what was seen as JSON (without the other options).")
@pass_app
def command(
    app: App, accept: bool, discard: bool, yes: bool, user: str | None, password_file: str | None, as_json: bool
) -> int:
    """Show what this node has and the writer lacks, and decide about it.

    Run it on the node that stays apart. Without --accept or --discard it only looks.

    \b
    For example:
      vipguard rejoin
      vipguard rejoin --accept
      vipguard rejoin --discard --yes

    Exit codes: 0 nothing to decide, or done; 1 something to decide, or done but not joined yet; 2 refused; 3 failed.
    """
    from ..agent.apart import look
    from .rejoin_text import shown

    if accept and discard:
        raise click.UsageError("--accept and --discard are two answers to one question: give one of them.")
    policy = app.policy()
    seen = look(policy)
    if discard:
        return _discard(policy, seen, yes)
    if accept:
        return _accept(policy, seen, yes, _account(policy, user, password_file))
    if as_json:
        click.echo(json.dumps(_as_json(seen), indent=2))
    else:
        for line in shown(seen):
            click.echo(line)
    if seen.home is None:
        return EXIT_NOT_SEEN
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


# -- a fresh copy


def _discard(policy: Policy, seen: Apart, yes: bool) -> int:
    from ..act import copy
    from ..agent import apart
    from .rejoin_text import what_it_costs

    refused = apart.why_not_discard(seen)
    if refused is not None:
        click.echo(f"vipguard: no fresh copy is made: {refused}", err=True)
        return EXIT_REFUSED
    plan = _plan(policy, seen)
    copy.check(plan)
    for line in what_it_costs(seen, plan):
        click.echo(line)
    if not yes and not click.confirm(f"Make {policy.node} a fresh copy of {plan.writer.name} now?"):
        return EXIT_REFUSED
    return _copy(policy, seen, plan)


def _copy(policy: Policy, seen: Apart, plan: Plan) -> int:
    from ..act import copy
    from ..state import mark
    from .telling import telling

    mark.put(policy.paths.copy_mark, _mark(plan), over=plan.again)
    _hold_apart(policy, seen, plan)
    began_s = time.monotonic()
    try:
        with telling() as tell:
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
    again = seen.unfinished is not None or bool(seen.unfinished_reason)
    began_at = seen.unfinished.began_at if seen.unfinished is not None else time.time()
    return Plan(
        policy=policy,
        replication=policy.replication,
        flavor=home.flavor,
        writer=seen.writer,
        follows=follows(seen),
        datadir=home.datadir,
        deadline=deadline,
        began_at=began_at,
        again=again,
    )


def _mark(plan: Plan) -> Any:
    from datetime import datetime

    from ..model.evidence import ProcessId
    from ..session.process import stat_fields
    from ..state.mark import Mark

    fields = stat_fields(os.getpid())
    assert fields is not None
    since = datetime.now().astimezone().isoformat(timespec="seconds")
    return Mark(since, plan.writer.name, plan.follows, ProcessId(os.getpid(), int(fields[19])), plan.began_at)


def _hold_apart(policy: Policy, seen: Apart, plan: Plan) -> None:
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
            if not plan.again:
                mark.remove(policy.paths.copy_mark)  # else the data are half already
            raise CouldNotDo(
                f"the agent does not hold this node apart: {now['phase']}, {own['rule']}; nothing was touched",
                refused=True,
            )
        time.sleep(POLL_S)


def _wait_joined(policy: Policy, seen: Apart) -> int:
    """Until the agent has let the node join, and it may take over, or is a replica that is well."""
    from ..client import status
    from ..errors import VipguardError

    if seen.agent is None:
        click.echo("no agent runs here: it will let this node join when it is started")
        return EXIT_NOT_YET
    until_s, last = time.monotonic() + JOIN_S, ""
    while time.monotonic() < until_s:
        try:
            own = status(policy.paths.agent_socket, HOLD_S)["nodes"][0]
        except VipguardError as silent:
            last = str(silent)
        else:
            if own["eligibility"] == "eligible":
                click.echo(f"{policy.node} has joined and can take over")
                return 0
            if own["rule"] == "replica":
                click.echo(f"{policy.node} has joined and follows the writer")
                return 0
            last = f"{own['rule']}: {own['text']}"
        time.sleep(POLL_S)
    click.echo(f"vipguard: {policy.node} cannot take over yet: {last}", err=True)
    return EXIT_NOT_YET


# -- accepting


def _account(policy: Policy, user: str | None, password_file: str | None) -> Mysql:
    """Who applies the transactions on the writer."""
    from dataclasses import replace

    if user is None:
        if password_file is not None:
            raise click.UsageError("--password-file is the password of --as USER: name that too.")
        return policy.mysql
    if password_file is not None:
        from ..config.host import secret
        from ..config.values import At

        password = secret(At("--password-file"), os.path.abspath(password_file))
    else:
        password = click.prompt(f"Password of {user}", hide_input=True, err=True)
    return replace(policy.mysql, user=user, password=password)


def _accept(policy: Policy, seen: Apart, yes: bool, account: Mysql) -> int:
    from ..act import accept, copy
    from ..agent import apart
    from ..session import Deadline
    from .rejoin_text import count, listed, what_it_costs

    refused = apart.why_not_accept(seen)
    if refused is not None:
        click.echo(f"vipguard: nothing is accepted: {refused}", err=True)
        return EXIT_REFUSED
    assert seen.home is not None and seen.lacking is not None and seen.writer is not None
    deadline = Deadline(ACCEPT_S)
    if lacking := accept.lacking_privileges(seen.writer, account, deadline):
        told = f"the account {account.user!r} lacks {lacking} on {seen.writer.name}"
        remedy = "name one that has them with --as USER; docs/rejoin.md has the statements that make it"
        click.echo(f"vipguard: nothing is accepted: {told}; {remedy}", err=True)
        return EXIT_REFUSED
    transactions = accept.export(policy, seen.lacking, deadline)
    click.echo(f"To be applied on {seen.writer.name}, all or none:")
    for line in listed(transactions):
        click.echo(line)
    plan: Plan | None = None
    if seen.home.flavor == "mariadb":
        refused = apart.why_not_discard(seen)
        if refused is not None:
            click.echo(f"vipguard: nothing is accepted, for no copy could follow: {refused}", err=True)
            return EXIT_REFUSED
        plan = _plan(policy, seen)
        copy.check(plan)
        click.echo("MariaDB: there they become one transaction of the writer's own, so afterwards")
        for line in what_it_costs(seen, plan, kept=True):
            click.echo(line)
    if not yes and not click.confirm(f"Apply {count(seen.lacking)} on {seen.writer.name} now?"):
        return EXIT_REFUSED
    accept.apply(policy, seen.writer, account, transactions, deadline)
    click.echo(f"applied on {seen.writer.name}")
    if plan is not None:
        return _copy(policy, seen, plan)
    return _wait_joined(policy, seen)
