"""What is seen of a reader address on this host, and what does the agent remember of it?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .evidence import AddressEvidence, VrrpState
from .verdict import Verdict


@dataclass(frozen=True, slots=True)
class ReaderEvidence:
    """One reader address as this host shows it. Times are seconds of CLOCK_BOOTTIME; None: not observed.

    `left_at_s`: this host's last advert for it, watched until `looked_at_s`; `heard`: others' adverts, as
    sender's address to (time, priority). `state`: of the newest notify line. `track`: what the track file says.
    `passed`: keepalived's script was told yes when it asked last.
    """

    address: AddressEvidence | None = None
    left_at_s: float | None = None
    looked_at_s: float | None = None
    heard: Mapping[str, tuple[float, int]] = field(default_factory=dict)
    state: VrrpState | None = None
    track: str | None = None
    passed: bool = False

    @property
    def here(self) -> bool:
        return self.address is not None and self.address.vip_present


@dataclass(frozen=True, slots=True)
class Giving:
    """The holder gives way to `node` since then, and waits until somebody advertises the address."""

    node: str
    since_s: float


@dataclass(frozen=True, slots=True)
class ReaderState:
    """What the agent knows of one reader address. `here_s`: since when it is here; `left_s`: when it left last;
    `nowhere_s`: since when nobody is seen to have it.

    `well_s`: since when this node could serve it without a break. `losses`: when it could not any more, by an observed
    fault. `untaken`: how often in a row nobody took what this node gave; it gives again at `again_s`. `came`,
    `went`: how often the address did, since the agent began.
    """

    seen: ReaderEvidence = ReaderEvidence()
    verdict: Verdict | None = None
    asked: str | None = None
    here_s: float | None = None
    left_s: float | None = None
    nowhere_s: float | None = None
    well_s: float | None = None
    losses: tuple[float, ...] = ()
    giving: Giving | None = None
    untaken: int = 0
    again_s: float = 0.0
    came: int = 0
    went: int = 0
