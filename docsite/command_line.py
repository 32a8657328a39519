"""The reference of the command line, from the program's own commands and options."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import typer

from docsite.markdown import escape, table
from sidecar.cli.program import make_program

_HEAD = """\
# Command line

Written by `make docs` from the program, whose `sidecar COMMAND --help` says the same. How operators use the commands:
[An operator's day](../operations.md). The variables that they read, `DATABASE_URL` first: [Settings](../settings.md).

Exit codes: 0 done, 1 failed, 2 wrong usage or configuration.
"""
_UNWRAPPED = "\b\n"  # click keeps the line breaks of a paragraph that begins so
_EXAMPLE = "Example: "


def command_line_page() -> str:
    """All of docs/reference/command-line.md."""
    program: Any = typer.main.get_command(make_program())
    context = program.make_context("sidecar", [], resilient_parsing=True)
    commands = {name: program.get_command(context, name) for name in program.list_commands(context)}
    contents = table(
        ["Command", ""],
        [[f"[`sidecar {name}`](#sidecar-{name})", escape(_summary(command))] for name, command in commands.items()],
    )
    sections = [_section(f"sidecar {name}", command, context) for name, command in commands.items()]
    return "\n".join([_HEAD, contents, *sections])


def _summary(command: Any) -> str:
    """The first sentence of a command's help."""
    return re.split(r"(?<=\.)\s|\n\n", command.help or "", maxsplit=1)[0]


def _section(name: str, command: Any, parent: Any) -> str:
    context = command.make_context(name.rpartition(" ")[2], [], parent=parent, resilient_parsing=True)
    usage = f"```text\n{name} {' '.join(command.collect_usage_pieces(context))}\n```\n"
    arguments, options = _parameters(command, context)
    parts = [
        f"## {name}\n",
        usage,
        *_paragraphs(command.help or ""),
        table(["Argument", ""], arguments),
        table(["Option", ""], options),
    ]
    return "\n".join(part for part in parts if part)


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in text.split("\n\n"):
        if paragraph.startswith(_UNWRAPPED):
            yield f"```text\n{paragraph.removeprefix(_UNWRAPPED).rstrip()}\n```\n"
        elif paragraph.startswith(_EXAMPLE):
            yield f"```text\n{' '.join(paragraph.split())}\n```\n"
        else:
            yield f"{escape(' '.join(paragraph.split()))}\n"


def _parameters(command: Any, context: Any) -> tuple[list[list[str]], list[list[str]]]:
    """Rows for the arguments and for the options: each as its help names it, and what it says."""
    arguments: list[list[str]] = []
    options: list[list[str]] = []
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is None:
            continue
        rows = arguments if parameter.param_type_name == "argument" else options
        rows.append([f"`{record[0]}`", escape(record[1])])
    return arguments, options
