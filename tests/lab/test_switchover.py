"""The writer is moved on purpose: what clients see, what goes back, and what is refused."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time

import pytest
from guarded import Guarded, ids_on, vrrp_state
from lawful import nothing_lost, one_writer, taken_up, wait_nothing_lost

from vipguard.lab import Node, faults

LOST, REFUSED, GONE = 2013, 2003, 2006  # what a client is told whose connection was cut, and who connects meanwhile


def move(ordered_on: Node, *options: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = ordered_on.vipguard("switchover", *options, check=False, timeout_s=60)
    if code == 0:
        taken_up(done.stderr)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def begun(ordered_on: Node, *options: str) -> subprocess.Popen[str]:
    """The command has found nothing in the way, and gives its order now."""
    process = ordered_on.popen(
        [*ordered_on.vipguard_argv, "switchover", *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    said: list[str] = []
    for line in process.stdout:
        said.append(line)
        if "is older than 1 s" in line and not any("  NO  " in one for one in said):
            return process
    raise AssertionError("".join(said) + process.communicate()[1])


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, stderr = process.communicate(timeout=60)
    assert "Traceback" not in stderr
    return process.returncode, stderr


def settle(guarded: Guarded) -> None:
    """Who wrote may take over again."""
    lab = guarded.lab
    lab.wait(lambda: not lab.trouble(), 20, "a healthy pair")
    now = lab.writer()
    assert now is not None
    guarded.writer, guarded.standby = now, lab.others(now)[0]
    lab.wait(lambda: vrrp_state(guarded.standby) == "BACKUP", 10, "keepalived to leave FAULT")


def test_to_and_fro_under_load_nothing_is_lost_and_nobody_is_told_of_a_read_only_server(guarded: Guarded) -> None:
    """Ordered on the old writer and on the new one."""
    lab = guarded.lab
    with lab.client(rate=500) as client:
        for round_ in range(6):
            client.wait_acks(100)
            writer, standby = guarded.writer, guarded.standby
            done = move(writer if round_ % 2 else standby, "--to", standby.name)
            assert f"{standby.name} is the writer: " in done.stdout and f"{writer.name} follows it" in done.stdout
            assert lab.writer() is standby
            client.wait_acks(20)
            settle(guarded)
    seen = client.seen()
    assert {code for _, code, _ in seen.errors} <= {LOST, REFUSED, GONE}, seen.errors
    assert len([1 for _, code, _ in seen.errors if code != REFUSED]) <= 6, "each move cuts the connection once"
    wait_nothing_lost(lab, client, guarded.standby, 10, "the standby to have all")
    nothing_lost(client, guarded.writer)
    one_writer(guarded.watcher)
    assert not guarded.said(guarded.writer, "event=kill") and not guarded.said(guarded.standby, "event=kill")


def test_a_dry_run_and_what_stands_in_the_way_change_nothing(guarded: Guarded) -> None:
    writer, standby = guarded.writer, guarded.standby
    with guarded.lab.client(rate=100) as client:
        done = move(standby, "--dry-run")
        assert "nothing was done" in done.stdout and done.stdout.count("  ok  ") == 6
        with guarded.applier_stopped(standby):
            done = move(writer, code=2)
            assert "  NO  " in done.stdout and "SQL stopped" in done.stdout and "nothing was done" in done.stderr
        guarded.wait_track(standby, "1")
        with contextlib.closing(writer.mysqld.connect(user="app", password="app")) as connection:
            cursor = connection.cursor()
            cursor.execute("BEGIN")
            cursor.execute("REPLACE INTO app.t (id, node) VALUES (-3, 0)")
            time.sleep(2.0)  # it must be old
            done = move(writer, "--wait-trx", "0", "--dry-run", code=2)
            assert "1 transaction has been open" in done.stdout and "of app, open for" in done.stdout
            closer = threading.Timer(1.0, connection.commit)
            closer.start()
            assert "would move" in move(writer, "--wait-trx", "10", "--dry-run").stdout
            closer.join()
        assert f"{writer.name} is the writer already" in move(writer, "--to", writer.name).stdout
        assert "there is no node 'db9'" in move(writer, "--to", "db9", code=2).stderr
        client.wait_acks(20)
    assert not client.seen().errors and guarded.lab.writer() is writer and not guarded.was_closed(writer)


def test_a_target_without_its_agent_is_refused_and_the_writer_goes_on(guarded: Guarded) -> None:
    writer, standby = guarded.writer, guarded.standby
    with guarded.lab.client(rate=100) as client, faults.kill_agent(standby):
        done = move(writer, code=2)
        assert "does not say that it would take over" in done.stdout and "nothing was done" in done.stderr
        client.wait_acks(20)
    assert not client.seen().errors and not guarded.was_closed(writer)


def test_a_target_that_cannot_apply_in_time_lets_the_writer_open_again(guarded: Guarded) -> None:
    """Its applier waits for a lock from the moment of the order on."""
    lab, writer, standby = guarded.lab, guarded.writer, guarded.standby
    with lab.client(rate=200) as client:
        client.wait_acks(50)
        process = begun(writer, "--at-most-ms", "600")
        with guarded.locked(standby):
            code, said = ended(process)
            assert code == 1 and "called off" in said and f"{writer.name} is the writer" in said, said
        client.wait_acks(50)
    guarded.wait_said(writer, "event=switchover-abandoned", "rule=order-withdrawn")
    nothing_lost(client, writer)
    assert lab.writer() is writer and not guarded.dropped_vip(writer)
    wait_nothing_lost(lab, client, standby, 10, "the standby to have all")


@pytest.mark.parametrize("after_s", [0.05, 0.4])
def test_an_interrupted_move_leaves_one_writer(guarded: Guarded, after_s: float) -> None:
    lab, writer, standby = guarded.lab, guarded.writer, guarded.standby
    before = guarded.write_settled()
    with (
        contextlib.closing(writer.mysqld.connect(user="app", password="app")) as application,
        guarded.locked(standby),
    ):
        process = begun(writer)
        value = time.monotonic_ns() % 1_000_000  # another than before: what changes nothing is not replicated
        application.cursor().execute(f"REPLACE INTO app.t (id, node) VALUES (-4, {value})")
        application.commit()  # not applied while it is locked
        time.sleep(after_s)
        os.killpg(process.pid, signal.SIGINT)
        _, said = ended(process)
    assert "interrupted: the order was withdrawn" in said, said
    lab.wait(lambda: lab.writer() is not None, 15, "one writer")
    now = lab.writer()
    assert now is not None
    nothing_lost(before, now)
    assert -4 in ids_on(now)


def test_a_writer_killed_in_the_middle_of_a_move_is_taken_over(guarded: Guarded) -> None:
    writer, standby = guarded.writer, guarded.standby
    before = guarded.write_settled()
    process = begun(standby)
    with guarded.locked(standby):
        guarded.wait_said(standby, "event=switchover-begins", "rule=invited", within_s=15)
        writer.mysqld.kill9()
    assert ended(process)[0] in (0, 1, 3)
    guarded.wait_writer(standby, within_s=20)
    nothing_lost(before, standby)
    writer.mysqld.start()


def test_a_lossless_pair_moves_and_the_new_writer_waits_for_the_old_one(lossless: Guarded) -> None:
    writer, standby = lossless.writer, lossless.standby
    with lossless.lab.client(rate=0) as client:
        client.wait_acks(50)
        done = move(writer)
        assert f"{standby.name} acknowledges what it receives" in done.stdout
        client.wait_acks(50)
        assert lossless.own(standby)["semi_sync"]["source"] and not lossless.own(standby)["semi_sync"]["solo"]
    assert not lossless.said(standby, "event=takeover-step", "rule=solo")
    wait_nothing_lost(lossless.lab, client, writer, 10, "the old writer to have all")
    nothing_lost(client, standby)
