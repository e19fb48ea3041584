"""What an agent takes up of the one before it, and with which configuration it does not begin."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from healthy import POLICY, REPLICA

from vipguard import config as configuration
from vipguard.agent import predecessor
from vipguard.errors import ConfigError, CouldNotDo
from vipguard.model.evidence import ProcessId
from vipguard.model.memory import Completed, Memory
from vipguard.model.policy import Policy
from vipguard.model.standdown import StoodDown
from vipguard.session.process import stat_fields
from vipguard.state import standdown, store

BOOT = "boot-1"


def this_process() -> ProcessId:
    fields = stat_fields(os.getpid())
    assert fields is not None
    return ProcessId(os.getpid(), int(fields[19]))


def gone() -> ProcessId:
    done = subprocess.Popen(["true"])
    done.wait()
    return ProcessId(done.pid, 1)


@pytest.fixture
def policy(config: Path) -> Policy:
    """Of a node whose server refuses connections."""
    return configuration.load(str(config))


def kept(policy: Policy, process: ProcessId | None = None, *, open_: bool = True, boot: str = BOOT) -> Memory:
    """What the agent before left: it had opened a server whose process lives, which is this test's own."""
    os.makedirs(policy.paths.state, exist_ok=True)
    os.makedirs(policy.paths.run, exist_ok=True)
    memory = Memory(3, Completed(3, boot, process or this_process()), open=open_)
    store.save(policy.paths.state_file, policy.cluster, policy.node, memory, str(policy.vip.ip))
    return memory


def other(policy: Policy, key: str) -> Policy:
    vip = replace(policy.vip, address=type(policy.vip.address)("10.73.0.99/24"))
    return {"cluster": replace(policy, cluster="another"), "node": replace(policy, node="db2"),
            "vip": replace(policy, vip=vip)}[key]  # fmt: skip


@pytest.mark.parametrize("key", predecessor.IDENTITY)
def test_while_this_node_writes_no_agent_begins_under_another_name(policy: Policy, key: str) -> None:
    memory = kept(policy)
    with pytest.raises(ConfigError, match=r"this node writes as db1 of cluster orders behind VIP 10\.") as told:
        predecessor.take_up(other(policy, key), BOOT, resident=True)
    assert "nothing was done" in str(told.value) and "switchover" in str(told.value)
    assert store.load(policy.paths.state_file, "orders", "db1") == (memory, ""), "and nothing was set aside"


def test_nor_as_a_replica() -> None:
    found = store.Kept(1, "orders", "db1", Memory(), "10.73.0.100")
    assert predecessor.differences(found, POLICY) == []
    assert predecessor.differences(found, replace(REPLICA.policy)) == ["that it is a replica"]
    assert predecessor.differences(replace(found, vip=""), POLICY) == [], "an older agent kept no VIP"


@pytest.mark.parametrize("why", ["closed", "another-boot", "process-gone", "same-names"])
def test_where_it_does_not_write_it_begins(policy: Policy, why: str) -> None:
    kept(
        policy, gone() if why == "process-gone" else None,
        open_=why != "closed", boot="boot-0" if why == "another-boot" else BOOT,
    )  # fmt: skip
    predecessor.take_up(policy if why == "same-names" else other(policy, "cluster"), BOOT, resident=True)
    assert Path(policy.paths.state_at).read_text() == f"{policy.paths.state}\n"


def test_another_state_directory_gets_what_the_old_one_had(policy: Policy, tmp_path: Path) -> None:
    memory, word = kept(policy), StoodDown(1_700_000_000, "root", "two writers")
    standdown.put(policy.paths.stood_down, word)
    predecessor.take_up(policy, BOOT, resident=True)
    moved = replace(policy, paths=replace(policy.paths, state=str(tmp_path / "elsewhere")))
    predecessor.take_up(moved, BOOT, resident=True)
    assert store.load(moved.paths.state_file, "orders", "db1") == (memory, "")
    assert standdown.look(moved.paths.stood_down) == word
    assert Path(policy.paths.state_at).read_text() == f"{tmp_path}/elsewhere\n"
    predecessor.take_up(moved, BOOT, resident=True)
    standdown.remove(moved.paths.stood_down)
    predecessor.take_up(moved, BOOT, resident=True)
    assert standdown.look(moved.paths.stood_down) is None, "only once: what is there since is newer"


