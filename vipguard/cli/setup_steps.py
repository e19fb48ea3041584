"""What are the steps of `vipguard setup`, in order, and how does each find out whether it is done already?

Every step looks before it touches anything, so a run that broke off anywhere is just run again. A step that cannot be
done, and without which the next ones would be guesses, ends the run.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..act import setup as act
from ..act import setup_files as files
from ..act.copy import Plan, change_source
from ..act.setup import Server
from ..doctor.option_file import boot_options
from ..errors import Absent, ConfigError, CouldNotLook, VipguardError
from ..model.policy import MARIADB, Node, Policy, Replication
from ..model.witness import endpoint
from ..probe import procnet
from ..render.accounts import accounts_sql
from ..session import Deadline, boottime_s
from ..state import mark
from .app import App

Outcome = Literal["already so", "done", "would do", "TO DO", "left out", "REFUSED"]
CHANGE_S = 20.0


@dataclass(frozen=True, slots=True)
class Line:
    """`do`: what the operator is to type, or what a dry run would send."""

    outcome: Outcome
    step: str
    text: str
    do: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Options:
    dry_run: bool
    write_config: bool
    force: bool
    copy_from: str | None
    yes: bool
    keepalived_conf: str


class Stop(Exception):
    """Nothing more can be done here before `line` is."""

    def __init__(self, step: str, text: str, *do: str) -> None:
        super().__init__(text)
        self.line = Line("TO DO", step, text, do)


class Refusal(Stop):
    """What is here must not be touched; nothing was."""

    def __init__(self, step: str, text: str, *do: str) -> None:
        super().__init__(step, text, *do)
        self.line = Line("REFUSED", step, text, do)


class Setup:
    """One run on one node. `here` and `peers` are as last looked at, this node first."""

    def __init__(self, app: App, policy: Policy, options: Options) -> None:
        self.app, self.policy, self.options = app, policy, options
        self.here: Server
        self.peers: dict[str, Server] = {}
        self.unseen: dict[str, str] = {}

    def lines(self) -> Iterator[Line]:
        """Each step's line as it is done. Raises Stop, Refusal and VipguardError."""
        from . import setup_data, setup_host

        yield from self._configuration()
        yield from self._server()
        yield from self._peers()
        self._foreign()
        yield from self._my_cnf()
        self._one_open()
        yield from self._accounts()
        yield from setup_data.copied(self)
        yield from setup_data.compared(self)
        yield from self._source()
        yield from setup_host.lines(self)

    def look(self) -> None:
        """This node's server, then the others': what is here is never compared with something older."""
        self.here = act.look_here(self.policy)
        self.peers, self.unseen = {}, {}
        for node in self.policy.peers:
            try:
                self.peers[node.name] = act.look_at_peer(self.policy, node)
            except VipguardError as exc:
                self.unseen[node.name] = str(exc)

    def plan(self, source: Node, replication: Replication | None = None) -> Plan:
        """For a copy of `source`, and for what is sent to follow the node before this one."""
        assert self.policy.replication is not None
        unfinished = self._unfinished()
        return Plan(
            policy=self.policy,
            replication=replication or self.policy.replication,
            flavor=self.here.flavor,
            writer=source,
            follows=self.policy.source_of(self.policy.me).address,
            datadir=self.here.variables.get("datadir", ""),
            deadline=Deadline(self.policy.copy.within_s),
            began_at=unfinished.began_at if unfinished else time.time(),
            again=os.path.exists(self.policy.paths.copy_mark),
        )

    def _unfinished(self) -> mark.Mark | None:
        try:
            return mark.read(self.policy.paths.copy_mark)
        except VipguardError:
            return None

    # -- the steps that only look

    def _configuration(self) -> Iterator[Line]:
        policy = self.policy
        if policy.replication is None or not policy.replication.password:
            raise ConfigError(
                "is missing",
                file=policy.file,
                key="replication.password_file",
                remedy="name the file with the replication account's password: the nodes follow each other with it",
            )
        if os.geteuid() != 0:
            raise Refusal("configuration", "only root may set a node up: run it with sudo")
        seen = procnet.look(policy.vip.interface, policy.me.address, boottime_s)
        if not seen.vip_present:
            raise Refusal(
                "configuration",
                f"this host does not have the address {policy.me.address} of node {policy.node}",
                f'name the node that this host is in {policy.file}: node = "…", or correct its address',
            )
        names = ", ".join(node.name for node in policy.nodes)
        yield Line("already so", "configuration", f"{policy.file}: this is {policy.node} of {policy.cluster} ({names})")

    def _server(self) -> Iterator[Line]:
        policy = self.policy
        try:
            self.look()
        except Absent as exc:
            raise Stop("server", str(exc), "systemctl start mariadb   (or mysql)") from exc
        except CouldNotLook as exc:
            raise Refusal(
                "server",
                f"{policy.copy.user!r} is not let in over the socket: {exc}",
                "name a local superuser with copy.user and copy.password_file, or look at mysql.socket",
            ) from exc
        open_ = "closed" if self.here.closed else "open"
        if self.here.clients:
            open_ += f", {self.here.clients} client session{'s' if self.here.clients > 1 else ''}"
        text = f"{_named(self.here)} answers {policy.copy.user} at {policy.mysql.socket} ({open_})"
        yield Line("already so", "server", text)
        if self.here.process is None:
            text = "no process here is proven to be this server: the node will be no candidate (process-unknown)"
            remedy = "let the server make its own socket and set pid_file; vipguard doctor tells"
            yield Line("TO DO", "server", text, (remedy,))

    def _peers(self) -> Iterator[Line]:
        for name, reason in self.unseen.items():
            text = f"{name} cannot be looked at yet: {reason}"
            same = "the same password files on every node; then " if "1045" in reason else ""
            yield Line("TO DO", "other nodes", text, (f"{same}on {name}: vipguard setup",))
        for name, peer in self.peers.items():
            if peer.flavor != self.here.flavor:
                raise Refusal(
                    "other nodes",
                    f"{name} is {_named(peer)} and this node {_named(self.here)}: their GTIDs cannot be compared",
                    "run one kind of server in a cluster",
                )
            if peer.series != self.here.series:
                text = f"{name} is {_named(peer)} and this node {_named(self.here)}: an older one may not read what"
                yield Line("TO DO", "other nodes", f"{text} a newer one writes", ("install one series everywhere",))
            else:
                yield Line("already so", "other nodes", f"{name} answers: {_named(peer)}")

    def _foreign(self) -> None:
        """Whoever replicates from elsewhere is part of something that the configuration does not know."""
        nodes = {(node.address, self.policy.mysql.port) for node in self.policy.peers}
        channels = self.here.channels
        if len(channels) < 2 and all((one.source_host, one.source_port) in nodes for one in channels):
            return
        said = ", ".join(endpoint(one.source_host, one.source_port) for one in channels)
        words = "SLAVE" if self.here.flavor == MARIADB else "REPLICA"
        raise Refusal(
            "replication",
            f"this server follows {said}, and a node follows one other node and nobody else",
            f"if that is to end, in its own client: STOP {words}; RESET {words} ALL;",
        )

    def _one_open(self) -> None:
        both = [name for name, peer in self.peers.items() if not peer.closed]
        if both and not self.here.closed:
            raise Refusal(
                "other nodes",
                f"this node and {', '.join(both)} accept writes, and their histories go apart",
                "close the one that no application uses: SET GLOBAL read_only = 1",
            )

    def _my_cnf(self) -> Iterator[Line]:
        arguments = self._arguments()
        boot = None if arguments is None else boot_of(arguments, self.here)
        lacking = list(files.not_in_force(self.policy, self.here, boot))
        if not lacking:
            yield Line("already so", "my.cnf", "what `vipguard render mysql` prints is in force")
            return
        given = next((a.partition("=")[2] for a in arguments or () if a.startswith("--defaults-file=")), "")
        if number := files.number_to_keep(self.policy, self.here):
            other = self.policy.me.server_id
            text = f"its server_id is {number}, and {other} by the configuration: it keeps its number"
            remedy = f"on every node, in {self.policy.file} below [nodes.{self.policy.node}]: server_id = {number}"
            yield from self._or_stop(Stop("my.cnf", text, remedy))
        file = files.my_cnf_file(self.policy, self.here, given)
        yield Line("TO DO", "my.cnf", f"not in force: {', '.join(lacking)}")
        if file is None:
            text = "no directory is included by its files: put what `vipguard render mysql` prints into one of them"
            yield from self._or_stop(Stop("my.cnf", text, "vipguard render mysql", self._restart()))
            return
        yield from self.write(file, "my.cnf")
        if change := domain_alone(self.policy, self.here, lacking):
            yield from self._or_stop(Stop("my.cnf", "then, without a restart (docs/doctor.md, Domains)", change))
            return
        note = "; if that was done, something read later says otherwise: vipguard doctor"
        if self.here.clients:
            note = f"; {self.here.clients} client session(s) end then, and nobody writes before vipguard opens it"
        text = f"then restart the server, at an hour that suits{note}"
        yield from self._or_stop(Stop("my.cnf", text, self._restart()))

    def _arguments(self) -> list[str] | None:
        """The command line of this host's server; None where it cannot be told."""
        if self.here.process is None:
            return None
        try:
            text = Path(f"/proc/{self.here.process.pid}/cmdline").read_bytes().decode("utf-8", "replace")
        except OSError:
            return None
        return text.split("\0")

    def _restart(self) -> str:
        return f"systemctl restart {'mariadb' if self.here.flavor == MARIADB else 'mysql'}"

    def _or_stop(self, stop: Stop) -> Iterator[Line]:
        """A dry run goes on, to show the rest."""
        if not self.options.dry_run:
            raise stop
        yield stop.line

    # -- the steps that change something

    def write(self, file: files.File, step: str) -> Iterator[Line]:
        """A file as it ought to be, if `--write-config` says so; the same words for all files."""
        state, options = file.state(), self.options
        if state == "same":
            yield Line("already so", step, file.path)
        elif state == "differs" and not (options.write_config and options.force):
            text = f"{file.path} says something else; it is kept, and written only by"
            yield Line("TO DO", step, text, ("vipguard setup --write-config --force",))
        elif not options.write_config:
            yield Line("TO DO", step, f"{file.path} is {state}", ("vipguard setup --write-config",))
        elif options.dry_run:
            yield Line("would do", step, f"write {file.path}", (file.text.rstrip(),))
        else:
            kept = file.write()
            yield Line("done", step, f"wrote {file.path}" + (f"; the old text is {kept}" if kept else ""))

    def _accounts(self) -> Iterator[Line]:
        policy, flavor = self.policy, self.here.flavor
        lacking = act.lacking_accounts(policy, flavor)
        if not lacking:
            yield Line("already so", "accounts", "the accounts, their grants, passwords and tables")
            return
        if self.options.dry_run:
            text = accounts_sql(policy, flavor, with_passwords=False)
            yield Line("would do", "accounts", f"{len(lacking)} things are missing", (text.rstrip(),))
            return
        act.create_accounts(policy, flavor)
        still = act.lacking_accounts(policy, flavor)
        if still:
            remedy = "see vipguard doctor; look at the firewall and at bind_address"
            raise Stop("accounts", f"they were made, and still {still[0]}", remedy)
        self.look()
        yield Line("done", "accounts", f"made, kept out of the binary log ({_brief(lacking)})")

    def _source(self) -> Iterator[Line]:
        policy, source = self.policy, self.policy.source_of(self.policy.me)
        nodes = {node.address: node.name for node in policy.peers}
        channels = self.here.channels
        if channels:
            name = nodes[channels[0].source_host]
            if channels[0].received is None:
                text = f"it follows {name} by file and position, not by GTID"
                raise Refusal("replication", text, _by_gtid(self.here))
            running = channels[0].io == "running" and channels[0].sql_running
            state = "and does" if running else "the agent starts it"
            if channels[0].io_error or channels[0].sql_error:
                state = f"its last word: {channels[0].sql_error or channels[0].io_error}"
            yield Line("already so", "replication", f"{policy.node} is to follow {name}; {state}")
            return
        masked = Replication(policy.replication.user if policy.replication else "", "", "…")
        shown = change_source(self.plan(source, masked), _quoted)
        if self.options.dry_run:
            yield Line("would do", "replication", f"{policy.node} is to follow {source.name}", (shown,))
            return
        act.point(policy, lambda quote: change_source(self.plan(source), quote))
        self.look()
        yield Line("done", "replication", f"{policy.node} is to follow {source.name}; the agent starts it")


