"""`vipguard standdown`: close this node's server and keep it closed until its end is said, whoever can be reached."""

from __future__ import annotations

import os
import pwd
import sys
import time
from typing import TYPE_CHECKING, Any

import click

from .app import App, pass_app

if TYPE_CHECKING:
    from vipguard.model.policy import Policy

ASK_S = 2.0
POLL_S = 0.2


@click.command()
@click.option("--end", is_flag=True, help="This node may take part again; it opens only by the rules.")
@click.option("--reason", default="", help="Shown wherever it is told that this node is stood down.")
@click.option("--yes", is_flag=True, help="Do not ask, also where nobody else is seen to write.")
@click.option("--within", "within_s", type=float, default=15.0, show_default=True, help="Seconds to wait for it.")
@pass_app
def command(app: App, end: bool, reason: str, yes: bool, within_s: float) -> int:
    """Close this node's server, and keep it closed until you say --end.

    For two writers: close the one that clients do not reach. It needs no other node, no writer and no agent, and
    holds over restarts of the agent and of the host. The clients here are ended; where the VIP is here, it goes.

    \b
    For example:
      vipguard standdown --reason "two writers"
      vipguard standdown --end

    Exit codes: 0 it is closed, or --end is done; 1 it is not closed yet; 2 refused, nothing done; 3 failed.
    """
    policy = app.policy()
    return _end(policy) if end else _begin(policy, reason, yes, within_s)


def _begin(policy: Policy, reason: str, yes: bool, within_s: float) -> int:
    from vipguard.agent.once import wake_or_reconcile
    from vipguard.model.standdown import REASON_MAX, StoodDown
    from vipguard.state import standdown

    reason = " ".join(reason.split())
    if len(reason) > REASON_MAX or not reason.isprintable():
        raise click.UsageError(f"--reason takes up to {REASON_MAX} printable characters.")
    seen = _look(policy)
    others = [node["node"] for node in seen["nodes"][1:] if node["writable"]]
    if seen["nodes"][0]["writable"] is not False and not others and not yes:
        click.echo(f"no other node is seen to write from {policy.node}: clients may have no writer then")
        if not sys.stdin.isatty():
            click.echo("vipguard: nothing was done: `vipguard switchover` moves the writer, --yes closes it", err=True)
            return 2
        if not click.confirm(f"Close {policy.node} all the same?"):
            return 2
    before = standdown.look(policy.paths.stood_down)
    if before is None or not before.readable or before.by_hand or reason:
        standdown.put(policy.paths.stood_down, StoodDown(int(time.time()), _who(), reason))
    answer = wake_or_reconcile(policy, within_s)
    if answer is None:
        click.echo("no agent answers here: this command closes the server, and the next agent keeps it closed")
    return _told(policy, within_s)


def _told(policy: Policy, within_s: float) -> int:
    """Wait until the server is seen closed, by a look of this command's own, and say what there is now."""
    until_s = time.monotonic() + within_s
    while True:
        server = _server(policy)
        if server == "absent":
            click.echo(f"the server of {policy.node} is not running: it stays out when it starts, {_until()}")
            return 0
        if server == "closed":
            break
        if time.monotonic() > until_s:
            kept = f"the word is kept, and the agent goes on with it, {_until()}"
            click.echo(f"vipguard: the server of {policy.node} is not closed yet ({server}): {kept}", err=True)
            return 1
        time.sleep(POLL_S)
    click.echo(f"{policy.node} is closed and stays so over restarts of agent and host, {_until()}")
    writers = [node["node"] for node in _look(policy)["nodes"][1:] if node["writable"]]
    click.echo(f"{', '.join(writers)} writes" if writers else "no other node is seen to write from here")
    return 0


def _until() -> str:
    return "until `vipguard standdown --end` here"


def _end(policy: Policy) -> int:
    from vipguard.client import ask
    from vipguard.errors import Absent, Silent
    from vipguard.state import standdown

    word = standdown.look(policy.paths.stood_down)
    standdown.remove(policy.paths.stood_down)
    try:
        ask(policy.paths.agent_socket, "stand-up", ASK_S)
        told = "its agent takes part again, and opens the server only by the rules"
    except (Absent, Silent) as silent:
        told = f"{silent}: the next agent takes part again"
    click.echo(f"{policy.node} was not stood down" if word is None else f"{policy.node} is not stood down: {told}")
    return 0


def _who() -> str:
    """Whoever became root for this."""
    name = os.environ.get("SUDO_USER", "")
    if not name.isprintable() or not name:
        try:
            name = pwd.getpwuid(os.getuid()).pw_name
        except KeyError:
            name = str(os.getuid())
    return name[:32]


def _look(policy: Policy) -> dict[str, Any]:
    """The agent's status; where none answers, one look at all servers in the same shape."""
    from vipguard import __version__, client
    from vipguard.agent.glance import Wanted, glance
    from vipguard.agent.report import snapshot
    from vipguard.errors import VipguardError

    try:
        return client.status(policy.paths.agent_socket, ASK_S)
    except VipguardError:
        seen = glance(policy, Wanted(peers=True), policy.limits.deadline_s, policy.limits.deadline_s)
        return snapshot(seen.world, seen.now_s, __version__, [])


def _server(policy: Policy) -> str:
    """Of this node's server, seen just now: closed, open, absent, or why it cannot be told."""
    from vipguard.model.evidence import Answer
    from vipguard.probe.server import ServerProbe
    from vipguard.session import Connector, boottime_s

    probe = ServerProbe(Connector.local(policy.mysql), policy)
    try:
        seen = probe.look(policy.limits.deadline_s, boottime_s, channels=False)
    finally:
        probe.close()
    if seen.facts is not None:
        return "closed" if seen.facts.closed else "open"
    return "absent" if seen.answer is Answer.ABSENT else f"{seen.answer.value}: {seen.reason}"