def test_a_state_directory_of_an_earlier_time_says_nothing_for_now(policy: Policy, tmp_path: Path) -> None:
    """There and back again: what stands in the first one is old, be it the memory or the word."""
    kept(policy, gone())
    standdown.put(policy.paths.stood_down, StoodDown(1_700_000_000, "root", "two writers"))
    os.utime(policy.paths.state_file, ns=(1, 1))
    moved = replace(policy, paths=replace(policy.paths, state=str(tmp_path / "elsewhere")))
    memory = kept(moved)
    predecessor.take_up(moved, BOOT, resident=True)
    predecessor.take_up(policy, BOOT, resident=True)
    assert store.load(policy.paths.state_file, "orders", "db1") == (memory, "")
    assert standdown.look(policy.paths.stood_down) is None
    word = StoodDown(1_700_000_001, "root", "for work")
    standdown.put(policy.paths.stood_down, word)
    predecessor.take_up(moved, BOOT, resident=False)
    assert store.load(moved.paths.state_file, "orders", "db1") == (memory, "")
    assert standdown.look(policy.paths.stood_down) == word, "a one-shot leaves what the agent may still use"
    predecessor.take_up(moved, BOOT, resident=True)
    assert standdown.look(moved.paths.stood_down) == word
    standdown.remove(moved.paths.stood_down)
    predecessor.take_up(policy, BOOT, resident=True)
    assert standdown.look(policy.paths.stood_down) is None, "its end was said where the agent kept it then"


def test_what_stands_beside_the_memory_is_not_written_again(policy: Policy) -> None:
    """Its disk may stand: a write there would not come back, and the next agent not begin."""
    predecessor.take_up(policy, BOOT, resident=True)
    assert Path(policy.paths.run_at).read_text() == f"{policy.paths.run}\n"
    before = os.stat(policy.paths.run_at)
    predecessor.take_up(policy, BOOT, resident=True)
    after = os.stat(policy.paths.run_at)
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_another_name_is_refused_also_together_with_another_state_directory(policy: Policy, tmp_path: Path) -> None:
    kept(policy)
    predecessor.take_up(policy, BOOT, resident=True)
    moved = replace(policy, cluster="another", paths=replace(policy.paths, state=str(tmp_path / "elsewhere")))
    with pytest.raises(ConfigError, match="cluster another"):
        predecessor.take_up(moved, BOOT, resident=True)


def test_beside_an_agent_that_answers_elsewhere_nobody_begins(policy: Policy, tmp_path: Path) -> None:
    """Another `paths.run` is another lock: two guards of one server."""
    kept(policy)
    predecessor.take_up(policy, BOOT, resident=True)
    moved = replace(policy, paths=replace(policy.paths, run=str(tmp_path / "other-run")))
    os.makedirs(moved.paths.run)
    predecessor.take_up(moved, BOOT, resident=False)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as agent:
        agent.bind(policy.paths.agent_socket)
        agent.listen()
        answering = threading.Thread(target=_answer, args=(agent,), daemon=True)
        answering.start()
        with pytest.raises(CouldNotDo, match=f"paths.run = {policy.paths.run}: stop it first"):
            predecessor.take_up(moved, BOOT, resident=False)
        answering.join(5)


def _answer(agent: socket.socket) -> None:
    connection, _ = agent.accept()
    with connection:
        connection.recv(100)
        connection.sendall(b"0 holder-healthy\n")


def test_the_word_of_a_reload_is_true_of_each_key() -> None:
    harmless = predecessor.changed(["mysql", "paths"])
    assert harmless == "mysql, paths changed: restart the agent to take that up, which harms no writer"
    refused = predecessor.changed(["mysql", "vip"])
    assert "which harms no writer, because it is refused for vip while this node writes" in refused
