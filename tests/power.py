"""How does a lab's host lose its power, and come up again?"""

from __future__ import annotations

import shutil

from vipguard.lab import Node


def power_off(node: Node) -> None:
    """As a power cut: every process killed, /run and the addresses gone, another boot id at the next start."""
    for daemon in reversed(node.daemons):
        daemon.kill9()
    node.run(["ip", "addr", "flush", "dev", "eth0", "scope", "global", "to", node.spec.vip], check=False)
    for part in ("/run/vipguard", "/run/mysqld"):
        for entry in node.path(part).iterdir():
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    node.new_boot()


def power_on(node: Node) -> None:
    node.mysqld.start()
    node.mysqld.wait_ready()
    assert node.mysqld.read_only() is True, "a server boots closed"
    assert node.mysqld.replication_threads() == ("No", "No"), "and with its replication stopped"
    node.start_agent()
    node.start_keepalived()
