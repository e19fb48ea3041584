"""How are commands tried on a scratch pair, without agents? Each node's configuration lies beside it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scratch import PASSWORD, Pair, Server

from vipguard.cli.main import run

VIP = "10.73.0.100/24"


class Cluster:
    """A pair, with the configuration of each node beside it. `a` is open, `b` closed."""

    def __init__(self, pair: Pair, folder: Path, say: Callable[[], str]) -> None:
        self.pair, self.folder, self._say = pair, folder, say
        for name, text in (("password", PASSWORD), ("replication", "repl")):
            (folder / name).write_text(f"{text}\n")
            (folder / name).chmod(0o600)
        (folder / "run").mkdir()
        for node, server in (("a", pair.a), ("b", pair.b)):
            self.configure(node, server)

    def configure(self, node: str, server: Server, password: str = "password", more: str = "") -> None:
        self.config(node).write_text(
            f"""
cluster = "scratch"
node = "{node}"
vip = {{ address = "{VIP}", interface = "lo", router_id = 51 }}
nodes.a = {{ address = "127.0.0.1", priority = 200 }}
nodes.b = {{ address = "127.0.0.2", priority = 180 }}
mysql = {{ socket = "{server.socket}", port = {server.port}, password_file = "{self.folder}/{password}" }}
replication = {{ password_file = "{self.folder}/replication" }}
witness.addresses = ["127.0.0.9"]
paths = {{ run = "{self.folder}/run", state = "{self.folder}/state" }}
{more}
"""
        )

    def config(self, node: str) -> Path:
        return self.folder / f"{node}.toml"

    def __call__(self, node: str, *command: str) -> tuple[int, str]:
        """Exit code and stdout of a command with the node's configuration."""
        code = run(["--config", str(self.config(node)), *command])
        return code, self._say()

    def json(self, node: str, *command: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self(node, *command, "--json")[1])
        return found

    def findings(self, node: str, *more: str) -> list[dict[str, str]]:
        """All that the doctor says, also of the keepalived and the agent that this host lacks."""
        found: list[dict[str, str]] = self.json(
            node, "doctor", "--keepalived-conf", f"{self.folder}/none.conf", *more
        )["findings"]
        return found

    def doctor(self, node: str, *more: str) -> set[tuple[str, str]]:
        """(rule, node) of every finding about servers and accounts."""
        found = self.findings(node, *more)
        return {(f["rule"], f["node"]) for f in found if f["area"] in ("server", "accounts")}
