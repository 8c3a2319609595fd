"""The table [environments.NAME.canary]: every key, its limits, and the page that documents it."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import pytest

from mlflow_hydraulic.canary.rules import Rules, read_rules
from mlflow_hydraulic.errors import BadInput


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ([], "must be a table"),
        ({"step": [5]}, "known are steps, hold_s"),
        ({"steps": []}, "at least one share"),
        ({"steps": [25, 5]}, "larger than the one before"),
        ({"steps": [5, 5]}, "larger than the one before"),
        ({"steps": [0]}, "from 1 to 99"),
        ({"steps": [100]}, "from 1 to 99"),
        ({"steps": 5}, "must be a list"),
        ({"hold_s": "soon"}, "write how long"),
        ({"min_requests": 0}, "from 1 to"),
        ({"max_error_rate": 2}, "from 0 to 1"),
        ({"max_error_rate": True}, "must be a number"),
        ({"max_p99_ms": 0}, "must be a number from"),
        ({"max_p99_ratio": 0.5}, "from 1 to"),
        ({"when_unsure": "wait"}, "one of hold, go on, roll back"),
        ({"on_breach": "go on"}, "one of roll back, halt"),
        ({"patience_s": 10}, "600 s (hold_s) at least"),
    ],
)
def test_a_wrong_rule_is_named(table: object, words: str) -> None:
    with pytest.raises(BadInput, match=r"environments\.prod\.canary") as refused:
        read_rules("environments.prod.canary", table)
    assert words in str(refused.value)


def test_every_rule_is_read() -> None:
    table = {"steps": [1, 10], "hold_s": "2m", "min_requests": 7, "max_error_rate": 0.5, "max_p99_ms": 9}
    more = {"max_p99_ratio": 2, "patience_s": "1h", "when_unsure": "go on", "on_breach": "halt"}
    assert read_rules("c", table | more) == Rules(
        steps=(1, 10),
        hold_s=120,
        min_requests=7,
        max_error_rate=0.5,
        max_p99_ms=9,
        max_p99_ratio=2,
        patience_s=3600,
        when_unsure="go on",
        on_breach="halt",
    )
    assert read_rules("c", {}) == Rules()
    assert [Rules().after(share) for share in (0, 5, 24, 25, 50, 60)] == [5, 25, 25, 50, 100, 100]


def test_the_documentation_lists_every_rule_with_its_default() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "canary.md").read_text(encoding="utf-8")
    for name, default in ((field.name, field.default) for field in fields(Rules)):
        shown = f"{default:g}" if isinstance(default, (int, float)) else f"`{json.dumps(default)}`"
        assert f"| `{name}` | {'not asked' if default is None else shown} |" in page
