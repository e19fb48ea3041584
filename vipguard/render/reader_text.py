"""Where is each reader address, and could this node serve it? In words, of the agent's status."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NOT_SEEN = "not seen from here"


def reader_lines(status: Mapping[str, Any]) -> list[str]:
    """One for each reader address: where it is, and whether this node could serve it."""
    found = []
    for reader in status.get("readers") or ():
        first = max(reader["nodes"], key=lambda node: node["priority"])["node"]
        home = f", belongs on {first}" if reader["holder"] not in (None, first) else ""
        where = f"reader {reader['name']} {reader['address']}: {reader_where(reader)}{home}"
        found.append(f"{where}; {_reader_could(reader)}")
    return found


def reader_where(reader: Mapping[str, Any]) -> str:
    if reader["here"]:
        giving = f", being given to {reader['giving_to']}" if reader["giving_to"] else ""
        return f"HERE{giving}"
    if reader["holder"] is None:
        return "NOWHERE" if reader_nowhere(reader) else NOT_SEEN
    return f"on {reader['holder'] or 'another node'}"


def _reader_could(reader: Mapping[str, Any]) -> str:
    if not reader["mine"]:
        return "this node never has it"
    if reader["rule"] is None:
        return "whether this node can serve it is " + NOT_SEEN
    wait = reader["wait_s"]
    more = (
        f", to be well for {wait:g} s more"
        if wait and reader["eligibility"] == "eligible" and not reader["here"]
        else ""
    )
    return f"{reader['eligibility']} ({reader['rule']}): {reader['text']}{more}"


def reader_nowhere(reader: Mapping[str, Any]) -> bool:
    """Seen by an agent, which hears the adverts of all holders."""
    return reader["here"] is False and reader["holder"] is None and reader["track_file"] is not None
