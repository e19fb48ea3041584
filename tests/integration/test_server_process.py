"""Which process is the server behind this socket? Proven, or not told: it may be killed one day."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from scratch import Pair, Server

from vipguard.act.server import kill_server
from vipguard.lab import templates
from vipguard.lab.wait import wait_until
from vipguard.probe.server import ServerProbe
from vipguard.session import Connector, Deadline, boottime_s
from vipguard.session.process import Told, found, is_exiting, process_id

pytestmark = pytest.mark.lab
LISTENS = "import socket,sys,time; s=socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(); time.sleep(600)"
FORKS = "import subprocess,sys; subprocess.run([sys.executable, '-c', *sys.argv[1:]])"
ACTIVATES = (
    "import os,sys; os.dup2(int(sys.argv[1]), 3); os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1');"
    " os.execvp('mariadbd', ['mariadbd', *sys.argv[2:]])"
)
PASSES_ON = (
    "import os,socket,subprocess,sys,time; s=socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen();"
    " os.set_inheritable(s.fileno(), True);"
    " p=subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], close_fds=False);"
    " open(sys.argv[2], 'w').write(str(p.pid)); time.sleep(600)"
)


@contextmanager
def running(*argv: str, cwd: Path | None = None) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(argv, cwd=cwd, start_new_session=True)
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)


@contextmanager
def connected(path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as sock:
        wait_until(lambda: path.exists() and sock.connect_ex(str(path)) == 0, 10)
        yield sock


def pid_of(sock: socket.socket, told: Told) -> int | None:
    process = found(sock, told)
    return process.pid if process is not None else None


def test_a_listener_of_any_name_is_proven_by_its_pid_file(tmp_path: Path) -> None:
    path, file = tmp_path / "s", tmp_path / "pid"
    with running(sys.executable, "-c", LISTENS, str(path)) as server, connected(path) as sock:
        file.write_text(f"{server.pid}\n")
        assert process_id(sock) is None
        assert pid_of(sock, Told(pid_file=str(file), datadir="/nowhere")) == server.pid
        assert pid_of(sock, Told(pid_file="pid", datadir=str(tmp_path))) == server.pid  # relative to the data


def test_a_listener_of_any_name_is_proven_by_where_it_works(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with running(sys.executable, "-c", LISTENS, str(path), cwd=tmp_path) as server, connected(path) as sock:
        assert pid_of(sock, Told(datadir=f"{tmp_path}/")) == server.pid
        assert pid_of(sock, Told(datadir="/")) is None


def test_a_stale_pid_file_names_nobody_and_a_proxy_is_no_server(tmp_path: Path) -> None:
    path, file = tmp_path / "s", tmp_path / "pid"
    with running(sys.executable, "-c", LISTENS, str(path)), running("sleep", "600") as other, connected(path) as sock:
        file.write_text(f"{other.pid}\n")
        assert found(sock, Told(pid_file=str(file), datadir="/nowhere")) is None
        for text in ("", "0", "1", "-1", "a lot", f"{os.getpid()}", "99999999"):
            file.write_text(text)
            assert found(sock, Told(pid_file=str(file), datadir="/nowhere")) is None
        assert found(sock, Told()) is None


def test_a_server_that_was_handed_its_socket_is_found(tmp_path: Path) -> None:
    """As by systemd's socket activation: who called listen() is another process."""
    path, file = tmp_path / "s", tmp_path / "pid"
    with running(sys.executable, "-c", PASSES_ON, str(path), str(file)) as parent, connected(path) as sock:
        wait_until(lambda: file.exists() and file.read_text() != "", 10)
        child = int(file.read_text())
        assert child != parent.pid and pid_of(sock, Told(pid_file=str(file))) == child


