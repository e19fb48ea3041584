"""What does a server say of itself? One round of questions over a persistent session, as evidence.

The same probe serves this host's server and a peer's. The agent asks ten times a second, so a round is one packet
there and one back, read without decoding what nobody needs.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from ..errors import Absent, CouldNotLook, Silent, VipguardError
from ..model.evidence import Answer, Channel, Mark, SemiSync, ServerEvidence, ServerFacts
from ..model.ledger import Ledger
from ..model.policy import Policy
from ..session import Connector, Deadline, Dialect, Lost, Session, dialect_of, heartbeat, ledger, semi_sync
from ..session.dialect import Columns
from ..session.wire import Row
from .proof import VARIABLES, Proof

ATTEMPTS_MAX = (
    4  # an ending session is replaced within the round; a server that ends each one has not answered
)
PAUSE_S = 0.01
LATE_S = 0.1  # overdue by that much: we were not running, and the silence is ours
PROOF_SHARE = 0.3  # of a round, kept to see whether a server that did not answer lives all the same


class ServerProbe:
    """Looks at one server. Belongs to one thread; `connect` is a `Connector`, or makes a session by other means.

    Under lossless it asks for semi-sync and its mark as well. `signs` gives the names of locks that the session is to
    hold, for others to see; they are asked for again whenever they change. A session that holds any ends with
    `signed_idle_s_max` seconds of idleness, where that is given: nobody is to see it when its host is gone.
    """

    def __init__(
        self,
        connect: Callable[[Deadline], Session],
        policy: Policy,
        signs: Callable[[], tuple[str, ...]] = tuple,
        signed_idle_s_max: int | None = None,
    ) -> None:
        self._connect, self._policy, self._signs = connect, policy, signs
        self._signed: tuple[str, ...] = ()
        self._signed_idle_s_max = signed_idle_s_max
        self._session: Session | None = None
        self._dialect: Dialect = dialect_of("mariadb")
        self._statement = ""
        self._columns: Columns | None = None
        self._more: tuple[str, ...] = ()
        self._has_semi_sync = False
        self._has_beats = self._has_ledger = False
        self._ledger, self._fingerprint = Ledger(), ""
        is_local = isinstance(connect, Connector) and connect.is_local
        self._proof = Proof(connect, policy.limits.hang_s) if isinstance(connect, Connector) and is_local else None
        self._spoke = False  # did it take a session within this round?
        self._fresh: Session | None = None  # taken to see whether it lives, and not asked for anything yet
        self._abandoned: int | None = None  # the session whose answer did not come

    def look(self, deadline_s: float, now: Callable[[], float], channels: bool = True) -> ServerEvidence:
        """One round within `deadline_s` in all. Never raises for what the world does.

        `channels=False` leaves the replication out, and costs half.
        """
        asked_at_s, self._spoke = now(), False
        deadline = Deadline(deadline_s)
        first = deadline if self._proof is None else deadline.before(PROOF_SHARE * deadline_s)
        try:
            facts = self._round(first, channels)
        except Absent as exc:
            return ServerEvidence(Answer.ABSENT, asked_at_s, now(), reason=str(exc))
        except (Silent, Lost) as exc:
            overdue_s = first.overdue_s()
            if overdue_s > LATE_S:
                reason = f"this prober was {overdue_s:.1f} s late, so it can't tell: {exc}"
                return ServerEvidence(Answer.BLIND, asked_at_s, now(), reason=reason)
            return self._unanswered(asked_at_s, now, deadline, exc)
        except VipguardError as exc:
            return ServerEvidence(Answer.BLIND, asked_at_s, now(), reason=str(exc), spoke=self._spoke)
        if self._proof is not None:
            self._proof.answered(facts.process)
        return ServerEvidence(Answer.ANSWERED, asked_at_s, now(), facts)

    def _unanswered(
        self, asked_at_s: float, now: Callable[[], float], deadline: Deadline, exc: VipguardError
    ) -> ServerEvidence:
        """Is it silent, or does it live and is kept from answering?"""
        lives, spoke = ("it took a new session", True) if self._spoke else ("", False)
        if not lives and self._proof is not None:
            lives, spoke, self._fresh = self._proof.seek(deadline)
            if not lives and self._proof.dead:
                reason = "its process was killed, and its threads hang in the kernel"
                return ServerEvidence(Answer.ABSENT, asked_at_s, now(), reason=reason)
        if lives:
            reason = f"{lives}, and does not answer vipguard's questions: {exc}"
            return ServerEvidence(Answer.BLIND, asked_at_s, now(), reason=reason, spoke=spoke)
        return ServerEvidence(Answer.SILENT, asked_at_s, now(), reason=str(exc))

    def fileno(self) -> int:
        """The session's socket, to be polled for a hang-up; -1 while there is none."""
        return self._session.fileno() if self._session is not None else -1

    @property
    def session(self) -> Session | None:
        """The session of the last round, for a lock that is to live and die with it."""
        return self._session

    @property
    def connection_id(self) -> int | None:
        """The session's id on the server; None while there is none."""
        return self._session.connection_id if self._session is not None else None

    def close(self) -> None:
        self._drop()
        if self._fresh is not None:
            self._fresh.close()
            self._fresh = None

    def _drop(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None

    def _round(self, deadline: Deadline, channels: bool) -> ServerFacts:
        for attempt in range(ATTEMPTS_MAX):
            try:
                return self._ask(deadline, channels)
            except Lost:
                self._drop()
                if attempt == ATTEMPTS_MAX - 1 or deadline.remaining() <= PAUSE_S:
                    raise
                if attempt:
                    time.sleep(PAUSE_S)
            except (ValueError, IndexError) as exc:
                self._drop()
                raise CouldNotLook(f"the server's answer cannot be understood: {exc}") from exc
            except Silent:
                self._abandoned = self.connection_id or self._abandoned
                self._drop()
                raise
            except VipguardError:
                self._drop()
                raise
        raise AssertionError("unreachable")

    def _ask(self, deadline: Deadline, channels: bool) -> ServerFacts:
        session = self._session or self._begin(deadline)
        if (signs := self._signs()) != self._signed:
            self._sign(session, signs, deadline)
        if not self._has_ledger or (not self._has_beats and self._policy.limits.heartbeat_s):
            self._expect_tables(session, deadline)
        dialect = self._dialect
        wanted = (self._statement, *self._more, *((dialect.channels,) if channels else ()))
        rows, *others = session.ask(wanted, deadline)
        status = others.pop() if channels else []
        if not rows:
            raise CouldNotLook(f"{session.place}: no row came back for the server's own variables")
        said = dialect.read_facts(rows[0])
        seen: tuple[Channel, ...] | None = None
        if channels:
            if status and self._columns is None:
                self._columns = dialect.locate(session.columns(dialect.channels))
            at = self._columns
            seen = tuple(dialect.read_channel(row, at, said.gtid) for row in status) if at else ()
        acks, mark = self._read_more(session, others)
        if self._has_ledger and said.openings != self._fingerprint:
            words = ledger.read(session.literal, self._policy.cluster)
            self._ledger, self._fingerprint = ledger.read_rows(session.ask((words,), deadline)[0]), said.openings
        told = [channel.io_beats for channel in seen or () if channel.io_beats is not None]
        return ServerFacts(
            flavor=session.flavor,
            version=session.version,
            server_id=said.server_id,
            closed=said.closed,
            gtid=said.gtid,
            open_lock=said.open_lock,
            claim_lock=said.claim_lock,
            connection_id=session.connection_id,
            epoch=said.epoch,
            channels=seen,
            datadir=said.datadir,
            other_cluster=said.other_cluster,
            process=session.server_process(deadline),
            uuid=said.uuid,
            semi_sync=acks,
            mark=mark,
            maintenance=said.maintenance,
            moving_to=said.moving_to,
            fit_lock=said.fit_lock,
            reads=said.reads,
            certificate_until_s=session.certificate_until_s,
            beats=said.beats,
            gone=said.gone,
            log_dirs=self._proof.log_dirs if self._proof is not None else (),
            ledger=self._ledger if self._has_ledger else None,
            io_beats=sum(told) if told else said.io_beats,
            half_closed=said.half_closed,
            order=said.order,
        )

    def _expect_tables(self, session: Session, deadline: Deadline) -> None:
        """A server whose accounts are of an older version has not all tables yet: they are asked for each time."""
        beats, openings = session.ask((heartbeat.THERE, ledger.THERE), deadline)
        self._has_beats = bool(self._policy.limits.heartbeat_s) and beats[0][0] == b"1"
        self._has_ledger = openings[0][0] == b"1"
        self._statement = self._dialect.facts(session.literal, self._policy, self._has_beats, self._has_ledger)

    def _read_more(self, session: Session, answers: list[list[Row]]) -> tuple[SemiSync | None, Mark | None]:
        """What was asked under lossless. A server without semi-sync is asked each time whether it has it by now."""
        if not answers:
            return None, None
        words = semi_sync.words_of(session.flavor)
        mark = semi_sync.read_mark(answers[0])
        if self._has_semi_sync:
            return words.read(answers[1]), mark
        self._has_semi_sync = answers[1][0][0] == b"2"
        if self._has_semi_sync:
            self._more = (self._more[0], words.status)  # from the next round on
        return None, mark

    def _begin(self, deadline: Deadline) -> Session:
        session, self._fresh = self._fresh or self._connect(deadline), None
        self._spoke = True
        self._let_end(session, deadline)
        if self._proof is not None:
            self._proof.learn(session.ask((VARIABLES,), deadline)[0])
        self._signed = ()
        self._dialect = dialect_of(session.flavor)
        self._columns = None
        self._has_beats = self._has_ledger = False
        self._ledger, self._fingerprint = Ledger(), ""
        self._statement = self._dialect.facts(session.literal, self._policy, beats=False, openings=False)
        self._more = ()
        if self._policy.lossless:
            words = semi_sync.words_of(session.flavor)
            self._has_semi_sync = words.there is None or session.ask((words.there,), deadline)[0][0][0] == b"2"
            status = words.status if self._has_semi_sync else words.there or ""
            self._more = (semi_sync.mark(session.literal, self._policy.cluster), status)
        self._session = session
        return session

    def _let_end(self, session: Session, deadline: Deadline) -> None:
        """No second question while the first one waits in the server: each would take one of its connections."""
        if self._abandoned is None:
            return
        waits = str(self._abandoned)
        rows = session.ask((Dialect.sessions,), deadline)[0]
        row = next((row for row in rows if row[0] == waits.encode()), None)
        if row is None:
            self._abandoned = None
            return
        session.attempt_all([f"KILL {waits}"], deadline)
        self._fresh = session
        state = (row[6] or b"").decode("utf-8", "replace") or "no state"
        raise CouldNotLook(f"{session.place}: it lives, and vipguard's last question waits in it ({state})")

    def _sign(self, session: Session, signs: tuple[str, ...], deadline: Deadline) -> None:
        """Never waits: what another session still holds, such as that of an agent that just ended, is tried again."""
        new = [name for name in signs if name not in self._signed]
        gone = [name for name in self._signed if name not in signs]
        words = [f"GET_LOCK({session.literal(name)}, 0)" for name in new]
        words += [f"RELEASE_LOCK({session.literal(name)})" for name in gone]
        if new and self._signed_idle_s_max is not None:
            session.ask((f"SET SESSION wait_timeout={self._signed_idle_s_max}",), deadline)
        answers = session.ask((f"SELECT {', '.join(words)}",), deadline)[0][0]
        got = {name for name, answer in zip(new, answers, strict=False) if answer == b"1"}
        self._signed = tuple(name for name in signs if name in self._signed or name in got)
