"""What does the status say of semi-sync? One line, loud where writes wait or go unreplicated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

STUCK_S = 1.0


def line(own: Mapping[str, Any]) -> str:
    """Of this node's part of the status; "" under async."""
    said = own.get("semi_sync")
    if not said:
        return ""
    if not own["writable"]:
        known = "has" if said["marked"] else "is not known to have"
        return f"semi-sync: this node {known} every acknowledged write"
    if said["waiting"] and said["commits_wait_s"] >= STUCK_S:
        return (
            f"COMMITS WAIT: {said['waiting']} for {said['commits_wait_s']:.0f} s, until a standby has them; "
            "if it is out for sure: vipguard solo"
        )
    if said["source"]:
        return f"semi-sync: writes wait for a standby, {said['clients']} connected"
    if said["solo"]:
        return "semi-sync: solo, writes are acknowledged without a standby"
    return "SEMI-SYNC IS OFF: writes are acknowledged without a standby"
