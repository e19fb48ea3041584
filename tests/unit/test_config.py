"""The configuration: one clear sentence for each mistake, and a whole policy otherwise."""

from __future__ import annotations

import copy
import dataclasses
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vipguard import config
from vipguard.config.host import default_gateways
from vipguard.errors import ConfigError
from vipguard.model.policy import Limits, Policy

Document = dict[str, Any]


def healthy(folder: Path) -> Document:
    """The configuration of the manual, for node db1."""
    return {
        "cluster": "orders",
        "node": "db1",
        "vip": {"address": "10.73.0.100/24", "interface": "eth0", "router_id": 51},
        "nodes": {
            "db1": {"address": "10.73.0.11", "priority": 200},
            "db2": {"address": "10.73.0.12", "priority": 180},
        },
        "mysql": {"password_file": str(folder / "password")},
        "witness": {"addresses": ["10.73.0.1"]},
    }


def toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml(str(key))} = {toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(toml(item) for item in value) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        escaped = "".join(c if c.isprintable() and c not in '"\\' else f"\\u{ord(c):04x}" for c in value)
        return f'"{escaped}"'
    return str(value)


def write(folder: Path, document: Document) -> str:
    path = folder / "vipguard.toml"
    path.write_text(
        "\n".join(f"{toml(key)} = {toml(value)}" for key, value in document.items()), encoding="utf-8"
    )
    return str(path)


def put(document: Document, key: str, value: Any) -> Document:
    """`document` with one dotted key set, or removed when the value is None."""
    *tables, last = key.split(".")
    table = document
    for name in tables:
        table = table.setdefault(name, {})
    if value is None:
        table.pop(last, None)
    else:
        table[last] = value
    return document


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "password").write_text("secret\n")
    (tmp_path / "password").chmod(0o600)
    (tmp_path / "replication-password").write_text("repl-secret\n")
    (tmp_path / "replication-password").chmod(0o640)
    return tmp_path


@pytest.fixture
def load(folder: Path) -> Callable[..., Policy]:
    def load_with(**changes: Any) -> Policy:
        document = healthy(folder)
        for key, value in changes.items():
            put(document, key.replace("__", "."), value)
        return config.load(write(folder, document))

    return load_with


def test_the_manuals_configuration_gives_the_whole_policy(load: Callable[..., Policy], folder: Path) -> None:
    policy = load()
    assert (policy.cluster, policy.node, policy.vip.ip, policy.vip.version) == (
        "orders",
        "db1",
        "10.73.0.100",
        4,
    )
    assert [node.name for node in policy.nodes] == ["db1", "db2"]
    assert [node.server_id for node in policy.nodes] == [1, 2]
    assert policy.mysql.password == "secret"
    assert policy.limits == Limits()
    assert policy.file == str(folder / "vipguard.toml")
    assert policy.claim_lock == "vipguard.claim.orders"


def test_a_policy_that_is_printed_does_not_tell_its_passwords(load: Callable[..., Policy]) -> None:
    assert "secret" not in repr(load())


def test_every_field_of_the_sections_is_a_key(load: Callable[..., Policy], folder: Path) -> None:
    policy = load(
        limits__hang_s=1,
        vrrp__unicast=True,
        vrrp__startup_delay_s=0,
        fence__kill_hung=False,
        disk__free_mb_min=5,
        mysql__tls="verify",
        replication={"user": "repl", "password_file": str(folder / "replication-password")},
        paths__run="/run/other",
        nodes__db1__server_id=7,
        silent_peer="wait",
        durability="lossless",
    )
    assert (policy.limits.hang_s, policy.vrrp.unicast, policy.vrrp.startup_delay_s) == (1.0, True, 0)
    assert isinstance(policy.limits.hang_s, float)
    assert (policy.fence.kill_hung, policy.disk.free_mb_min, policy.mysql.tls) == (False, 5, "verify")
    assert policy.replication is not None
    assert policy.replication.password == "repl-secret"
    assert (policy.paths.fifo, policy.me.server_id) == ("/run/other/vrrp.fifo", 7)
    assert (policy.silent_peer, policy.durability) == ("wait", "lossless")


