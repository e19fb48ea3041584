"""`vipguard import-mmm`: what MMM's files come to, what has no counterpart, and one sentence for each mistake."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vipguard import config
from vipguard.cli import import_mmm, main
from vipguard.errors import ConfigError
from vipguard.mmm import files
from vipguard.mmm.directives import BLOCKS, NAMED, TOP
from vipguard.mmm.toml import render
from vipguard.mmm.translate import translate
from vipguard.model.policy import Policy

SAMPLES = Path(__file__).parent / "mmm"
DOCS = Path(__file__).parents[2] / "docs" / "migrating.md"
ALL = ["pair/mmm_mon.conf", "slaves/mmm_mon_C1.conf", "busy/mmm_mon.conf", "ring6/mmm_common.conf",
       "old/mmm_common.conf", "fork/mmm_common.conf"]  # fmt: skip
Run = Callable[..., tuple[int, str, str]]

PAIR = """\
active_master_role writer
<host db1>
  ip 10.0.0.11
  mode master
  peer db2
  cluster_interface eth0
</host>
<host db2>
  ip 10.0.0.12
  mode master
  peer db1
  cluster_interface eth0
</host>
<role writer>
  hosts db1, db2
  ips 10.0.0.100
  mode exclusive
</role>
"""


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """The command line, as it is typed: exit code, standard output, standard error."""

    def run(*argv: object) -> tuple[int, str, str]:
        code = main.run(["import-mmm", *map(str, argv)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def filled(text: str, tmp_path: Path) -> Policy:
    """The configuration that `text` is, once the operator has filled the gaps in, and nothing else."""
    for name in ("password", "replication-password"):
        (tmp_path / name).write_text("secret\n")
        (tmp_path / name).chmod(0o600)
        text = text.replace(f"/etc/vipguard/{name}", str(tmp_path / name))
    node = tomllib.loads(text)["nodes"]
    server_ids = iter(range(101, 200))
    text = re.sub(r'^# (router_id = \d+|interface = "eth0"|\[witness\]|addresses = .*)$', r"\1", text, flags=re.M)
    text = re.sub(r"^# server_id = 1$", lambda _: f"server_id = {next(server_ids)}", text, flags=re.M)
    path = tmp_path / "vipguard.toml"
    path.write_text(f'node = "{min(node)}"\n{text}', encoding="utf-8")
    return config.load(str(path))


# -- real-world files


@pytest.mark.parametrize("sample", ALL)
def test_what_is_made_of_a_real_world_file_loads_once_the_gaps_are_filled(
    sample: str, run: Run, tmp_path: Path
) -> None:
    code, out, err = run(SAMPLES / sample)
    assert code == 0
    assert "to correct" not in err
    policy = filled(out, tmp_path)
    assert len(policy.nodes) >= 2
    assert all(node.server_id > 100 for node in policy.nodes if node.priority)


def test_the_pair_of_every_tutorial(run: Run, tmp_path: Path) -> None:
    code, out, err = run(SAMPLES / "pair/mmm_mon.conf")
    policy = filled(out, tmp_path)
    assert code == 0
    assert (str(policy.vip.address), policy.vip.interface) == ("192.168.172.152/32", "eth0")
    assert [(n.name, n.address, n.priority) for n in policy.nodes] == [
        ("db1", "192.168.172.134", 250),
        ("db2", "192.168.172.135", 230),
    ]
    assert policy.replication and policy.replication.user == "replicant"
    assert [(str(r.address), r.nodes, r.writer) for r in policy.readers] == [
        ("192.168.172.153/32", ("db1", "db2"), "yes"),
        ("192.168.172.154/32", ("db2", "db1"), "yes"),
    ]
    assert len({r.router_id for r in policy.readers} | {policy.vip.router_id}) == 3
    assert err.count("reader.router_id") == 2
    for name in ("pid_path", "bin_path", "peer", "auto_set_online", "ping_ips", "agent_user", "debug"):
        assert name in err
    assert "mmm_common.conf:20: ip: what follows # is read as a comment" in err


def test_masters_slaves_readers_a_preference_and_the_monitors_settings(run: Run, tmp_path: Path) -> None:
    _, out, err = run(SAMPLES / "slaves/mmm_mon_C1.conf")
    policy = filled(out, tmp_path)
    assert policy.cluster == "C1"
    assert policy.vip.interface == "bond0"  # not the label bond0:1
    assert {n.name: n.priority for n in policy.nodes if n.name in ("db1", "db2")} == {"db1": 230, "db2": 250}
    assert policy.witnesses == ("10.0.0.1",)
    assert (policy.damping.losses_max, policy.damping.window_s, policy.limits.lag_s_max) == (5, 1800, 30)
    for name in ("db3", '"db4.example.com"'):
        assert re.search(rf'\[nodes\.{re.escape(name)}\]\naddress = "10\.0\.0\.10.".*\nrole = "replica"', out)
    for name in ("prefer", "kill_host_bin", "wait_for_other_master", "mode", "check_period", "cert_file"):
        assert name in err
    assert "maintenance on --cluster" in err and "fence.command" in err


def test_a_second_exclusive_role_is_a_reader_and_a_third_master_a_node(run: Run, tmp_path: Path) -> None:
    _, out, err = run(SAMPLES / "busy/mmm_mon.conf")
    policy = filled(out, tmp_path)
    assert [n.priority for n in policy.nodes if n.name in ("alpha", "beta", "gamma")] == [250, 230, 210]
    assert policy.mysql.port == 3307
    assert policy.replication and policy.replication.user == "vipguard_repl"
    assert policy.readers[0].ip == "172.16.4.101"
    assert [r.prefer for r in policy.readers if "prefer" in out] and any(r.prefer == "gamma" for r in policy.readers)
    assert "spare is a master that never has role app" in err
    assert "replication_user: is no name that vipguard takes" in err


def test_ipv6_addresses_and_windows_line_ends(run: Run, tmp_path: Path) -> None:
    policy = filled(run(SAMPLES / "ring6/mmm_common.conf")[1], tmp_path)
    assert str(policy.vip.address) == "fd00::100/128"
    assert [n.address for n in policy.nodes] == ["fd00::11", "fd00::12"]


def test_latin_1_bytes_and_a_cluster_without_active_master_role(run: Run, tmp_path: Path) -> None:
    _, out, err = run(SAMPLES / "old/mmm_common.conf")
    assert filled(out, tmp_path).vip.ip == "192.168.0.10"
    assert "cluster_interface: differs between the hosts (eth1, eth2)" in err


def test_the_prefix_length_of_a_fork_s_ip_block_counts(run: Run, tmp_path: Path) -> None:
    _, out, err = run(SAMPLES / "fork/mmm_common.conf")
    assert str(filled(out, tmp_path).vip.address) == "192.168.0.50/24"
    assert "default_gateway: no counterpart" in err


def test_no_password_of_mmm_is_printed(run: Run) -> None:
    for names in (["mmm_tools.conf", "mmm_mon.conf"], ["mmm_agent.conf"]):
        _, out, err = run(*(SAMPLES / "pair" / name for name in names))
        assert "s3cret" not in out + err


def test_the_tools_are_one_sentence_and_each_name(run: Run) -> None:
    _, _, err = run(SAMPLES / "pair/mmm_tools.conf")
    line = next(line for line in err.splitlines() if "makes no backups" in line)
    for name in ("default_copy_method", "clone_dirs", "lvm_snapshot_size", "backup_command", "true_copy"):
        assert name in line
    assert "ssh_user" in err and "tools_user" in err


def test_this_of_the_agents_file_never_becomes_the_node_of_all(run: Run) -> None:
    _, out, _ = run(SAMPLES / "pair/mmm_agent.conf")
    assert "node" not in tomllib.loads(out)
    assert 'node = "db1"' in out


def test_replicas_and_readers_stand_in_the_configuration() -> None:
    draft = translate(files.read([str(SAMPLES / "slaves/mmm_mon_C1.conf")]))
    document = tomllib.loads(render(draft))
    assert document["nodes"]["db4.example.com"]["role"] == "replica"
    assert document["reader"][0]["address"] == "10.0.0.51/32"


# -- the file that is written


def test_a_file_is_written_once_and_replaced_only_by_force(run: Run, tmp_path: Path) -> None:
    output = tmp_path / "vipguard.toml"
    source = SAMPLES / "pair/mmm_mon.conf"
    assert run(source, "--output", output)[:2] == (0, "")
    made = output.read_text()
    assert made == run(source)[1]
    output.write_text("mine\n")
    code, _, err = run(source, "--output", output)
    assert code == 2 and "exists already" in err and output.read_text() == "mine\n"
    assert run(source, "--output", output, "--force")[0] == 0
    assert output.read_text() == made
    assert [path.name for path in tmp_path.iterdir()] == ["vipguard.toml"]


@pytest.mark.parametrize("where", ["none/vipguard.toml", "."])
def test_a_file_that_cannot_be_written_is_one_sentence(where: str, run: Run, tmp_path: Path) -> None:
    code, out, err = run(SAMPLES / "pair/mmm_mon.conf", "--output", tmp_path / where, "--force")
    assert (code, out) == (2, "")
    assert "cannot be written" in err and err.count("\n") == 1


# -- mistakes

MISTAKES = {
    "torn": (PAIR[: PAIR.index("  ips")], "ends within <role writer>, which mmm.conf:14 opens"),
    "cut within a line": (PAIR[: PAIR.index("exclusive") - 1], "mode has no value"),
    "missing include": ("include nowhere.conf\n" + PAIR, 'mmm.conf:1: includes "nowhere.conf", which is in none'),
    "includes itself": ("include mmm.conf\n" + PAIR, "is included by itself"),
    "unknown block": (PAIR + "<hots db3>\n</hots>\n", "mmm.conf:19: <hots> is no block of MMM; did you mean <host>?"),
    "block in a block": (PAIR.replace("</host>", "<check mysql/>", 1), "opens check within <host db1>"),
    "wrong end": (PAIR.replace("</host>", "</role>", 1), "mmm.conf:7: closes role, but <host db1> of"),
    "end of nothing": ("</host>\n" + PAIR, "mmm.conf:1: closes host, and no block is open"),
    "no name": (PAIR.replace("<host db1>", "<host>"), "<host> has no name"),
    "a name too much": (PAIR + "<monitor x>\n</monitor>\n", "<monitor> takes no name"),
    "MMM 1": ("host db1\n    ip 10.0.0.11\n", "host is a block in MMM 2; write <host …>"),
    "no line": (PAIR + "gibberish\n", "mmm.conf:19: is neither a block nor a directive"),
    "half a block": (PAIR + "<host db3\n", "begins like a block and is none"),
    "empty": ("", "has no <host …>; name mmm_common.conf too"),
    "agent's alone": ("this db1\n", "has no <host …>"),
    "no roles": (PAIR[: PAIR.index("<role")], "has no <role …>"),
    "two writers": (
        PAIR.replace("active_master_role writer\n", "")
        + "<role other>\n hosts db1, db2\n ips 10.0.0.101\n mode exclusive\n</role>\n",
        "mmm.conf:18: writer and other are exclusive, and no active_master_role says which",
    ),
    "two ips": (PAIR.replace("10.0.0.100", "10.0.0.100, 10.0.0.101"), "has 2 ips, and an exclusive role has one"),
    "balanced writer": (PAIR.replace("exclusive", "balanced"), "writer, which is not exclusive"),
    "unknown active role": (PAIR.replace("role writer", "role app", 1), "names app, and there is no such <role …>"),
    "one node": (PAIR.replace("hosts db1, db2", "hosts db1"), "may be had by db1 alone"),
    "unknown host": (PAIR.replace("db1, db2\n", "db1, db3\n"), "names the host db3, which has no <host …>"),
    "no commas": (PAIR.replace("db1, db2\n", "db1 db2\n"), "with commas between them"),
    "a name for an address": (PAIR.replace("10.0.0.11", "db1.example.org"), '"db1.example.org", which is no address'),
    "a scope": (PAIR.replace("10.0.0.11", "fe80::1%eth0"), '"fe80::1%eth0", which is no address'),
    "no ip": (PAIR.replace("  ip 10.0.0.11\n", ""), "host db1 has no ip"),
    "a bad node name": (PAIR.replace("db1", "_db1_"), "_db1_ is no name for a node"),
    "zero bytes": ("\0\0\0\0\n" * 3, "is neither a block nor a directive"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_sentence_that_names_the_place(mistake: str, run: Run, tmp_path: Path) -> None:
    text, sentence = MISTAKES[mistake]
    (tmp_path / "mmm.conf").write_text(text)
    code, out, err = run(tmp_path / "mmm.conf")
    assert (code, out) == (2, "")
    assert sentence in err, err
    assert err.count("\n") == 1 and "mmm.conf" in err and "Traceback" not in err


def test_a_line_that_is_not_understood_is_never_repeated(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mmm.conf").write_text(PAIR + "agent_password=hunter2\n")
    assert "hunter2" not in run(tmp_path / "mmm.conf")[2]


@pytest.mark.parametrize("name", ["missing", "directory", "huge", "fifo"])
def test_what_is_no_file_of_mmm_is_refused(name: str, run: Run, tmp_path: Path) -> None:
    path = tmp_path / name
    if name == "directory":
        path.mkdir()
    elif name == "huge":
        path.write_bytes(b"# comment\n" * 1_000_000)
    elif name == "fifo":
        import os

        os.mkfifo(path)
    code, out, err = run(path)
    said = {"missing": "does not exist", "directory": "cannot be read", "huge": "larger than a megabyte",
            "fifo": "no regular file"}[name]  # fmt: skip
    assert (code, out) == (2, "") and said in err and err.count("\n") == 1


def test_an_unknown_directive_is_named_and_left_out(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mmm.conf").write_text(PAIR.replace("  peer db2\n", "  pper db2\n  flap_count 3\n"))
    code, _, err = run(tmp_path / "mmm.conf")
    assert code == 0
    assert "mmm.conf:5: pper: is not read here: did you mean peer?" in err
    assert "flap_count: is not read here: it belongs into <monitor>" in err


def test_what_the_configuration_would_refuse_is_said_at_once(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mmm.conf").write_text(PAIR.replace("10.0.0.100", "10.0.0.11"))
    code, _, err = run(tmp_path / "mmm.conf")
    assert code == 0
    assert 'to correct: vip.address: is 10.0.0.11, node db1\'s own address' in err


def test_what_is_printed_is_ascii_whatever_the_files_are_called(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "mmm_mon_Zürich.conf"
    path.write_text(PAIR.replace("eth0", "brücke0"), encoding="utf-8")
    code, out, err = run(path)
    assert code == 0 and out.isascii()
    assert tomllib.loads(out)["vip"]["interface"] == "brücke0"
    assert "to correct: vip.interface" in err


def test_force_without_output_is_a_mistake_of_usage(run: Run) -> None:
    assert run(SAMPLES / "pair/mmm_mon.conf", "--force")[0] == 2
    assert run()[0] == 2


# -- whatever the text

_LINE = st.one_of(
    st.text(max_size=40),
    st.builds(
        lambda name, value: f"{name} {value}",
        st.sampled_from(sorted({*TOP, *(name for table in BLOCKS.values() for name in table)})),
        st.one_of(st.text(max_size=20), st.sampled_from(["writer", "db1, db2", "10.0.0.1", "fd00::1", "master", "7"])),
    ),
    st.builds(lambda kind, name, end: f"<{kind} {name}{end}>", st.sampled_from(sorted(BLOCKS)),
              st.sampled_from(["", "db1", "db2", "writer", "default", "10.0.0.1"]), st.sampled_from(["", "/"])),
    st.sampled_from([f"</{kind}>" for kind in BLOCKS] + PAIR.splitlines() + ["include mmm.conf", "include \0"]),
)  # fmt: skip


def _harmless(text: bytes, tmp_path: Path) -> None:
    (tmp_path / "mmm.conf").write_bytes(text)
    done = CliRunner().invoke(import_mmm.command, [str(tmp_path / "mmm.conf")])
    assert done.exception is None or isinstance(done.exception, ConfigError | SystemExit), done.exception
    if done.exception is None:
        tomllib.loads(done.stdout)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300))
def test_no_bytes_make_it_crash(tmp_path: Path, text: bytes) -> None:
    _harmless(text, tmp_path)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(_LINE, max_size=12), st.sampled_from(["", PAIR]))
def test_no_lines_make_it_crash(tmp_path: Path, lines: list[str], before: str) -> None:
    _harmless((before + "\n".join(lines)).encode("utf-8", "surrogatepass"), tmp_path)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from([str(SAMPLES / name) for name in ALL]),
    st.integers(0, 2000),
    st.integers(0, 30),
    st.text(max_size=15),
)
def test_no_change_to_a_real_file_makes_it_crash(tmp_path: Path, path: str, at: int, gone: int, put: str) -> None:
    text = Path(path).read_bytes().decode("latin-1").replace("include mmm_common.conf", "")
    whole = Path(path).with_name("mmm_common.conf")
    if whole.exists() and str(whole) != path:
        text = whole.read_bytes().decode("latin-1") + text
    _harmless((text[:at] + put + text[at + gone :]).encode("utf-8", "surrogatepass"), tmp_path)


# -- the manual


def test_the_manual_names_every_directive_of_mmm() -> None:
    manual = DOCS.read_text(encoding="utf-8")
    for name in {*TOP, *(name for table in BLOCKS.values() for name in table), "include"}:
        assert f"`{name}`" in manual, name
    assert not NAMED - set(BLOCKS)


@pytest.mark.parametrize(
    "command",
    ["help", "ping", "show", "show masters", "show slaves", "show status", "checks", "set_online", "set_offline",
     "mode", "set_active", "set_manual", "set_passive", "move_role", "move_role --force", "set_ip"],
)  # fmt: skip
def test_the_manual_names_every_command_of_mmm_control(command: str) -> None:
    assert re.search(rf"^\| `{re.escape(command)}\b", DOCS.read_text(encoding="utf-8"), re.M)
