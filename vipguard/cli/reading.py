"""What do the commands say of the reader addresses? Their lines in the status, and `vipguard check reader`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vipguard.errors import ConfigError, CouldNotLook, VipguardError
from vipguard.model.finding import Finding, Outcome, Perf
from vipguard.render.reader_text import reader_nowhere, reader_where

if TYPE_CHECKING:
    from vipguard.checks.reader import Reading
    from vipguard.model.policy import Policy
    from vipguard.model.reader import Reader
    from vipguard.model.sight import Sight
    from vipguard.model.verdict import Verdict



def look(policy: Policy, readers: list[dict[str, Any]]) -> None:
    """Where no agent tells: whether the addresses are here, and what the track files say."""
    from vipguard.probe import procnet
    from vipguard.session import boottime_s

    for known, told in zip(policy.readers, readers, strict=True):
        if policy.node not in known.nodes:
            continue
        try:
            here = procnet.look(known.interface, known.ip, boottime_s).vip_present
        except CouldNotLook:
            continue
        told["here"] = here
        told["holder"] = policy.node if here else None


# -- check reader


def finding(readers: Sequence[Mapping[str, Any]], name: str | None) -> Finding:
    """Nowhere is CRITICAL, this node unable to serve it WARNING; the worst of all, or of the one that was asked for."""
    chosen = [reader for reader in readers if reader["mine"] and name in (None, reader["name"])]
    if not chosen:
        what = f"no reader address {name!r}" if name else "no reader address"
        return Finding(
            "reader", Outcome.UNKNOWN, "reader-not-configured", f"the configuration has {what} for this node"
        )
    told = [(*_judge(reader), reader) for reader in chosen]
    outcome, rule, _ = max(told, key=lambda one: one[0] if one[0] is not Outcome.UNKNOWN else 1.5)
    text = ", ".join(f"{reader['name']} {reader_where(reader)} ({rule})" for _, rule, reader in told)
    here = sum(bool(reader["here"]) for reader in chosen)
    perf = (
        Perf("here", here),
        Perf("eligible", sum(reader["eligibility"] == "eligible" for reader in chosen)),
        Perf("nowhere", sum(reader_nowhere(reader) for reader in chosen)),
    )
    return Finding("reader", outcome, rule, text, perf)


def _judge(reader: Mapping[str, Any]) -> tuple[Outcome, str]:
    if reader_nowhere(reader):
        return Outcome.CRITICAL, "reader-nowhere"
    rule = str(reader["rule"] or "reader-not-seen")
    if reader["eligibility"] is None or reader["eligibility"] == "undetermined":
        return (Outcome.WARNING if reader["here"] else Outcome.UNKNOWN), rule
    return (Outcome.OK if reader["eligibility"] == "eligible" else Outcome.WARNING), rule


def judge(policy: Policy, name: str, sight: Sight, here: bool) -> Verdict:
    """May it be here, by one look where no agent answers? Where it is, `sight` is of the server alone."""
    from vipguard.checks import reader as check

    return check.judge(_reading(sight, named(policy, name), here=here))


def named(policy: Policy, name: str) -> Reader:
    """Raises ConfigError where the configuration has none of that name for this node."""
    for reader in policy.own_readers:
        if reader.name == name:
            return reader
    known = ", ".join(reader.name for reader in policy.own_readers) or "none"
    raise ConfigError(
        f"has no reader address {name!r} for this node",
        file=policy.file,
        key="reader",
        remedy=f"known here: {known}",
    )


def _reading(sight: Sight, reader: Reader, *, here: bool) -> Reading:
    """An open server counts as the writer: one look can't tell more."""
    from vipguard.checks.reader import Reading

    facts = sight.server.facts if sight.server else None
    return Reading(sight, reader, here=here, writer=facts is not None and not facts.closed)


def ask(policy: Policy, within_s: float) -> list[dict[str, Any]] | None:
    """The agent's word on them; None where no agent answers."""
    from vipguard import client

    try:
        status = client.status(policy.paths.agent_socket, within_s)
    except VipguardError:
        return None
    return list(status.get("readers") or ())


def one_look(policy: Policy, sight: Sight) -> list[dict[str, Any]]:
    """What one look tells, in the shape of the agent's status; who else has an address is not seen by it."""
    from vipguard.checks import reader as check
    from vipguard.probe import procnet
    from vipguard.session import boottime_s

    told = []
    for reader in policy.own_readers:
        here = procnet.look(reader.interface, reader.ip, boottime_s).vip_present
        verdict = check.judge(_reading(sight, reader, here=here))
        told.append(
            {
                "name": reader.name,
                "mine": True,
                "here": here,
                "holder": policy.node if here else None,
                "giving_to": None,
                "track_file": None,
                "eligibility": verdict.eligibility.value,
                "rule": verdict.rule,
            }
        )
    return told