def test_a_fence_commands_options_are_texts_whatever_they_were_written_as(load: Callable[..., Policy]) -> None:
    options = {"ip": "10.0.0.9", "lanplus": True, "power_wait": 4}
    fence = load(fence={"command": "/usr/bin/true", "options": options, "plugs": {"db2": "17"}}).fence
    assert fence.options == (("ip", "10.0.0.9"), ("lanplus", "1"), ("power_wait", "4"))
    assert fence.plugs == (("db2", "17"),)
    assert "10.0.0.9" not in repr(fence), "options may hold a password"


def test_a_fence_command_that_others_could_change_is_refused(
    load: Callable[..., Policy], tmp_path: Path
) -> None:
    command = tmp_path / "fence_x"
    command.write_text("#!/bin/sh\n")
    command.chmod(0o755)
    with pytest.raises(ConfigError, match=r"fence\.command: names .* is not safe: .*others than root may write"):
        load(fence__command=str(command))


def test_an_ipv6_vip_is_read(load: Callable[..., Policy]) -> None:
    assert load(vip__address="fd00::100/64").vip.version == 6


def test_the_nodes_own_name_defaults_to_the_hosts(
    load: Callable[..., Policy], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "db2.example.org")
    assert load(node=None).node == "db2"


def test_a_lease_of_exactly_three_probes_is_enough(load: Callable[..., Policy]) -> None:
    assert load(limits__probe_s=0.1, limits__lease_s=0.3).limits.lease_s == 0.3


def test_without_secrets_no_password_file_is_looked_at(folder: Path) -> None:
    (folder / "password").unlink()
    assert config.load(write(folder, healthy(folder)), secrets=False).mysql.password == ""


