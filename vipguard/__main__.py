"""`python -m vipguard` is the command `vipguard`."""

from vipguard.cli.main import main

main()
