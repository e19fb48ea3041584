"""How does this node become a fresh copy of the writer? What both flavours share; the writer is only read.

From the first destructive step on the node's data are half until the last one: whoever calls `make` has put the mark
first, and removes it only when `make` has returned.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from ..errors import Absent, CouldNotDo, Silent, VipguardError
from ..model.evidence import Channel
from ..model.gtid import GtidSet
from ..model.policy import MARIADB, Flavor, Node, Policy, Replication
from ..session import Deadline, Lost, Session, Tls, dialect_of
from .replication import look
from .step import step

ASK_S = 10.0
AGAIN_S = 0.25
SOURCE_S = 60.0
HOLD_S = 30.0
QUIET_S = 0.5
OUT_OF_ORDER = 1950  # MariaDB's, under gtid_strict_mode
PATIENCE_S = 15.0  # until somebody is told that a server does not come back


class Tell(Protocol):
    """Whoever watches the copy. `progress` is of the present step, in bytes; the total may be an estimate."""

    def step(self, text: str) -> None: ...

    def progress(self, done: int, total: int) -> None: ...

    def warn(self, text: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Plan:
    """`follows` is the address of the node to replicate from afterwards. `datadir` as the server told it.

    `began_at` (seconds since 1970): what was copied since then is of this copy; `again`: another run began it. `held`
    collects the names of the nodes that are kept from replicating from here.
    """

    policy: Policy
    replication: Replication
    flavor: Flavor
    writer: Node
    follows: str
    datadir: str
    deadline: Deadline
    began_at: float
    again: bool
    held: set[str] = field(default_factory=set)

    def ask_writer(self) -> Session:
        """A session to the writer, with vipguard's own account."""
        return peer_session(self.policy, self.writer, self.deadline.at_most(ASK_S))

    def ask_home(self) -> Session:
        """A session to this host's server, with vipguard's own account."""
        return Session.local(self.policy.mysql, self.deadline.at_most(ASK_S))


def peer_session(policy: Policy, node: Node, deadline: Deadline) -> Session:
    return Session.peer(node.address, policy.mysql, Tls.of(policy.mysql), deadline)


def check(plan: Plan) -> None:
    """Whatever can be known to be missing before anything is touched. Raises CouldNotDo."""
    from . import copy_mariadb, copy_mysql

    with step("before the copy"):
        if plan.policy.copy.command:
            return
        (copy_mariadb if plan.flavor == MARIADB else copy_mysql).check(plan)


def readers(policy: Policy, deadline: Deadline) -> tuple[str, ...]:
    """The nodes whose IO thread reads this node's binary log now, or tries to, of those that answer."""
    found: list[str] = []
    for node in policy.peers:
        try:
            if any(channel.io != "stopped" for channel in _reading(policy, node, deadline)):
                found.append(node.name)
        except VipguardError:
            continue
    return tuple(found)


def hold_readers(plan: Plan) -> None:
    """The log that they read is about to vanish, which would end their IO threads for good (1236): stop them before.

    An agent may start one again as long as this node looks contained, once: it has to stay quiet for a while.
    """
    until, quiet_s = plan.deadline.at_most(HOLD_S), time.monotonic()
    while time.monotonic() - quiet_s < QUIET_S:
        for name in readers(plan.policy, plan.deadline):
            node = next(one for one in plan.policy.peers if one.name == name)
            channels = _reading(plan.policy, node, plan.deadline)
            if plan.flavor == MARIADB and not all(c.sql_running or _refused(plan, node, c) for c in channels):
                raise CouldNotDo(f"{name} does not apply what it received from here, and would lose it")
            _reading(plan.policy, node, plan.deadline, dialect_of(plan.flavor).stop_io)
            plan.held.add(name)
            quiet_s = time.monotonic()
        if until.expired:
            raise CouldNotDo(f"{', '.join(plan.held)} cannot be kept from replicating from this node")
        time.sleep(AGAIN_S)


def _resume_readers(plan: Plan, tell: Tell) -> None:
    """Those that were held; after a run that broke off, all that should read."""
    for node in plan.policy.peers:
        try:
            channels = _reading(plan.policy, node, plan.deadline)
            waiting = [one for one in channels if one.io == "stopped" and one.sql_running]
            if waiting and (plan.again or node.name in plan.held):
                _reading(plan.policy, node, plan.deadline, dialect_of(plan.flavor).start_io)
            if any(one.io == "stopped" and _refused(plan, node, one) for one in channels):
                _reading(plan.policy, node, plan.deadline, dialect_of(plan.flavor).start_both)
        except VipguardError as exc:
            if node.name in plan.held:
                tell.warn(f"start the IO thread on {node.name} again: {exc}")