# key set to a value: the key that the sentence names, and what it says
MISTAKES: list[tuple[str, Any, str, str]] = [
    ("clustr", "x", "clustr", "did you mean 'cluster'"),
    ("vip.adress", "x", "vip.adress", "did you mean 'address'"),
    ("limits.lag_max_s", 1, "limits.lag_max_s", "did you mean 'lag_s_max'"),
    ("limits.zzz", 1, "limits.zzz", "remove it; known here are lag_s_max"),
    ("mysql.password", "x", "mysql.password", "did you mean 'password_file'"),
    ("nodes.db1.prio", 1, "nodes.db1.prio", "did you mean 'priority'"),
    ("witness.address", [], "witness.address", "did you mean 'addresses'"),
    ("cluster", None, "cluster", "is missing"),
    ("cluster", 5, "cluster", "is 5; write a string in quotes"),
    ("cluster", "", "cluster", "is empty"),
    ("cluster", "or ders", "cluster", "letters, digits"),
    ("cluster", "o';--", "cluster", "letters, digits"),
    ("cluster", "c" * 50, "cluster", "at most 46 letters"),
    ("node", "db9", "node", "add [nodes.db9] or name one of db1, db2"),
    ("silent_peer", "opened", "silent_peer", 'write "open" or "wait"'),
    ("silent_peer", ["open"], "silent_peer", 'write "open" or "wait"'),
    ("durability", True, "durability", 'write "async" or "lossless"'),
    ("vip", None, "vip.address", "is missing"),
    ("vip", "10.73.0.100/24", "vip", "write [vip] on a line of its own"),
    ("vip.address", "10.73.0.100", "vip.address", "not in CIDR form"),
    ("vip.address", "fd00::100", "vip.address", "not in CIDR form"),
    ("vip.address", "10.73.0.100/33", "vip.address", "no address"),
    ("vip.address", "10.73.0.300/24", "vip.address", "no address"),
    ("vip.address", "10.73.0.100/255.255.255.0", "vip.address", "not in CIDR form"),
    ("vip.address", "10.73.0.0/24", "vip.address", "no host can have"),
    ("vip.address", "10.73.0.255/24", "vip.address", "no host can have"),
    ("vip.address", "127.0.0.1/8", "vip.address", "no host can have"),
    ("vip.address", "224.0.0.18/24", "vip.address", "no host can have"),
    ("vip.address", "10.73.0.11/24", "vip.address", "node db1's own address"),
    ("vip.interface", None, "vip.interface", "is missing"),
    ("vip.interface", "eth0; rm", "vip.interface", "as `ip link` shows it"),
    ("vip.interface", "a" * 16, "vip.interface", "as `ip link` shows it"),
    ("vip.router_id", "51", "vip.router_id", "write a whole number"),
    ("vip.router_id", 256, "vip.router_id", "choose 1 to 255"),
    ("vip.router_id", 0, "vip.router_id", "above zero"),
    ("vip.router_id", True, "vip.router_id", "is true; write a whole number"),
    ("vip.advert_s", 0.001, "vip.advert_s", "0.01 to 40"),
    ("vip.advert_s", 0.125, "vip.advert_s", "whole hundredths"),
    ("vip.advert_s", 41, "vip.advert_s", "0.01 to 40"),
    ("nodes", None, "nodes", "is missing"),
    ("nodes.db2", None, "nodes", "one node only"),
    ("nodes.db2", "10.73.0.12", "nodes.db2", "must be a table"),
    ("nodes.db2.address", None, "nodes.db2.address", "is missing"),
    ("nodes.db2.address", "db2.example.org", "nodes.db2.address", "names are not looked up"),
    ("nodes.db2.address", "10.73.0.12/24", "nodes.db2.address", "without prefix"),
    ("nodes.db2.address", "0.0.0.0", "nodes.db2.address", "no host can have"),
    (
        "nodes.db2.address",
        "10.73.0.11",
        "nodes.db2.address",
        "so is node db1's; give each node its own address",
    ),
    ("nodes.db2.server_id", 1, "nodes.db2.server_id", "so is node db1's; give each node its own server_id"),
    ("nodes.db2.server_id", 2**32, "nodes.db2.server_id", "choose 1 to 4294967295"),
    ("nodes.db2.priority", None, "nodes.db2.priority", "is missing"),
    ("nodes.db2.priority", 251, "nodes.db2.priority", "at most 250"),
    (
        "nodes.db2.priority",
        191,
        "nodes.db1.priority",
        "too near to node db2's 191; keep priorities at least 10 apart",
    ),
    ("nodes.db2.priority", 200, "nodes.db2.priority", "too near to node db1's 200"),
    ("nodes.db2.priority", 0, "nodes.db2.priority", "above zero"),
    ("nodes.db2.priority", 180.0, "nodes.db2.priority", "write a whole number"),
    ("mysql.port", 70000, "mysql.port", "1 to 65535"),
    ("mysql.gtid_domain_id", 4294967295, "mysql.gtid_domain_id", "0 to 4294967294"),
    ("mysql.gtid_domain_id", -1, "mysql.gtid_domain_id", ""),
    ("mysql.socket", "mysqld.sock", "mysql.socket", "absolute path"),
    ("mysql.socket", "/run/my sqld.sock", "mysql.socket", "absolute path"),
    ("mysql.socket", "/" + "s" * 107, "mysql.socket", "shorter path"),
    ("mysql.user", "vip guard", "mysql.user", "letters, digits"),
    ("mysql.user", "u" * 33, "mysql.user", "at most 32"),
    ("mysql.tls", "on", "mysql.tls", '"preferred" or "required" or "verify"'),
    ("mysql.password_file", None, "mysql.password_file", "is missing"),
    ("mysql.password_file", "password", "mysql.password_file", "absolute path"),
    ("mysql.password_file", "/nonexistent/x", "mysql.password_file", "No such file"),
    ("mysql.password_file", "/dev/null", "mysql.password_file", "no regular file"),
    ("replication.user", "vipguard", "replication.user", "two accounts"),
    ("limits.deadline_s", 1.0, "limits.deadline_s", "less than 1: keepalived kills the check wrapper"),
    ("limits.deadline_s", 0, "limits.deadline_s", "above zero"),
    ("limits.deadline_s", float("nan"), "limits.deadline_s", "above zero"),
    ("limits.lease_s", 0.29, "limits.lease_s", "less than 3 probes of 0.1 s; raise it to 0.3"),
    ("limits.probe_s", 0.2, "limits.lease_s", "less than 3 probes of 0.2 s"),
    ("limits.probe_s", 0.001, "limits.probe_s", "at least 0.01"),
    ("limits.probe_s", "fast", "limits.probe_s", "write a number"),
    ("limits.heartbeat_s", 0.05, "limits.heartbeat_s", "less than limits.probe_s = 0.1"),
    ("limits.heartbeat_s", -1, "limits.heartbeat_s", "above zero"),
    ("limits.hang_s", 0.4, "limits.hang_s", "less than one probe's deadline_s = 0.5"),
    ("limits.lag_s_max", 3, "limits.lag_s_max", "not above limits.hang_s = 3"),
    ("limits.close_s", -1, "limits.close_s", "above zero"),
    ("limits.drain_s_max", float("inf"), "limits.drain_s_max", "above zero"),
    ("limits.drain_s_max", 4000, "limits.drain_s_max", "more than an hour"),
    ("limits.drain_s_max", 10**400, "limits.drain_s_max", "above zero"),
    ("witness.addresses", "10.73.0.1", "witness.addresses", "write a list"),
    ("witness.addresses", ["router"], "witness.addresses", "names are not looked up"),
    ("witness.addresses", ["10.73.0.100"], "witness.addresses", "names the VIP"),
    ("witness.addresses", ["10.73.0.12"], "witness.addresses", "names node db2's address"),
    ("witness.addresses", ["10.73.0.12:22"], "witness.addresses", "names node db2's address"),
    ("witness.addresses", ["[10.73.0.1]:22"], "witness.addresses", '"ADDRESS:PORT"'),
    ("witness.addresses", ["router:22"], "witness.addresses", "names are not looked up"),
    ("witness.addresses", ["10.73.0.1:0"], "witness.addresses", '"ADDRESS:PORT"'),
    ("witness.addresses", ["10.73.0.1:65536"], "witness.addresses", '"ADDRESS:PORT"'),
    ("witness.addresses", ["224.0.0.1:22"], "witness.addresses", "no host can have"),
    ("paths.run", "run", "paths.run", "absolute path"),
    ("paths.run", "/" + "r" * 100, "paths.run", "shorter path"),
    ("paths.state", "/var/$HOME", "paths.state", "absolute path"),
    ("vrrp.unicast", "yes", "vrrp.unicast", "true or false"),
    ("fence.command", "fence_ipmilan", "fence.command", "absolute path"),
    ("fence.command", "/usr/sbin/fence_nothing", "fence.command", "cannot be run (No such file"),
    ("fence.command", "/etc/passwd", "fence.command", "not executable"),
    ("fence.command", "/usr/bin", "fence.command", "no regular file"),
    ("fence.required", True, "fence.required", "there is no fence.command"),
    ("fence.deadline_s", 3601, "fence.deadline_s", "at most 3600"),
    ("fence.options", "x", "fence.options", "write [fence.options]"),
    ("fence.options.action", "reboot", "fence.options.action", "not yours to choose"),
    ("fence.options.ip", "two\nlines", "fence.options.ip", "one line"),
    ("fence.options.ip", [], "fence.options.ip", "one line"),
    ("damping.losses_max", -1, "damping.losses_max", "above zero"),
    ("damping.losses_max", 1001, "damping.losses_max", "0 is never"),
    ("damping.window_s", 0, "damping.window_s", "above zero"),
    ("damping.window_s", 90000, "damping.window_s", "more than a day"),
    ("damping.recovery_block_s", 90000, "damping.recovery_block_s", "more than a day"),
    ("hooks.directory", "hooks.d", "hooks.directory", "absolute path"),
    ("hooks.deadline_s", 601, "hooks.deadline_s", "at most 600"),
    ("hooks.before_open_required", 1, "hooks.before_open_required", "true or false"),
    ("fence.plugs.db9", "9", "fence.plugs.db9", "name one of db1, db2"),
    ("vrrp.startup_delay_s", 61, "vrrp.startup_delay_s", "at most 60"),
    ("disk.free_mb_min", -5, "disk.free_mb_min", "above zero"),
]


