"""How are processes started, found and ended inside a lab's namespaces? By nsenter, and by what /proc says
from outside.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vipguard.lab import holder
from vipguard.lab.wait import LabError

PACKAGE_PARENT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "PYTHONPATH": str(PACKAGE_PARENT),
    "PYTHONDONTWRITEBYTECODE": "1",
}


@dataclass(frozen=True)
class Identity:
    """A process that cannot be mistaken for another: its pid as the host sees it, and its start in clock
    ticks.
    """

    pid: int
    start: int

    @classmethod
    def of(cls, pid: int) -> Identity | None:
        """None when no such process lives (a zombie does not)."""
        try:
            text = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return None
        fields = text[text.rindex(")") + 2 :].split()
        return None if fields[0] in "ZX" else cls(pid, int(fields[19]))

    @property
    def alive(self) -> bool:
        return Identity.of(self.pid) == self

    def signal(self, number: int) -> bool:
        """False when the process is gone. A pidfd keeps a reused pid from being hit."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except OSError:
            return False
        try:
            if not self.alive:
                return False
            signal.pidfd_send_signal(descriptor, number)
        except ProcessLookupError:
            return False
        finally:
            os.close(descriptor)
        return True


def kept_paths() -> list[str]:
    """Where Python and vipguard are, if a node's own directories would hide them."""
    wanted = {str(PACKAGE_PARENT), str(Path(sys.prefix).resolve()), str(Path(sys.base_prefix).resolve())}
    return sorted(path for path in wanted if any(path.startswith(f"{top}/") for top in holder.COVERED))


