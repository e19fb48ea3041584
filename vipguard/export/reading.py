"""How is each number found in the agent's status (agent/report.py)? Functions from a status to samples.

A sample is the values of the metric's own labels and a number. What was not seen is no sample.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

Status = Mapping[str, Any]
Sample = tuple[tuple[str, ...], float]
Read = Callable[[Status], Iterable[Sample]]

ROLES = ("writer", "taking", "standby", "replica")
VRRP_STATES = ("MASTER", "BACKUP", "FAULT")
WITNESS_S = 2.0  # a witness that answered longer ago than this counts as silent


def _own(status: Status) -> Mapping[str, Any]:
    found: Mapping[str, Any] = status["nodes"][0]
    return found


def nothing(status: Status) -> Iterable[Sample]:
    return ()


def flag(key: str) -> Read:
    """Of this node: true, or a list with anything in it, is 1."""
    return lambda status: [] if _own(status).get(key) is None else [((), float(bool(_own(status)[key])))]


def number(key: str) -> Read:
    return lambda status: [] if _own(status).get(key) is None else [((), float(_own(status)[key]))]


def said(key: str) -> Read:
    """Whether there is a text; None says that there is none."""
    return lambda status: [((), float(_own(status).get(key) is not None))]


def role_of(node: Mapping[str, Any]) -> str | None:
    """What a node is, in one word of ROLES; None while that is not decided."""
    if node.get("writer"):
        return "writer"
    if node.get("role") == "replica":
        return "replica"
    standing = node.get("standing")
    return None if standing is None else "standby" if standing == "candidate" else "taking"


def role(status: Status) -> Iterator[Sample]:
    found = role_of(_own(status))
    if found is not None:
        yield from (((name,), float(name == found)) for name in ROLES)


def vrrp(status: Status) -> Iterator[Sample]:
    state = _own(status).get("vrrp")
    if state is not None:
        yield from (((name,), float(name == state)) for name in VRRP_STATES)


def eligible(status: Status) -> Iterator[Sample]:
    own = _own(status)
    if own.get("eligibility") is not None:
        yield (str(own["rule"]),), float(own["eligibility"] == "eligible")


def server(status: Status) -> Iterator[Sample]:
    answer = _own(status).get("server")
    if answer is not None:
        yield (), float(answer == "answered")


def writers(status: Status) -> Iterator[Sample]:
    yield (), float(len(status["writers"]))


def epoch(status: Status) -> Iterator[Sample]:
    yield (), float(status["epoch"])


def peers(status: Status) -> Iterator[Sample]:
    for node in status["nodes"][1:]:
        if node.get("server") is not None:
            yield (node["node"],), float(node["server"] == "answered")


def witnesses(status: Status) -> Iterator[Sample]:
    for name, ago_s in status["witnesses"].items():
        yield (name,), float(ago_s is not None and ago_s <= WITNESS_S)


def readers(key: str) -> Read:
    """Of this node, by the name of each reader address that it may hold."""

    def read(status: Status) -> Iterator[Sample]:
        for reader in status.get("readers") or ():
            if reader["mine"] and reader[key] is not None:
                value = reader[key] == "eligible" if key == "eligibility" else reader[key]
                yield (reader["name"],), float(value)

    return read


def checks(status: Status) -> Iterator[Sample]:
    for name, found in (status.get("checks") or {}).items():
        if found["outcome"] != "unknown":
            yield (name,), float(found["outcome"] == "ok")


def check_durations(status: Status) -> Iterator[Sample]:
    for name, found in (status.get("checks") or {}).items():
        if found.get("took_s") is not None:
            yield (name,), float(found["took_s"])


def certificates(status: Status) -> Iterator[Sample]:
    for node in status["nodes"][1:]:
        if node.get("certificate_until_s") is not None:
            yield (node["node"],), float(node["certificate_until_s"])


def threads(status: Status) -> Iterator[Sample]:
    for thread in _own(status).get("threads") or ():
        yield (thread["channel"], "io"), float(thread["io"] == "running")
        yield (thread["channel"], "sql"), float(bool(thread["sql"]))


def drained(status: Status) -> Iterator[Sample]:
    for thread in _own(status).get("threads") or ():
        if thread.get("applied") is not None:
            yield (thread["channel"],), float(thread["applied"])


def lag(status: Status) -> Iterator[Sample]:
    own = _own(status)
    method = str(own.get("lag_rule")).removeprefix("lag-")
    if own.get("lag_s") is not None:
        yield (method,), float(own["lag_s"])
    if own.get("lag_seen_s") is not None and (method != "seen" or own.get("lag_s") is None):
        yield ("seen",), float(own["lag_seen_s"])


def errant(status: Status) -> Iterator[Sample]:
    text = _own(status).get("errant")
    if text is not None:
        yield (), float(len([part for part in str(text).split(",") if part]))


def damped(status: Status) -> Iterator[Sample]:
    left_s = _own(status).get("damped_s")
    if left_s is not None:
        yield (), float(left_s > 0)


def semi_sync(key: str) -> Read:
    def read(status: Status) -> Iterator[Sample]:
        value = (_own(status).get("semi_sync") or {}).get(key)
        if value is not None:
            yield (), float(value)

    return read


def _rows(status: Status) -> dict[str, Any]:
    """The operator's rows that concern this node, by scope."""
    scopes = {"*": "cluster", status["node"]: "node"}
    return {scopes[row["node"]]: row for row in status.get("maintenance") or () if row["node"] in scopes}


