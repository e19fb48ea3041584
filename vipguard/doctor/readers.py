"""Would keepalived hold the reader addresses as the configuration says? Each instance beside what it should be."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from vipguard.doctor import traps
from vipguard.doctor.conf import Block
from vipguard.doctor.diagnosis import Diagnosis, error, warning
from vipguard.model.policy import Policy
from vipguard.model.reader import Reader

_TRACK_FILE = ("track_file", "vrrp_track_file")


def judge(policy: Policy, root: Block) -> Iterator[Diagnosis]:
    """Of all that this node may hold."""
    instances = {block.name: block for block in root.all("vrrp_instance")}
    for reader in policy.own_readers:
        instance = instances.get(reader.name)
        if instance is None:
            text = f"no vrrp_instance {reader.name!r}: this node never gets {reader.address}"
            yield error("keepalived", "reader-instance-missing", text, traps.RENDER)
            continue
        differs = list(_differs(policy, reader, instance))
        if differs:
            text = f"vrrp_instance {reader.name}: {', '.join(differs)}"
            yield error("keepalived", "reader-instance-differs", text, traps.RENDER)
        if not _tracked(policy.paths.reader_file(reader.name), instance, root):
            file = policy.paths.reader_file(reader.name)
            text = f"vrrp_instance {reader.name} does not track {file} with `weight 0 reverse`"
            yield error("keepalived", "reader-untracked", f"{text}: unfit nodes keep it", traps.RENDER)
        if not instance.has("nopreempt"):
            text = f"nopreempt is missing in vrrp_instance {reader.name}: it moves back while clients wait for answers"
            yield warning("keepalived", "reader-preempts", text, traps.RENDER)


def _differs(policy: Policy, reader: Reader, instance: Block) -> Iterator[str]:
    wanted = {
        "interface": reader.interface,
        "virtual_router_id": str(reader.router_id),
        "priority": str(reader.priority(policy.node)),
    }
    for keyword, value in wanted.items():
        said = instance.value(keyword)
        if said != value:
            yield f"{keyword} is {said or 'not set'}, the configuration says {value}"
    addresses = [_ip(child.words[0]) for block in instance.all("virtual_ipaddress") for child in block.children]
    if addresses != [reader.ip]:
        yield f"its addresses are {', '.join(addresses) or 'none'}, the configuration says {reader.ip}"


def _ip(text: str) -> str:
    try:
        return str(ipaddress.ip_interface(text).ip)
    except ValueError:
        return text


def _tracked(path: str, instance: Block, root: Block) -> bool:
    defined = {block.name: block for block in root.all(*_TRACK_FILE)}
    for block in instance.all("track_file"):
        for entry in block.children:
            file = defined.get(entry.words[0])
            if file is not None and file.value("file") == path:
                weights = file.all("weight")
                words = entry.words[1:] or (weights[-1].words if weights else ())
                return words == ("weight", "0", "reverse")
    return False
