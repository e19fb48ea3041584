"""What did the operator decide? The configuration as frozen values, checked and complete.

`config.py` is the only place that makes a `Policy` from a file; tests make one directly. Durations are seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Interface, IPv6Interface
from typing import Literal

from .changed import worked_out
from .reader import Reader

MARIADB = "mariadb"
MYSQL = "mysql"
Flavor = Literal["mariadb", "mysql"]
Role = Literal["candidate", "replica"]
Texts = tuple[tuple[str, str], ...]  # a table of the operator's own keys


@dataclass(frozen=True, slots=True)
class Vip:
    """The writer's address. `address` is in CIDR form; `router_id` is VRRP's virtual_router_id."""

    address: IPv4Interface | IPv6Interface
    interface: str
    router_id: int
    advert_s: float = 0.1

    @property
    def ip(self) -> str:
        return str(self.address.ip)

    @property
    def version(self) -> int:
        return self.address.version


@dataclass(frozen=True, slots=True)
class Node:
    """One server of the cluster; `priority` is VRRP's, at most 250. `server_id` 0: its place among the sorted names.

    A replica never becomes the writer, and follows it; its priority is 0.
    """

    name: str
    address: str
    priority: int
    server_id: int = 0
    role: Role = "candidate"

    @property
    def is_replica(self) -> bool:
        return self.role == "replica"


@dataclass(frozen=True, slots=True)
class Mysql:
    """How the database is reached; `password` was read from `password_file`. `tls` concerns peers only.

    `gtid_domain_id`: MariaDB's domain that every node of the cluster writes in, so that what they write has one order.
    """

    socket: str = "/run/mysqld/mysqld.sock"
    port: int = 3306
    user: str = "vipguard"
    password_file: str = ""
    password: str = field(default="", repr=False)  # a logged policy must not tell it
    tls: Literal["preferred", "required", "verify"] = "preferred"
    tls_ca: str = ""
    gtid_domain_id: int = 0


@dataclass(frozen=True, slots=True)
class Replication:
    """The replication account: for set-up, fresh copies and re-pointing."""

    user: str = "vipguard_repl"
    password_file: str = ""
    password: str = field(default="", repr=False)  # a logged policy must not tell it


@dataclass(frozen=True, slots=True)
class Copy:
    """How a fresh copy of this node is made. `command`: by another's hands, docs/rejoin.md says with what.

    `user`: MariaDB's local superuser, who loads the copy over the socket; with `password_file`, else without a
    password, as unix_socket takes root's. `mb_s_max`: what is read from the writer, in MB (1,000,000 bytes) a second.
    """

    command: str = ""
    user: str = "root"
    password_file: str = ""
    password: str = field(default="", repr=False)  # a logged policy must not tell it
    mb_s_max: float = 100.0
    within_s: float = 86400.0


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds, all in seconds. `probe_s` is how often; `deadline_s` is one probe's total. `heartbeat_s`: how often the
    writer writes its row, 0 for never."""

    lag_s_max: float = 10.0
    probe_s: float = 0.1
    deadline_s: float = 0.5
    hang_s: float = 3.0
    lease_s: float = 0.5
    close_s: float = 0.2
    drain_s_max: float = 30.0
    arp_s_max: float = 3.0
    heartbeat_s: float = 0.5


@dataclass(frozen=True, slots=True)
class Disk:
    """When the data directory's file system counts as full."""

    free_mb_min: int = 100


@dataclass(frozen=True, slots=True)
class Fence:
    """How is a server or a node put out by force? `kill_hung` is about this node's own server.

    `command` is called as fence agents are, when a takeover finds a peer silent: `options` and the peer's name in
    `plugs` (its node name where it has none) are written to it. `required`: nothing else lets this node open then.
    """

    kill_hung: bool = True
    command: str = ""
    deadline_s: float = 30.0
    required: bool = False
    options: Texts = field(default=(), repr=False)  # they may hold a password
    plugs: Texts = ()


@dataclass(frozen=True, slots=True)
class Damping:
    """When is a node that flaps left alone? More than `losses_max` losses of eligibility within `window_s` park it for
    `window_s`; 0: never. `recovery_block_s`: no second takeover so soon after one while the holder is there; 0: off.
    """

    losses_max: int = 4
    window_s: float = 300.0
    recovery_block_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Hooks:
    """The operator's own executables, in directories below `directory` that are named after their events.

    `deadline_s` is the total of one event's. `before_open_required`: one that fails before the opening forbids it.
    """

    directory: str = "/etc/vipguard/hooks.d"
    deadline_s: float = 5.0
    before_open_required: bool = False


@dataclass(frozen=True, slots=True)
class Vrrp:
    """keepalived's own settings that vipguard renders: unicast instead of multicast, seconds to wait at its start."""

    unicast: bool = False
    startup_delay_s: float = 5.0
    pid_file: str = "/run/keepalived.pid"


