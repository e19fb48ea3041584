"""`vipguard doctor` about keepalived: what is rendered has no finding, and each trap has its own."""

from __future__ import annotations

import contextlib
import os
import random
import re
import socket
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import healthy
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vipguard.doctor import conf, installed, traps
from vipguard.doctor.diagnosis import Diagnosis
from vipguard.model.policy import Paths, Policy, Replication
from vipguard.probe import vrrp_dump
from vipguard.render import shipped
from vipguard.render.keepalived import keepalived_conf

POLICY = replace(healthy.POLICY, file="/etc/vipguard/vipguard.toml", replication=Replication(password="x"))
ME, PEER = POLICY.nodes
LIBEXEC = "/usr/libexec/vipguard"


def rules(found: Iterator[Diagnosis] | Sequence[Diagnosis]) -> list[str]:
    listed = list(found)
    for diagnosis in listed:
        assert diagnosis.seen and diagnosis.remedy
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", diagnosis.rule)
    return [diagnosis.rule for diagnosis in listed]


# -- keepalived's configuration


def rendered(policy: Policy = POLICY) -> str:
    template = (shipped.directory() / shipped.TEMPLATE).read_text()
    return keepalived_conf(policy, template, check=f"{LIBEXEC}/check", hook=f"{LIBEXEC}/hook")


def trapped(text: str, policy: Policy = POLICY) -> list[str]:
    return rules(traps.judge(policy, conf.parse(text)))


@pytest.mark.parametrize(
    "policy",
    [
        POLICY,
        replace(POLICY, vrrp=replace(POLICY.vrrp, unicast=True)),
        replace(POLICY, vrrp=replace(POLICY.vrrp, startup_delay_s=0)),
        replace(POLICY, node="db2"),
        replace(POLICY, paths=Paths(run="/run/other")),
    ],
    ids=["multicast", "unicast", "no delay", "the other node", "other paths"],
)
def test_what_render_prints_has_no_trap(policy: Policy) -> None:
    assert trapped(rendered(policy), policy) == []


TRAPS = [
    ("weight 0 reverse\n", "weight 0\n", "track-file-weight"),
    ("weight 0 reverse\n", "weight -50\n", "track-file-weight"),
    ("    weight 0 reverse\n", "", "track-file-weight"),
    ("        vipguard_eligible\n", "        vipguard_eligible weight 10\n", "track-file-weight"),
    ("    file /run/vipguard/eligible", "    file /tmp/eligible", "track-file-untracked"),
    ("        vipguard_eligible\n", "", "track-file-untracked"),
    ("        vipguard_check\n", "", "track-script-untracked"),
    ("    fall 2\n    weight 0\n", "    fall 2\n    weight -20\n", "track-script-weight"),
    ("    timeout 1\n", "", "track-script-timeout"),
    ("    timeout 1\n", "    timeout 2\n", "track-script-timeout"),
    ("    nopreempt\n", "", "preempts"),
    ("state BACKUP", "state MASTER", "state-not-backup"),
    ("priority 200", "priority 150", "priority-differs"),
    ("virtual_router_id 51", "virtual_router_id 52", "router-id-differs"),
    ("interface eth0\n", "interface eth1\n", "interface-differs"),
    ("advert_int 0.1", "advert_int 1", "advert-differs"),
    ("vrrp_version 3", "vrrp_version 2", "vrrp-version"),
    ("10.73.0.100/24 dev", "10.73.0.100/32 dev", "vip-differs"),
    ("/24 dev eth0", "/24 dev eth1", "vip-differs"),
    ("        10.73.0.100/24 dev eth0\n", "        10.73.0.99/24 dev eth0\n", "vip-missing"),
    (
        "    virtual_ipaddress {\n",
        "    virtual_ipaddress {\n        10.73.0.101/24 dev eth0\n",
        "vip-differs",
    ),
    ("vrrp_notify_fifo /run/vipguard/vrrp.fifo", "vrrp_notify_fifo /tmp/fifo", "fifo-differs"),
    ("    vrrp_notify_fifo /run/vipguard/vrrp.fifo\n", "", "fifo-differs"),
    (
        "    script_user root\n",
        "    vrrp_notify_fifo_script /bin/true\n    script_user root\n",
        "fifo-script",
    ),
    ("    vrrp_garp_master_refresh 30\n", "", "no-garp-refresh"),
    ("    vrrp_higher_prio_send_advert true\n", "", "no-higher-prio-advert"),
    ("    enable_script_security\n", "", "no-script-security"),
    ("    script_user root\n", "", "no-script-user"),
    ("vrrp_instance writer", "vrrp_instance VI_1", "instance-name"),
    ("    nopreempt\n", "    nopreempt\n    unicast_peer {\n        10.73.0.12\n    }\n", "unicast-differs"),
    (
        "vrrp_instance writer {",
        "vrrp_sync_group G {\n  group {\n    writer\n  }\n}\nvrrp_instance writer {",
        "sync-group",
    ),
]


