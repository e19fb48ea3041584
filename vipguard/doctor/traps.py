"""Would keepalived guard this node with that configuration? It fails open almost everywhere, and silently.

Each row is a trap that was seen to leave an instance untracked, to make two MASTERs, or to keep the VIP from moving.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from vipguard.doctor.conf import Block
from vipguard.doctor.diagnosis import Diagnosis, error, warning
from vipguard.model.policy import Policy

RENDER = "install what `vipguard render keepalived` prints, and reload keepalived"
_TRACK_FILE, _SCRIPT = ("track_file", "vrrp_track_file"), "vrrp_script"


def judge(policy: Policy, root: Block) -> Iterator[Diagnosis]:
    """The traps in a configuration, each with what stands there."""
    instance = find_instance(policy, root)
    if instance is None:
        text = f"no vrrp_instance {policy.instance!r}, and none with the VIP {policy.vip.ip}"
        yield _wrong("instance-missing", text)
        return
    if instance.name != policy.instance:
        text = f"the VIP's instance is {instance.name!r}; the agent listens for {policy.instance!r}"
        yield _wrong("instance-name", text)
    yield from _identity(policy, instance, root)
    yield from _addresses(policy, instance)
    yield from _unicast(policy, instance)
    yield from _track_file(policy, instance, root)
    yield from _track_script(instance, root)
    yield from _fifo(policy, root)
    yield from _globals(instance, root)


def find_instance(policy: Policy, root: Block) -> Block | None:
    """The instance by vipguard's name for it, else the one that has the VIP."""
    instances = root.all("vrrp_instance")
    named = [block for block in instances if block.name == policy.instance]
    having = [block for block in instances if any(vip == policy.vip.address.ip for vip, _ in _vips(block))]
    return next(iter(named or having), None)


def scripts(root: Block, instance: Block) -> list[tuple[str, str]]:
    """(keyword, command) of every program that keepalived would run for the instance."""
    tracked = {child.words[0] for block in instance.all("track_script") for child in block.children}
    found = [("script", block.value("script")) for block in root.all(_SCRIPT) if block.name in tracked]
    notify = ("notify", "notify_master", "notify_backup", "notify_fault", "notify_stop")
    found += [(block.words[0], block.name) for block in instance.all(*notify)]
    return [(keyword, command) for keyword, command in found if command]


def _wrong(rule: str, seen: str, remedy: str = RENDER) -> Diagnosis:
    return error("keepalived", rule, seen, remedy)


def _odd(rule: str, seen: str, remedy: str = RENDER) -> Diagnosis:
    return warning("keepalived", rule, seen, remedy)


def _identity(policy: Policy, instance: Block, root: Block) -> Iterator[Diagnosis]:
    vip = policy.vip
    wanted = (
        ("interface", "interface-differs", vip.interface),
        ("virtual_router_id", "router-id-differs", str(vip.router_id)),
        ("priority", "priority-differs", str(policy.me.priority)),
    )
    for keyword, rule, value in wanted:
        said = instance.value(keyword)
        if said != value:
            yield _wrong(rule, f"{keyword} is {said or 'not set'}, the configuration says {value}")
    advert = instance.value("advert_int") or "1"
    if not _same_number(advert, vip.advert_s):
        yield _wrong("advert-differs", f"advert_int is {advert}, the configuration says {vip.advert_s:g}")
    version = instance.value("version") or _global(root, "vrrp_version") or "2"
    if version != "3":
        yield _wrong("vrrp-version", f"VRRP version {version} knows no intervals below a second, and no IPv6")
    if not instance.has("nopreempt"):
        yield _odd("preempts", "nopreempt is missing: a returning node takes the VIP from a healthy writer")
    if (instance.value("state") or "BACKUP").upper() != "BACKUP":
        yield _wrong(
            "state-not-backup", f"state is {instance.value('state')}: nopreempt works with BACKUP only"
        )
    groups = [b.name for b in root.all("vrrp_sync_group") if _mentions(b, instance.name)]
    if groups:
        yield _odd(
            "sync-group", f"the instance is in the sync group {groups[0]}, which ignores trackers' weights"
        )


def _mentions(block: Block, word: str) -> bool:
    return any(word in child.words or _mentions(child, word) for child in block.children)


def _same_number(text: str, value: float) -> bool:
    try:
        return abs(float(text) - value) < 1e-6
    except ValueError:
        return False


def _vips(instance: Block) -> Iterator[tuple[object, Block]]:
    for block in instance.all("virtual_ipaddress", "virtual_ipaddress_excluded"):
        for entry in block.children:
            try:
                yield ipaddress.ip_interface(entry.words[0]).ip, entry
            except ValueError:
                yield entry.words[0], entry


def _addresses(policy: Policy, instance: Block) -> Iterator[Diagnosis]:
    """Two nodes with different lists are both MASTER: their adverts are refused."""
    vip = policy.vip
    entries = dict(_vips(instance))
    own = entries.pop(vip.address.ip, None)
    if own is None:
        yield _wrong("vip-missing", f"the VIP {vip.address} is not among the instance's addresses")
    elif own.words[0] != vip.address.with_prefixlen:
        yield _wrong(
            "vip-differs", f"the VIP is written {own.words[0]}, the configuration says {vip.address}"
        )
    elif _after(own, "dev") not in (None, vip.interface):
        yield _wrong(
            "vip-differs", f"the VIP goes to {_after(own, 'dev')}, the configuration says {vip.interface}"
        )
    if entries:
        more = ", ".join(str(address) for address in entries)
        yield _wrong("vip-differs", f"the instance has addresses that the configuration lacks: {more}")