class Namespace:
    """The namespaces of one member of a lab: network, pids, host name and, with a `home`, its own view of the
    disk.
    """

    def __init__(self, lab: str, name: str, identity: Identity) -> None:
        self.lab, self.name, self.identity = lab, name, identity

    @classmethod
    def create(cls, lab: str, name: str, exits: Path, home: Path | None = None) -> Namespace:
        """Start a holder. `home` has etc/, mysql/, vipguard/ and boot_id of a node; None: only network and
        pids.
        """
        spec = {
            "hostname": name,
            "home": str(home) if home else "",
            "keep": kept_paths() if home else [],
            "exits": str(exits),
        }
        done = subprocess.run(
            [sys.executable, "-I", "-S", str(Path(holder.__file__).resolve()), lab, name],
            input=json.dumps(spec), capture_output=True, text=True, timeout=20, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            raise LabError(f"the namespaces of {name} could not be made: {done.stderr.strip()}")
        identity = Identity.of(int(done.stdout))
        if identity is None:
            raise LabError(f"the holder of {name} died at once")
        space = cls(lab, name, identity)
        space.run(["ip", "link", "set", "lo", "up"])
        return space

    @property
    def alive(self) -> bool:
        return self.identity.alive

    @property
    def root(self) -> Path:
        """The member's file system as the host reaches it; sockets below it can be connected to."""
        return Path(f"/proc/{self.identity.pid}/root")

    def argv(self, argv: Sequence[str]) -> list[str]:
        if not self.alive:
            raise LabError(f"{self.name} is not running")
        return ["nsenter", "-t", str(self.identity.pid), "-n", "-m", "-u", "-i", "-p", "--", *argv]

    def person_environment(self) -> dict[str, str]:
        """For what a person runs inside: `vipguard` is this vipguard, and the terminal stays what it is."""
        own = Path(sys.prefix).resolve() / "bin"
        kept = {name: os.environ[name] for name in ("TERM", "COLORTERM") if name in os.environ}
        return {**ENVIRONMENT, **kept, "PATH": f"{own}:{ENVIRONMENT['PATH']}"}

    def popen(
        self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, **popen: object
    ) -> subprocess.Popen[str]:
        """A child of the caller (through nsenter); for what outlives the caller there is `spawn`."""
        merged = {**ENVIRONMENT, **(env or {})}
        return subprocess.Popen(self.argv(argv), text=True, env=merged, start_new_session=True, **popen)  # type: ignore[call-overload,no-any-return]

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float = 20.0,
        input: str | None = None,
        env: Mapping[str, str] | None = None,
        check: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        """Run to the end inside. Raises LabError when it fails (unless `check` is false) or takes longer than
        `timeout_s`.
        """
        with self.popen(
            argv, env=env,
            stdin=subprocess.PIPE if input is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        ) as process:  # fmt: skip
            try:
                out, err = process.communicate(input, timeout=timeout_s)
            except BaseException as exc:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                if isinstance(exc, subprocess.TimeoutExpired):
                    raise LabError(f"{self.name}: {' '.join(argv)}: no end within {timeout_s} s") from exc
                raise
        if check and process.returncode != 0:
            raise LabError(
                f"{self.name}: {' '.join(argv)}: exit {process.returncode}: {(err or out).strip()}"
            )
        return subprocess.CompletedProcess(list(argv), process.returncode, out, err)

    def spawn(
        self,
        argv: Sequence[str],
        log: Path,
        *,
        env: Mapping[str, str] | None = None,
        again_s: float | None = None,
    ) -> Identity:
        """Start a daemon that outlives the caller; output goes to `log`. With `again_s` it is started again
        that long after its end.
        """
        script = 'echo $$; exec "$@" >&3 2>&3 3>&-'
        if again_s is not None:
            script = f'echo $$; exec >&3 2>&3 3>&-; while :; do "$@"; sleep {again_s}; done'
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            # fd 3 is the log in the child; sh tells its own pid, which exec keeps
            shell = 'exec 3>&2; exec setsid --fork sh -c "$0" sh "$@" 2>/dev/null'
            done = subprocess.run(
                self.argv(["sh", "-c", shell, script, *argv]),
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=descriptor,
                env={**ENVIRONMENT, **(env or {})}, text=True, timeout=20, check=False,
            )  # fmt: skip
        finally:
            os.close(descriptor)
        if done.returncode != 0 or not done.stdout.strip():
            raise LabError(f"{self.name}: {argv[0]} could not be started, see {log}")
        inner = int(done.stdout)
        identity = self.processes().get(inner)
        if identity is None:
            raise LabError(f"{self.name}: {argv[0]} ended at once, see {log}")
        return identity

    def processes(self) -> dict[int, Identity]:
        """Every living process inside, the holder excepted: pid as the node sees it, and its identity
        outside.
        """
        try:
            mine = os.readlink(f"/proc/{self.identity.pid}/ns/pid")
        except OSError:
            return {}
        found: dict[int, Identity] = {}
        for entry in os.listdir("/proc"):
            if not entry.isdigit() or int(entry) == self.identity.pid:
                continue
            try:
                if os.readlink(f"/proc/{entry}/ns/pid") != mine:
                    continue
                status = Path(f"/proc/{entry}/status").read_text()
            except OSError:
                continue
            inner = re.search(r"^NSpid:.*\s(\d+)$", status, re.MULTILINE)
            identity = Identity.of(int(entry))
            if inner and identity:
                found[int(inner[1])] = identity
        return found

    def children(self, pid: int) -> list[Identity]:
        """The processes inside whose parent is `pid` (a pid of the host)."""
        return [identity for identity in self.processes().values() if parent_of(identity.pid) == pid]

    def destroy(self) -> None:
        """Kill the holder, and with it every process, mount and interface inside."""
        self.identity.signal(signal.SIGKILL)
        deadline = time.monotonic() + 10
        while self.alive and time.monotonic() < deadline:
            time.sleep(0.01)
        if self.alive:
            raise LabError(f"the holder of {self.name} (pid {self.identity.pid}) did not die within 10 s")


def parent_of(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    return int(text[text.rindex(")") + 2 :].split()[1])


def holders_of(lab: str) -> dict[str, Identity]:
    """The living holders of a lab by name, found by their command line: what a crashed `up` could not record
    is found too.
    """
    found: dict[str, Identity] = {}
    host = os.readlink("/proc/self/ns/pid")
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            argv = Path(f"/proc/{entry}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
            if len(argv) < 3 or not argv[-3].endswith(b"/vipguard/lab/holder.py") or argv[-2] != lab.encode():
                continue
            inside = os.readlink(f"/proc/{entry}/ns/pid") != host
        except OSError:
            continue
        identity = Identity.of(int(entry))
        if inside and identity:
            found[argv[-1].decode()] = identity
    return found