@dataclass(frozen=True, slots=True)
class Exporter:
    """Where the metrics are served: at this node's own address by default; with a certificate over TLS, with a user to
    who knows the password."""

    address: str = ""
    port: int = 9728
    tls_certificate: str = ""
    tls_key: str = ""
    user: str = ""
    password_file: str = ""


@dataclass(frozen=True, slots=True)
class Paths:
    """Where the agent's run-time files and its memory live."""

    run: str = "/run/vipguard"
    state: str = "/var/lib/vipguard"

    @property
    def fifo(self) -> str:
        return f"{self.run}/vrrp.fifo"

    @property
    def track_file(self) -> str:
        return f"{self.run}/eligible"

    @property
    def writer_mark(self) -> str:
        """Says 1 while this node is the writer: keepalived lowers the priorities of its reader addresses by it."""
        return f"{self.run}/writer"

    def reader_file(self, name: str) -> str:
        """The track file of one reader address."""
        return f"{self.run}/reader-{name}"

    @property
    def agent_socket(self) -> str:
        return f"{self.run}/agent.sock"

    @property
    def agent_lock(self) -> str:
        return f"{self.run}/agent.lock"

    @property
    def journal(self) -> str:
        return f"{self.state}/journal.jsonl"

    @property
    def state_file(self) -> str:
        return f"{self.state}/state.json"

    @property
    def copy_mark(self) -> str:
        return f"{self.state}/copy-unfinished"

    @property
    def run_at(self) -> str:
        """Says where the agent that keeps its memory here has its socket, for one with another `run`."""
        return f"{self.state}/run-at"

    @property
    def state_at(self) -> str:
        """Says where the agent of this boot keeps what must survive, for the next one with another `state`."""
        return f"{self.run}/state-at"

    @property
    def stood_down(self) -> str:
        """There while this node's server is to stay closed by somebody's word."""
        return f"{self.state}/stood-down"


@dataclass(frozen=True)
class Policy:
    """The whole configuration, from this node's point of view. `nodes` is sorted by name and holds this node too."""

    cluster: str
    node: str
    vip: Vip
    nodes: tuple[Node, ...]
    file: str = ""
    silent_peer: Literal["open", "wait"] = "open"
    durability: Literal["async", "lossless"] = "async"
    mysql: Mysql = Mysql()
    replication: Replication | None = None
    copy: Copy = Copy()
    limits: Limits = Limits()
    witnesses: tuple[str, ...] = ()
    paths: Paths = Paths()
    disk: Disk = Disk()
    fence: Fence = Fence()
    vrrp: Vrrp = Vrrp()
    hooks: Hooks = Hooks()
    damping: Damping = Damping()
    exporter: Exporter = Exporter()
    readers: tuple[Reader, ...] = ()

    @property
    def own_readers(self) -> tuple[Reader, ...]:
        """The reader addresses that this node may hold."""
        return tuple(reader for reader in self.readers if self.node in reader.nodes)

    @worked_out
    def me(self) -> Node:
        return next(node for node in self.nodes if node.name == self.node)

    @worked_out
    def peers(self) -> tuple[Node, ...]:
        return tuple(node for node in self.nodes if node.name != self.node)

    @worked_out
    def candidates(self) -> tuple[Node, ...]:
        """The nodes that may become the writer, this one too if it may."""
        return tuple(node for node in self.nodes if not node.is_replica)

    def source_of(self, node: Node) -> Node:
        """Whom that node is set up to follow: a candidate the one before it, the last one for the first; a replica the
        first candidate, until its agent knows the writer."""
        circle = self.candidates
        return circle[0] if node.is_replica else circle[circle.index(node) - 1]

    @property
    def lossless(self) -> bool:
        return self.durability == "lossless"

    @property
    def instance(self) -> str:
        """The name of the VRRP instance in keepalived's configuration and in its FIFO lines."""
        return "writer"

    @property
    def claim_lock(self) -> str:
        return f"vipguard.claim.{self.cluster}"

    @property
    def open_lock(self) -> str:
        return f"vipguard.open.{self.cluster}"

    @property
    def fit_lock(self) -> str:
        """Held by an agent on its own server while it would take over, for its peers to see."""
        return f"vipguard.fit.{self.cluster}"

    def gone_lock(self, node: str) -> str:
        """Held by that node's agent on its peers' servers while the process of its own server is gone."""
        return f"vipguard.gone.{node}.{self.cluster}"

    def read_lock(self, reader: str) -> str:
        """Held by an agent on its own server while it may be given that reader address."""
        return f"vipguard.read.{reader}.{self.cluster}"

    def move_lock(self, node: str) -> str:
        """Held on the writer's server by who wants the writer to be `node`."""
        return f"vipguard.move.{node}.{self.cluster}"
