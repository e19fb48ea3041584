"""Should a node that could take over be left alone for now, because it flaps, or the cluster just failed over?

Both stop at nothing that is needed: a flapping node is parked only while another one writes, and a second takeover is
put off only while the holder is there.
"""

from __future__ import annotations

from ..model.sight import PeerSight, Sight, epoch_of, is_writer

#: How long after the last sight of a writer an eligible peer goes first. Bounded: both may be parked, and from afar
#: neither knows that of the other.
PEERS_TURN_S = 2.0
Number = tuple[str, float | int | str | None]


def damped(sight: Sight) -> tuple[str, tuple[Number, ...]] | None:
    """The text and the numbers of why this node is parked; None when it is not."""
    state, policy = sight.damping, sight.policy.damping
    left_s = round(state.left_s(sight.now_s), 1)
    if not policy.losses_max or not left_s or not _another_serves(sight):
        return None
    count = len(state.losses)
    text = f"lost its eligibility {count} times within {policy.window_s:g} s: parked for {left_s:.0f} s more"
    numbers: tuple[Number, ...] = (
        ("losses", count), ("losses_max", policy.losses_max), ("window_s", policy.window_s), ("left_s", left_s)
    )  # fmt: skip
    return text, numbers


def _another_serves(sight: Sight) -> bool:
    """Is another node the writer, or able to be and due to be?"""
    if sight.writers:
        return True
    seen_s = sight.damping.writer_seen_s
    return sight.peer_eligible and seen_s is not None and sight.now_s - seen_s < PEERS_TURN_S


def recovery_block(sight: Sight) -> tuple[str, tuple[Number, ...]] | None:
    """Why a takeover that keepalived asks for must wait: there was one a moment ago, and who made it is there.

    While that one writes this node stays a candidate, so that its death is followed at once. None: no reason.
    """
    block_s, at_s = sight.policy.damping.recovery_block_s, sight.damping.epoch_at_s
    if not block_s or at_s is None or sight.now_s - at_s >= block_s:
        return None
    holder = last_holder(sight)
    if holder is None or not holder.answered or (is_writer(holder.evidence) and not sight.vip_here):
        return None
    left_s = round(at_s + block_s - sight.now_s, 1)
    ago_s = round(sight.now_s - at_s, 1)
    text = f"{holder.node.name} took over {ago_s:g} s ago and is there: no second takeover for {left_s:.0f} s more"
    return text, (("ago_s", ago_s), ("recovery_block_s", block_s), ("left_s", left_s))


def last_holder(sight: Sight) -> PeerSight | None:
    """The peer that the newest epoch row names; None when that is this node, or unknown."""
    newest = max([sight.server, *(peer.evidence for peer in sight.peers.values())], key=epoch_of)
    row = newest.facts.epoch if newest is not None and newest.facts is not None else None
    return sight.peers.get(row.node) if row is not None else None
