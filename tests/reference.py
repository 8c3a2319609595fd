"""Prints README's settings table and the list of commands as the code has them: `python -m tests.reference`.

tests/unit/test_readme.py holds README to what is printed here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import MISSING, fields

import click

from mlflow_hydraulic.cli import COMMANDS, main
from mlflow_hydraulic.settings import PREFIX, Settings


def settings_table() -> list[str]:
    """README's table, line by line: variable, default, unit, meaning."""
    lines = ["| setting | default | unit | meaning |", "|---|---|---|---|"]
    for field in fields(Settings):
        factory = field.default_factory
        default = factory() if factory is not MISSING else field.default
        shown = f"`{default}`" if default != "" else "empty"
        unit, meaning = field.metadata["unit"], field.metadata["doc"]
        lines.append(f"| `{PREFIX}{field.name.upper()}` | {shown} | {unit} | {meaning} |")
    return lines


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every command with its subcommands: ("data fetch", command), ..."""
    context = click.Context(main)
    for name in COMMANDS:
        command = main.get_command(context, name)
        assert command is not None, f"{name} is in COMMANDS but cannot be loaded"
        yield name, command
        if isinstance(command, click.Group):
            yield from ((f"{name} {sub}", command.commands[sub]) for sub in sorted(command.commands))


if __name__ == "__main__":
    print("\n".join(settings_table()), end="\n\n")
    for name, command in commands():
        print(f"- `hydraulic {name}`: {command.get_short_help_str(200)}")