@pytest.mark.parametrize(("key", "value", "named", "said"), MISTAKES, ids=lambda v: str(v)[:40])
def test_a_mistake_is_one_sentence_with_file_key_and_remedy(
    folder: Path, key: str, value: Any, named: str, said: str
) -> None:
    path = write(folder, put(healthy(folder), key, value))
    with pytest.raises(ConfigError) as caught:
        config.load(path)
    sentence = str(caught.value)
    assert sentence.startswith(f"{path}: {named}: "), sentence
    assert said in sentence
    assert sentence.isprintable()
    assert caught.value.remedy


def test_unicast_needs_addresses_of_the_vips_family(load: Callable[..., Policy]) -> None:
    with pytest.raises(ConfigError, match=r"vrrp.unicast.*VIP's family"):
        load(vip__address="fd00::100/64", vrrp__unicast=True)


def test_a_node_list_without_this_host_is_refused(
    load: Callable[..., Policy], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "elsewhere")
    with pytest.raises(ConfigError, match=r'node: is not set, and this host\'s name "elsewhere".*db1, db2'):
        load(node=None)


@pytest.mark.parametrize("mode", [0o604, 0o644, 0o602, 0o601])
def test_a_password_file_open_to_others_is_refused(
    load: Callable[..., Policy], folder: Path, mode: int
) -> None:
    (folder / "password").chmod(mode)
    with pytest.raises(ConfigError, match=r"mysql.password_file: .*others can read .*chmod 0600"):
        load()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"\n", "empty"),
        (b"a\nb\n", "more than one line"),
        (b"\xff\xfe", "UTF-8"),
        (b"a\x00b", "control"),
    ],
)
def test_a_password_file_without_one_password_is_refused(
    load: Callable[..., Policy], folder: Path, content: bytes, said: str
) -> None:
    (folder / "password").write_bytes(content)
    with pytest.raises(ConfigError, match=said):
        load()


