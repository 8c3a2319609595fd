"""README and the helps say what the code does: settings, commands, examples, make targets."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from mlflow_hydraulic.cli import COMMANDS, main
from tests.reference import commands, settings_table

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_settings_table_is_that_of_the_code() -> None:
    rows = [line for line in README.splitlines() if line.startswith("| `HYDRAULIC_")]
    assert rows == settings_table()[2:], "paste what `python -m tests.reference` prints"


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_is_in_readme(command: str) -> None:
    assert f"hydraulic {command}" in README


def test_every_command_that_readme_names_exists() -> None:
    named = set(re.findall(r"(?:^|`|\$ )hydraulic ([a-z]+(?:-[a-z]+)*)", README, flags=re.MULTILINE))
    assert named <= set(COMMANDS)


def test_every_help_shows_an_example_of_itself() -> None:
    without = []
    for name, _ in commands():
        result = CliRunner().invoke(main, [*name.split(), "--help"], prog_name="hydraulic")
        assert result.exit_code == 0, result.output
        if f"hydraulic {name}" not in result.output.partition("\n")[2]:
            without.append(name)
    assert not without, f"these helps show no example: {without}"


def test_readme_names_the_two_commands_and_only_make_targets_that_exist() -> None:
    targets = set(re.findall(r"^([a-z ]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    known = {name for line in targets for name in line.split()}
    named = set(re.findall(r"\bmake ([a-z]+)", README))
    assert {"quickstart", "test"} <= named
    assert named <= known
