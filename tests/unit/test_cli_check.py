"""`vipguard check` without any server: the guidelines' line and exit codes, what it imports, and who is asked."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import healthy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vipguard.cli import plugin
from vipguard.cli.check import NAMES
from vipguard.cli.main import run
from vipguard.model.finding import Finding, Outcome, Perf
from vipguard.model.ranges import Range
from vipguard.probe import procnet

Ask = Callable[..., tuple[int, str, str]]
_NUMBER = r"-?\d+(\.\d+)?"
_RANGE = rf"@?((~|{_NUMBER})?:)?({_NUMBER})?"
# the guidelines, section "Performance data"; the label is quoted where it must be
_PERF = rf"('([^'=]|'')+'|[^\s'=]+)=({_NUMBER}(s|ms|us|%|B|KB|MB|GB|TB|c)?|U)(;{_RANGE})?(;{_RANGE})?"
LINE = re.compile(rf"[A-Z_]+ (OK|WARNING|CRITICAL|UNKNOWN) - [^|\n]+( \|( {_PERF})+)?")


@pytest.fixture
def ask(config: Path, capsys: pytest.CaptureFixture[str]) -> Ask:
    """Runs a check in this process: exit code, stdout, stderr."""

    def ask(*arguments: str) -> tuple[int, str, str]:
        code = run(["--config", str(config), "check", *arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    return ask


@contextmanager
def agent(config: Path, status: dict[str, Any]) -> Iterator[list[str]]:
    """Somebody who answers at the agent's socket with this status. Gives what was asked."""
    asked: list[str] = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(config.parent / "run/agent.sock"))
        listener.listen()

        def serve() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                with client:
                    asked.append(client.recv(100).decode().strip())
                    client.sendall(json.dumps(status).encode() + b"\n")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield asked
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(5)


def status(**own: Any) -> dict[str, Any]:
    """An agent's status as far as a check reads it."""
    verdict = {"standing": "candidate", "eligibility": "eligible", "rule": "candidate-ready", "text": "ready"}
    return {"nodes": [{"node": "db1", "here": True, "lag_s": 0.4, **verdict, **own}]}


# -- the line


def test_the_line_is_that_of_the_guidelines() -> None:
    perf = (Perf("lag", 0.0, "s", None, Range.parse("~:10")),)
    assert (
        plugin.line(Finding("lag", Outcome.OK, "lag-seen", "0 s behind", perf))
        == "LAG OK - 0 s behind | lag=0s;;~:10"
    )


def test_a_number_that_was_not_seen_is_u_without_a_unit() -> None:
    assert plugin.perfdata(Perf("lag", None, "s", None, Range.parse("~:10"))) == "lag=U;;~:10"


def test_a_label_with_a_space_or_a_quote_is_quoted() -> None:
    assert plugin.perfdata(Perf("db 1's lag", 2.5, "s")) == "'db 1''s lag'=2.5s"


def test_semicolons_that_nothing_follows_are_left_out() -> None:
    assert plugin.perfdata(Perf("lag", 1.0, "s", Range.parse("5"))) == "lag=1s;5"


_TEXTS = st.text(min_size=1, max_size=60).filter(str.strip)
_LABELS = st.text("abc '=_", min_size=1, max_size=8).filter(lambda label: "=" not in label and label.strip())
_VALUES = st.none() | st.floats()
_PERFS = st.builds(Perf, _LABELS, _VALUES, st.sampled_from(("", "s", "MB")), st.just(Range(0, 1.5)))


@given(st.sampled_from(Outcome), _TEXTS, st.lists(_PERFS, max_size=3))
def test_whatever_is_said_it_is_one_line_of_the_grammar(
    outcome: Outcome, text: str, perfs: list[Perf]
) -> None:
    line = plugin.line(Finding("lag", outcome, "rule", f"said: {text}", tuple(perfs)))
    assert LINE.fullmatch(line), line
    assert len(line.splitlines()) == 1


# -- the command, nothing being there to be seen


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("alive", 2),
        ("replication", 3),
        ("lag", 3),
        ("read_only", 3),
        ("errant", 3),
        ("disk", 3),
        ("writer", 2),
    ],
)
def test_a_check_without_a_server_says_so_by_the_guidelines(ask: Ask, name: str, code: int) -> None:
    said = ask(name)
    assert said[0] == code
    assert LINE.fullmatch(said[1].rstrip("\n")), said[1]
    assert "nobody listens" in said[1] or name == "read_only"


