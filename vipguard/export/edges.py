"""Who replicates from whom? The arrows of the cluster's picture, made of the threads that the nodes tell of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from .reading import Status


@dataclass(frozen=True, slots=True)
class Edge:
    """`label`: lag and threads. `tone`: "good", or "bad" where a thread does not run."""

    source: Mapping[str, Any]
    replica: Mapping[str, Any]
    label: tuple[str, ...]
    tone: str


def edges(status: Status) -> list[Edge]:
    """One for each channel from a node of the cluster; what comes from elsewhere the table tells."""
    found = []
    by_address = {_plain(str(node["address"])): node for node in status["nodes"]}
    for node in status["nodes"]:
        for thread in node["threads"] or ():
            source = by_address.get(_plain(_host(str(thread["source"]))))
            if source is not None and source is not node:
                found.append(_edge(source, node, thread))
    return found


def _edge(source: Mapping[str, Any], replica: Mapping[str, Any], thread: Mapping[str, Any]) -> Edge:
    runs = thread["sql"] and thread["io"] == "running"
    lag = "lag not known" if thread["lag_s"] is None else f"{thread['lag_s']:g} s behind"
    states = f"{thread['io']}/{'running' if thread['sql'] else 'stopped'}"
    return Edge(source, replica, (lag, states if runs else f"✕ {states}"), "good" if runs else "bad")


def _host(endpoint: str) -> str:
    """Of `ADDRESS:PORT` or `[ADDRESS]:PORT`."""
    return endpoint.rpartition(":")[0].strip("[]")


def _plain(address: str) -> str:
    """In its shortest form, so that two ways to write it are one; a host's name as it is."""
    try:
        return str(ip_address(address))
    except ValueError:
        return address