def test_a_replication_password_longer_than_mysql_takes_is_refused(
    load: Callable[..., Policy], folder: Path
) -> None:
    (folder / "replication-password").write_text("x" * 33)
    with pytest.raises(ConfigError, match=r"replication.password_file: .*33 characters"):
        load(replication={"password_file": str(folder / "replication-password")})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff", "is not UTF-8 text"),
        (b"cluster = ", "is not TOML"),
        (b"cluster = 'a'\ncluster = 'b'", "is not TOML"),
        (b"", "cluster: is missing"),
        (b"a = " + b"[" * 5000, "is not TOML"),
        (b"#" * 1_000_001, "larger than a megabyte"),
        (b"cluster = 2026-01-01", "a date or time"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "vipguard.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=said):
        config.load(str(path))


@pytest.mark.parametrize("path", ["/nonexistent/vipguard.toml", "/", "/etc/passwd/x", "a\0b"])
def test_a_file_that_cannot_be_read_is_refused(path: str) -> None:
    with pytest.raises(ConfigError):
        config.load(path)


ROUTE = """\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth1\t00000000\t0100490A\t0003\t0\t0\t200\t00000000\t0\t0\t0
eth0\t00000000\tFE00490A\t0003\t0\t0\t100\t00000000\t0\t0\t0
eth0\t0000490A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
"""
ROUTE6 = (
    "fd000000000000000000000000000000 40 "
    + "0" * 32
    + " 00 "
    + "0" * 32
    + " 00000100 00000001 00000000 00000001 eth0\n"
    + "0" * 32
    + " 00 "
    + "0" * 32
    + " 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003 eth0\n"
)


def test_the_default_gateway_of_the_lowest_metric_is_the_witness(tmp_path: Path) -> None:
    (tmp_path / "route").write_text(ROUTE)
    (tmp_path / "ipv6_route").write_text(ROUTE6)
    assert default_gateways(str(tmp_path)) == ("10.73.0.254", "10.73.0.1", "fe80::1%eth0")


def test_a_host_without_gateway_is_warned_and_has_no_witness(
    load: Callable[..., Policy], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(config, "default_gateways", lambda: ())
    assert load(witness=None).witnesses == ()
    assert "no witness" in capfd.readouterr().err
    assert default_gateways("/nonexistent") == ()


def test_a_node_that_is_the_default_gateway_is_no_witness(
    load: Callable[..., Policy], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config, "default_gateways", lambda: ("10.73.0.12", "10.73.0.254"))
    assert load(witness=None).witnesses == ("10.73.0.254",)


README = Path(__file__).resolve().parents[2] / "README.md"


@pytest.mark.parametrize("name", config._SECTIONS)
def test_each_key_stands_in_the_readme_with_its_default(name: str) -> None:
    shape = config._SECTIONS[name]
    rows = [
        line for line in README.read_text(encoding="utf-8").splitlines() if line.startswith(f"| `{name}.")
    ]
    for field in dataclasses.fields(shape):
        if field.name != "password":
            row = next(
                (row for row in rows if f"`{name}.{field.name}`" in row or f"`.{field.name}`" in row), None
            )
            assert row, f"{name}.{field.name} is not in the README's table"
            default = str(field.default).lower() if isinstance(field.default, bool) else field.default
            shown = f"{default:g}" if isinstance(default, float) else str(default or "")
            assert shown in row, f"{name}.{field.name} = {shown} is not in {row}"


def test_the_readmes_example_is_a_configuration(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    example = README.read_text(encoding="utf-8").partition("```toml\n")[2].partition("```")[0]
    path = folder / "readme.toml"
    path.write_text(example.replace("/etc/vipguard/", f"{folder}/"))
    monkeypatch.setattr(socket, "gethostname", lambda: "db1")
    assert config.load(str(path)).replication is not None


# Every dotted key that exists, to be overwritten by anything.
KEYS = [key for key, *_ in MISTAKES]
ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["10.0.0.1", "fd00::1/64"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


def without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_none(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [without_none(item) for item in value if item is not None]
    return value


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.dictionaries(st.sampled_from(KEYS), ANYTHING, min_size=1, max_size=3))
def test_whatever_the_values_are_it_is_a_policy_or_a_config_error(
    folder: Path, changes: dict[str, Any]
) -> None:
    document = copy.deepcopy(healthy(folder))
    for key, value in changes.items():
        try:
            put(document, key, without_none(value))
        except (AttributeError, TypeError):  # an earlier change made the table something else
            continue
    try:
        policy = config.load(write(folder, document))
    except ConfigError as error:
        assert str(error).isprintable()
    else:
        assert dataclasses.is_dataclass(policy)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.binary()
    | st.text().map(str.encode)
    | st.text("[]{}=\"'#.\\,\n 0-9aeinfx", max_size=60).map(str.encode)
)
def test_whatever_the_bytes_are_it_is_a_config_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "garbage.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError):
        config.load(str(path))
