"""`vipguard check`: one question asked once, answered as Nagios plugins do; or whether this node may hold the VIP.

Exit codes are those of the Monitoring Plugins guidelines: 0 OK, 1 warning, 2 critical, 3 unknown; a mistake in usage or
configuration is 3 too. `check writer --for-keepalived` speaks another language: 0 yes, 1 no, because keepalived
would make FAULT of a warning.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import click

from vipguard.cli.app import App, pass_app
from vipguard.cli.remembered import own_node, with_agents_memory
from vipguard.errors import CouldNotLook, VipguardError
from vipguard.model.finding import Finding, Outcome, Perf, Thresholds
from vipguard.model.ranges import Range
from vipguard.model.verdict import Eligibility

if TYPE_CHECKING:
    from vipguard.agent.glance import Glance
    from vipguard.model.policy import Policy
    from vipguard.model.sight import Sight
    from vipguard.model.verdict import Verdict

NAMES = (
    "alive",
    "replication",
    "lag",
    "read_only",
    "errant",
    "disk",
    "witness",
    "semi_sync",
    "writer",
    "reader",
)
AGENT_S = 0.2  # what the agent gets to answer
KEEPALIVED_S = 0.42  # of the half second that the wrapper gives, from the start of this process
LOOK_S_MIN = 0.05
ONE_LOOK, AGENT = "one-look", "agent"


class PluginCommand(click.Command):
    """A mistake in the arguments is UNKNOWN, in the form that Nagios shows."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        name = next((arg for arg in args if arg in NAMES), "check")
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as usage:
            from vipguard.cli import plugin

            click.echo(plugin.unknown(name, f"{usage.format_message()} {self.get_usage(ctx)}"))
            ctx.exit(Outcome.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Answer:
    """A finding, who saw what it rests on, and for `writer` the verdict's own words."""

    finding: Finding
    seen_by: str
    verdict: dict[str, Any] | None = None


@click.command(name="check", cls=PluginCommand)
@click.argument("name", metavar="NAME", type=click.Choice(NAMES))
@click.option(
    "--warning", metavar="RANGE", help="Warn outside this range, written as 10, 10:, ~:10, 10:20 or @10:20."
)
@click.option("--critical", metavar="RANGE", help="Critical outside this range.")
@click.option("--json", "as_json", is_flag=True, help="Print the finding as JSON.")
@click.option("--reader", metavar="NAME", help="With reader: this reader address alone.")
@click.option(
    "--for-keepalived",
    is_flag=True,
    help="With writer or reader: look at once, exit with 0 for yes and 1 for no.",
)
@pass_app
def command(
    app: App,
    name: str,
    warning: str | None,
    critical: str | None,
    as_json: bool,
    reader: str | None,
    for_keepalived: bool,
) -> int:
    """Ask one question of this node, as a Nagios plugin. Works with and without an agent.

    NAME is alive, replication, lag, read_only, errant, disk, witness, semi_sync, writer (may it have the VIP?) or
    reader (where are the reader addresses, and may it have them?).

    \b
    For example:
      vipguard check writer
      vipguard check lag --warning 2 --critical 10
      vipguard check replication --json

    Exit codes: 0 OK, 1 warning, 2 critical, 3 unknown, wrong usage and configuration included. With --for-keepalived:
    0 yes, 1 no, 3 unknown.
    """
    from vipguard.cli import plugin

    try:
        if reader is not None and name != "reader":
            raise click.UsageError("--reader belongs to check reader.")
        if for_keepalived:
            return _for_keepalived(app, name, reader)
        answer = _answer(app, name, _thresholds(name, warning, critical), reader)
    except (VipguardError, click.UsageError) as exc:
        why = exc.format_message() if isinstance(exc, click.UsageError) else str(exc)
        if as_json:
            click.echo(json.dumps(plugin.as_json(Finding(name, Outcome.UNKNOWN, "not-checked", why))))
        else:
            click.echo(plugin.unknown(name, why))
        return Outcome.UNKNOWN
    if as_json:
        verdict = {"verdict": answer.verdict} if answer.verdict is not None else {}
        click.echo(json.dumps({**plugin.as_json(answer.finding), **verdict, "seen_by": answer.seen_by}))
    else:
        click.echo(plugin.line(answer.finding))
    return answer.finding.outcome


def _thresholds(name: str, warning: str | None, critical: str | None) -> Thresholds:
    """Raises click.UsageError for what is no range, and where no number is judged."""
    if name in ("writer", "reader") and (warning or critical):
        raise click.UsageError(f"check {name} judges by its rules: it takes no --warning and no --critical.")
    ranges: list[Range | None] = []
    for option, text in (("--warning", warning), ("--critical", critical)):
        try:
            ranges.append(None if text is None else Range.parse(text))
        except ValueError as exc:
            raise click.UsageError(f"{option}: {exc}.") from exc
    return Thresholds(*ranges)


def _answer(app: App, name: str, thresholds: Thresholds, reader: str | None) -> Answer:
    if name == "writer":
        return _writer(app)
    if name == "reader":
        return _reader(app, reader)
    from vipguard.checks import CHECKS

    policy = app.policy()
    seen = _look(policy, name)
    finding = CHECKS[name](seen.sight, thresholds)
    known = (
        None
        if finding.outcome is Outcome.OK and name not in ("lag", "disk")  # of these one look sees only a part
        else with_agents_memory(policy, finding, seen.sight, AGENT_S)
    )
    if known is not None:
        return Answer(CHECKS[name](known, thresholds), AGENT)
    if finding.outcome is Outcome.UNKNOWN and (why := _blind(name, seen)):
        finding = replace(finding, text=f"{finding.text}: {why}")
    return Answer(finding, ONE_LOOK)


def _look(policy: Policy, name: str) -> Glance:
    from vipguard.agent.glance import Wanted, glance

    wanted = {
        "errant": Wanted(peers=True),
        "disk": Wanted(disk=True),
        "witness": Wanted(peers=True, pings_s=policy.limits.lease_s),
        "writer": Wanted(peers=True, disk=True, pings_s=policy.limits.lease_s),
    }
    deadline_s = policy.limits.deadline_s
    return glance(policy, wanted.get(name, Wanted()), deadline_s, deadline_s)


def _blind(name: str, seen: Glance) -> str:
    """Why a check saw nothing, in the words of what could not look."""
    server = seen.world.server
    if name in ("witness", "read_only"):
        return seen.blind.get("witness" if name == "witness" else "address", "")
    return server.reason if server is not None and name != "alive" else ""


def _writer(app: App) -> Answer:
    """The agent's verdict; where no agent answers, that of one look."""
    from vipguard import client

    policy = app.policy(secrets=False)
    try:
        own = own_node(client.status(policy.paths.agent_socket, AGENT_S))
    except VipguardError as silent:
        return _writer_alone(app.policy(), silent)
    if own.get("eligibility") is None:
        raise CouldNotLook("the agent has not decided yet")
    verdict = {key: own.get(key) for key in ("standing", "eligibility", "rule", "text")}
    return Answer(_verdict_finding(verdict, own.get("lag_s")), AGENT, verdict)


def _writer_alone(policy: Policy, silent: VipguardError) -> Answer:
    from vipguard.agent.glance import standing
    from vipguard.checks import lag, writer

    sight = _look(policy, "writer").sight
    found = writer.judge(sight, standing(sight))
    verdict = {
        "standing": found.standing,
        "eligibility": found.eligibility.value,
        "rule": found.rule,
        "text": f"{found.text} (one look: {silent})",
        "numbers": dict(found.numbers),
    }
    return Answer(_verdict_finding(verdict, lag.measure(sight).lag_s), ONE_LOOK, verdict)


def _verdict_finding(verdict: dict[str, Any], lag_s: Any) -> Finding:
    """Eligible is OK, as is a replica that is well; ineligible CRITICAL; undetermined is UNKNOWN for a candidate, and
    WARNING where the VIP stays."""
    eligibility, standing = Eligibility(verdict["eligibility"]), verdict["standing"]
    outcome = Outcome.OK
    if eligibility is Eligibility.INELIGIBLE and verdict["rule"] != "replica":
        outcome = Outcome.CRITICAL
    elif eligibility is Eligibility.UNDETERMINED:
        outcome = Outcome.UNKNOWN if standing == "candidate" else Outcome.WARNING
    known = None if eligibility is Eligibility.UNDETERMINED else float(eligibility is Eligibility.ELIGIBLE)
    perf = (Perf("eligible", known), Perf("lag", lag_s if standing == "candidate" else None, "s"))
    text = f"{standing}, {verdict['rule']}: {verdict['text']}"
    return Finding(
        "writer", outcome, str(verdict["rule"]), text, perf if standing == "candidate" else perf[:1]
    )


def _reader(app: App, name: str | None) -> Answer:
    """By the agent, or where none answers by one look, which does not see who else has an address."""
    from vipguard.cli import reading

    policy = app.policy(secrets=False)
    told = reading.ask(policy, AGENT_S)
    if told is not None:
        return Answer(reading.finding(told, name), AGENT)
    policy = app.policy()
    return Answer(reading.finding(reading.one_look(policy, _look(policy, "writer").sight), name), ONE_LOOK)


# -- for keepalived


def _for_keepalived(app: App, name: str, reader: str | None) -> int:
    """0 or 1, within the wrapper's half second; 3 where /proc does not even tell whether the address is here.

    The wrapper has asked the agent already. Where the address is, only a server that isn't running fails; elsewhere
    everything must be seen, and seen well. What only a resident agent can know is undetermined.
    """
    if name not in ("writer", "reader") or (name == "reader" and reader is None):
        raise click.UsageError("--for-keepalived belongs to check writer, and to check reader --reader NAME.")
    from vipguard.checks import writer
    from vipguard.cli import reading
    from vipguard.probe import procnet
    from vipguard.session import boottime_s

    policy = app.policy()
    interface, ip = policy.vip.interface, policy.vip.ip
    if reader is not None:
        known = reading.named(policy, reader)
        interface, ip = known.interface, known.ip
    here = procnet.look(interface, ip, boottime_s).vip_present
    if not here and reader is None and (before := _vip_before(policy)):
        here = procnet.look(interface, before, boottime_s).vip_present
    sight = _server_alone(policy) if here else _all(policy)
    if reader is not None:
        return _say(reading.judge(policy, reader, sight, here))
    return _say(writer.for_track(sight, "holder" if here else "candidate"))


def _vip_before(policy: Policy) -> str:
    """The VIP that the last agent looked after, where the configuration has another by now: keepalived may hold it
    still. "" where there is none, or it cannot be read."""
    from vipguard.state import store

    kept = store.find(policy.paths.state_file)
    return "" if kept is None or kept.vip == str(policy.vip.ip) else kept.vip


def _all(policy: Policy) -> Sight:
    from vipguard.agent.glance import Wanted, glance

    local_s = min(policy.limits.deadline_s, _left_s() / 3)
    return glance(policy, Wanted(peers=True, disk=True, pings_s=local_s), local_s, local_s).sight


def _server_alone(policy: Policy) -> Sight:
    """The sight of the local server and the VIP here, with nothing else looked at."""
    from vipguard.model.evidence import AddressEvidence
    from vipguard.model.sight import Sight
    from vipguard.probe.server import ServerProbe
    from vipguard.session import Connector, boottime_s
    from vipguard.state import standdown

    probe = ServerProbe(Connector.local(policy.mysql), policy)
    server = probe.look(min(policy.limits.deadline_s, _left_s()), boottime_s, channels=False)
    now_s = boottime_s()
    closed = server.facts is not None and server.facts.closed  # an open one keeps the VIP until it is
    return Sight(
        now_s,
        policy,
        server=server,
        address=AddressEvidence(now_s, True, True),
        watching_since_s=now_s,
        stood_down=standdown.look(policy.paths.stood_down) if closed else None,
    )


def _say(verdict: Verdict) -> int:
    from vipguard.cli import plugin

    code = 0 if verdict.may else 1
    click.echo(f"{code} {verdict.rule} {plugin.plain(verdict.text)}")
    return code


def _left_s() -> float:
    """What is left for looking. The half second runs since this process began, the imports included."""
    with open("/proc/self/stat", encoding="ascii", errors="replace") as file:
        began_ticks = int(file.read().rpartition(")")[2].split()[19])
    age_s = time.clock_gettime(time.CLOCK_BOOTTIME) - began_ticks / os.sysconf("SC_CLK_TCK")
    return max(LOOK_S_MIN, KEEPALIVED_S - age_s)
