"""`vipguard solo`: the operator says that every other node is out for sure."""

from __future__ import annotations

import click

from .app import App, pass_app

ASK_S = 2.0


@click.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
@pass_app
def command(app: App, yes: bool) -> int:
    """Say that no other node can have written: all are shut down, fenced or disconnected for good.

    This node, being the writer, may then open again by itself after a reboot with nobody else there. It ends by
    itself when another node is back. Saying it of a node that does write elsewhere makes two histories.

    \b
    For example:
      vipguard solo
      vipguard solo --yes

    Exit codes: 0 it is solo, 2 refused and nothing was done, 3 the agent could not be asked.
    """
    from ..client import ask, status

    policy = app.policy()
    seen = status(policy.paths.agent_socket, ASK_S)
    if not seen["nodes"][0]["writer"]:
        click.echo(f"vipguard: {policy.node} is not the writer, and solo is the writer's: nothing was done", err=True)
        return 2
    there = [node["node"] for node in seen["nodes"][1:] if node["server"] == "answered"]
    if there:
        click.echo(f"vipguard: {', '.join(there)} answers, so this node is not alone: nothing was done", err=True)
        return 2
    if not yes and not click.confirm("Is every other node out for sure?"):
        return 2
    ask(policy.paths.agent_socket, "solo", ASK_S)
    click.echo(f"{policy.node} is solo")
    return 0
