"""A cluster of real servers on one machine: how do I start one, hurt it, and see what clients saw?

    from vipguard.lab import Lab, LabSpec, faults, wait_until

    with Lab.create(LabSpec(name="mine", flavor="mariadb", nodes=2), print) as lab:   # down at the exit, needs root
        lab.up()                              # servers, accounts, circle, agents, keepalived; waits for one writer
        writer = lab.writer()                 # the Node that has the VIP and is writable
        standby = lab.others(writer)[0]
        with lab.client(rate=500) as client, lab.watch() as watcher:
            with faults.kill_mysqld(writer):        # happens here, is healed at the exit
                lab.wait(lambda: lab.writer() is standby, 10, "a failover")
                client.wait_acks(100)
        client.seen().outage_ms(), client.lost(standby), watcher.two_writers_ms()
        lab.reset()                           # heal all, start the dead, wait for health (or begin with fresh data)

Step by step instead of `up()`: `lab.start_servers()`, `node.configure_keepalived()`, `node.start_agent()`,
`node.start_keepalived()`. `LabSpec(guard="plain")` is keepalived with a bash check and no vipguard,
`guard="none"` servers only; `settings={"limits": {"hang_s": 1.0}}` are more keys of vipguard.toml. A `Node`
has `run(argv)`, `popen(argv)`, `vipguard("status", "--json")`, `write(path, text)`, `read(path)`,
`has_vip()`, `eligible()`, `describe()`, and the daemons `mysqld`, `keepalived`, `agent`, each with `start()`,
`kill9()`, `terminate()`, `stop()`, `cont()`, `alive`, `pid`, `log_text()`; `mysqld.sql(…)`,
`mysqld.value("@@read_only")`. Everything of a lab is in /var/lib/vipguard-lab/NAME and in its processes'
namespaces; `Lab.open(name)` finds one that runs, `remove(name)` (the command `vipguard lab down`) clears away
whatever is left of one.
"""

from vipguard.lab.cluster import Lab, names, need_root, remove
from vipguard.lab.node import Node
from vipguard.lab.spec import LabSpec
from vipguard.lab.wait import LabError, WaitTimeout, wait_until

__all__ = ["Lab", "LabError", "LabSpec", "Node", "WaitTimeout", "names", "need_root", "remove", "wait_until"]