def test_a_witness_that_answers_is_seen_without_a_server(ask: Ask) -> None:
    assert ask("witness")[:2] == (0, "WITNESS OK - 1 of 1 witnesses answer | witnesses=1\n")


def test_a_witness_that_nobody_has_is_critical_after_a_whole_lease(config: Path, ask: Ask) -> None:
    """192.0.2.0/24 is for documentation: nobody answers there."""
    text = config.read_text().replace("127.0.0.73", "192.0.2.73").replace("127.0.0.72", "192.0.2.72")
    config.write_text(text)
    code, out, _ = ask("witness")
    assert (code, out) == (2, "WITNESS CRITICAL - no witness and no peer answered for 0.3 s | witnesses=0\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ("lag", "--critical", "5..3"),
        ("lag", "--warning", "20:10"),
        ("lag", "--crtical", "5"),
        ("lag", "--critical"),
        ("lag", "now"),
        ("lagg",),
        (),
        ("lag", "--for-keepalived"),
        ("writer", "--critical", "5"),
    ],
)
def test_a_mistake_in_the_arguments_is_unknown_and_one_line(ask: Ask, arguments: tuple[str, ...]) -> None:
    code, out, _ = ask(*arguments)
    assert code == 3
    assert LINE.fullmatch(out.rstrip("\n")), out


def test_a_mistake_in_the_configuration_is_unknown_not_critical(config: Path, ask: Ask) -> None:
    config.write_text(config.read_text() + "\nlimit = 3\n")
    code, out, _ = ask("lag")
    assert (code, "unknown key" in out) == (3, True)


@pytest.mark.parametrize("name", NAMES)
def test_every_check_has_json_with_the_same_outcome(ask: Ask, name: str) -> None:
    code, out, _ = ask(name, "--json")
    answer = json.loads(out)
    assert (answer["check"], answer["code"]) == (name, code)
    assert answer["outcome"] == Outcome(code).name
    assert answer["rule"] and answer["text"]
    assert answer["seen_by"] == "one-look"


def test_a_mistake_is_told_as_json_where_json_was_asked_for(ask: Ask) -> None:
    code, out, _ = ask("lag", "--critical", "x", "--json")
    assert (code, json.loads(out)["outcome"]) == (3, "UNKNOWN")


# -- with an agent


def test_writer_shows_the_agents_verdict(config: Path, ask: Ask) -> None:
    with agent(config, status()) as asked:
        code, out, _ = ask("writer")
    assert (code, out) == (0, "WRITER OK - candidate, candidate-ready: ready | eligible=1 lag=0.4s\n")
    assert asked == ["status"]


@pytest.mark.parametrize(
    ("standing", "eligibility", "code"),
    [
        ("candidate", "eligible", 0),
        ("candidate", "ineligible", 2),
        ("candidate", "undetermined", 3),
        ("taking", "eligible", 0),
        ("holder", "eligible", 0),
        ("holder", "undetermined", 1),
        ("holder", "ineligible", 2),
    ],
)
def test_a_verdict_has_an_outcome(config: Path, ask: Ask, standing: str, eligibility: str, code: int) -> None:
    with agent(config, status(standing=standing, eligibility=eligibility)):
        assert ask("writer")[0] == code


def test_writer_of_an_agent_that_has_not_decided_is_unknown(config: Path, ask: Ask) -> None:
    with agent(config, status(eligibility=None)):
        assert ask("writer")[0] == 3


def test_an_agent_that_talks_nonsense_is_taken_for_silent(config: Path, ask: Ask) -> None:
    with agent(config, {"nodes": "none"}):
        code, out, _ = ask("writer")
    assert (code, "one look" in out) == (2, True)


def test_the_agent_remembers_the_disk_of_a_server_that_is_down(config: Path, ask: Ask) -> None:
    with agent(config, status(disk_free_bytes=7_000_000, disk_writable=True)):
        code, out, _ = ask("disk")
    assert (code, out) == (2, "DISK CRITICAL - only 7 MB are free | free=7MB;;100:\n")


# -- for keepalived


def test_for_keepalived_a_candidate_without_a_server_is_no_with_its_rule(ask: Ask) -> None:
    code, out, _ = ask("writer", "--for-keepalived")
    assert code == 1
    assert out.startswith("1 server-absent the server is not running")


