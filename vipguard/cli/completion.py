"""`vipguard completion`: what must a shell know to complete vipguard's commands and options?"""

from __future__ import annotations

import click

PROGRAM, VARIABLE = "vipguard", "_VIPGUARD_COMPLETE"


@click.command(name="completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> int:
    """Print the completion script for a shell. Nothing is installed.

    \b
    For example:
      source <(vipguard completion bash)      for this shell alone
      vipguard completion zsh > _vipguard

    docs/completion.md has the place for each shell.

    Exit codes: 0 printed, 2 no such shell.
    """
    from click.shell_completion import get_completion_class

    from .main import cli

    found = get_completion_class(shell)
    assert found is not None
    maker = found(cli, {}, PROGRAM, VARIABLE)
    # not source(): for bash that starts bash to ask its version, which says nothing of the shell this is meant for
    click.echo((maker.source_template % maker.source_vars()).strip())
    return 0
