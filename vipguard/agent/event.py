"""What can happen to the agent? Every input, as a value in one mailbox."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..model.effect import Effect
from ..model.evidence import AddressEvidence, CopyEvidence, KeepalivedEvidence, ProcessId, ServerEvidence
from ..model.policy import Policy
from ..model.reading import ReaderEvidence
from ..model.standdown import StoodDown


@dataclass(frozen=True, slots=True)
class Tick:
    """Time to look again. `gap_s` is the time since the tick before: large after a pause of the host or the guard."""

    gap_s: float


@dataclass(frozen=True, slots=True)
class AddressSeen:
    evidence: AddressEvidence


@dataclass(frozen=True, slots=True)
class KeepalivedSeen:
    evidence: KeepalivedEvidence


@dataclass(frozen=True, slots=True)
class Heard:
    """Answers from outside: witnesses by name and peers' hosts by address, as (answered, sent); peers' adverts, and the
    priority that each sender says in them."""

    pings: Mapping[str, tuple[float, float]]
    adverts: Mapping[str, float]
    priorities: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ProcessExiting:
    """The kernel began to take the local server's process down: it commits nothing any more."""

    process: ProcessId


@dataclass(frozen=True, slots=True)
class TrackSeen:
    """The track file's content; None where there is none."""

    value: str | None


@dataclass(frozen=True, slots=True)
class ReaderSeen:
    """One reader address, as this host shows it."""

    name: str
    evidence: ReaderEvidence


@dataclass(frozen=True, slots=True)
class CopySeen:
    """The mark of a fresh copy that is not whole; None where there is none."""

    evidence: CopyEvidence | None


@dataclass(frozen=True, slots=True)
class StoodDownSeen:
    """The word that this node's server is to stay closed; None where there is none."""

    word: StoodDown | None


@dataclass(frozen=True, slots=True)
class Reconfigured:
    policy: Policy


@dataclass(frozen=True, slots=True)
class Command:
    """The operator's word, from the local socket: `promote` (be the writer, whatever is missing) or `solo` (every
    other node is out for sure), `undamp` (count this node's losses of eligibility no more), `lift` (mind the present
    maintenance and pause no more: there is no writer to end them on), or `stand-up` (this node's server may be opened
    again)."""

    name: str


@dataclass(frozen=True, slots=True)
class Did:
    """A worker's report on one flight: its result, or that it failed."""

    flight: int
    effect: Effect
    result: object


@dataclass(frozen=True, slots=True)
class Failed:
    """An effect that failed. `refused`: it certainly did not happen; otherwise it may have."""

    text: str
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Claimed:
    """`connection` holds the claim now; None when somebody else does, or the node did not answer. `gone`: who says on
    the own server, which is claimed, that his server's process is gone."""

    connection: int | None
    evidence: ServerEvidence
    gone: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Prepared:
    """The session that will open, or that adopted an open server, and when it had been made."""

    connection: int
    at_s: float


@dataclass(frozen=True, slots=True)
class Looked:
    """One look that began at `asked_at_s`: the VIP and the local server."""

    asked_at_s: float
    address: AddressEvidence
    server: ServerEvidence


Event = (
    Tick
    | AddressSeen
    | KeepalivedSeen
    | Heard
    | ProcessExiting
    | TrackSeen
    | ReaderSeen
    | CopySeen
    | StoodDownSeen
    | Reconfigured
    | Command
    | Did
)