@pytest.mark.parametrize(
    ("good", "bad", "rule"), TRAPS, ids=[f"{rule}: {bad.strip()[:30]}" for _, bad, rule in TRAPS]
)
def test_a_trap_is_found(good: str, bad: str, rule: str) -> None:
    text = rendered()
    assert text.count(good) == 1
    assert rule in trapped(text.replace(good, bad))


def test_a_weight_that_is_given_where_it_is_tracked_counts() -> None:
    text = rendered().replace("    weight 0 reverse\n", "")
    assert (
        trapped(text.replace("        vipguard_eligible\n", "        vipguard_eligible weight 0 reverse\n"))
        == []
    )


def test_a_configuration_without_our_instance_is_one_finding() -> None:
    assert trapped("vrrp_instance other {\n  interface eth0\n}\n") == ["instance-missing"]


def test_nothing_at_all_is_one_finding() -> None:
    assert trapped("") == ["instance-missing"]


@given(st.text(alphabet='abz {}"!#\n\t0/', max_size=200))
def test_no_text_breaks_the_reader(text: str) -> None:
    traps_found = list(traps.judge(POLICY, conf.parse(text)))
    assert traps_found


@given(st.sets(st.integers(0, 80)), st.randoms(use_true_random=False))
def test_no_half_of_a_configuration_breaks_the_reader(gone: set[int], shuffle: random.Random) -> None:
    lines = [line for number, line in enumerate(rendered().splitlines()) if number not in gone]
    words = [word for word in " ".join(lines).split(" ") if word]
    shuffle.shuffle(words)
    for text in ("\n".join(lines), " ".join(words), "\n".join(words)):
        assert all(diagnosis.rule for diagnosis in traps.judge(POLICY, conf.parse(text)))


def test_comments_quotes_and_braces_are_read_as_keepalived_reads_them() -> None:
    root = conf.parse('a { # b {\n  c "d e" ! f\n}\ng\n{\n  h }\ni { j }\n')
    assert [child.words for child in root.children] == [("a",), ("g",), ("i",)]
    assert [block.children[0].words for block in root.children] == [("c", "d e"), ("h",), ("j",)]


def test_included_files_are_read_in_their_place(tmp_path: Path) -> None:
    text = rendered()
    head, tail = text.split("vrrp_instance", 1)
    (tmp_path / "keepalived.conf").write_text(f"{head}\ninclude conf.d/*.conf\n")
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d/writer.conf").write_text(f"vrrp_instance{tail}")
    assert rules(traps.judge(POLICY, conf.read(str(tmp_path / "keepalived.conf")))) == []


def test_a_file_that_includes_itself_ends(tmp_path: Path) -> None:
    (tmp_path / "k.conf").write_text(f"include {tmp_path}/k.conf\na b\n")
    assert conf.read(str(tmp_path / "k.conf")).has("a")


def test_every_program_that_keepalived_would_run_is_known() -> None:
    root = conf.parse(rendered())
    instance = traps.find_instance(POLICY, root)
    assert instance is not None
    assert [(keyword, command.split()[0]) for keyword, command in traps.scripts(root, instance)] == [
        ("script", f"{LIBEXEC}/check"),
        ("notify", f"{LIBEXEC}/hook"),
    ]


# -- keepalived's files and programs