def _after(entry: Block, word: str) -> str | None:
    at = entry.words.index(word) + 1 if word in entry.words else len(entry.words)
    return entry.words[at] if at < len(entry.words) else None


def _unicast(policy: Policy, instance: Block) -> Iterator[Diagnosis]:
    block = instance.first("unicast_peer")
    peers = {child.words[0] for child in block.children} if block else set()
    wanted = {node.address for node in policy.peers} if policy.vrrp.unicast else set()
    if peers != wanted:
        said = f"unicast_peer has {', '.join(sorted(peers)) or 'nobody'}"
        yield _wrong(
            "unicast-differs", f"{said}, the configuration says {', '.join(sorted(wanted)) or 'multicast'}"
        )


def _track_file(policy: Policy, instance: Block, root: Block) -> Iterator[Diagnosis]:
    """`weight 0 reverse` is the one fail-safe tracker; the default weight is 1, and a wrong one never fails over."""
    wanted = policy.paths.track_file
    defined = {block.name: block for block in root.all(*_TRACK_FILE)}
    tracked = [child for block in instance.all("track_file") for child in block.children]
    ours = [entry for entry in tracked if _file_of(defined.get(entry.words[0])) == wanted]
    if not ours:
        files = [_file_of(defined.get(entry.words[0])) or "nothing" for entry in tracked]
        text = f"the instance tracks {', '.join(files) or 'no file'}: the verdict in {wanted} has no effect"
        yield _wrong("track-file-untracked", text)
        return
    entry = ours[0]
    words = entry.words[1:] if "weight" in entry.words else _weight(defined[entry.words[0]])
    if words != ("weight", "0", "reverse"):
        said = " ".join(words) or "the default weight 1"
        text = f"track_file {entry.words[0]} has {said}, not `weight 0 reverse`"
        yield _wrong("track-file-weight", f"{text}: it fails open, or never fails over")


def _file_of(block: Block | None) -> str | None:
    return block.value("file") if block else None


def _weight(block: Block) -> tuple[str, ...]:
    found = block.all("weight")
    return found[-1].words if found else ()


def _track_script(instance: Block, root: Block) -> Iterator[Diagnosis]:
    defined = {block.name: block for block in root.all(_SCRIPT)}
    tracked = [child for block in instance.all("track_script") for child in block.children]
    known = [entry for entry in tracked if entry.words[0] in defined]
    if not known:
        yield _wrong(
            "track-script-untracked", "the instance tracks no script: a dead agent's last verdict would stand"
        )
    for entry in known:
        script = defined[entry.words[0]]
        weight = entry.words[2] if entry.words[1:2] == ("weight",) else script.value("weight") or "0"
        if weight != "0":
            text = f"vrrp_script {script.name} has weight {weight}: with nopreempt a priority drop never fails over"
            yield _wrong("track-script-weight", text)
        interval, timeout = script.value("interval") or "1", script.value("timeout")
        if timeout is None or not _below(timeout, interval):
            text = f"vrrp_script {script.name} has interval {interval} and timeout {timeout or 'not set'}"
            yield _odd("track-script-timeout", f"{text}: a second copy may start while the first still runs")


def _below(low: str, high: str) -> bool:
    try:
        return float(low) < float(high)
    except ValueError:
        return False


def _fifo(policy: Policy, root: Block) -> Iterator[Diagnosis]:
    said = _global(root, "vrrp_notify_fifo") or _global(root, "notify_fifo")
    if said != policy.paths.fifo:
        text = f"vrrp_notify_fifo is {said or 'not set'}, the agent reads {policy.paths.fifo}"
        yield _wrong("fifo-differs", text)
    if _global(root, "vrrp_notify_fifo_script") or _global(root, "notify_fifo_script"):
        text = "vrrp_notify_fifo_script is set: its program takes the lines away from the agent"
        yield _wrong("fifo-script", text)


def _globals(instance: Block, root: Block) -> Iterator[Diagnosis]:
    refresh = instance.value("garp_master_refresh") or _global(root, "vrrp_garp_master_refresh") or "0"
    if refresh == "0":
        text = "no GARP refresh: after a pause of the host, wrong ARP caches stay until they expire"
        yield _odd("no-garp-refresh", text)
    higher = instance.value("higher_prio_send_advert") or _global(root, "vrrp_higher_prio_send_advert")
    if higher is None or higher.lower() in ("false", "off", "no"):
        text = (
            "vrrp_higher_prio_send_advert is not true: the survivor of a healed split sends no gratuitous ARP"
        )
        yield _odd("no-higher-prio-advert", text)
    if _global(root, "enable_script_security") is None:
        text = "enable_script_security is missing: keepalived runs scripts that others than root can change"
        yield _odd("no-script-security", text)
    if _global(root, "script_user") is None:
        text = "script_user is missing: without a user keepalived_script, script security drops every script"
        yield _wrong("no-script-user", text)


def _global(root: Block, keyword: str) -> str | None:
    for block in root.all("global_defs"):
        if block.has(keyword):
            return block.value(keyword)
    return None
