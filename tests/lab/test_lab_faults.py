"""Each fault of the lab does what its name says, and is healed at the exit."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path

from vipguard.lab import Lab, faults, wait_until
from vipguard.lab.node import Node


def reaches(node: Node, address: str, port: int = 3306) -> bool:
    script = f"import socket; socket.create_connection(('{address}', {port}), 0.5)"
    return node.run(["/usr/bin/python3", "-I", "-S", "-c", script], check=False).returncode == 0


def pings(node: Node, address: str) -> bool:
    return node.run(["ping", "-c1", "-W1", address], check=False).returncode == 0


def test_a_killed_server_is_started_again_when_healed(bare: Lab) -> None:
    node = bare.nodes["db1"]
    with faults.kill_mysqld(node):
        assert not node.mysqld.alive and node.mysqld.read_only() is None
    wait_until(lambda: node.mysqld.read_only() is True, 10, "the started server to answer")


def test_a_stopped_server_says_nothing_until_healed(bare: Lab) -> None:
    node = bare.nodes["db1"]
    with faults.stop_mysqld(node):
        assert node.mysqld.alive and node.mysqld.read_only() is None
    wait_until(lambda: node.mysqld.read_only() is True, 10, "the server to answer again")


def test_a_pulled_cable_takes_the_carrier_and_gives_it_back(bare: Lab) -> None:
    one, other = bare.nodes.values()
    with faults.link_down(bare, one):
        assert "NO-CARRIER" in one.run(["ip", "link", "show", "eth0"]).stdout
        assert one.address in one.run(["ip", "-br", "addr"]).stdout, "its addresses stay"
        assert not reaches(one, other.address)
    wait_until(lambda: reaches(one, other.address), 5, "the cable to work again")


def test_a_node_that_is_cut_off_keeps_its_carrier(bare: Lab) -> None:
    one, other = bare.nodes.values()
    with faults.cut_off(bare, one):
        assert "NO-CARRIER" not in one.run(["ip", "link", "show", "eth0"]).stdout
        assert not reaches(one, other.address) and not reaches(other, one.address)
        assert not pings(one, bare.spec.witness) and pings(other, bare.spec.witness)
    assert reaches(one, other.address) and pings(one, bare.spec.witness)


def test_a_cut_between_the_nodes_leaves_the_witness(bare: Lab) -> None:
    one, other = bare.nodes.values()
    with faults.between_nodes(bare):
        assert not reaches(one, other.address) and not reaches(other, one.address)
        assert pings(one, bare.spec.witness) and pings(other, bare.spec.witness)
    assert reaches(one, other.address)


def test_a_cut_can_take_sql_alone(bare: Lab) -> None:
    one, other = bare.nodes.values()
    with faults.between_nodes(bare, traffic="sql"):
        assert not reaches(one, other.address) and pings(one, other.address)
    assert reaches(one, other.address)


def test_a_cut_can_go_one_way(bare: Lab) -> None:
    one, other = bare.nodes.values()

    def heard(listener: Node, sender: Node) -> bool:
        script = (
            "import socket, sys; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(1.0);"
            f"s.bind(('{listener.address}', 5555)); print('bound', flush=True); print(s.recv(9).decode())"
        )
        process = listener.popen(
            ["/usr/bin/python3", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        with process:
            assert process.stdout is not None and process.stdout.readline() == "bound\n"
            send = (
                "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM);"
                f"s.sendto(b'x', ('{listener.address}', 5555))"
            )
            sender.run(["/usr/bin/python3", "-c", send])
            return "x" in process.stdout.read()

    assert heard(one, other) and heard(other, one)
    with faults.one_way(bare, one, other):
        assert not heard(other, one)
    assert heard(other, one)


def test_a_witness_can_be_silent_to_one_node(bare: Lab) -> None:
    one, other = bare.nodes.values()
    with faults.no_witness(bare, one):
        assert not pings(one, bare.spec.witness)
        assert pings(other, bare.spec.witness) and reaches(one, other.address)
    assert pings(one, bare.spec.witness)


def test_a_full_run_takes_no_byte_more(bare: Lab) -> None:
    node = bare.nodes["db1"]
    with faults.full_run(node):
        done = node.run(["cp", "/etc/passwd", "/run/x"], check=False)
        assert done.returncode != 0 and "No space" in done.stderr
    assert node.run(["sh", "-c", "echo x > /run/x && rm /run/x"]).returncode == 0


def test_a_paused_node_does_nothing_but_answer_pings(bare: Lab) -> None:
    one, other = bare.nodes.values()
    with faults.paused(one):
        states = {
            Path(f"/proc/{p.pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
            for p in one.space.processes().values()
        }
        assert states == {"T"} and pings(other, one.address)
    assert one.mysqld.read_only() is True


def test_heal_undoes_faults_that_nobody_else_will(bare: Lab) -> None:
    one, other = bare.nodes.values()
    with contextlib.ExitStack() as stack:
        for fault in (
            faults.cut_off(bare, one),
            faults.link_down(bare, other),
            faults.stop_mysqld(one),
            faults.full_run(one),
        ):
            stack.enter_context(fault)
        stack.pop_all()  # as if the command that made them had been killed
    bare.heal()
    wait_until(lambda: reaches(one, other.address) and one.mysqld.read_only(), 5, "health")


# -- the guarded pair that other tests share


def test_a_guarded_pair_is_well_again_after_a_fault(pair: Lab) -> None:
    writer = pair.wait_healthy()
    with faults.kill_mysqld(writer):
        pair.wait(lambda: pair.writer() not in (None, writer), 10, "a failover")
    assert pair.reset().name in pair.nodes
    assert pair.trouble() == ""


def test_reset_gives_fresh_data_where_histories_went_apart(pair: Lab) -> None:
    writer = pair.wait_healthy()
    standby = pair.others(writer)[0]
    insert = "INSERT INTO app.t (id, node) VALUES (-1, @@server_id)"
    closing = f"SET GLOBAL {standby.mysqld.closing}"
    with faults.between_nodes(pair, traffic="sql"):
        writer.mysqld.sql(insert)
        standby.mysqld.sql(f"{closing} = 0", "SET GLOBAL read_only = 0", insert, f"{closing} = 1")
    pair.wait(lambda: pair.trouble() != "", 20, "the same key from both sides to stop replication")
    pair.reset(within_s=3)
    assert pair.trouble() == ""
    for node in pair.nodes.values():
        assert node.mysqld.value("(SELECT COUNT(*) FROM app.t WHERE id = -1)") == 0