def test_for_keepalived_the_agent_is_not_asked_again(config: Path, ask: Ask) -> None:
    with agent(config, status()) as asked:
        assert ask("writer", "--for-keepalived")[0] == 1
    assert asked == []


def test_for_keepalived_a_holder_with_a_hung_server_stays(config: Path, ask: Ask) -> None:
    """The VIP is an address that this host has; somebody accepts on the server's socket and says nothing."""
    config.write_text(config.read_text().replace('"lo"', '"eth0"').replace("10.73.0.100/24", _own_address()))
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(config.parent / "mysqld.sock"))
        server.listen()
        code, out, _ = ask("writer", "--for-keepalived")
    assert (code, out.split()[1]) == (0, "holder-server-silent")


def test_for_keepalived_a_holder_without_a_server_goes(config: Path, ask: Ask) -> None:
    config.write_text(config.read_text().replace("10.73.0.100/24", _own_address()))
    code, out, _ = ask("writer", "--for-keepalived")
    assert (code, out.split()[1]) == (1, "holder-server-absent")


def _own_address() -> str:
    """An address of this host that is no loopback's, which the configuration refuses as a VIP."""
    for line in Path("/proc/net/if_inet6").read_text().splitlines():
        digits, _, _, scope, _, name = line.split()
        if name != "lo" and scope in ("00", "40", "80"):
            return ":".join(digits[i : i + 4] for i in range(0, 32, 4)) + "/64"
    own = re.findall(r"\|-- (\S+)\n\s+/32 host LOCAL", Path("/proc/net/fib_trie").read_text())
    found = [address for address in own if not address.startswith("127.")]
    if not found:
        pytest.fail("this host has no address but loopback's to stand for the VIP")
    return f"{found[0]}/24"


_IMPORTS = """
import sys
from vipguard.cli.main import run
run(sys.argv[1:])
heavy = sorted({name.partition(".")[0] for name in sys.modules} & {"pyroute2", "scapy", "prometheus_client", "rich"})
print("HEAVY", heavy)
"""


@pytest.mark.parametrize("arguments", [*((name,) for name in NAMES), ("writer", "--for-keepalived")])
def test_no_check_imports_what_is_slow_to_import(config: Path, arguments: tuple[str, ...]) -> None:
    argv = [sys.executable, "-c", _IMPORTS, "--config", str(config), "check", *arguments]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False, env=environment)
    assert done.stdout.endswith("HEAVY []\n"), done.stdout + done.stderr


# -- /proc/net

TRIE = """\
Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 10.73.0.0/24 2 0 2
        |-- 10.73.0.0
           /24 link UNICAST
        |-- 10.73.0.10
           /32 host LOCAL
        |-- 10.73.0.100
           /32 link UNICAST
           /32 host LOCAL
        |-- 10.73.0.20
           /32 link UNICAST
        |-- 10.73.0.255
           /32 link BROADCAST
"""


@pytest.mark.parametrize(
    ("ip", "here"),
    [
        ("10.73.0.10", True),
        ("10.73.0.100", True),
        ("10.73.0.1", False),
        ("10.73.0.20", False),
        ("10.73.0.255", False),
        ("10.73.0.0", False),
        ("0.73.0.10", False),
    ],
)
def test_an_ipv4_address_is_here_when_it_is_a_local_leaf_to_the_letter(ip: str, here: bool) -> None:
    assert procnet.in_fib_trie(TRIE.splitlines(), ip) is here


INET6 = """\
fd000073000000000000000000000100 04 40 00 80     eth0
fd000073000000000000000000000101 04 40 00 40     eth0
fd000073000000000000000000000102 04 40 00 c8     eth0
fd000073000000000000000000000103 04 40 00 44     eth0
"""


@pytest.mark.parametrize(
    ("digits", "here"),
    [("0100", True), ("0101", False), ("0102", False), ("0103", True), ("0010", False)],
    ids=["usable", "tentative", "duplicate", "optimistic", "another"],
)
def test_an_ipv6_address_is_here_when_the_host_answers_for_it(digits: str, here: bool) -> None:
    assert procnet.in_if_inet6(INET6.splitlines(), f"fd0000730000000000000000{digits:0>8}") is here


def test_a_host_without_ipv6_has_no_such_vip(tmp_path: Path) -> None:
    assert not procnet.look("lo", "fd00::1", lambda: healthy.NOW_S, proc=str(tmp_path)).vip_present
