"""docs/alerts.md says what the code does: its configuration is read, its commands exist, its numbers are the code's."""

from __future__ import annotations

import re
from pathlib import Path

from click.testing import CliRunner

from mlflow_hydraulic.cli import main
from mlflow_hydraulic.monitor import mail, outbox, post, webhook
from mlflow_hydraulic.monitor.configured import read_monitoring
from mlflow_hydraulic.monitor.findings import LEVELS
from mlflow_hydraulic.monitor.rules import DEFAULTS, KEYS
from mlflow_hydraulic.settings import read_tables

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "alerts.md").read_text(encoding="utf-8")


def test_the_configuration_is_read_and_names_every_key_of_a_rule(tmp_path: Path) -> None:
    toml = PAGE.partition("```toml\n")[2].partition("```")[0]
    (tmp_path / "h.toml").write_text(toml)
    found = read_monitoring(read_tables({"HYDRAULIC_CONFIG": str(tmp_path / "h.toml")}))
    assert set(found.channels) == {"log", "team", "on-call", "alertmanager", "console"}
    assert [key for key in KEYS if key not in toml] == []


def test_the_table_of_levels_is_the_codes() -> None:
    for level in LEVELS:
        line = next(line for line in PAGE.splitlines() if line.startswith("| `") and f"`{level}`" in line)
        rule = DEFAULTS[level]
        assert f"{rule.raise_after} of {rule.of} looks" in line
        assert f"{rule.clear_after} good looks" in line


def test_the_commands_exist_with_their_options() -> None:
    for name, options in re.findall(r"^hydraulic alerts (\w+)(.*)$", PAGE, flags=re.MULTILINE):
        shown = CliRunner().invoke(main, ["alerts", name, "--help"], prog_name="hydraulic")
        assert shown.exit_code == 0
        assert [option for option in re.findall(r"--[a-z]+", options) if option not in shown.output] == []


def test_the_numbers_are_the_codes() -> None:
    for text in (
        f"{outbox.FIRST_WAIT_S:.0f} s at first",
        f"{outbox.LONGEST_WAIT_S / 60:.0f} minutes",
        f"at most {outbox.MOST_AT_ONCE} notifications",
        ", ".join(map(str, post.REFUSED)),
        ", ".join(map(str, mail.MESSAGE_REFUSED)),
        f"for {outbox.GIVE_UP.days * 24} hours",
        webhook.SIGNATURE,
        webhook.TIMESTAMP,
        webhook.DELIVERY,
    ):
        assert text in " ".join(PAGE.split())
    assert (outbox.HOLD.total_seconds(), post.LONGEST_WAIT_S, webhook.TOLERANCE_S) == (120, 3600, 300)
