"""What do all commands share? The configuration that `--config` names, loaded when a command needs it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from vipguard.model.policy import Policy


@dataclass(frozen=True, slots=True)
class App:
    """`config_file` is absolute. Commands get this by `@pass_app`."""

    config_file: str

    def policy(self, *, secrets: bool = True) -> Policy:
        """The configuration. Without `secrets` no password file is looked at. Raises ConfigError."""
        from vipguard.config import load

        return load(self.config_file, secrets=secrets)


pass_app = click.make_pass_decorator(App)
