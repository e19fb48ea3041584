"""Are refused connections answered at once? The nftables rule, installed at the start; said once where it can't be."""

from __future__ import annotations

from ..act import nft
from ..errors import VipguardError
from ..log import get_logger
from ..model.policy import Policy

_log = get_logger("agent")


def install(policy: Policy) -> None:
    """Install the rule; without nftables a client waits a second for its lost SYN, and nothing else changes."""
    readers = [(reader.interface, reader.ip) for reader in policy.readers]
    try:
        left_out = nft.install(
            policy.cluster, policy.vip.interface, policy.vip.ip, policy.mysql.port, readers
        )
    except VipguardError as exc:
        _log.warning("nftables", rule="no-reset-rule", reason=str(exc))
    else:
        _log.info("nftables", rule="reset-rule", vip=policy.vip.ip, port=policy.mysql.port)
        for why in left_out:
            _log.warning("nftables", rule="no-reset-rule", reason=why)
