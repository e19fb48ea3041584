"""What can be done to the world? Each effect is a value; a worker carries it out and reports back as an event.

`lane` names the worker: effects of one lane run one after another, lanes run side by side. `deadline_s` is the total
that the worker may take. Two effects with the same `key` are never under way at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import ClassVar

from .evidence import EpochRow, Mark, ProcessId
from .gtid import GtidSet
from .ledger import Opening
from .memory import Memory
from .policy import Texts
from .standdown import StoodDown


class Care(Enum):
    """How a close treats commits that wait for a replica's acknowledgement: ending such a session may expose it."""

    NONE = "none"  # there are none: semi-sync is off
    SPARE = "spare"  # they are left alone, and may still be acknowledged; what else blocks is ended
    STRICT = (
        "strict"  # nobody is ended before the server is read-only; one that waits fails the close at once
    )


@dataclass(frozen=True, slots=True)
class Effect:
    """The base of all effects. One that `perishes` is not begun after its deadline: it may undo what came since."""

    lane: ClassVar[str] = "server"
    perishes: ClassVar[bool] = False
    deadline_s: float

    @property
    def key(self) -> str:
        return type(self).__name__

    @property
    def worker(self) -> str:
        return self.lane


@dataclass(frozen=True, slots=True)
class ProbeServer(Effect):
    """One round of questions to the local server. `fit`: its session is to hold the lock that says so; `reads`: and the
    locks of these reader addresses, which this node may be given."""

    lane = "probe"
    fit: bool = False
    reads: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ProbeDisk(Effect):
    """The file system of the data directory, and whether writes come back there and where the logs lie."""

    lane = "disk"
    path: str
    logs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AskArp(Effect):
    """Who answers for these addresses on the VIP's link, ourselves excluded? Ends early when all were answered for."""

    addresses: tuple[str, ...]
    wait_s: float

    @property
    def key(self) -> str:
        return f"AskArp:{','.join(self.addresses)}"

    @property
    def worker(self) -> str:
        return f"arp:{self.addresses[0]}"


@dataclass(frozen=True, slots=True)
class FindDuplicate(Effect):
    """Who else answers for the VIP, which this node holds? The MACs; None where its link can't be asked."""

    lane = "duplicate"
    wait_s: float


@dataclass(frozen=True, slots=True)
class AskGone(Effect):
    """Who of `peers` says on the local server, and has said so just now, that his own server's process is gone? Asked
    `after_s` from now."""

    lane = "gone"
    peers: tuple[str, ...]
    after_s: float = 0.0


@dataclass(frozen=True, slots=True)
class OnNode(Effect):
    """The base of effects on one node's server, this node's included; each node has a worker of its own."""

    node: str

    @property
    def key(self) -> str:
        return f"{type(self).__name__}:{self.node}"

    @property
    def worker(self) -> str:
        return f"node:{self.node}"


@dataclass(frozen=True, slots=True)
class ProbePeer(OnNode):
    """One round of questions to a peer, `after_s` from now.

    `channels` asks for its replication too, which costs twice. `gone`: the session is to hold the lock there that says
    that this node's own server is gone; without it, the lock is given back.
    """

    channels: bool = False
    after_s: float = 0.0
    gone: bool = False


@dataclass(frozen=True, slots=True)
class Claim(OnNode):
    """Take the claim lock on this node, then look at the node; on the own one, also at who says there that his own
    server's process is gone."""


@dataclass(frozen=True, slots=True)
class Release(OnNode):
    """Give the claim on this node back."""


@dataclass(frozen=True, slots=True)
class ClosePeer(OnNode):
    """Close a peer's server from here, then look at it."""

    perishes = True
    care: Care = Care.NONE


@dataclass(frozen=True, slots=True)
class FencePeer(OnNode):
    """Put a silent peer out by the operator's command; it has a lane of its own, for it may take long."""

    perishes = True

    @property
    def worker(self) -> str:
        return f"fence:{self.node}"


