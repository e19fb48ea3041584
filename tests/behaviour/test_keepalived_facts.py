"""What the design rests on in keepalived, pinned on the real one. If a new version differs, these tests say so."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from lawful import in_time
from nets import boottime
from vrrp import VIP, WITHIN_S, Host, Settings, hosts

from vipguard.lab.wait import wait_until
from vipguard.model.vrrp import down_timer_s, skew_s
from vipguard.probe.fifo import FifoWatch

pytestmark = pytest.mark.behaviour
DOWN_S = down_timer_s(100, 0.1)


@pytest.fixture(scope="module")
def _hosts() -> Iterator[tuple[Host, Host]]:
    with hosts() as made:
        yield made


@pytest.fixture
def a(_hosts: tuple[Host, Host]) -> Host:
    for host in _hosts:
        host.reset()
    return _hosts[0]


@pytest.fixture
def b(a: Host, _hosts: tuple[Host, Host]) -> Host:
    return _hosts[1]


def as_pair(a: Host, b: Host, preempt: bool = False, **more: object) -> None:
    """a (150) is MASTER, b (100) BACKUP."""
    a.start(Settings(priority=150, preempt=preempt, **more))  # type: ignore[arg-type]
    a.wait_vip()
    b.start(Settings(priority=100, preempt=preempt))
    b.wait_states("BACKUP 100")


# The track file


def test_only_a_one_in_the_track_file_is_healthy(a: Host) -> None:
    a.start()
    a.wait_vip()
    for content in (b"0\n", b"", b"garbage\n", b"0", b"one\n"):
        temporary = Path(a.track_path + ".t")
        temporary.write_bytes(content)
        temporary.rename(a.track_path)
        a.wait_vip(False)
        a.say("1")
        a.wait_vip()
    Path(a.track_path).unlink()
    a.wait_vip(False)
    a.say("1")
    a.wait_vip()


@pytest.mark.parametrize("content", [None, "", "0\n"])
def test_a_track_file_that_is_missing_or_says_no_at_the_start_is_fault_until_it_says_yes(
    a: Host, content: str | None
) -> None:
    if content is not None:
        Path(a.track_path).write_text(content)
    a.start(eligible=None)
    a.wait_states("FAULT 150")
    time.sleep(2 * DOWN_S)
    assert not a.has_vip
    a.say("1")
    a.wait_vip()


def test_a_missing_directory_of_the_track_file_fails_open(a: Host) -> None:
    """So tmpfiles.d makes it before keepalived starts."""
    a.start(Settings(track_path="nowhere/eligible"), eligible=None)
    a.wait_vip()


def test_fault_hands_over_and_the_vip_is_gone_before_the_line_is_read(a: Host, b: Host) -> None:
    as_pair(a, b)
    a.states()
    a.say("0")
    wait_until(lambda: "FAULT 150" in a.states(), WITHIN_S, a.describe)
    assert not a.has_vip
    b.wait_vip()
    wait_until(lambda: "MASTER 100" in b.states(), WITHIN_S, b.describe)
    a.say("1")
    # nopreempt: it does not take it back
    a.wait_states("BACKUP 150", "MASTER 150", "FAULT 150", "BACKUP 150")
    time.sleep(2 * DOWN_S)
    assert (a.has_vip, b.has_vip) == (False, True)


def _left_since(host: Host, at_s: float) -> bool:
    return (host.adverts.drain().left_at_s or 0.0) > at_s


@pytest.mark.parametrize("priority", [100, 230, 250])
def test_after_a_priority_of_0_a_backup_waits_its_skew_and_no_longer(a: Host, b: Host, priority: int) -> None:
    """The best of five: what comes on top is the scheduler's. The second 0 begins it anew."""
    a.start(Settings(priority=150))
    a.wait_vip()
    b.start(Settings(priority=priority))
    b.wait_states(f"BACKUP {priority}")
    waited: list[float] = []
    for _ in range(5):
        time.sleep(DOWN_S)
        began_s = b.adverts.drain().looked_at_s or 0.0
        a.say("0")
        wait_until(partial(_left_since, b, began_s), WITHIN_S, b.describe, every_s=0.001)
        seen = b.adverts.drain()
        assert seen.left_at_s is not None and seen.heard["10.73.0.1"][1] == 0
        waited.append(seen.left_at_s - seen.heard["10.73.0.1"][0])
        b.wait_vip()
        a.say("1")
        b.say("0")
        a.wait_vip()
        b.say("1")
    assert skew_s(priority, 0.1) - 0.001 <= min(waited) <= skew_s(priority, 0.1) + 0.02, waited


