"""In which of MariaDB's domains will this node write once it has opened?

In the cluster's. But where the last writer wrote in another, a third node that applies in parallel could apply what
comes in the new domain before what it still lacks in the old one. As long as there is such a node, or one that is not
seen, this node goes on in the last writer's domain: one order is kept, and the change is left to an opening at which
nobody stands in its way.
"""

from __future__ import annotations

from ..model.evidence import ServerEvidence, ServerFacts
from ..model.sight import Sight, epoch_of


def domain(sight: Sight) -> int:
    """To be asked before the opening. Of a last writer that was never seen nothing is known: then the cluster's."""
    wanted = sight.policy.mysql.gtid_domain_id
    nodes = {**sight.peers, **sight.replicas}
    seen: list[ServerEvidence | None] = [sight.server, *(peer.evidence or peer.last for peer in nodes.values())]
    newest = max([*seen, *(peer.last for peer in nodes.values())], key=epoch_of)
    row = newest.facts.epoch if newest is not None and newest.facts is not None else None
    if row is None:
        return wanted
    theirs = _facts_of(row.node, sight)
    order = theirs.order if theirs is not None else None
    if order is None or order.domain == wanted:
        return wanted
    others = [peer.facts for name, peer in nodes.items() if name != row.node]
    one_by_one = all(facts is not None and facts.order is not None and not facts.order.parallel for facts in others)
    return wanted if one_by_one else order.domain


def _facts_of(name: str, sight: Sight) -> ServerFacts | None:
    """What that node's server said last."""
    if name == sight.policy.node:
        return sight.server.facts if sight.server is not None else None
    peer = sight.peers.get(name) or sight.replicas.get(name)
    if peer is None:
        return None
    return peer.facts or (peer.last.facts if peer.last is not None else None)
