"""`vipguard maintenance`: which nodes are out of the election by the operator's word, and until when?"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from vipguard.render.status_text import maintenance_line

from .app import App, pass_app

if TYPE_CHECKING:
    from vipguard.model.maintenance import Maintenance
    from vipguard.model.policy import Node, Policy

ASK_S = 2.0
HEARD_S = 5.0
LIFTED_S = 15.0
POLL_S = 0.2
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Duration(click.ParamType):
    """`90s`, `30m`, `2h`, `1d`, or several together: `1h30m`. Its value is in seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        parts = re.findall(r"(\d+)([smhd])", str(value))
        seconds = sum(int(number) * _UNITS[unit] for number, unit in parts)
        if not seconds or "".join(map("".join, parts)) != str(value):
            self.fail(f"{value!r} is no duration: write 90s, 30m, 2h or 1d", param, ctx)
        return seconds


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@pass_app
@click.pass_context
def command(ctx: click.Context, app: App, as_json: bool) -> int | None:
    """Take a node out of the election, or pause the whole cluster. Without ON or OFF: say who is.

    A node in maintenance does not take the VIP. A paused cluster leaves the VIP where it is, and nothing is promoted by
    itself. The word is written on the writer, reaches every node by replication, and survives reboots.

    \b
    For example:
      vipguard maintenance on --for 2h --reason "new disk"
      vipguard maintenance on --node db2
      vipguard maintenance on --cluster --reason "switch upgrade"
      vipguard maintenance off --node db2

    Exit codes: 0 done, 2 refused, 3 it could not be done.
    """
    if ctx.invoked_subcommand is not None:
        return None
    rows = _rows(app.policy())
    if as_json:
        click.echo(json.dumps([asdict(row) for row in rows], indent=2))
    else:
        click.echo("\n".join(_line(row) for row in rows) or "no node is in maintenance, and the cluster is not paused")
    return 0


_node_option = click.option("--node", "name", help="Which node; this one by default.")
_cluster_option = click.option("--cluster", is_flag=True, help="The whole cluster.")


@command.command("on")
@_node_option
@_cluster_option
@click.option("--for", "for_s", type=Duration(), help="When it ends by itself: 90s, 30m, 2h, 1d; never by default.")
@click.option("--reason", default="", help="Shown wherever the maintenance is.")
@click.option("--switchover", is_flag=True, help="If it is the writer, move that away first, unasked.")
@pass_app
def on(app: App, name: str | None, cluster: bool, for_s: int | None, reason: str, switchover: bool) -> int:
    """Begin it; where it has begun, give it a new end and reason.

    The writer must be moved away first. On a terminal you are asked; --switchover does it unasked. Where the move
    fails, no maintenance begins.

    \b
    For example:
      vipguard maintenance on --for 2h --reason "new disk"
      vipguard maintenance on --switchover --reason "new kernel"

    Exit codes: 0 done, 1 the writer went back while it was moved away, 2 refused, 3 it could not be done.
    """
    from vipguard.act import maintenance as act
    from vipguard.model.maintenance import REASON_MAX, Maintenance
    from vipguard.session import Deadline

    policy = app.policy()
    target = _target(policy, name, cluster)
    reason = " ".join(reason.split())
    if len(reason) > REASON_MAX or not reason.isprintable():
        raise click.UsageError(f"--reason takes up to {REASON_MAX} printable characters.")
    writer = _writer(policy)
    if target == writer.name:
        code = _move_away(policy, target, switchover)
        if code:
            return code
        writer = _writer(policy)
    now = int(time.time())
    row = Maintenance(target, now, now + for_s if for_s else None, reason)
    act.begin(policy, writer, row, Deadline(ASK_S))
    _wait_heard(policy, target, lambda rows: row in rows)
    click.echo(_line(row))
    return 0


def _move_away(policy: Policy, target: str, unasked: bool) -> int:
    """Move the writer to another node, if the operator wants that: 0, or the exit code where nothing may begin."""
    from .moving import move_writer

    if not unasked and not sys.stdin.isatty():
        told = "`vipguard switchover` moves it away first, or --switchover here; nothing was done"
        click.echo(f"vipguard: {target} is the writer: {told}", err=True)
        return 2
    if not unasked and not click.confirm(f"{target} is the writer. Move it to another node first?"):
        click.echo(f"vipguard: {target} stays the writer: nothing was done", err=True)
        return 2
    moved = move_writer(policy, None)
    if moved.code:
        click.echo(f"vipguard: {target} was not moved away ({moved.rule}), so it is not in maintenance", err=True)
    return moved.code