def in_maintenance(status: Status) -> Iterator[Sample]:
    yield (), float("node" in _rows(status))


def paused(status: Status) -> Iterator[Sample]:
    yield (), float("cluster" in _rows(status))


def maintenance_since(status: Status) -> Iterator[Sample]:
    for scope, row in _rows(status).items():
        yield (scope,), float(row["since_s"])


def stood_down_since(status: Status) -> Iterator[Sample]:
    word = _own(status).get("stood_down")
    if word and word["since_s"]:
        yield (), float(word["since_s"])


def build(status: Status) -> Iterator[Sample]:
    flavor, _, version = str(_own(status).get("version") or "").partition(" ")
    yield (str(status["version"]), flavor, version), 1.0


# -- what the agent counts (agent/tally.py)


def told(key: str) -> Read:
    def read(status: Status) -> Iterator[Sample]:
        value = (status.get("counts") or {}).get(key)
        if value is not None:
            yield (), float(value)

    return read


def transitions(status: Status) -> Iterator[Sample]:
    for begin, end, count in (status.get("counts") or {}).get("transitions", ()):
        yield (begin, end), float(count)


def alerts(status: Status) -> Iterator[Sample]:
    for level, event, count in (status.get("counts") or {}).get("alerts", ()):
        yield (level, event), float(count)


def noted(level: str, event: str) -> Read:
    """How many of these log lines there were: 0 from the beginning, so that the first one is an increase."""

    def read(status: Status) -> Iterator[Sample]:
        if status.get("counts"):
            yield (), float(sum(number for about, number in alerts(status) if about == (level, event)))

    return read


Histogram = tuple[tuple[str, ...], list[tuple[str, float]], float]


def takeover(status: Status) -> Iterator[Histogram]:
    if status.get("counts"):
        yield _histogram(status["counts"], (), status["counts"]["takeover"])


def takeover_steps(status: Status) -> Iterator[Histogram]:
    for step, found in (status.get("counts") or {}).get("takeover_steps", {}).items():
        yield _histogram(status["counts"], (step,), found)


def _histogram(counts: Mapping[str, Any], labels: tuple[str, ...], found: Mapping[str, Any]) -> Histogram:
    total, buckets = 0.0, []
    bounds = [*(str(float(bound)) for bound in counts["buckets_s"]), "+Inf"]
    for bound, count in zip(bounds, found["counts"], strict=True):
        total += count
        buckets.append((bound, total))
    return labels, buckets, float(found["sum_s"])