def boot_of(arguments: list[str], server: Server) -> dict[str, str] | None:
    """What the server would start with, by name; None where its files cannot be read."""
    try:
        options = boot_options(arguments, server.flavor, server.version)
    except CouldNotLook:
        return None
    return {name: "ON" if option.value is None else option.value for name, option in options.items()}


def domain_alone(policy: Policy, here: Server, lacking: list[str]) -> str:
    """How the domain is changed while the server runs, where nothing else is to be; "" where it is not to be."""
    if not all(line.startswith("gtid_domain_id ") for line in lacking):
        return ""
    if here.closed:
        return f"SET GLOBAL gtid_domain_id = {policy.mysql.gtid_domain_id};   in this server's client"
    return "vipguard switchover" if here.guarded else ""


def _named(server: Server) -> str:
    return f"{'MariaDB' if server.flavor == MARIADB else 'MySQL'} {server.version.partition('-')[0]}"


def _by_gtid(server: Server) -> str:
    if server.flavor == MARIADB:
        return "STOP SLAVE; CHANGE MASTER TO MASTER_USE_GTID = slave_pos;   when both are at rest and alike"
    return "STOP REPLICA; CHANGE REPLICATION SOURCE TO SOURCE_AUTO_POSITION = 1;   when both are at rest and alike"


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def _brief(lacking: list[str]) -> str:
    return f"{lacking[0]}, and {len(lacking) - 1} more" if len(lacking) > 1 else lacking[0]