def test_with_nopreempt_a_priority_drop_never_fails_over(a: Host, b: Host) -> None:
    """Nor does it take effect on a candidate; only FAULT does."""
    weight = a.run_folder / "weight"
    weight.write_text("0\n")
    settings = Settings(priority=150, more_tracks={"run/weight": "weight 1"})
    settings.more_global.append("vrrp_notify_priority_changes true")
    a.start(settings)
    a.wait_vip()
    b.start(Settings(priority=100))
    b.wait_states("BACKUP 100")
    weight.write_text("-100\n")
    wait_until(lambda: "MASTER_PRIORITY 50" in a.states(), WITHIN_S, a.describe)
    time.sleep(3 * DOWN_S)
    assert (a.has_vip, b.has_vip) == (True, False)
    a.say("0")
    b.wait_vip()
    a.wait_vip(False)


def test_a_weight_on_the_writer_lets_another_be_first_where_nobody_is_master(a: Host, b: Host) -> None:
    """With nopreempt too: it counts for who takes an address that nobody has. So the writer is the last resort."""
    mark = a.run_folder / "mark"
    for content in ("0\n", "1\n"):
        mark.write_text(content)
        settings = Settings(priority=160, more_tracks={"run/mark": "weight -100"})
        settings.more_global.append("vrrp_notify_priority_changes true")
        a.start(settings, eligible="0")
        b.start(Settings(priority=110), eligible="0")
        lowered = content == "1\n"
        wait_until(lambda: a.states()[-1:] == ["FAULT 60" if lowered else "FAULT 160"], WITHIN_S, a.describe)  # noqa: B023
        b.wait_states("FAULT 110")
        first, second = (b, a) if lowered else (a, b)
        second.say("1")
        first.say("1")
        first.wait_vip()
        time.sleep(2 * DOWN_S)
        assert (first.has_vip, second.has_vip) == (True, False)
        for host in (a, b):
            host.reset()


def test_a_missing_file_of_a_weight_that_is_not_reverse_changes_nothing(a: Host) -> None:
    (a.run_folder / "mark").unlink(missing_ok=True)
    a.start(Settings(priority=160, more_tracks={"run/mark": "weight -100"}))
    a.wait_vip()
    wait_until(lambda: "MASTER 160" in a.states(), WITHIN_S, a.describe)


def test_two_instances_on_one_interface_have_their_trackers_each(a: Host) -> None:
    from vipguard.act import track_file
    from vipguard.probe.address import AddressWatch

    own = str(a.run_folder / "own")
    more = f"""
        track_file other {{\nfile {own}\nweight 0 reverse\n}}
        vrrp_instance other {{
            state BACKUP\ninterface eth0\nvirtual_router_id 52\npriority 150\nadvert_int 0.1\nnopreempt
            track_file {{\nother\n}}
            virtual_ipaddress {{\n10.73.0.101/24 dev eth0\n}}
        }}
    """
    a.fifo.close()
    a.fifo = FifoWatch(str(a.fifo_path), "writer", frozenset({"other"}))
    track_file.write(own, "0")
    a.start(Settings(more=more))
    a.wait_vip()
    with a.net.inside():
        other = AddressWatch("eth0", "10.73.0.101", boottime)
        track_file.write(own, "1")
        wait_until(lambda: other.look().vip_present, WITHIN_S, a.describe)
        a.say("0")
        a.wait_vip(False)
        assert other.look().vip_present
        track_file.write(own, "0")
        wait_until(lambda: not other.look().vip_present, WITHIN_S, a.describe)
        other.close()

    def said_of_other() -> list[str]:
        a.states()
        return [event.word for event in a.heard if event.instance == "other"]

    wait_until(lambda: said_of_other() == ["FAULT", "BACKUP", "MASTER", "FAULT"], WITHIN_S, a.describe)
    a.fifo.close()
    a.fifo = FifoWatch(str(a.fifo_path), "writer")


