"""How does a test make nodes of servers as an operator does? By `vipguard setup`, restarts, and starting agents."""

from __future__ import annotations

import re
from subprocess import CompletedProcess

from guarded import app_sessions, gtids, ids_on
from lawful import nothing_lost

from vipguard.lab import Lab, Node, faults

SECRETS = {"password": 'it\'s a \\ "secret"', "replication-password": "another' one;"}


def start(node: Node) -> None:
    node.mysqld.start(again_s=0.3)  # as systemd does; MySQL's clone wants it


def restart(node: Node) -> None:
    node.mysqld.terminate()
    start(node)
    node.mysqld.wait_ready()


def setup(node: Node, *options: str, code: int = 1) -> CompletedProcess[str]:
    done = node.vipguard("setup", *options, check=False, timeout_s=90)
    assert done.returncode == code, f"{done.returncode}\n{done.stdout}{done.stderr}"
    assert not any(secret in done.stdout + done.stderr for secret in SECRETS.values())
    return done


def outcomes(done: CompletedProcess[str]) -> dict[str, str]:
    """The last word on each step."""
    lines = re.findall(
        r"^(already so|done|would do|TO DO|left out|REFUSED) +(\S.*?)  ", done.stdout, re.MULTILINE
    )
    return {step.strip(): outcome for outcome, step in lines}


def guard(lab: Lab) -> Node:
    """What the last lines of `setup` say: the agent first, then keepalived, on every node."""
    for node in lab.nodes.values():
        node.mysqld.end_restarts()  # who is killed from here on stays dead until the test starts it
        node.start_agent()
    for node in lab.nodes.values():
        node.start_keepalived()
    return lab.wait_healthy(30)


def fails_over(lab: Lab, writer: Node) -> None:
    standby = lab.others(writer)[0]
    with lab.client(rate=100) as client:
        client.wait_acks(20)
    # what was acknowledged and not sent yet would keep the old writer apart, as it must; and a killed client's last
    # insert may still be carried out
    lab.wait(lambda: not app_sessions(writer), 15, "the client's session to end")
    lab.wait(lambda: ids_on(writer) == ids_on(standby), 10, "the standby to have everything")
    with faults.kill_mysqld(writer):
        lab.wait(lambda: lab.writer() is standby, 15, "a failover")
        with lab.client(rate=100) as after:
            after.wait_acks(20)
    lab.wait(lambda: not lab.trouble(), 20, "a healthy pair")
    lab.wait(lambda: gtids(writer) == gtids(standby), 10, "the old writer to have everything")
    nothing_lost(client, standby)
    nothing_lost(after, standby)
    assert ids_on(writer) == ids_on(standby)
