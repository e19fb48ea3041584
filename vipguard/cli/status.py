"""`vipguard status`: how does the cluster stand, at a glance?

The agent tells; where it is silent, one look at the local server and at the peers by SQL stands in, and says so.
`watching.py` shows it again and again.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from vipguard.cli import reading
from vipguard.cli.app import App, pass_app
from vipguard.errors import CouldNotLook, VipguardError
from vipguard.render.status_text import HEADINGS, head, judge, rows, tail

if TYPE_CHECKING:
    from vipguard.model.policy import Policy

AGENT_S = 1.0


@click.command(name="status")
@click.option("--json", "as_json", is_flag=True, help="Print what the agent tells, as JSON.")
@click.option("--watch", is_flag=True, help="Until Ctrl-C: a live screen; in a pipe a block of text each time.")
@click.option(
    "--interval", "interval_s", type=click.FloatRange(min=0.1), default=1.0, show_default=True, metavar="S",
    help="With --watch: seconds between two looks.",
)  # fmt: skip
@pass_app
def command(app: App, as_json: bool, watch: bool, interval_s: float) -> int:
    """Show the cluster at a glance: who has the VIP, who writes, who could take over.

    Asks this node's agent; where it is silent, looks at the servers once and says so.

    \b
    For example:
      vipguard status
      vipguard status --watch --interval 0.5
      vipguard status --json | jq .writers

    Exit codes: 0 one writer, 2 wrong usage or configuration, 3 no writer or failed, 4 two writers or more, 5 one writer
    while this node's agent is silent. With --watch: 0 when ended by Ctrl-C.
    """
    if watch:
        from .watching import watching

        return watching(app, interval_s, as_json)
    status = ask(app)
    if as_json:
        click.echo(json.dumps(status, indent=2))
    elif sys.stdout.isatty():
        from .status_screen import show

        show(status)
    else:
        click.echo(plain(status))
    code, complaint = judge(status)
    if complaint:
        click.echo(f"vipguard: {complaint}", err=True)
    return code


def ask(app: App) -> dict[str, Any]:
    """The agent's status, or that of one look in the same shape, with `agent` "silent" and `agent_reason` why."""
    from vipguard import client

    policy = app.policy(secrets=False)
    try:
        status = client.status(policy.paths.agent_socket, AGENT_S)
        missing = sorted({"agent", "nodes", "writers", "witnesses", "story"} - status.keys())
        if missing:
            raise CouldNotLook(f"the agent's status lacks {', '.join(missing)}")
        return status
    except VipguardError as silent:
        return _one_look(app.policy(), str(silent))


def _one_look(policy: Policy, reason: str) -> dict[str, Any]:
    from dataclasses import replace

    from vipguard import __version__
    from vipguard.agent.glance import Wanted, glance, standing
    from vipguard.agent.report import snapshot
    from vipguard.checks import writer
    from vipguard.model.sight import is_writer

    wanted = Wanted(peers=True, disk=True, pings_s=policy.limits.lease_s)
    seen = glance(policy, wanted, policy.limits.deadline_s, policy.limits.deadline_s)
    world = replace(seen.world, verdict=writer.judge(seen.sight, standing(seen.sight)), track=_track(policy))
    status = snapshot(world, seen.now_s, __version__, [])
    status.update(agent="silent", agent_reason=reason, phase=None)
    reading.look(policy, status["readers"])
    own = status["nodes"][0]
    own["writer"] = is_writer(world.server)
    if world.server is not None and own["writable"]:
        own["lag_s"] = None
    return status


def _track(policy: Policy) -> str | None:
    """What the agent wrote last."""
    try:
        with open(policy.paths.track_file, encoding="ascii", errors="replace") as file:
            return file.read(16).strip()
    except OSError:
        return None


# -- how it is printed


def plain(status: Mapping[str, Any]) -> str:
    """Aligned columns, neither cut nor wrapped: for pipes, mails and tickets."""
    table: list[Sequence[str]] = [HEADINGS, *([text for text, _ in row] for row in rows(status))]
    widths = [max(len(row[column]) for row in table) for column in range(len(HEADINGS))]
    lines = [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    ]
    return "\n".join((*head(status), "", *lines, "", *tail(status)))
