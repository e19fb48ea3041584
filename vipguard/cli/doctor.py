"""`vipguard doctor`: what is wrong here, by what evidence, and what is to be done? It changes nothing.

Exit codes: 0 nothing found, 1 warnings only, 2 errors.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from vipguard.cli.app import App, pass_app
from vipguard.errors import ConfigError, VipguardError

if TYPE_CHECKING:
    from vipguard.doctor.diagnosis import Diagnosis
    from vipguard.doctor.survey import ServerSeen
    from vipguard.model.policy import Policy

CONF = "/etc/keepalived/keepalived.conf"
AGENT_S = 1.0
_THERE = "what its server boots with, its copy of the file, keepalived, hooks, disk and network are seen there only"
_COLORS = {"error": "red", "warning": "yellow"}


@click.command(name="doctor")
@click.option(
    "--keepalived-conf",
    metavar="FILE",
    default=CONF,
    show_default=True,
    help="keepalived's configuration on this host.",
)
@click.option(
    "--all",
    "everywhere",
    is_flag=True,
    help="Of every node what SQL tells, and what to run on the node itself.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@pass_app
def command(app: App, keepalived_conf: str, everywhere: bool, as_json: bool) -> int:
    """Find whatever would make the next failover fail, each with its evidence and what to do. Nothing is changed.

    Looks at this node and at what of the others matters to it; run it on every node, as root. Takes some seconds.

    \b
    For example:
      vipguard doctor             this node
      vipguard doctor --all       the tables and events of the other nodes too
      vipguard doctor --json      for a script; docs/doctor.md tells the rules

    Exit codes: 0 nothing found, 1 warnings, 2 errors.
    """
    from vipguard.doctor.diagnosis import exit_code

    there: list[str] = []
    examined = _examine(app, keepalived_conf, everywhere, there)
    found = sorted(examined, key=lambda diagnosis: diagnosis.severity)
    errors = sum(diagnosis.severity == "error" for diagnosis in found)
    counts = {"errors": errors, "warnings": len(found) - errors}
    if as_json:
        findings = [diagnosis.as_json() for diagnosis in found]
        told = {**counts, "config": app.config_file, "findings": findings, "run_there": there}
        click.echo(json.dumps(told, indent=2))
    else:
        _print(found, counts)
        for node in there:
            click.echo(f"on {node} itself run: vipguard doctor ({_THERE})")
    return exit_code(found)


def _examine(app: App, keepalived_conf: str, everywhere: bool, there: list[str]) -> Iterator[Diagnosis]:
    """`there` gets the names of the nodes that have to be looked at on the spot."""
    from vipguard.doctor import host, installed, network, settings

    policy, mistakes = _load(app)
    yield from (settings.refused(mistake) for mistake in mistakes)
    if policy is None:
        return
    there += [node.name for node in policy.peers] if everywhere else []
    yield from settings.judge(policy)
    guarded = list(_agent(policy))
    yield from guarded
    servers: list[ServerSeen] = []
    if policy.mysql.password:
        from vipguard.doctor import accounts, contents, copies, database, nodes, restart
        from vipguard.doctor.survey import survey

        servers = survey(policy, everywhere)
        for judge in (accounts, database, restart, contents, copies, nodes):
            yield from judge.judge(policy, servers)
    silent = any(diagnosis.rule == "agent-silent" for diagnosis in guarded)
    yield from host.judge(policy, servers, guarded=not silent)
    yield from network.judge(policy, servers)
    yield from installed.judge(policy, keepalived_conf)
    yield from installed.running(policy)


def _load(app: App) -> tuple[Policy | None, list[ConfigError]]:
    """The policy; without the passwords where only these are at fault, so that the rest can be looked at."""
    try:
        return app.policy(), []
    except ConfigError as mistake:
        try:
            return app.policy(secrets=False), [mistake]
        except ConfigError:
            return None, [mistake]


def _agent(policy: Policy) -> Iterator[Diagnosis]:
    from vipguard import client
    from vipguard.doctor.diagnosis import warning

    try:
        status = client.status(policy.paths.agent_socket, AGENT_S)
    except VipguardError as silent:
        yield warning(
            "agent", "agent-silent", str(silent), "run: systemctl start vipguard-agent; see its journal"
        )
        return
    for node in status.get("nodes", ()):
        if node["here"] and node["eligibility"] not in (None, "eligible") and node["rule"] != "replica":
            may = "may not" if node["eligibility"] == "ineligible" else "is not known to be fit to"
            text = f"this node {may} have the VIP by the rule {node['rule']}: {node['text']}"
            remedy = f"repair that; docs/rules.md says of {node['rule']} what ends it"
            if node["diverged"]:
                remedy = "run there: vipguard rejoin; it tells what they are, and what may be done with them"
            yield warning("agent", "not-eligible", text, remedy, node["node"])


def _print(found: Sequence[Diagnosis], counts: dict[str, int]) -> None:
    colored = sys.stdout.isatty()
    for diagnosis in found:
        word = diagnosis.severity.upper().ljust(7)
        place = f"{diagnosis.area} {diagnosis.node}".strip()
        seen = diagnosis.seen.replace("\n", "\n          ")
        head = click.style(word, fg=_COLORS[diagnosis.severity], bold=True) if colored else word
        click.echo(f"{head}  {place}, {diagnosis.rule}: {seen}\n          do: {diagnosis.remedy}")
    if not found:
        click.echo(
            "nothing found: configuration, agent, accounts, servers, host, network and keepalived are as they must be"
        )
        return
    said = [f"{count} {name if count != 1 else name[:-1]}" for name, count in counts.items() if count]
    click.echo(f"\n{' and '.join(said)}")