@dataclass(frozen=True, slots=True)
class StopReceiving(Effect):
    """Stop the IO threads, and nothing else: stopping the SQL thread too would lose or block what was received.

    `aside`: that may be lost. Where nothing else stands unapplied, it is thrown away.
    """

    aside: GtidSet | None = None


@dataclass(frozen=True, slots=True)
class StartReceiving(Effect):
    """Start the IO threads: a writer listens again to a standby whose set it has."""


@dataclass(frozen=True, slots=True)
class StartReplication(Effect):
    """Start both threads, after the sets were compared."""


@dataclass(frozen=True, slots=True)
class Point(Effect):
    """Make `node`'s server the source of the local one, whose IO thread stands; nothing is started."""

    node: str


@dataclass(frozen=True, slots=True)
class Fetch(Effect):
    """Receive from the replica `node` what only it has, as far as `target`, apply it, and follow `home` again with the
    IO thread stopped. The set that the server has then."""

    node: str
    home: str
    target: GtidSet


@dataclass(frozen=True, slots=True)
class ExamineRelay(Effect):
    """See what a server whose replication stands received and has not applied."""

    lane = "relay"


@dataclass(frozen=True, slots=True)
class RescueRelay(Effect):
    """Apply what was received, without receiving; the channels follow by GTID afterwards."""

    lane = "relay"


@dataclass(frozen=True, slots=True)
class Receive(Effect):
    """Wait until this server has received `target`, which a closed peer has."""

    target: GtidSet


@dataclass(frozen=True, slots=True)
class Drain(Effect):
    """Wait until all that was received is applied, and tell the set then."""


@dataclass(frozen=True, slots=True)
class PrepareOpen(Effect):
    """Make the session that will open the server, holding the open lock; `adopt` takes over an already open one.

    `domain`: the one that MariaDB's new sessions are to write in; None: it stays as it is.
    """

    lane = "open"
    adopt: bool = False
    domain: int | None = None


@dataclass(frozen=True, slots=True)
class Look(Effect):
    """Observe VIP, keepalived, server and epoch anew, after the opener was made."""

    lane = "probe"


@dataclass(frozen=True, slots=True)
class Open(Effect):
    """Send read_only=0 once over the prepared session `opener`, then write the epoch row, and the ledger's, as the
    first transaction.

    After `until_s` (CLOCK_BOOTTIME) it must have no effect: whoever stood still meanwhile may have been replaced.
    """

    lane = "open"
    opener: int
    opening: Opening
    until_s: float

    @property
    def row(self) -> EpochRow:
        return self.opening.row


@dataclass(frozen=True, slots=True)
class WriteOpening(Effect):
    """The sitting writer, whose session `opener` holds the open lock, raises its epoch: the rows of an opening, in one
    transaction. It has a lane of its own: the commit waits for a replica when semi-sync is on."""

    lane = "ledger"
    opener: int
    opening: Opening


@dataclass(frozen=True, slots=True)
class DropOpener(Effect):
    """End the prepared session, so that it can never open anything."""

    lane = "open"


@dataclass(frozen=True, slots=True)
class SetSource(Effect):
    """Let the local server's commits wait for a replica, or not: off lets those that wait go on unreplicated."""

    lane = "semi-sync"
    on: bool


@dataclass(frozen=True, slots=True)
class Mute(Effect):
    """Let the local server, a replica, acknowledge nothing that it receives; its IO thread begins anew for that."""

    lane = "semi-sync"


@dataclass(frozen=True, slots=True)
class WriteMark(Effect):
    """Write the mark's row. It has a lane of its own: the commit waits for a replica when semi-sync is on."""

    lane = "mark"
    mark: Mark


@dataclass(frozen=True, slots=True)
class Beat(Effect):
    """Write the heartbeat's row, while session `opener` holds the open lock. After `until_s` (CLOCK_BOOTTIME) it must
    have no effect. It has a lane of its own, so that nothing waits behind a commit that does."""

    lane = "beat"
    opener: int
    until_s: float


@dataclass(frozen=True, slots=True)
class Announce(Effect):
    """Gratuitous ARP or unsolicited neighbour advertisements for the VIP."""

    lane = "arp"