@command.command("off")
@_node_option
@_cluster_option
@pass_app
def off(app: App, name: str | None, cluster: bool) -> int:
    """End it. On the node itself it also ends what flap damping keeps it out for.

    Without a writer to write it down on, this node's agent goes on at once: run it on the node that is to open.

    \b
    For example:
      vipguard maintenance off --node db2

    Exit codes: 0 done, 2 refused, 3 it could not be done.
    """
    from vipguard.act import maintenance as act
    from vipguard.client import ask
    from vipguard.errors import Absent
    from vipguard.session import Deadline

    policy = app.policy()
    target = _target(policy, name, cluster)
    if target == policy.node:
        try:
            ask(policy.paths.agent_socket, "undamp", ASK_S)
        except Absent:
            click.echo("no agent runs here, so nothing is damped", err=True)
    act.end(policy, _writer_after_lifting(policy, target), target, Deadline(ASK_S))
    _wait_heard(policy, target, lambda rows: all(row.node != target for row in rows))
    click.echo("the cluster is not paused" if cluster else f"{target} is not in maintenance")
    return 0


def _target(policy: Policy, name: str | None, cluster: bool) -> str:
    from vipguard.model.maintenance import CLUSTER

    if cluster and name:
        raise click.UsageError("Name a node or --cluster, not both.")
    names = [node.name for node in policy.nodes]
    if name is not None and name not in names:
        raise click.UsageError(f"There is no node {name!r}; the nodes are {', '.join(names)}.")
    return CLUSTER if cluster else name or policy.node


def _line(row: Maintenance) -> str:
    return maintenance_line(asdict(row))


def _writer(policy: Policy) -> Node:
    """Raises CouldNotDo (refused) unless there is just one."""
    from vipguard.agent.glance import servers
    from vipguard.checks import move
    from vipguard.errors import CouldNotDo

    found = move.writers(servers(policy, ASK_S))
    if len(found) == 1:
        return next(node for node in policy.nodes if node.name == found[0])
    told = f"there are {len(found)} writers" if found else "there is no writer to write it down on"
    raise CouldNotDo(f"{told}: nothing was done; to keep a node out all the same, stop its keepalived", refused=True)


def _writer_after_lifting(policy: Policy, target: str) -> Node:
    """Who writes, once this node's agent disregards the word that keeps it from opening. Raises CouldNotDo."""
    from vipguard.client import ask
    from vipguard.errors import CouldNotDo
    from vipguard.model.maintenance import CLUSTER

    try:
        return _writer(policy)
    except CouldNotDo as nobody:
        if target not in (policy.node, CLUSTER):
            raise CouldNotDo(f"{nobody}; run it on {target}", refused=True) from nobody
    ask(policy.paths.agent_socket, "lift", ASK_S)
    until_s = time.monotonic() + LIFTED_S
    while True:
        try:
            return _writer(policy)
        except CouldNotDo as nobody:
            if time.monotonic() > until_s:
                raise CouldNotDo(
                    f"the agent of {policy.node} goes on, but within {LIFTED_S:g} s nobody opened: run it on the node"
                    " that is to open, and again once there is a writer"
                ) from nobody
        time.sleep(POLL_S)


def _rows(policy: Policy) -> tuple[Maintenance, ...]:
    """By the writer, if it answers; else by this node's server. Raises CouldNotLook when neither does."""
    from vipguard.agent.glance import servers
    from vipguard.errors import CouldNotLook
    from vipguard.model.sight import is_writer

    sight = servers(policy, ASK_S)
    writers = [peer.evidence for peer in sight.writers]
    seen = sight.server if is_writer(sight.server) or not writers else writers[0]
    if seen is None or seen.facts is None:
        raise CouldNotLook("neither a writer nor this node's server answers, so it is not known who is in maintenance")
    return seen.facts.maintenance


def _wait_heard(policy: Policy, target: str, heard: Callable[[tuple[Maintenance, ...]], bool]) -> None:
    """Wait until the nodes that it concerns have heard of it, and name those that have not."""
    from vipguard.agent.glance import servers
    from vipguard.model.maintenance import CLUSTER

    until_s = time.monotonic() + HEARD_S
    while True:
        sight = servers(policy, ASK_S)
        others = {**sight.peers, **sight.replicas}
        seen = {policy.node: sight.server, **{name: peer.evidence for name, peer in others.items()}}
        concerned = seen if target == CLUSTER else {target: seen[target]}
        deaf = [n for n, e in concerned.items() if e is None or e.facts is None or not heard(e.facts.maintenance)]
        if not deaf:
            return
        if time.monotonic() > until_s:
            break
        time.sleep(POLL_S)
    click.echo(
        f"vipguard: {', '.join(deaf)} has not heard of it yet: it comes by replication, `vipguard status` tells when",
        err=True,
    )
