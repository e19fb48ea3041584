"""What is one simulated cluster? Nodes, network, clients and laws, made from a seed."""

from __future__ import annotations

from collections import Counter
from ipaddress import IPv4Interface
from typing import Literal

from vipguard.model.gtid import GtidSet
from vipguard.model.policy import MARIADB, Fence, Flavor, Limits, Node, Policy, Vip

from .clients import Writer
from .engine import Engine
from .host import Host
from .laws import Laws
from .mysqld import Numbers
from .network import Network

WITNESS_ADDRESS = "10.0.0.1"


class Cluster:
    """`nodes` servers in a ring of replication and `replicas` that follow, all closed at first, of equal histories."""

    def __init__(
        self,
        seed: int,
        *,
        nodes: int = 2,
        replicas: int = 0,
        flavor: Flavor = "mariadb",
        silent_peer: Literal["open", "wait"] = "open",
        durability: Literal["async", "lossless"] = "async",
        fence: Fence | None = None,
        limits: Limits | None = None,
        clients: bool = True,
        witness: bool = True,
    ) -> None:
        self.engine, self.network = Engine(seed), Network()
        self.began_s = self.engine.now
        self.begun: Counter[str] = Counter()  # the faults, by name
        self.shape = f"{nodes} nodes" + (f", {replicas} replicas" if replicas else "")
        self.flavor, self.silent_peer = flavor, silent_peer
        self.witness_up, self.fence_fails = True, False
        self.lossless = durability == "lossless"
        self.arp_owner: str | None = None
        self.places: dict[tuple[int, int], int] = {}
        self._gtids: dict[tuple[tuple[int, int], ...], GtidSet] = {}
        self.laws = Laws(self)
        members = tuple(
            Node(f"db{i}", f"10.0.0.{10 + i}", 210 - 20 * i, i)
            if i <= nodes
            else Node(f"db{i}", f"10.0.0.{10 + i}", 0, i, "replica")
            for i in range(1, nodes + replicas + 1)
        )
        self.hosts: dict[str, Host] = {}
        self.network.hosts = self.hosts
        for node in members:
            policy = Policy(
                cluster="sim",
                node=node.name,
                vip=Vip(IPv4Interface("10.0.0.100/24"), "eth0", 51),
                nodes=members,
                silent_peer=silent_peer,
                durability=durability,
                fence=fence or Fence(),
                limits=limits or Limits(),
                witnesses=(WITNESS_ADDRESS,) if witness else (),
            )
            self.hosts[node.name] = Host(self, policy, node.server_id)
        homes = (None, *self.hosts.values()) if clients else ()
        self.clients = [Writer(self, 0.05 if home is None else 0.2, home) for home in homes]
        for host in self.hosts.values():
            host.start_server()
            host.start_agent()
            host.start_keepalived()
        self.engine.at(0.0, self.laws.watch)

    def gtid(self, numbers: Numbers) -> GtidSet:
        """The set of the flavour in use: everything up to each server's number. MariaDB: in one domain, as the state of
        its binary log tells it."""
        key = tuple(sorted(numbers.items()))
        found = self._gtids.get(key)
        if found is None:
            if self.flavor == MARIADB:
                ends = sorted((self.places[server, number], server) for server, number in key if number)
                text = ",".join(f"0-{server}-{place}" for place, server in ends)
            else:
                text = ",".join(f"{self.uuid(server)}:1-{number}" for server, number in key)
            found = GtidSet.parse(self.flavor, text)
            if len(self._gtids) > 2000:
                self._gtids.clear()
            self._gtids[key] = found
        return found

    def uuid(self, server: int) -> str:
        """By which MySQL names what it wrote."""
        return f"{server:08d}-0000-0000-0000-000000000000" if self.flavor != MARIADB else ""

    def place(self, server: int, number: int, have: Numbers) -> None:
        """Where in MariaDB's domain the transaction of that server stands that is written on top of `have`."""
        self.places[server, number] = self.end(have) + 1

    def end(self, have: Numbers) -> int:
        return max((self.places[key] for key in have.items() if key[1]), default=0)

    def route(self) -> Host | None:
        """Where a packet to the VIP goes: to whoever announced it last, if he still has it."""
        holders = [host for host in self.hosts.values() if host.vip and host.link_up and host.powered]
        for host in holders:
            if host.name == self.arp_owner:
                return host
        return holders[0] if holders else None

    def clients_reset(self, host: Host) -> None:
        for client in self.clients:
            client.reset(host)

    def run(self, for_s: float) -> None:
        self.engine.run(self.engine.now + for_s)

    def run_until_healthy(self, within_s: float) -> bool:
        """Healthy for a whole second."""
        until_s = self.engine.now + within_s
        while self.engine.now < until_s:
            self.engine.run(min(until_s, self.engine.now + 0.5), self.laws.healthy)
            if self.laws.healthy():
                self.run(1.0)
                if self.laws.healthy():
                    return True
        return False

    def state(self) -> str:
        """The end of the story: every node at a glance."""
        lines = []
        for host in self.hosts.values():
            server, agent, keepalived = host.mysqld, host.agent, host.keepalived
            how = "-" if server is None or not server.alive else "closed" if server.closed else "OPEN"
            vrrp = keepalived.state if keepalived is not None and keepalived.alive else None
            lines.append(
                f"{host.name}: server {how}"
                f"{' io' if server and server.io_wanted else ''}{' sql' if server and server.sql_wanted else ''}"
                f" have {host.disk.have} epoch {host.disk.epoch and host.disk.epoch.epoch}"
                f" | VIP {host.vip} track {host.track} VRRP {vrrp}"
                f" | phase {agent.world.phase if agent and agent.alive else None}"
                f" verdict {agent.world.verdict.rule if agent and agent.world.verdict else None}"
                f" {agent.world.verdict.text if agent and agent.world.verdict else ''}"
                f" diverged {agent.world.diverged if agent else None} memory {host.memory}"
            )
        return "\n".join(lines)