@dataclass(frozen=True, slots=True)
class PrepareClose(Effect):
    """Make the sessions of the next close: in a planned move while the clients still write."""

    lane = "close"


@dataclass(frozen=True, slots=True)
class CloseServer(Effect):
    """Make the local server closed and end its client sessions."""

    lane = "close"
    care: Care = Care.NONE


@dataclass(frozen=True, slots=True)
class ArmClose(Effect):
    """Let the local server close itself at `until_s` (CLOCK_BOOTTIME), by an order that waits in a session there."""

    lane = "arm"
    until_s: float


@dataclass(frozen=True, slots=True)
class DisarmClose(Effect):
    """Call that order off: end its session, and see it gone."""

    lane = "arm"


@dataclass(frozen=True, slots=True)
class KillServer(Effect):
    """Kill -9 of the local server, confirmed. It has a lane of its own: it never waits behind a close that hangs."""

    lane = "kill"
    perishes = True
    process: ProcessId


@dataclass(frozen=True, slots=True)
class RunHooks(Effect):
    """Run the operator's executables for `event`, in a lane of its own; `facts` go into their environment."""

    event: str
    facts: Texts

    @property
    def key(self) -> str:
        return f"RunHooks:{self.event}:{dict(self.facts).get('EPOCH')}"

    @property
    def worker(self) -> str:
        return f"hooks:{self.event}"


@dataclass(frozen=True, slots=True)
class RemoveVip(Effect):
    """Take a VIP off the interface that a dead keepalived left there."""

    lane = "track"
    perishes = True


@dataclass(frozen=True, slots=True)
class ResetClients(Effect):
    """Reset the connections to the VIP while it is still here; in the track file's lane, so that it comes first.

    `process` is the local server's, whose listening sockets go too if it is being taken down.
    """

    lane = "track"
    perishes = True
    process: ProcessId | None


@dataclass(frozen=True, slots=True)
class ShutGate(Effect):
    """Refuse connections to the VIP, which is about to come, until the server is open; in the lane of the opening."""

    perishes = True


@dataclass(frozen=True, slots=True)
class WriteTrack(Effect):
    """Write the track file by rename; unlink it where that fails."""

    lane = "track"
    perishes = True
    value: str


@dataclass(frozen=True, slots=True)
class OfReader(Effect):
    """The base of effects on one reader address; each has a worker of its own."""

    perishes = True
    name: str

    @property
    def key(self) -> str:
        return f"{type(self).__name__}:{self.name}"

    @property
    def worker(self) -> str:
        return f"reader:{self.name}"


@dataclass(frozen=True, slots=True)
class WriteReaderTrack(OfReader):
    """Write the track file of a reader address by rename; unlink it where that fails."""

    value: str


@dataclass(frozen=True, slots=True)
class ResetReaders(OfReader):
    """Reset the connections to a reader address, while it is still here, and refuse new ones for a moment.

    `process` is the local server's, whose listening sockets go too if it is being taken down.
    """

    process: ProcessId | None


@dataclass(frozen=True, slots=True)
class RemoveReader(OfReader):
    """Take a reader address off the interface that a dead keepalived left there."""


@dataclass(frozen=True, slots=True)
class MarkWriter(Effect):
    """Write the file that says whether this node is the writer, for the priorities of its reader addresses."""

    lane = "mark-writer"
    value: str


@dataclass(frozen=True, slots=True)
class Remember(Effect):
    """Write the memory to disk, with fsync."""

    lane = "state"
    memory: Memory


@dataclass(frozen=True, slots=True)
class KeepWord(Effect):
    """Write down that this node's server stays closed, or (None) that the agent's own word of that ended."""

    lane = "state"
    word: StoodDown | None


@dataclass(frozen=True, slots=True)
class Note(Effect):
    """One line for the log and the recent story: a decision, its rule and its numbers."""

    lane = "log"
    what: str
    rule: str
    level: str = "info"
    numbers: tuple[tuple[str, object], ...] = ()


@dataclass(frozen=True, slots=True)
class Closed:
    """A close that went through: the final set, and how many client sessions were ended."""

    gtid: GtidSet
    killed: int
