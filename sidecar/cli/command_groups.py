"""The list of commands in `sidecar --help`, in groups."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from typer.core import TyperGroup


class CommandGroups(TyperGroup):
    """Lists the commands under the headings of their `rich_help_panel`, as plain text.

    Rich's own panels draw boxes, which take room and do not survive a copy into a ticket.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Reads `sidecar help watch` as `sidecar watch --help`."""
        if args and args[0] == "help":
            args = [*args[1:], "--help"]
        return super().parse_args(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        commands: list[Any] = [self.get_command(ctx, name) for name in self.list_commands(ctx)]
        widest = max(len(command.name) for command in commands)
        for group, members in groupby(commands, lambda command: command.rich_help_panel):
            with formatter.section(group):
                # The same column in every group.
                formatter.write_dl(
                    [(command.name.ljust(widest), command.get_short_help_str(1000)) for command in members]
                )
