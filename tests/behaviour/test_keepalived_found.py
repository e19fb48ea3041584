"""Is keepalived found by the FIFO that it has open, whatever its pid file, and what does it tell when it is asked?"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from nets import boottime
from vrrp import ROUTER_ID, VIP, WITHIN_S, Host, Settings, hosts

from vipguard.lab.wait import wait_until
from vipguard.probe import keepalived, vrrp_dump
from vipguard.probe.keepalived import KeepalivedWatch

pytestmark = pytest.mark.behaviour


@pytest.fixture(scope="module")
def _two() -> Iterator[tuple[Host, Host]]:
    with hosts() as two:
        yield two


@pytest.fixture
def a(_two: tuple[Host, Host]) -> Host:
    _two[0].reset()
    return _two[0]


@contextmanager
def searching(
    host: Host, monkeypatch: pytest.MonkeyPatch, pid_file: str = "elsewhere/keepalived.pid"
) -> Iterator[KeepalivedWatch]:
    """A watch that knows a pid file which keepalived does not write, and searches in the host's network namespace."""
    monkeypatch.setattr(keepalived, "SEARCH_S", 0.0)
    watch = KeepalivedWatch(str(host.folder / pid_file), fifo=str(host.fifo_path))
    with host.net.inside():
        try:
            yield watch
        finally:
            watch.close()


def test_it_has_the_fifo_open_in_the_process_that_speaks_vrrp_alone_from_its_start_on(a: Host) -> None:
    a.start(Settings(more_global=["vrrp_startup_delay 5"]))
    wait_until(a.states, WITHIN_S, a.describe)
    child, parent = a.watch.pids()["vrrp"], a.watch.pids()["parent"]
    path = str(a.fifo_path)
    assert keepalived._has_open(child, path) and not keepalived._has_open(parent, path)
    assert a.fifo.drain().writer, "it is held for reading and writing: no reader is needed"


def test_it_says_its_state_while_it_waits_out_its_startup_delay(a: Host) -> None:
    """So that a line alone does not tell that it would take the VIP."""
    a.start(Settings(more_global=["vrrp_startup_delay 2"]))
    a.wait_states("BACKUP 150")
    assert not a.has_vip
    a.wait_vip()


def test_it_is_found_by_the_fifo_where_its_pid_file_is_elsewhere(a: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    a.start()
    a.wait_vip()
    with searching(a, monkeypatch) as watch:
        assert watch.look() is True and watch.found_by == "fifo" and watch.has_fifo()
        assert watch.pids() == {"vrrp": a.watch.pids()["vrrp"]}
        began_s = watch.began_s()
        assert began_s is not None and 0 <= boottime() - began_s < 60
        os.kill(watch.pids()["vrrp"], signal.SIGSTOP)
        wait_until(watch.stands, WITHIN_S, a.describe)
        os.kill(watch.pids()["vrrp"], signal.SIGCONT)
        a.kill9()
        wait_until(lambda: watch.look() is False, WITHIN_S, a.describe)


def test_one_that_never_ran_is_not_seen_and_neither_dead(a: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    with searching(a, monkeypatch) as watch:
        assert watch.look() is None


def test_another_keepalived_on_the_host_is_not_taken_for_ours(a: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the very pid file that is configured: ours writes another one."""
    a.start()
    a.wait_vip()
    other = a.folder / "other"
    other.mkdir(exist_ok=True)
    (other / "keepalived.conf").write_text(
        "vrrp_instance other {\nstate BACKUP\ninterface eth0\nvirtual_router_id 99\npriority 10\nadvert_int 1\n"
        "virtual_ipaddress {\n10.73.0.199/32 dev eth0\n}\n}\n"
    )
    argv = ["keepalived", "-n", "-l", "-P", "-f", str(other / "keepalived.conf")]
    argv += ["-p", str(other / "keepalived.pid"), "-r", str(other / "vrrp.pid")]
    process = subprocess.Popen(a.net.argv(*argv), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)  # fmt: skip
    try:
        wait_until((other / "vrrp.pid").exists, WITHIN_S, a.describe)
        with searching(a, monkeypatch, "other/keepalived.pid") as watch:
            wait_until(lambda: watch.look() and watch.has_fifo(), WITHIN_S, a.describe)
            assert watch.pids()["vrrp"] == a.watch.pids()["vrrp"] and watch.others
            a.kill9()
            wait_until(lambda: not watch.has_fifo(), WITHIN_S, a.describe)
    finally:
        process.terminate()
        process.wait(WITHIN_S)


def test_it_tells_what_it_runs_when_it_is_asked_and_none_of_its_signals_ends_it(a: Host) -> None:
    a.start(eligible="0")
    a.wait_states("FAULT 150")
    pid = a.watch.pids()["vrrp"]
    assert vrrp_dump._blocks(pid, vrrp_dump._signal() or 0)
    assert not vrrp_dump._blocks(os.getpid(), vrrp_dump._signal() or 0)
    assert vrrp_dump.ask(pid) == (vrrp_dump.Instance("writer", "eth0", ROUTER_ID, 150, (VIP,)),)
    assert a.watch.look() is True and not os.path.exists("/tmp/keepalived.json")