# The FIFO


def test_the_lines_are_literally_these_in_this_order(a: Host) -> None:
    a.fifo.close()
    fd = os.open(a.fifo_path, os.O_RDONLY | os.O_NONBLOCK)
    written = b""

    def lines() -> list[bytes]:
        nonlocal written
        with contextlib.suppress(BlockingIOError):
            written += os.read(fd, 65536)
        return written.splitlines()

    try:
        a.start()
        wait_until(lambda: b'INSTANCE "writer" MASTER 150' in lines(), WITHIN_S, a.log)
        assert a.has_vip
        a.say("0")
        wait_until(lambda: b'INSTANCE "writer" FAULT 150' in lines(), WITHIN_S, a.log)
        a.say("1")
        wait_until(lambda: lines().count(b'INSTANCE "writer" MASTER 150') == 2, WITHIN_S, a.log)
        a.stop()
        lines()
    finally:
        os.close(fd)
        a.fifo = type(a.fifo)(str(a.fifo_path), "writer")
    words = [line.decode().split('"writer" ')[1] for line in written.splitlines()]
    assert all(line.startswith(b'INSTANCE "writer" ') for line in written.splitlines())
    assert words == ["BACKUP 150", "MASTER 150", "FAULT 150", "BACKUP 150", "MASTER 150", "STOP 150"]
    assert written.endswith(b"\n")


def test_a_fifo_made_before_keeps_its_inode_over_reload_and_stop(a: Host) -> None:
    inode = a.fifo_path.stat().st_ino
    a.start()
    a.wait_vip()
    a.reload()
    wait_until(lambda: "Reload complete" in a.log(), WITHIN_S, a.log)
    a.say("0")
    wait_until(lambda: "FAULT 150" in a.states(), WITHIN_S, a.describe)
    a.stop()
    assert a.fifo_path.stat().st_ino == inode
    assert not a.fifo.moved()


def test_a_fifo_that_keepalived_made_is_removed_at_its_stop(a: Host) -> None:
    """So it must be made before."""
    a.fifo_path.unlink()
    a.start()
    a.wait_vip()
    assert a.fifo_path.exists()
    a.stop()
    assert not a.fifo_path.exists()


def woken_by_hang_up(epoll: select.epoll) -> bool:
    deadline = time.monotonic() + WITHIN_S
    while time.monotonic() < deadline:
        if any(mask & select.EPOLLHUP for _, mask in epoll.poll(0.2)):
            return True
    return False


def test_its_death_hangs_the_fifo_up_for_good(a: Host) -> None:
    a.start()
    a.wait_vip()
    a.states()
    assert not a.fifo.drain().hung_up
    with select.epoll() as epoll:
        epoll.register(a.fifo.fileno(), a.fifo.epoll_mask)
        epoll.poll(0)
        a.kill9()
        assert woken_by_hang_up(epoll), a.describe()
    assert a.fifo.drain().hung_up
    # a dying process closes its files first
    wait_until(lambda: a.watch.look() is False, WITHIN_S, "its pidfd")


def test_a_reload_hangs_the_fifo_up_for_a_moment_at_most(a: Host) -> None:
    """The moment is often, and not always, long enough to be seen: a hang-up alone never means its death."""
    a.start()
    wait_until(lambda: "MASTER 150" in a.states(), WITHIN_S, a.describe)
    for reloads in (1, 2):
        a.reload()
        wait_until(lambda n=reloads: a.log().count("Reload complete") >= n, WITHIN_S, a.log)
        wait_until(lambda: a.fifo.drain().writer, WITHIN_S, a.describe)
        assert a.watch.look() is True
        assert a.has_vip