def test_a_server_in_a_container_is_found_by_the_number_that_it_has_there(tmp_path: Path) -> None:
    path, file = tmp_path / "s", tmp_path / "pid"
    says = f"import os; open({str(file)!r}, 'w').write(str(os.getpid())); {LISTENS}"
    argv = ("unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", FORKS, says, str(path))
    with running(*argv), connected(path) as sock:
        number = int(file.read_text())
        pid = pid_of(sock, Told(pid_file=str(file)))
        assert pid is not None and pid != number
        status = Path(f"/proc/{pid}/status").read_text()
        assert f"\t{number}\n" in next(line + "\n" for line in status.splitlines() if line.startswith("NSpid:"))


def probe(server: Server, pair: Pair) -> ServerProbe:
    return ServerProbe(Connector.local(server.mysql()), pair.policy)


def test_a_program_by_another_name_is_found_by_the_probe_and_killed_by_it(pair: Pair, tmp_path: Path) -> None:
    server = pair.b
    server.kill()
    name = "mariadbd-debug" if pair.flavor == "mariadb" else "mysqld-debug"
    file = f"--defaults-file={server.directory}/my.cnf"
    if pair.flavor == "mariadb":
        program = shutil.which("mariadbd")
        assert program is not None
        argv = [shutil.copy(program, tmp_path / name), file]
    else:
        link, *words, program = templates.mysql_argv()
        (tmp_path / "loader-debug").symlink_to(Path(link).resolve())
        words = [name if word == "mysqld" else word for word in words]
        program = shutil.copy(program, tmp_path / name)
        argv = [str(tmp_path / "loader-debug"), *words, program, file, *templates.mysql_places()]
    server.process = subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", *argv], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    wait_until(lambda: server.value("1") == 1, 60, server.log)
    seen = probe(server, pair).look(2.0, boottime_s)
    assert seen.facts is not None and seen.facts.process is not None
    assert seen.facts.process.pid == server.pid
    assert kill_server(seen.facts.process, 5.0) and is_exiting(seen.facts.process)


def test_a_server_that_got_its_socket_from_another_process_is_found_by_the_probe(pair: Pair) -> None:
    """MariaDB's own socket activation; MySQL has none for its unix socket."""
    if pair.flavor != "mariadb":
        pytest.skip("MySQL makes its unix socket itself")
    server = pair.b
    server.kill()
    Path(server.socket).unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(server.socket)
        listening.listen(80)
        argv = [sys.executable, "-c", ACTIVATES, str(listening.fileno()), f"--defaults-file={server.directory}/my.cnf"]
        server.process = subprocess.Popen(
            argv, pass_fds=(listening.fileno(),), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        wait_until(lambda: server.value("1") == 1, 60, server.log)
        session = server.session()
        assert process_id(session._wire.sock) is None
        process = session.server_process(Deadline(2.0))
        assert process is not None and process.pid == server.pid
        server.kill()


def test_the_search_is_made_once_a_session_and_costs_little(pair: Pair) -> None:
    session = pair.a.session()
    began_s = time.monotonic()
    for _ in range(100):
        process = session.server_process(Deadline(1.0))
    assert process is not None and process.pid == pair.a.pid
    assert time.monotonic() - began_s < 0.5


def test_numbers_of_another_pid_namespace_name_nobody(tmp_path: Path) -> None:
    """Whoever has the host's /proc and not its processes would kill another one by that number."""
    path, file = tmp_path / "s", tmp_path / "pid"
    asks = (
        "import socket,sys; from vipguard.session.process import Told, found, process_id\n"
        f"s=socket.socket(socket.AF_UNIX); s.connect({str(path)!r})\n"
        f"print(process_id(s), found(s, Told(pid_file={str(file)!r}, datadir='/')))"
    )
    with running(sys.executable, "-c", LISTENS, str(path)) as server, connected(path) as sock:
        file.write_text(f"{server.pid}\n")
        assert pid_of(sock, Told(pid_file=str(file))) == server.pid
        argv = ["unshare", "--pid", "--fork", sys.executable, "-c", asks]
        said = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=True).stdout
        assert said.strip() == "None None"
