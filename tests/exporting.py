"""The exporter as a real process, and a stand-in for the agent behind it."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from exported import STATUS
from scratch import free_port

from vipguard.lab.wait import wait_until


class Agent:
    """Answers `status` and `stories` at a socket, as the agent does, and counts who asked; silent on demand."""

    def __init__(self, path: Path) -> None:
        self.asked, self.silent = 0, False
        self.status: Any = STATUS
        self.stories: Any = []
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        self._socket.listen(64)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            with client:
                told = self.stories if client.recv(64).startswith(b"stories") else self.status
                self.asked += 1
                if not self.silent:
                    client.sendall(json.dumps(told).encode() + b"\n")

    def close(self) -> None:
        self._socket.close()


CONFIG = """\
cluster = "orders"
node = "db1"
[vip]
address = "10.73.0.100/24"
interface = "eth0"
router_id = 51
[nodes.db1]
address = "127.0.0.1"
priority = 200
[nodes.db2]
address = "10.73.0.12"
priority = 180
[witness]
addresses = ["10.73.0.1"]
[paths]
run = "{run}"
[exporter]
port = {port}
{more}
"""


@contextmanager
def exporter(directory: Path, more: str = "", at: int = 0) -> Iterator[int]:
    """The port of one that listens, `at` if that is one; it ends with 0 at SIGTERM and has said nothing unexpected."""
    port = at or free_port()
    config = directory / "vipguard.toml"
    config.write_text(CONFIG.format(run=directory, port=port, more=more))
    argv = [sys.executable, "-P", "-m", "vipguard", "--config", str(config), "exporter"]
    process = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: _listens(port) or process.poll() is not None, 15)
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=15)[1]
        assert process.returncode == 0 and "Traceback" not in said, said


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def get(port: int, path: str = "/metrics", method: str = "GET", **headers: str) -> tuple[int, str, bytes]:
    """Its code, content type and body."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.headers.get("Content-Type", ""), answer.read()
