"""What is recorded of one takeover, and what can be due of it?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..model.effect import Effect
from ..model.gtid import GtidSet
from .proof import Proof


@dataclass(frozen=True, slots=True)
class Takeover:
    """How far one takeover has come; `claims` maps a node to the connection that holds our claim there, `claimed_s`:
    since when it has been held on the own server. `reopens`: this node wrote last when it began."""

    began_s: float
    boot_id: str
    reopens: bool = False
    claims: Mapping[str, int] = field(default_factory=dict)
    claimed_s: float | None = None
    proof: Proof = Proof()
    arp: Mapping[str, bool | None] = field(default_factory=dict)
    arp_s: float = 0.0
    reserved: int | None = None
    remembered: bool = False
    received: GtidSet | None = None
    stopped: bool = False
    drained: GtidSet | None = None
    opener: int | None = None
    prepared_s: float = 0.0
    looked_s: float | None = None
    opened: bool = False
    failed: tuple[str, str] | None = None
    solo_before: bool = False
    hooked: bool = False
    veto: str | None = None
    unfetched: Mapping[str, str] = field(default_factory=dict)  # why what a replica has did not come, by node
    unfenced: Mapping[str, str] = field(default_factory=dict)  # why the fence command failed, by node


@dataclass(frozen=True, slots=True)
class Due:
    """What is due: effects to send, and the rule of what is waited for, with the most it may take (None: a wait that
    other limits bound). `refuse`: give up by this rule. `complete`: the node is the writer."""

    waiting: str
    text: str
    effects: tuple[Effect, ...] = ()
    within_s: float | None = None
    refuse: bool = False
    complete: bool = False


def refuse(rule: str, text: str) -> Due:
    return Due(rule, text, refuse=True)
