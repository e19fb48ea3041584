"""How is another node put out for sure? By the operator's fence agent, called as fence-agents are.

Its options come on standard input, one `key=value` a line, and exit code 0 means done (FenceAgentAPI.md of
ClusterLabs/fence-agents): `action=off` comes back only when the node is off.
"""

from __future__ import annotations

from ..errors import CouldNotDo
from ..log import get_logger
from ..model.policy import Fence, Node
from . import program

_log = get_logger("fence")


def options(fence: Fence, node: Node) -> str:
    """What the agent reads. `{node}` and `{address}` in the operator's options stand for the node's own."""
    plug = dict(fence.plugs).get(node.name, node.name)
    lines = {"action": "off", "nodename": node.name, "plug": plug}
    lines.update(
        (key, text.replace("{node}", node.name).replace("{address}", node.address))
        for key, text in fence.options
    )
    return "".join(f"{key}={text}\n" for key, text in lines.items())


def fence_off(fence: Fence, node: Node, deadline_s: float) -> None:
    """Returns when the agent says that `node` is off. Raises CouldNotDo otherwise, also when it was late."""
    _log.warning("fence", rule="fence-begins", node=node.name, command=fence.command, deadline_s=deadline_s)
    ran = program.run([fence.command], deadline_s, stdin=options(fence, node))
    for line in ran.output.splitlines()[-20:]:
        _log.info("fence", rule="fence-output", node=node.name, text=line[:500])
    if not ran.ok:
        raise CouldNotDo(f"{fence.command} for {node.name} {ran.how}")