def _refused(plan: Plan, node: Node, channel: Channel) -> bool:
    """Is what it received and does not apply what this node gives up? The writer's applier stopped at a number of this
    node's that is none of the writer's history; once both threads stand, that is gone."""
    return node == plan.writer and not channel.sql_running and channel.sql_errno == OUT_OF_ORDER


def _reading(policy: Policy, node: Node, deadline: Deadline, verb: str = "") -> list[Channel]:
    """That node's channels from this one; each is told `verb`, a statement of the dialect, if there is one."""
    session = peer_session(policy, node, deadline.at_most(ASK_S))
    try:
        channels = [one for one in look(session, deadline)[1] if one.source_host == policy.me.address]
        texts = [verb.format(session.literal(channel.name)) for channel in channels] if verb else []
        if texts:
            session.ask(texts, deadline.at_most(ASK_S))
        return channels
    finally:
        session.close()


def make(plan: Plan, tell: Tell) -> GtidSet:
    """The copy, replication configured and stopped; what the node has then, all of which the writer has.

    Raises Absent, Silent, CouldNotDo; the data here are to be taken for half then.
    """
    from . import copy_mariadb, copy_mysql

    with step("copy the writer"):
        if plan.policy.copy.command:
            before = copy_mariadb.writers_set(plan) if plan.flavor == MARIADB else GtidSet.empty(plan.flavor)
            hold_readers(plan)
            position = _by_command(plan, tell)
            if plan.flavor == MARIADB:
                copy_mariadb.settle(plan, position, before)
            else:
                copy_mysql.settle(plan)
        elif plan.flavor == MARIADB:
            copy_mariadb.make(plan, tell)
        else:
            copy_mysql.make(plan, tell)
        have = _contained(plan)
        _wait_source(plan, have, tell)
        _resume_readers(plan, tell)
        return have


def _wait_source(plan: Plan, have: GtidSet, tell: Tell) -> None:
    """In a ring the source may be behind the writer: one that lacks what its replica has ends the IO thread (1236)."""
    source = next((node for node in plan.policy.peers if node.address == plan.follows), None)
    if source is None or source == plan.writer:
        return
    tell.step(f"waiting until {source.name} has all that is here")
    until, last = plan.deadline.at_most(SOURCE_S), ""
    while not until.expired:
        try:
            session = peer_session(plan.policy, source, until.at_most(ASK_S))
        except VipguardError as exc:
            last = str(exc)
        else:
            theirs = _gtid(session, plan, "")
            if theirs.contains(have):
                return
            last = f"{_brief(have.minus(theirs))} is missing there"
        time.sleep(AGAIN_S)
    tell.warn(f"{source.name}, from which this node replicates, is behind: {last}")


def _contained(plan: Plan) -> GtidSet:
    """This node's set, read before the writer's."""
    mine = _gtid(plan.ask_home(), plan, "this node's server")
    theirs = _gtid(plan.ask_writer(), plan, "")
    if not theirs.contains(mine):
        raise CouldNotDo(
            f"the copy has transactions that {plan.writer.name} lacks: {_brief(mine.minus(theirs))}"
        )
    return mine


def _gtid(session: Session, plan: Plan, closed: str) -> GtidSet:
    """What the server has; where `closed` names it, it must be read-only."""
    try:
        dialect = dialect_of(session.flavor)
        row = session.ask((dialect.own_gtid(),), plan.deadline.at_most(ASK_S))[0][0]
        if closed and not dialect.read_closed(row):
            raise CouldNotDo(f"{closed} is not read-only: its my.cnf lacks what `vipguard render mysql` prints")
        return dialect.read_gtid(row)
    finally:
        session.close()


