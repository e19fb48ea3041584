"""Two hosts with a real keepalived each, in network namespaces, for the tests that pin what keepalived does."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from nets import Net, boottime, pair

from vipguard.act import track_file
from vipguard.lab.wait import wait_until
from vipguard.model.vrrp import VrrpEvent
from vipguard.probe.address import AddressWatch
from vipguard.probe.adverts import AdvertWatch
from vipguard.probe.fifo import FifoWatch
from vipguard.probe.keepalived import KeepalivedWatch

VIP, ROUTER_ID = "10.73.0.100", 51
WITHIN_S = 10.0  # everything here takes below a second; the bound is for a machine that is busy elsewhere


@dataclass
class Settings:
    """A configuration of keepalived; the default is what vipguard renders, without the script and the startup delay."""

    priority: int = 150
    preempt: bool = False
    track: str = "weight 0 reverse"
    track_path: str = "run/eligible"
    script: str = ""
    vips: tuple[str, ...] = (f"{VIP}/24",)
    more_global: list[str] = field(default_factory=list)
    more_tracks: dict[str, str] = field(default_factory=dict)
    more: str = ""

    def text(self, folder: Path) -> str:
        tracks = {self.track_path: self.track, **self.more_tracks}
        lines = [
            "global_defs {", "router_id test", "vrrp_version 3", "enable_script_security", "script_user root",
            f"vrrp_notify_fifo {folder}/run/vrrp.fifo", *self.more_global, "}",
        ]  # fmt: skip
        for number, (path, weight) in enumerate(tracks.items()):
            lines += [f"track_file t{number} {{", f"file {folder}/{path}", weight, "}"]
        if self.script:
            lines += ["vrrp_script s {", f'script "{self.script}"', "interval 1", "timeout 1", "weight 0"]
            lines += ["rise 1", "fall 1", "}"]
        lines += [
            "vrrp_instance writer {",
            "state BACKUP",
            "interface eth0",
            f"virtual_router_id {ROUTER_ID}",
        ]
        lines += [f"priority {self.priority}", "advert_int 0.1", *([] if self.preempt else ["nopreempt"])]
        lines += ["track_file {", *(f"t{number}" for number in range(len(tracks))), "}"]
        lines += ["track_script {", "s", "}"] if self.script else []
        lines += ["virtual_ipaddress {", *(f"{vip} dev eth0" for vip in self.vips), "}", "}"]
        return "\n".join(lines) + "\n" + self.more


class Host:
    """A namespace, a folder of its own, and at most one keepalived. `end` leaves neither a process nor a VIP."""

    def __init__(self, net: Net, name: str) -> None:
        self.net, self.name = net, name
        self.folder = Path(tempfile.mkdtemp(prefix=f"vgt-{name}-", dir="/var/lib"))
        self.folder.chmod(0o755)  # root-owned all the way, as enable_script_security wants it
        self.run_folder = self.folder / "run"
        self.run_folder.mkdir()
        self.track_path, self.fifo_path = str(self.run_folder / "eligible"), self.run_folder / "vrrp.fifo"
        self.process: subprocess.Popen[bytes] | None = None
        self.fifo = FifoWatch(str(self.fifo_path), "writer")
        self.heard: list[VrrpEvent] = []
        with net.inside():
            self.address = AddressWatch("eth0", VIP, boottime)
            self.adverts = AdvertWatch("eth0", ROUTER_ID, boottime)
        self.watch = KeepalivedWatch(str(self.folder / "keepalived.pid"))

    def start(self, settings: Settings | None = None, eligible: track_file.Value | None = "1") -> None:
        """Starts keepalived; with `eligible` the track file is made before. Does not wait for a state."""
        if eligible is not None:
            track_file.write(self.track_path, eligible)
        config = self.folder / "keepalived.conf"
        config.write_text((settings or Settings()).text(self.folder))
        argv = ["keepalived", "-n", "-l", "-D", "-P", "-f", str(config)]
        argv += ["-p", str(self.folder / "keepalived.pid"), "-r", str(self.folder / "vrrp.pid")]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self.net.argv(*argv), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    @property
    def pids(self) -> list[int]:
        """Parent and VRRP child (nsenter execs, so the parent is the process that was started)."""
        return list(self.watch.pids().values())

    def kill9(self) -> None:
        for pid in self.pids:  # the parent first: it would start a new child, or tell it to stop cleanly
            os.kill(pid, signal.SIGSTOP)
        for pid in self.pids:
            os.kill(pid, signal.SIGKILL)
        assert self.process is not None
        self.process.wait(WITHIN_S)

    def stop(self) -> None:
        assert self.process is not None
        self.process.terminate()
        self.process.wait(WITHIN_S)

    def reload(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGHUP)

    def say(self, value: track_file.Value) -> None:
        track_file.write(self.track_path, value)

    @property
    def has_vip(self) -> bool:
        with self.net.inside():
            return self.address.look().vip_present

    def wait_vip(self, present: bool = True) -> None:
        wait_until(lambda: self.has_vip is present, WITHIN_S, lambda: f"the VIP {present}\n{self.describe()}")

    def states(self) -> list[str]:
        """What keepalived's lines have said since the start of the test, as "WORD PRIORITY"."""
        self.heard += self.fifo.drain().events
        return [f"{event.word} {event.priority}" for event in self.heard]

    def wait_states(self, *wanted: str) -> None:
        wait_until(lambda: self.states() == list(wanted), WITHIN_S, lambda: f"{wanted}\n{self.describe()}")

    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def describe(self) -> str:
        return f"{self.name}: VIP {self.has_vip}, {self.states()}\n{self.log()[-3000:]}"

    def reset(self) -> None:
        """No keepalived, no VIP, no track file, an empty log; the FIFO stays."""
        if self.process is not None and self.process.poll() is None:
            for pid in self.pids:
                os.kill(pid, signal.SIGCONT)
            self.kill9()
        self.process = None
        self.net.ip("addr flush dev eth0 to 10.73.0.100/32", check=False)
        self.net.ip("addr flush dev eth0 to fd73::64/128", check=False)
        for name in ("keepalived.pid", "vrrp.pid", "log"):
            (self.folder / name).unlink(missing_ok=True)
        Path(self.track_path).unlink(missing_ok=True)
        if self.fifo.moved():
            self.fifo.close()
            self.fifo = FifoWatch(str(self.fifo_path), "writer")
        self.fifo.drain()
        self.heard.clear()
        self.watch.close()
        self.watch = KeepalivedWatch(str(self.folder / "keepalived.pid"))
        with self.net.inside():
            self.adverts.close()
            self.adverts = AdvertWatch("eth0", ROUTER_ID, boottime)

    def end(self) -> None:
        self.reset()
        for watch in (self.fifo, self.address, self.adverts, self.watch):
            watch.close()
        shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def hosts() -> Iterator[tuple[Host, Host]]:
    """Two hosts on one cable, both without keepalived."""
    with pair() as (left, right):
        made: list[Host] = []
        try:
            for net, name in ((left, "a"), (right, "b")):
                made.append(Host(net, name))
            yield made[0], made[1]
        finally:
            for host in made:
                host.end()
