"""`vipguard promote --force`: make this node the writer, whatever may be missing. The operator's last word."""

from __future__ import annotations

import time
from typing import Any

import click

from .app import App, pass_app

ASK_S = 2.0
POLL_S = 0.2


@click.command()
@click.option("--force", is_flag=True, help="Required: nothing else promotes a node past the rules.")
@click.option("--yes", is_flag=True, help="Do not ask; what may be missing is printed all the same.")
@click.option("--within", "within_s", type=float, default=30.0, show_default=True, help="Seconds to wait for it.")
@pass_app
def command(app: App, force: bool, yes: bool, within_s: float) -> int:
    """Make this node the writer although the rules do not let it.

    For when the writer is gone for good and no node may open by itself. It says what may be missing first. Other
    nodes that answer are still closed before this one opens, and a writer by right is still left alone.

    \b
    For example:
      vipguard promote               says what may be missing, and does nothing
      vipguard promote --force --within 60

    Exit codes: 0 this node is the writer, 1 it is not yet, 2 refused, 3 could not be asked.
    """
    from ..client import ask, status
    from ..render.status_text import stood_down_line

    policy = app.policy()
    if policy.me.is_replica:
        may = ", ".join(node.name for node in policy.candidates)
        click.echo(f"vipguard: {policy.node} is a replica and never becomes the writer; {may} may", err=True)
        return 2
    before = status(policy.paths.agent_socket, ASK_S)
    own = before["nodes"][0]
    if own["writer"]:
        click.echo(f"{policy.node} is the writer already")
        return 0
    if holder := next((peer["node"] for peer in before["nodes"][1:] if peer["writer"]), None):
        remedy = f"`vipguard switchover --to {policy.node}` moves it here"
        click.echo(f"vipguard: {holder} is the writer by right: {remedy}; nothing was done", err=True)
        return 2
    if own.get("stood_down"):
        click.echo(f"vipguard: {stood_down_line(own)}; nothing was done", err=True)
        return 2
    for line in missing(before):
        click.echo(line)
    if not force:
        click.echo("vipguard: nothing was done: add --force to promote this node all the same", err=True)
        return 2
    if not yes and not click.confirm(f"Make {policy.node} the writer of {policy.cluster} now?"):
        return 2
    ask(policy.paths.agent_socket, "promote", ASK_S)
    until_s = time.monotonic() + within_s
    while time.monotonic() < until_s:
        now = status(policy.paths.agent_socket, ASK_S)
        if now["nodes"][0]["writer"]:
            click.echo(f"{policy.node} is the writer, epoch {now['epoch']}")
            return 0
        time.sleep(POLL_S)
    own = status(policy.paths.agent_socket, ASK_S)["nodes"][0]
    click.echo(f"vipguard: {policy.node} is not the writer yet: {own['rule']}: {own['text']}", err=True)
    return 1


def missing(seen: dict[str, Any]) -> list[str]:
    """What this node may lack, a line each, by the agent's status."""
    own, peers = seen["nodes"][0], seen["nodes"][1:]
    lines = [f"{own['node']} has {own['gtid'] or 'a set that was not seen'} of epoch {own['epoch'] or 0}"]
    for thread in own["threads"] or []:
        if thread["io"] != "running" or not thread["sql"]:
            lines.append(
                f"its replication from {thread['source']} stands (IO {thread['io']}, SQL "
                f"{'running' if thread['sql'] else 'stopped'}): what came after is missing"
            )
    for peer in peers:
        if peer["server"] != "answered":
            lines.append(f"{peer['node']} does not answer ({peer['server']}): what only it has will be missing")
        elif (peer["epoch"] or 0) > (own["epoch"] or 0):
            lines.append(f"{peer['node']} is of epoch {peer['epoch']}, a newer one: it has what this node lacks")
        elif peer["gtid"] != own["gtid"]:
            lines.append(f"{peer['node']} has {peer['gtid']}")
    if own["diverged"]:
        lines.append(f"this node is diverged: {own['diverged']}")
    return lines
