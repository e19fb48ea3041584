"""`[[reader]]` in the configuration: defaults that balance, and one clear sentence for each mistake."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vipguard import config
from vipguard.errors import ConfigError
from vipguard.model import likeness
from vipguard.model.policy import Policy

ONE: dict[str, Any] = {"address": "10.73.0.101/24", "router_id": 52}
TWO: dict[str, Any] = {"address": "10.73.0.102/24", "router_id": 53}


def load(folder: Path, *readers: Any, **changes: Any) -> Policy:
    (folder / "password").write_text("secret\n")
    (folder / "password").chmod(0o600)
    document = {
        "cluster": "orders",
        "node": "db1",
        "vip": {"address": "10.73.0.100/24", "interface": "eth0", "router_id": 51},
        "nodes": {f"db{n}": {"address": f"10.73.0.1{n}", "priority": 220 - 20 * n} for n in (1, 2, 3)},
        "mysql": {"password_file": str(folder / "password")},
        "witness": {"addresses": ["10.73.0.1"]},
        "reader": list(readers),
        **changes,
    }
    path = folder / "vipguard.toml"
    path.write_text("".join(f"{key} = {toml(value)}\n" for key, value in document.items()))
    return config.load(str(path))


def toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)


def test_without_a_preference_each_prefers_another_node_and_the_rest_follow_in_order(tmp_path: Path) -> None:
    many = [{"address": f"10.73.0.{101 + n}/24", "router_id": 52 + n} for n in range(4)]
    policy = load(tmp_path, *many)
    assert [reader.nodes for reader in policy.readers] == [
        ("db1", "db2", "db3"), ("db2", "db3", "db1"), ("db3", "db1", "db2"), ("db1", "db2", "db3")
    ]  # fmt: skip
    assert [reader.name for reader in policy.readers] == ["reader1", "reader2", "reader3", "reader4"]
    first = policy.readers[0]
    assert (first.interface, first.writer, first.lag_s_max, first.return_s) == ("eth0", "last", 10.0, 10.0)


def test_who_says_what_he_prefers_is_counted_first(tmp_path: Path) -> None:
    policy = load(tmp_path, ONE, {**TWO, "prefer": "db1"})
    assert [reader.prefer for reader in policy.readers] == ["db2", "db1"]


def test_every_key_is_taken(tmp_path: Path) -> None:
    reader = {**ONE, "name": "reports", "interface": "eth1", "nodes": ["db3", "db1"], "prefer": "db1"}
    policy = load(tmp_path, {**reader, "writer": "no", "lag_s_max": 0, "return_s": 60}, limits={"lag_s_max": 5})
    found = policy.readers[0]
    assert (found.name, found.interface, found.nodes) == ("reports", "eth1", ("db1", "db3"))
    assert (found.writer, found.lag_s_max, found.return_s) == ("no", 0.0, 60.0)
    assert policy.own_readers == policy.readers
    assert load(tmp_path, {**ONE, "nodes": ["db2"]}).own_readers == ()
    assert load(tmp_path, ONE, limits={"lag_s_max": 5}).readers[0].lag_s_max == 5.0


def test_ipv6_beside_an_ipv4_vip(tmp_path: Path) -> None:
    assert load(tmp_path, {**ONE, "address": "fd00::101/64"}).readers[0].version == 6


MISTAKES: dict[str, tuple[list[Any], dict[str, Any], str]] = {
    "no address": ([{"router_id": 52}], {}, "reader[1].address"),
    "no router id": ([ONE, {"address": "10.73.0.102/24"}], {}, "reader[2].router_id"),
    "an unknown key": ([{**ONE, "prefers": "db1"}], {}, "did you mean 'prefer'"),
    "a node that is none": ([{**ONE, "nodes": ["db1", "db9"]}], {}, '"db9"'),
    "a node twice": ([{**ONE, "nodes": ["db1", "db1"]}], {}, "twice"),
    "no nodes": ([{**ONE, "nodes": []}], {}, "reader[1].nodes"),
    "to prefer who may not": ([{**ONE, "nodes": ["db1"], "prefer": "db2"}], {}, "may not hold it"),
    "the VIP": ([{**ONE, "address": "10.73.0.100/24"}], {}, "the VIP"),
    "a node's address": ([{**ONE, "address": "10.73.0.12/24"}], {}, "node db2's own"),
    "the witness": ([{**ONE, "address": "10.73.0.1/24"}], {}, "witness"),
    "two of one address": ([ONE, {**TWO, "address": "10.73.0.101/32"}], {}, "reader[2].address"),
    "the VIP's router id": ([{**ONE, "router_id": 51}], {}, "vip.router_id"),
    "two of one router id": ([ONE, {**TWO, "router_id": 52}], {}, "reader[2].router_id"),
    "two of one name": ([{**ONE, "name": "reader2"}, TWO], {}, "reader[2].name"),
    "the writer's name": ([{**ONE, "name": "writer"}], {}, "the writer's instance"),
    "a name that is none": ([{**ONE, "name": "a b"}], {}, "reader[1].name"),
    "a long name": ([{**ONE, "name": "a" * 17}], {}, "at most 16"),
    "another choice for the writer": ([{**ONE, "writer": "maybe"}], {}, '"last" or "yes" or "no"'),
    "to wait for a day": ([{**ONE, "return_s": 86400}], {}, "at most 3600"),
    "no prefix length": ([{**ONE, "address": "10.73.0.101"}], {}, "CIDR"),
    "another family in unicast": ([{**ONE, "address": "fd00::1/64"}], {"vrrp": {"unicast": True}}, "vrrp.unicast"),
    "a table": ({"address": "10.73.0.101/24"}, {}, "[[reader]]"),  # type: ignore[dict-item]
    "no tables": ([1, 2], {}, "[[reader]]"),
    "a cluster's name too long for the locks": ([{**ONE, "name": "a" * 16}], {"cluster": "c" * 34}, "at most 33"),
}


@pytest.mark.parametrize("what", MISTAKES)
def test_a_mistake_is_one_sentence_with_the_place(what: str, tmp_path: Path) -> None:
    readers, changes, said = MISTAKES[what]
    with pytest.raises(ConfigError) as caught:
        if isinstance(readers, dict):
            load(tmp_path, **{**changes, "reader": readers})
        else:
            load(tmp_path, *readers, **changes)
    text = f"{caught.value} {caught.value.key} {caught.value.remedy}"
    assert said in text and "\n" not in str(caught.value)


def test_nodes_that_disagree_on_them_are_seen_to_and_the_interface_is_each_nodes_own(tmp_path: Path) -> None:
    policy, other = load(tmp_path, ONE), load(tmp_path, {**ONE, "return_s": 3})
    assert likeness.digests(policy)["readers"] != likeness.digests(other)["readers"]
    elsewhere = load(tmp_path, {**ONE, "interface": "eth7"})
    assert likeness.digests(policy) == likeness.digests(elsewhere)