@pytest.fixture
def safe(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory that root alone can write, all the way up."""
    import shutil
    import tempfile

    folder = Path(tempfile.mkdtemp(prefix="vgd-", dir="/var/lib"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _script(folder: Path, first_line: str = "#!/bin/sh", mode: int = 0o755) -> Path:
    path = folder / "check"
    path.write_text(f"{first_line}\nexit 0\n")
    path.chmod(mode)
    return path


def test_a_shell_wrapper_of_root_is_fine(safe: Path) -> None:
    assert rules(installed.program("script", f"{_script(safe)} and its arguments")) == []


@pytest.mark.parametrize(
    ("first_line", "rule"),
    [
        ("#!/opt/venv/bin/python3", "script-of-python"),
        ("#!/usr/bin/env python3", "script-of-python"),
        ("#!/usr/bin/env -S python3 -I", "script-of-python"),
        ("#!/opt/nowhere/sh", "script-interpreter-missing"),
    ],
)
def test_a_script_that_may_lose_its_interpreter_is_found(safe: Path, first_line: str, rule: str) -> None:
    assert rules(installed.program("script", str(_script(safe, first_line)))) == [rule]


def test_a_pip_console_script_is_found(safe: Path) -> None:
    path = safe / "vipguard"
    path.write_text("#!/opt/venv/bin/python3.11\nimport sys\n")
    path.chmod(0o755)
    assert "script-of-python" in rules(installed.program("script", f"{path} check writer"))


def test_a_script_that_is_not_executable_is_found(safe: Path) -> None:
    assert rules(installed.program("script", str(_script(safe, mode=0o644)))) == ["script-refused"]


def test_a_script_that_others_can_write_is_found(safe: Path) -> None:
    assert rules(installed.program("script", str(_script(safe, mode=0o777)))) == ["script-refused"]


def test_a_script_that_is_missing_is_found(safe: Path) -> None:
    assert rules(installed.program("script", str(safe / "nothing"))) == ["script-refused"]


def test_a_script_below_a_directory_of_others_is_found(safe: Path) -> None:
    os.chown(safe, 65534, 65534)
    assert rules(installed.program("notify", str(_script(safe)))) == ["script-refused"]


@pytest.mark.parametrize("command", ["check", "./check", '"', ""])
def test_a_command_that_is_no_path_is_found(command: str) -> None:
    assert rules(installed.program("script", command)) == ["script-path"]


@pytest.fixture
def running(safe: Path) -> Policy:
    """A node whose run-time files are as the agent makes them."""
    os.mkfifo(safe / "vrrp.fifo", 0o600)
    (safe / "eligible").write_text("1\n")
    return replace(POLICY, paths=Paths(run=str(safe)))


def test_the_files_that_the_agent_makes_are_fine(running: Policy) -> None:
    assert rules(installed.run_time_files(running)) == []


def test_a_missing_run_directory_is_found(safe: Path) -> None:
    missing = replace(POLICY, paths=Paths(run=str(safe / "run")))
    assert rules(installed.run_time_files(missing)) == ["run-directory-missing"]


def test_a_run_directory_that_others_can_write_is_found(running: Policy) -> None:
    os.chmod(running.paths.run, 0o777)
    assert rules(installed.run_time_files(running)) == ["run-directory-open"]


def test_a_fifo_that_was_not_made_before_keepalived_is_found(running: Policy) -> None:
    os.unlink(running.paths.fifo)
    assert rules(installed.run_time_files(running)) == ["fifo-missing"]


def test_a_fifo_that_others_can_read_is_found(running: Policy) -> None:
    os.chmod(running.paths.fifo, 0o644)
    assert rules(installed.run_time_files(running)) == ["fifo-open"]


def test_a_fifo_of_somebody_else_is_found(running: Policy) -> None:
    os.chown(running.paths.fifo, 65534, 65534)
    assert rules(installed.run_time_files(running)) == ["fifo-open"]


def test_a_file_in_the_fifos_place_is_found(running: Policy) -> None:
    os.unlink(running.paths.fifo)
    Path(running.paths.fifo).write_text("")
    assert rules(installed.run_time_files(running)) == ["fifo-kind"]


def test_a_track_file_that_others_can_write_is_found(running: Policy) -> None:
    os.chmod(running.paths.track_file, 0o666)
    assert rules(installed.run_time_files(running)) == ["track-file-open"]


def test_a_missing_track_file_is_found(running: Policy) -> None:
    os.unlink(running.paths.track_file)
    assert rules(installed.run_time_files(running)) == ["track-file-missing"]


def test_a_fifo_that_the_agent_does_not_read_is_found(running: Policy) -> None:
    """As after a reload of a keepalived that had made the FIFO itself."""
    with socket.socket(socket.AF_UNIX) as agent:
        agent.bind(running.paths.agent_socket)
        agent.listen()
        descriptor = os.open(running.paths.fifo, os.O_RDONLY | os.O_NONBLOCK)
        try:
            assert rules(installed.fifo_reader(running)) == []
            os.unlink(running.paths.fifo)
            os.mkfifo(running.paths.fifo, 0o600)
            assert rules(installed.fifo_reader(running)) == ["fifo-unread"]
        finally:
            os.close(descriptor)


def test_a_fifo_without_an_agent_is_not_asked_for_its_reader(running: Policy) -> None:
    assert rules(installed.fifo_reader(running)) == []


@pytest.mark.parametrize(
    ("said", "rule"),
    [
        ("Keepalived v2.2.7 (01/16,2022)\n", []),
        ("Keepalived v2.1.3 (2020)\n", []),
        ("Keepalived v2.3.4 (2025)\n", []),
        ("Keepalived v2.1.2 (2020)\n", ["keepalived-old"]),
        ("Keepalived v1.3.5 (2017)\n", ["keepalived-old"]),
        ("segmentation fault\n", ["not-looked-at"]),
    ],
)
def test_the_version_of_keepalived_is_judged(said: str, rule: list[str]) -> None:
    assert rules(installed.version(said)) == rule


def test_the_installed_keepalived_is_new_enough() -> None:
    done = subprocess.run(
        ["keepalived", "--version"], capture_output=True, text=True, check=False, timeout=10
    )
    assert rules(installed.version(done.stderr + done.stdout)) == []


def test_a_missing_configuration_of_keepalived_is_found(running: Policy) -> None:
    assert rules(installed.judge(running, f"{running.paths.run}/none.conf"))[-1] == "conf-missing"


def test_any_other_difference_to_what_is_rendered_is_shown_line_by_line(running: Policy) -> None:
    directory = shipped.directory()
    check, hook = (shipped.wrapper(name, directory) for name in (shipped.CHECK, shipped.HOOK))
    text = keepalived_conf(running, (directory / shipped.TEMPLATE).read_text(), check=check, hook=hook)
    path = Path(running.paths.run) / "keepalived.conf"
    path.write_text("# our own comment\n" + text.replace("    interval 2", "\n\n      interval   2"))
    assert rules(installed.judge(running, str(path))) == []
    path.write_text(text.replace("interval 2", "interval 3"))
    found = list(installed.judge(running, str(path)))
    assert rules(found) == ["conf-differs"]
    assert "-interval 3" in found[0].seen and "+interval 2" in found[0].seen


# -- keepalived as it runs


def test_no_keepalived_is_found_and_another_ones_pid_file_does_not_hide_that(running: Policy) -> None:
    policy = replace(running, vrrp=replace(running.vrrp, pid_file=f"{running.paths.run}/none.pid"))
    assert rules(installed.running(policy)) == ["keepalived-not-seen"]
    (Path(running.paths.run) / "none.pid").write_text(f"{os.getpid()}\n")
    assert rules(installed.running(policy)) == ["keepalived-not-seen"]


RUNS = vrrp_dump.Instance("writer", "eth0", 51, ME.priority, ("10.73.0.100",))


@pytest.mark.parametrize(
    ("instances", "word"),
    [
        ((RUNS,), ""),
        ((replace(RUNS, name="other"), RUNS), ""),
        ((), "no instance writer"),
        ((replace(RUNS, name="other"),), "no instance writer"),
        ((replace(RUNS, router_id=52),), "virtual_router_id is 52 and must be 51"),
        ((replace(RUNS, interface="eth1"),), "interface is eth1"),
        ((replace(RUNS, priority=1),), "priority is 1"),
        ((replace(RUNS, addresses=("10.73.0.99",)),), "10.73.0.100 is none of its addresses"),
        ((replace(RUNS, addresses=()),), "is none of its addresses"),
    ],
)
def test_a_running_keepalived_that_has_something_else_is_found(
    instances: tuple[vrrp_dump.Instance, ...], word: str
) -> None:
    found = list(installed.runs_otherwise(POLICY, instances))
    assert rules(found) == (["keepalived-runs-otherwise"] if word else [])
    assert not word or word in found[0].seen


def test_a_running_keepalived_that_does_not_tell_is_no_finding() -> None:
    assert rules(installed.runs_otherwise(POLICY, None)) == []


@given(st.binary(max_size=200))
def test_whatever_keepalived_writes_is_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(ValueError, msgspec.DecodeError):
        assert all(isinstance(one, vrrp_dump.Instance) for one in vrrp_dump.read(data))
