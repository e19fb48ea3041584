"""keepalived, started by hand on the printed text: it guards the node with no further step, and fails safe."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from stand_in import Namespace, until

pytestmark = [pytest.mark.packaging, pytest.mark.lab]

Vipguard = Callable[..., subprocess.CompletedProcess[str]]


class Keepalived:
    """keepalived on the configuration that `vipguard render keepalived` prints, alone in its namespace."""

    def __init__(self, namespace: Namespace, config_file: Path, vipguard: Vipguard) -> None:
        self.namespace, self.run = namespace, config_file.parent / "run"
        self.conf, self.log = self.run.parent / "keepalived.conf", self.run.parent / "keepalived.log"
        self.eligible = self.run / "eligible"
        self.agent, self.mysqld = self.run / "agent.sock", self.run.parent / "mysqld.sock"
        done = vipguard("--config", str(config_file), "render", "keepalived")
        assert done.returncode == 0, done.stderr
        self.conf.write_text(done.stdout)
        for argv in (
            "ip link add eth0 type veth peer name far0",
            "ip link set far0 up",
            "ip link set eth0 up",
            "ip addr add 10.73.0.11/24 dev eth0",
            "ip addr add fd00::11/64 dev eth0 nodad",
        ):
            namespace.check(*argv.split())

    def start(self) -> None:
        argv = ["keepalived", "--dont-fork", "--log-console", "--use-file", str(self.conf), "--vrrp"]
        pids = ["--pid", f"{self.run}/ka.pid", "--vrrp_pid", f"{self.run}/vrrp.pid"]
        self.namespace.start("sh", "-c", f"exec {' '.join([*argv, *pids])} >{self.log} 2>&1")
        until(lambda: self.log.exists() and "Startup complete" in self.log.read_text(), "keepalived to start")

    def has_vip(self) -> bool:
        return "10.73.0.100" in self.namespace.check("ip", "addr") or "fd00::100" in self.namespace.check(
            "ip", "addr"
        )

    def wait_for_vip(self, wanted: bool) -> None:
        until(lambda: self.has_vip() == wanted, f"VIP {wanted}; log:\n{self.log.read_text()}")

    def wait_for_hooks(self, count: int) -> None:
        """Until that many notifications have asked the agent: they reconcile by themselves where none answers."""
        asked = Path(f"{self.agent}.asked")
        until(lambda: asked.exists() and asked.read_text().count("hook") >= count, "the hooks to ask the agent")

    def keeps_vip(self, wanted: bool, for_s: float) -> None:
        end = time.monotonic() + for_s
        while time.monotonic() < end:
            assert self.has_vip() == wanted, self.log.read_text()
            time.sleep(0.05)


@pytest.fixture
def keepalived(config_file: Path, namespace: Namespace, vipguard: Vipguard) -> Iterator[Keepalived]:
    """The namespace is the later fixture, so its processes are gone before their files are."""
    yield Keepalived(namespace, config_file, vipguard)


def test_the_printed_text_is_right_for_keepalived(keepalived: Keepalived) -> None:
    done = keepalived.namespace.run("keepalived", "-t", "-l", "-f", str(keepalived.conf))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "setting",
    [
        ('"10.73.0.100/24"', '"fd00::100/64"'),
        ("startup_delay_s = 0", "startup_delay_s = 2.5"),
        ("startup_delay_s = 0", "unicast = true"),
        ("router_id = 51", "router_id = 255, advert_s = 1"),
    ],
)
def test_the_printed_text_is_right_with_other_settings_too(
    keepalived: Keepalived, config_file: Path, vipguard: Vipguard, setting: tuple[str, str]
) -> None:
    changed = config_file.read_text().replace(*setting)
    assert changed != config_file.read_text()
    config_file.write_text(changed)
    done = vipguard("--config", str(config_file), "render", "keepalived")
    keepalived.conf.write_text(done.stdout)
    judged = keepalived.namespace.run("keepalived", "-t", "-l", "-f", str(keepalived.conf))
    assert judged.returncode == 0, done.stderr + judged.stdout + judged.stderr


def test_the_printed_text_is_right_with_reader_addresses(
    keepalived: Keepalived, config_file: Path, vipguard: Vipguard
) -> None:
    config_file.write_text(
        config_file.read_text()
        + '[[reader]]\naddress = "10.73.0.101/24"\nrouter_id = 52\n'
        + '[[reader]]\naddress = "fd00::102/64"\nrouter_id = 53\nwriter = "no"\n'
    )
    done = vipguard("--config", str(config_file), "render", "keepalived")
    keepalived.conf.write_text(done.stdout)
    judged = keepalived.namespace.run("keepalived", "-t", "-l", "-f", str(keepalived.conf))
    assert judged.returncode == 0, done.stderr + judged.stdout + judged.stderr
    assert done.stdout.count("vrrp_instance ") == 3


def test_without_an_agent_a_node_stays_in_fault(keepalived: Keepalived) -> None:
    keepalived.start()
    keepalived.keeps_vip(False, for_s=3)
    assert "FAULT" in keepalived.log.read_text()


def test_without_an_agent_an_old_verdict_alone_gives_no_vip(keepalived: Keepalived) -> None:
    keepalived.eligible.write_text("1\n")
    keepalived.start()
    keepalived.keeps_vip(False, for_s=3)


def test_an_agent_that_says_yes_makes_the_node_master_and_a_no_takes_the_vip(keepalived: Keepalived) -> None:
    keepalived.eligible.write_text("1\n")
    with keepalived.namespace.stand_in(keepalived.agent, "0 candidate-eligible"):
        keepalived.start()
        keepalived.wait_for_vip(True)
        keepalived.eligible.write_text("0\n")
        keepalived.wait_for_vip(False)
        keepalived.wait_for_hooks(3)  # FAULT, too


def test_an_ipv6_vip_is_taken_too(keepalived: Keepalived, config_file: Path, vipguard: Vipguard) -> None:
    config_file.write_text(config_file.read_text().replace("10.73.0.100/24", "fd00::100/64"))
    done = vipguard("--config", str(config_file), "render", "keepalived")
    keepalived.conf.write_text(done.stdout)
    keepalived.eligible.write_text("1\n")
    with keepalived.namespace.stand_in(keepalived.agent, "0 candidate-eligible"):
        keepalived.start()
        keepalived.wait_for_vip(True)


def test_an_agent_that_dies_takes_no_vip_from_a_holder_whose_server_lives(keepalived: Keepalived) -> None:
    keepalived.eligible.write_text("1\n")
    with keepalived.namespace.stand_in(keepalived.mysqld, "silent"):
        with keepalived.namespace.stand_in(keepalived.agent, "0 holder-keeps") as agent:
            keepalived.start()
            keepalived.wait_for_vip(True)
            keepalived.wait_for_hooks(2)  # BACKUP and MASTER
            agent.kill()
            agent.wait(10)
        # two intervals and more: fall 2 would have taken it
        keepalived.keeps_vip(True, for_s=7)


def test_a_holder_whose_agent_and_server_died_gives_the_vip_up(keepalived: Keepalived) -> None:
    keepalived.eligible.write_text("1\n")
    with keepalived.namespace.stand_in(keepalived.agent, "0 holder-keeps"):
        keepalived.start()
        keepalived.wait_for_vip(True)
    until(lambda: not keepalived.has_vip(), "the VIP to go", within_s=15)