def change_source(plan: Plan, quote: Callable[[str], str]) -> str:
    """The statement that makes `plan.follows` the source; replication stays stopped."""
    account = plan.replication
    if plan.flavor == MARIADB:
        values = {
            "MASTER_HOST": quote(plan.follows),
            "MASTER_PORT": str(plan.policy.mysql.port),
            "MASTER_USER": quote(account.user),
            "MASTER_PASSWORD": quote(account.password),
            "MASTER_USE_GTID": "slave_pos",
            "MASTER_CONNECT_RETRY": "1",
        }
        verb = "CHANGE MASTER TO"
    else:
        values = {
            "SOURCE_HOST": quote(plan.follows),
            "SOURCE_PORT": str(plan.policy.mysql.port),
            "SOURCE_USER": quote(account.user),
            "SOURCE_PASSWORD": quote(account.password),
            "SOURCE_AUTO_POSITION": "1",
            "GET_SOURCE_PUBLIC_KEY": "1",
            "SOURCE_CONNECT_RETRY": "1",
            "SOURCE_RETRY_COUNT": "86400",
        }
        verb = "CHANGE REPLICATION SOURCE TO"
    mysql, prefix = plan.policy.mysql, verb.split()[1] if plan.flavor == MARIADB else "SOURCE"
    if mysql.tls != "preferred":
        values[f"{prefix}_SSL"] = "1"
    if mysql.tls == "verify":
        values[f"{prefix}_SSL_VERIFY_SERVER_CERT"] = "1"
        if mysql.tls_ca:
            values[f"{prefix}_SSL_CA"] = quote(mysql.tls_ca)
    return f"{verb} " + ", ".join(f"{key}={value}" for key, value in values.items())


def wait_for_server(plan: Plan, tell: Tell, ready: Callable[[Session], bool], hint: str) -> Session:
    """A session to this host's server as soon as `ready` says so of it; `hint` is told when that takes long.

    Raises Silent at the deadline, CouldNotDo where the account is not let in.
    """
    began_s, told = time.monotonic(), False
    while True:
        session: Session | None = None
        try:
            session = plan.ask_home()
            if ready(session):
                return session
            session.close()
        except (Absent, Silent, Lost):
            if session is not None:
                session.close()
        if not told and time.monotonic() - began_s > PATIENCE_S:
            told = True
            tell.warn(hint)
        if plan.deadline.expired:
            raise Silent(f"{plan.policy.mysql.socket}: the server did not come back; {hint}")
        time.sleep(AGAIN_S)


class Pace:
    """Keeps what is read from the writer below so many MB a second on average."""

    def __init__(self, mb_s_max: float) -> None:
        self._bytes_s = mb_s_max * 1e6
        self._free_s = time.monotonic()

    def wait(self, size: int) -> None:
        """To be called after each piece."""
        now_s = time.monotonic()
        self._free_s = max(self._free_s, now_s - 0.1) + size / self._bytes_s
        if self._free_s > now_s:
            time.sleep(self._free_s - now_s)


def _by_command(plan: Plan, tell: Tell) -> str:
    """`copy.command`, bounded by the plan's deadline; the last line that it printed."""
    policy, argv = plan.policy, shlex.split(plan.policy.copy.command)
    environment = {
        **os.environ,
        "VIPGUARD_NODE": policy.node,
        "VIPGUARD_FLAVOR": plan.flavor,
        "VIPGUARD_WRITER": plan.writer.name,
        "VIPGUARD_WRITER_ADDRESS": plan.writer.address,
        "VIPGUARD_PORT": str(policy.mysql.port),
        "VIPGUARD_SOCKET": policy.mysql.socket,
        "VIPGUARD_DATADIR": plan.datadir,
    }
    tell.step(f"running {argv[0]}")
    try:
        done = subprocess.run(
            argv,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            timeout=max(1.0, plan.deadline.remaining()),
            text=True,
            errors="replace",
            check=False,
        )
    except subprocess.TimeoutExpired as exc:
        raise CouldNotDo(f"copy.command did not end within {policy.copy.within_s:g} s") from exc
    except OSError as exc:
        raise CouldNotDo(f"copy.command: {argv[0]}: {exc.strerror}", refused=True) from exc
    if done.returncode != 0:
        raise CouldNotDo(f"copy.command failed with exit code {done.returncode}")
    wait_for_server(plan, tell, lambda session: True, "start the server, for example: systemctl start mysql").close()
    lines = done.stdout.strip().splitlines()
    return lines[-1].strip() if lines else ""


def _brief(missing: GtidSet) -> str:
    text = str(missing)
    return text if len(text) <= 200 else f"{text[:200]}…"