def test_a_full_fifo_never_blocks_keepalived(a: Host) -> None:
    a.start()
    a.wait_vip()
    fcntl.fcntl(a.fifo.fileno(), 1031, 4096)  # F_SETPIPE_SZ
    filler = os.open(a.fifo_path, os.O_RDWR | os.O_NONBLOCK)
    try:
        for size in (512, 1):
            with pytest.raises(BlockingIOError):
                while True:
                    os.write(filler, b"x" * size)
        for _ in range(3):
            a.say("0")
            a.wait_vip(False)
            a.say("1")
            a.wait_vip()
    finally:
        os.close(filler)
    assert not any("FAULT" in state for state in a.states())  # the newest lines are lost, silently


# Scripts


def script(a: Host, text: str) -> str:
    path = a.folder / "check"
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


def test_a_script_whose_interpreter_is_missing_counts_as_success(a: Host) -> None:
    """So keepalived gets a /bin/sh wrapper and never a script of Python's."""
    path = script(a, "#!/bin/sh\nexit 1\n")
    a.start(Settings(script=path))
    wait_until(lambda: "FAULT 150" in a.states(), WITHIN_S, a.describe)
    script(a, "#!/nowhere/python3\nexit 1\n")
    a.wait_vip()


def test_a_shell_wrapper_whose_python_is_missing_fails(a: Host) -> None:
    path = script(a, "#!/bin/sh\nexit 0\n")
    a.start(Settings(script=path))
    a.wait_vip()
    script(a, "#!/bin/sh\nexec /nowhere/python3 -c pass\n")
    a.wait_vip(False)
    wait_until(lambda: "FAULT 150" in a.states(), WITHIN_S, a.describe)


def test_a_script_that_is_missing_at_the_start_fails_open(a: Host) -> None:
    a.start(Settings(script=str(a.folder / "none")))
    a.wait_vip()


def test_a_raised_priority_is_the_vrrp_processes_alone_and_its_scripts_run_at_0(a: Host) -> None:
    """Late adverts cost a writer its VIP; what a raised keepalived calls must not take the processors from the rest."""
    said = a.folder / "said"
    path = script(a, f"#!/bin/sh\nnice >{said}.part && mv {said}.part {said}\n")
    a.start(Settings(script=path, more_global=["vrrp_priority -20"]))
    wait_until(said.exists, WITHIN_S, a.describe)
    assert said.read_text() == "0\n"
    vrrp = int((a.folder / "vrrp.pid").read_text())
    assert os.getpriority(os.PRIO_PROCESS, vrrp) == -20


# Its life and death


def test_killed_with_its_child_it_leaves_the_vip_and_a_restart_removes_it(a: Host, b: Host) -> None:
    as_pair(a, b)
    pids = a.pids
    a.kill9()
    b.wait_vip()
    assert a.has_vip  # two VIPs, for ever
    wait_until(lambda: a.watch.look() is False, WITHIN_S, "its pidfd")
    assert a.process is not None
    wait_until(
        lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), WITHIN_S, "init to reap the child"
    )
    a.start(Settings(priority=150))
    a.wait_vip(False)


def test_stopped_by_a_signal_it_keeps_the_vip_and_only_its_adverts_tell(a: Host, b: Host) -> None:
    as_pair(a, b)
    pids = a.pids
    assert len(pids) == 2
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    b.wait_vip()
    assert a.has_vip
    assert a.watch.look() is True
    assert not a.fifo.drain().hung_up
    first = a.adverts.drain()
    time.sleep(0.5)
    second = a.adverts.drain()
    assert first.left_at_s is not None
    assert second.left_at_s == first.left_at_s
    assert second.looked_at_s is not None
    assert second.looked_at_s - first.left_at_s > 0.5
    assert second.heard["10.73.0.2"][1] == 100
    in_time(second.looked_at_s - second.heard["10.73.0.2"][0], 0.5)
    for pid in pids:
        os.kill(pid, signal.SIGCONT)
    b.wait_vip(False)
    assert a.has_vip  # it goes on as MASTER


