"""How do the writer's databases get here? mariadb-dump into mariadb, through our hands: counted, paced, bounded.

Passwords go by a file in memory. Both programs end with this process, however it ends.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO

from ..errors import CouldNotDo
from ..model.policy import Mysql
from .copy import Pace, Plan, Tell

CHUNK = 256 * 1024
HEAD = 64 * 1024  # within it the dump says where in the binary log it stands
_PLACE = re.compile(rb"^-- CHANGE MASTER TO MASTER_LOG_FILE='([^']+)', MASTER_LOG_POS=(\d+);", re.MULTILINE)
_WHOLE = b"-- Dump completed"


@dataclass(frozen=True, slots=True)
class Dump:
    """`databases` in this order; `with_history` for system-versioned tables."""

    databases: Sequence[str]
    with_history: bool = False

    @staticmethod
    def check() -> None:
        """Raises CouldNotDo when a program is missing."""
        for program in ("mariadb-dump", "mariadb"):
            if shutil.which(program) is None:
                raise CouldNotDo(f"{program} is not installed here (package mariadb-client)", refused=True)

    def run(self, plan: Plan, total: int, tell: Tell) -> str:
        """Dump and load; the writer's position at the dump's moment. Raises CouldNotDo, Silent."""
        policy = plan.policy
        source = _option_file(policy.mysql.user, policy.mysql.password, _tls(policy.mysql))
        target = _option_file(policy.copy.user, policy.copy.password, [f"socket={policy.mysql.socket}"])
        try:
            with (
                _Program(self._dump(plan, source), source, stdin=None) as dump,
                _Program(_load(target), target, stdin=subprocess.PIPE) as load,
            ):
                bound = threading.Timer(plan.deadline.remaining(), _kill, (dump, load))
                bound.daemon = True
                bound.start()
                try:
                    return _pump(plan, dump, load, total, tell)
                finally:
                    bound.cancel()
        finally:
            os.close(source)
            os.close(target)

    def _dump(self, plan: Plan, options: int) -> list[str]:
        return [
            "mariadb-dump",
            f"--defaults-file=/dev/fd/{options}",
            f"--host={plan.writer.address}",
            f"--port={plan.policy.mysql.port}",
            "--protocol=tcp",
            "--default-character-set=utf8mb4",
            "--single-transaction",  # with --master-data it takes no global lock: one snapshot of InnoDB
            "--master-data=2",
            "--quick",
            "--hex-blob",
            "--skip-add-locks",
            "--routines",
            "--events",
            "--triggers",
            "--max-allowed-packet=1G",
            *(["--dump-history"] if self.with_history else []),
            "--databases",
            *self.databases,
        ]


def _load(options: int) -> list[str]:
    return [
        "mariadb",
        f"--defaults-file=/dev/fd/{options}",
        "--protocol=socket",
        "--default-character-set=utf8mb4",
        "--max-allowed-packet=1G",
        "--binary-mode",
        "--batch",
        "--init-command=SET SESSION sql_log_bin=0, lock_wait_timeout=60",
    ]


class _Program:
    """A child with its complaints kept; killed at the exit if it still runs."""

    def __init__(self, argv: list[str], options: int, stdin: int | None) -> None:
        self.name = argv[0]
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  closed at the exit
        self.process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *argv],
            stdin=subprocess.DEVNULL if stdin is None else stdin,
            stdout=subprocess.PIPE if stdin is None else subprocess.DEVNULL,
            stderr=self._said,
            pass_fds=(options,),
            env={**os.environ, "LC_ALL": "C.UTF-8"},
        )

    def __enter__(self) -> _Program:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        self.process.wait()
        self._said.close()

    def kill(self) -> None:
        self.process.kill()

    def complaint(self) -> str:
        self._said.seek(0)
        lines = self._said.read()[-4000:].decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else f"exit code {self.process.returncode}"

    def require_success(self, plan: Plan) -> None:
        code = self.process.wait()
        if plan.deadline.expired:
            raise CouldNotDo(f"{self.name} did not end within {plan.policy.copy.within_s:g} s (copy.within_s)")
        if code != 0:
            raise CouldNotDo(f"{self.name} failed: {self.complaint()}")


def _kill(*programs: _Program) -> None:
    for program in programs:
        program.kill()


def _pump(plan: Plan, dump: _Program, load: _Program, total: int, tell: Tell) -> str:
    out, into = dump.process.stdout, load.process.stdin
    assert out is not None and into is not None
    pace, done, tail, head, place = Pace(plan.policy.copy.mb_s_max), 0, b"", b"", None
    while chunk := _some(out):
        if place is None and done < HEAD:
            head += chunk
            place = _PLACE.search(head)
            position = _position(plan, place[1].decode(), int(place[2])) if place else ""
        if not _passed(into, chunk):
            dump.kill()
            load.require_success(plan)
            raise CouldNotDo("mariadb ended before the dump did")
        done += len(chunk)
        tail = (tail + chunk)[-4096:]
        tell.progress(done, max(total, done))
        pace.wait(len(chunk))
    dump.require_success(plan)
    if _WHOLE not in tail or place is None:
        load.kill()
        raise CouldNotDo("mariadb-dump ended well and its dump is not whole")
    with contextlib.suppress(OSError):
        into.close()
    load.require_success(plan)
    return position


def _some(stream: IO[bytes]) -> bytes:
    return os.read(stream.fileno(), CHUNK)


def _passed(stream: IO[bytes], chunk: bytes) -> bool:
    view = memoryview(chunk)
    try:
        while view:
            view = view[os.write(stream.fileno(), view) :]
    except BrokenPipeError:
        return False
    return True


def _position(plan: Plan, file: str, place: int) -> str:
    """The GTID position of a place in the writer's binary log."""
    writer = plan.ask_writer()
    try:
        text = writer.query("SELECT BINLOG_GTID_POS(%s, %s)", (file, place), deadline=plan.deadline.at_most(60.0))
    finally:
        writer.close()
    if text[0][0] is None:
        raise CouldNotDo(f"{plan.writer.name} does not tell the GTID position of {file}:{place}")
    return str(text[0][0])


def _tls(mysql: Mysql) -> list[str]:
    """The client's option names are those of 10.11; `loose-` lets one pass that a version does not know."""
    if mysql.tls == "preferred":
        return ["loose-disable-ssl-verify-server-cert"]
    lines = ["ssl", "ssl-verify-server-cert" if mysql.tls == "verify" else "loose-disable-ssl-verify-server-cert"]
    return [*lines, f"ssl-ca={mysql.tls_ca}"] if mysql.tls == "verify" and mysql.tls_ca else lines


def _option_file(user: str, password: str, more: Sequence[str]) -> int:
    """A descriptor of a file that is in no directory, for the client programs."""
    secret = password.replace("\\", "\\\\").replace('"', '\\"')
    text = "\n".join(["[client]", f"user={user}", f'password="{secret}"', *more, ""])
    descriptor = os.memfd_create("options")
    os.fchmod(descriptor, 0o600)
    os.write(descriptor, text.encode())
    return descriptor
