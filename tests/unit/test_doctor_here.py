"""`vipguard doctor` about this host, its link, the other nodes and keepalived's version: a finding for each fault."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import healthy
import pytest

from vipguard.act.hooks import Found
from vipguard.doctor import conf, contents, host, network, nodes, restart, versions
from vipguard.doctor.diagnosis import Diagnosis
from vipguard.doctor.inside import Event, Inside, Origin
from vipguard.doctor.option_file import Option
from vipguard.doctor.survey import Failure, ServerSeen
from vipguard.errors import CouldNotDo
from vipguard.model import likeness
from vipguard.model.evidence import DiskEvidence
from vipguard.model.policy import Hooks, Policy
from vipguard.probe.adverts import AdvertsSeen

POLICY = replace(healthy.POLICY, file="/etc/vipguard/vipguard.toml")
ME, PEER = POLICY.nodes
GB = 1_000_000_000


def rules(found: Iterator[Diagnosis]) -> list[str]:
    return [diagnosis.rule for diagnosis in found]


# -- the link

HEARD = AdvertsSeen(heard={PEER.address: (1.0, PEER.priority)}, looked_at_s=2.0)
SILENCE = AdvertsSeen(looked_at_s=2.0)


def test_a_holder_whose_adverts_leave_and_a_standby_that_hears_them_are_fine() -> None:
    assert rules(network.adverts(POLICY, True, False, AdvertsSeen(left_at_s=1.0, looked_at_s=2.0), False)) == []
    assert rules(network.adverts(POLICY, False, True, HEARD, True)) == []
    assert rules(network.adverts(POLICY, False, False, SILENCE, False)) == [], "nobody has the VIP"


@pytest.mark.parametrize(
    ("holder", "elsewhere", "heard", "passed", "rule"),
    [
        (True, False, SILENCE, False, "adverts-silent"),
        (False, True, SILENCE, False, "adverts-unheard"),
        (False, True, HEARD, False, "adverts-filtered"),
        (False, False, AdvertsSeen(), False, "not-looked-at"),
        (False, True, replace(HEARD, heard={PEER.address: (1.0, 77)}), True, "advert-priority"),
        (False, True, replace(HEARD, heard={"10.73.0.77": (1.0, 77)}), True, "router-id-taken"),
    ],
)
def test_adverts_that_do_not_come_or_are_others(
    holder: bool, elsewhere: bool, heard: AdvertsSeen, passed: bool, rule: str
) -> None:
    assert rules(network.adverts(POLICY, holder, elsewhere, heard, passed)) == [rule]


@pytest.mark.parametrize("priority", [PEER.priority, 0, 255])
def test_a_node_that_sends_from_another_of_its_addresses_is_no_stranger(priority: int) -> None:
    heard = replace(HEARD, heard={"fe80::1": (1.0, priority)})
    assert rules(network.adverts(POLICY, False, True, heard, True)) == []


@pytest.mark.parametrize(
    ("answers", "failure", "found"),
    [
        ({PEER.address: ("aa:bb:cc:dd:ee:ff",)}, None, []),
        ({PEER.address: ()}, None, ["arp-filtered"]),
        ({PEER.address: None}, None, []),  # behind a gateway
        ({PEER.address: ()}, Failure("silent", "x"), []),  # perhaps it is down
    ],
)
def test_a_peer_that_answers_sql_and_no_arp(answers: dict, failure: Failure | None, found: list[str]) -> None:
    seen = ServerSeen(PEER, here=False, failure=failure)
    assert rules(network.arp(POLICY, [seen], answers)) == found


def test_a_vip_whose_port_is_closed_is_found() -> None:
    policy = replace(POLICY, mysql=replace(POLICY.mysql, port=1), vip=replace(POLICY.vip, address=_loopback()))
    assert rules(network.port(policy)) == ["vip-port-closed"]


def _loopback() -> object:
    from ipaddress import ip_interface

    return ip_interface("127.0.0.1/32")


# -- the nodes among themselves

ALL = {"agent": True, **dict.fromkeys(likeness.locks(POLICY), True)}
ASKED = Inside(signs=ALL, asked_by=frozenset([PEER.address]))
HERE = ServerSeen(ME, here=True, version="10.11.6-MariaDB", inside=ASKED)
THERE = ServerSeen(PEER, here=False, version="10.11.9-MariaDB", inside=Inside(signs=ALL, ahead_s=0.4, within_s=0.5))


def test_nodes_that_fit_each_other_are_fine() -> None:
    assert rules(nodes.judge(POLICY, [HERE, THERE])) == []


@pytest.mark.parametrize(
    ("there", "rule"),
    [
        (replace(THERE, variables={"bind_address": PEER.address}), "bind-address"),
        (replace(THERE, variables={"bind_address": "127.0.0.1"}), "bind-address"),
        (replace(THERE, variables={"skip_networking": "ON"}), "no-network"),
        (replace(THERE, version="11.4.2-MariaDB"), "versions-differ"),
        (replace(THERE, inside=replace(THERE.inside, ahead_s=-9.0)), "clocks-apart"),
        (replace(THERE, inside=replace(THERE.inside, signs={**ALL, "agent": False})), "agent-not-seen"),
        (replace(THERE, inside=replace(THERE.inside, signs={**ALL, "vip": False})), "configuration-differs"),
    ],
)
def test_a_node_that_does_not_fit_is_found(there: ServerSeen, rule: str) -> None:
    assert rules(nodes.judge(POLICY, [HERE, there])) == [rule]


@pytest.mark.parametrize("bind", ["", "*", "0.0.0.0", "::", "127.0.0.1,::"])
def test_a_server_that_listens_everywhere_is_fine(bind: str) -> None:
    assert rules(nodes.judge(POLICY, [HERE, replace(THERE, variables={"bind_address": bind})])) == []


def test_an_agent_that_lives_and_does_not_come_here_is_found() -> None:
    here = replace(HERE, inside=replace(HERE.inside, asked_by=frozenset()))
    assert rules(nodes.judge(POLICY, [here, THERE])) == ["peer-cannot-reach"]


@pytest.mark.parametrize(
    ("change", "section"),
    [
        ({"nodes": (ME, replace(PEER, priority=9))}, "nodes"),
        ({"vip": replace(POLICY.vip, router_id=9)}, "vip"),
        ({"limits": replace(POLICY.limits, lease_s=9.0)}, "limits"),
        ({"silent_peer": "wait"}, "safety"),
        ({"mysql": replace(POLICY.mysql, port=9)}, "mysql"),
        ({"cluster": "other"}, None),
        ({"node": PEER.name}, ""),
        ({"hooks": Hooks(directory="/x")}, ""),
        ({"vip": replace(POLICY.vip, interface="eth9")}, ""),
    ],
)
def test_a_change_shows_in_its_part_and_what_is_of_one_host_does_not(change: dict, section: str | None) -> None:
    before, after = likeness.digests(POLICY), likeness.digests(replace(POLICY, **change))
    differ = {name for name in before if before[name] != after[name]}
    assert differ == (set(before) if section is None else {section} - {""})
    assert all(len(name) <= 64 for name in likeness.signs(replace(POLICY, cluster="c" * 49)))


# -- after a restart

VARIABLES = {"sync_binlog": "1", "slave_net_timeout": "5", "log_bin": "ON", "gtid_strict_mode": "ON"}
FILE = {
    "sync_binlog": Option("1", "/my.cnf:1"), "slave_net_timeout": Option("5", "/my.cnf:2"),
    "log_bin": Option("mysql-bin", "/my.cnf:3"), "gtid_strict_mode": Option(None, "/my.cnf:4"),
}  # fmt: skip
FROM_FILE = {name: Origin("CONFIG", "0") for name in VARIABLES} | {"log_bin": Origin("COMPILE-TIME", None)}
STARTED = ServerSeen(ME, here=True, variables=VARIABLES, boot=FILE, inside=Inside(origins=FROM_FILE))


def test_what_stands_in_a_file_holds_after_a_restart() -> None:
    assert rules(restart.judge(POLICY, [STARTED])) == []


@pytest.mark.parametrize("name", VARIABLES)
def test_what_stands_in_no_file_does_not(name: str) -> None:
    boot = {option: value for option, value in FILE.items() if option != name}
    assert rules(restart.judge(POLICY, [replace(STARTED, boot=boot)])) == ["gone-after-restart"]


def test_a_default_that_is_what_is_wanted_needs_no_file() -> None:
    mysql = ServerSeen(
        ME, here=True, flavor="mysql", variables={"sync_binlog": "1", "gtid_mode": "ON"}, boot={}, persisted={},
        inside=Inside(origins={"sync_binlog": Origin("DYNAMIC", None), "gtid_mode": Origin("DYNAMIC", None)}),
    )  # fmt: skip
    (found,) = restart.judge(POLICY, [mysql])
    assert found.seen.startswith("gtid_mode = ON now, and the server's default after a restart")
    assert rules(restart.judge(POLICY, [replace(mysql, persisted={"gtid_mode": "ON"})])) == []


# -- events


def test_events_that_a_hook_enables_after_the_opening_are_no_finding(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hook = tmp_path / "10-events"
    hook.write_text("mariadb -e 'SELECT 1'")
    monkeypatch.setattr(contents.hooks, "find", lambda *_: Found((str(hook),), ()))
    events = (Event("shop.nightly", "SLAVESIDE_DISABLED"), Event("shop.old", "DISABLED"))
    here = ServerSeen(ME, here=True, variables={"read_only": "ON"}, inside=Inside(events=events))
    there = replace(here, node=PEER, here=False)
    assert rules(contents.judge(POLICY, [here, there])) == ["event-stays-disabled"] * 2
    hook.write_text("mariadb -e 'ALTER EVENT shop.nightly ENABLE'")
    assert [found.node for found in contents.judge(POLICY, [here, there])] == [PEER.name]


# -- this host


@pytest.mark.parametrize(
    ("free", "total", "writable", "found"),
    [
        (500 * GB, 1000 * GB, True, []),
        (30 * GB, 1000 * GB, True, []),
        (15 * GB, 1000 * GB, True, ["disk-nearly-full"]),
        (1 * GB, 11 * GB, True, ["disk-nearly-full"]),
        (GB // 20, 11 * GB, True, ["disk-full"]),
        (500 * GB, 1000 * GB, False, ["disk-read-only"]),
        (None, None, None, ["not-looked-at"]),
    ],
)
def test_a_disk_without_room_is_found(
    free: int | None, total: int | None, writable: bool | None, found: list[str]
) -> None:
    seen = DiskEvidence(1.0, free_bytes=free, total_bytes=total, writable=writable)
    assert rules(host.room(POLICY, "the data", "/var/lib/mysql", seen)) == found


@pytest.mark.parametrize(
    ("installed", "obstacle", "rule"),
    [
        (CouldNotDo("the program nft is missing"), None, "nftables-absent"),
        (False, None, "refusal-missing"),
        (False, "this host forwards", "refusal-impossible"),
        (True, None, None),
    ],
)
def test_clients_that_are_not_refused_are_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, installed: object, obstacle: str | None, rule: str | None
) -> None:
    def ask(*_: object) -> object:
        if isinstance(installed, Exception):
            raise installed
        return installed

    monkeypatch.setattr(host.nft, "installed", ask)
    monkeypatch.setattr(host.nft, "why_not", lambda *_: obstacle)
    policy = replace(POLICY, hooks=Hooks(directory=str(tmp_path)), paths=replace(POLICY.paths, state="/nowhere"))
    assert rules(host.judge(policy, [], guarded=True)) == ([rule] if rule else [])
    assert rules(host.judge(policy, [], guarded=False)) == []


def test_a_refused_hook_is_an_error_where_it_must_consent(tmp_path: Path) -> None:
    (tmp_path / "before-open").mkdir()
    hook = tmp_path / "before-open/10-ask"
    hook.touch(mode=0o777)
    policy = replace(POLICY, hooks=Hooks(directory=str(tmp_path)))
    assert [found.severity for found in host.user_hooks(policy)] == ["warning"]
    required = replace(policy, hooks=replace(policy.hooks, before_open_required=True))
    assert [found.severity for found in host.user_hooks(required)] == ["error"]


# -- keepalived's version, and its file


def trapped(version: versions.Version, policy: Policy = POLICY, **change: str) -> list[str]:
    text = (
        'vrrp_script c { script "SCRIPT" \n interval INTERVAL \n timeout 1 \n MORE }\n'
        "vrrp_instance writer { track_script { c } }\n"
    )
    values = {"SCRIPT": "/usr/libexec/vipguard/check", "INTERVAL": "2", "MORE": "rise 1", **change}
    for word, value in values.items():
        text = text.replace(word, value)
    text = text.replace("{ ", "{\n").replace(" }", "\n}")
    return rules(versions.judge(policy, conf.parse(text), version))


def test_what_is_rendered_steps_into_no_versions_trap() -> None:
    for version in ((2, 1, 3), (2, 2, 7), (2, 3, 4)):
        assert trapped(version) == []


def test_each_trap_is_told_to_the_versions_that_have_it(tmp_path: Path) -> None:
    assert trapped((2, 2, 7), INTERVAL="0.5") == ["fraction-of-second"]
    assert trapped((2, 3, 2), INTERVAL="0.5") == []
    assert trapped((2, 2, 7), MORE="init_fail") == ["init-fail-ignored"]
    assert trapped((2, 2, 4), MORE="init_fail") == []
    (tmp_path / "real").mkdir()
    os.symlink(tmp_path / "real", tmp_path / "link")
    assert trapped((2, 3, 4), SCRIPT=f"{tmp_path}/link/check") == ["script-behind-link"]
    assert trapped((2, 3, 3), SCRIPT=f"{tmp_path}/link/check") == []


@pytest.mark.parametrize(
    ("mode", "found"),
    [(0o644, []), (0o640, []), (0o666, ["conf-open"]), (0o664, ["conf-open"]), (0o755, ["conf-executable"])],
)
def test_a_configuration_that_others_may_write_or_that_is_skipped(tmp_path: Path, mode: int, found: list[str]) -> None:
    file = tmp_path / "keepalived.conf"
    file.touch()
    file.chmod(mode)
    status = os.stat(file)
    assert rules(versions.file_mode(str(file), status)) == (found if status.st_uid == 0 else ["conf-open"])