def test_an_advert_leaves_every_interval_while_it_is_master(a: Host, b: Host) -> None:
    as_pair(a, b)
    for _ in range(5):
        time.sleep(0.1)
        seen = a.adverts.drain()
        assert seen.left_at_s is not None
        assert seen.looked_at_s is not None
        in_time(seen.looked_at_s - seen.left_at_s, 1.0)
    assert b.adverts.drain().left_at_s is None
    assert b.adverts.drain().heard["10.73.0.1"][1] == 150


def test_a_vip_that_is_deleted_under_it_comes_back(a: Host) -> None:
    """So deleting it is no fence while keepalived lives."""
    a.start()
    a.wait_vip()
    with a.net.inside():
        a.address.drain()
    a.net.ip(f"addr del {VIP}/24 dev eth0")
    with a.net.inside():
        assert a.address.drain() is not None
    a.wait_vip()


def test_sigterm_hands_over_and_leaves_no_vip(a: Host, b: Host) -> None:
    as_pair(a, b)
    assert a.watch.look() is True
    a.stop()
    assert not a.has_vip
    b.wait_vip()
    assert a.watch.look() is False
    assert b.adverts.drain().heard["10.73.0.1"][1] == 0


def test_a_killed_child_is_started_again_with_a_new_pid_file(a: Host) -> None:
    a.start()
    a.wait_vip()
    before = a.watch.pids()["vrrp"]
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: a.watch.pids().get("vrrp", before) != before, WITHIN_S, a.describe)
    assert a.watch.look() is True
    a.wait_vip()


def test_link_down_is_fault_without_the_track_file(a: Host, b: Host) -> None:
    a.start()
    a.wait_vip()
    b.net.ip("link set eth0 down")
    try:
        a.wait_vip(False)
        wait_until(lambda: "FAULT 150" in a.states(), WITHIN_S, a.describe)
        with a.net.inside():
            assert not a.address.look().link_up
    finally:
        b.net.ip("link set eth0 up")
        b.net.ip("addr add fd73::2/64 dev eth0 nodad", check=False)
        b.net.ip("addr add fe80::2/64 dev eth0 nodad", check=False)
    a.wait_vip()


def test_an_ipv6_vip_is_added_without_duplicate_detection(a: Host) -> None:
    from nets import boottime

    from vipguard.probe.address import AddressWatch

    a.start(Settings(vips=("fd73::64/64",)))
    with a.net.inside():
        watch = AddressWatch("eth0", "fd73::64", boottime)
        wait_until(lambda: watch.look().vip_present, WITHIN_S, a.describe)
        assert "nodad" in a.net.ip("-6 addr show dev eth0")
        wait_until(lambda: a.adverts.drain().left_at_s, WITHIN_S, a.describe)
        watch.close()
    a.say("0")
    wait_until(lambda: "FAULT 150" in a.states(), WITHIN_S, a.describe)


def test_without_options_its_pid_files_are_in_run(a: Host, tmp_path: Path) -> None:
    import subprocess

    from vipguard.probe.keepalived import KeepalivedWatch

    config = a.folder / "plain.conf"
    config.write_text(Settings().text(a.folder))
    a.say("1")
    shell = f"mount -t tmpfs none /run && exec keepalived -n -l -D -P -f {config}"
    process = subprocess.Popen(
        a.net.argv("unshare", "--mount", "--propagation", "private", "sh", "-c", shell),
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        a.wait_vip()
        watch = KeepalivedWatch(f"/proc/{process.pid}/root/run/keepalived.pid")
        assert watch.look() is True
        assert watch.pids()["parent"] == process.pid
        watch.close()
    finally:
        process.terminate()
        process.wait(WITHIN_S)
