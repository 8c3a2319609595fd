"""What a benchmark reports: rows of "what | measured ratio | asked", as a table for people or as JSON.

Every module of this folder makes `list[Row]` in `measure()` and ends with `report.run(measure)`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Row:
    """One measured thing.

    what: in words, with the peer that it is measured against.
    measured, asked: in the same unit: a ratio of medians ("x") or a count; `asked` None where nothing is asked.
    at_most: whether `asked` is a ceiling (failures) rather than a floor (speed).
    detail: the figures behind it, for JSON and the line under the table.
    """

    what: str
    measured: float
    asked: float | None = None
    unit: str = "x"
    at_most: bool = False
    detail: dict[str, Any] = field(default_factory=dict)  # Any: the value is JSON

    @property
    def verdict(self) -> str:
        if self.asked is None:
            return ""
        reached = self.measured <= self.asked if self.at_most else self.measured >= self.asked
        return "reached" if reached else "NOT REACHED"


def show(rows: Iterable[Row]) -> str:
    """The table, with the figures behind each row on a line of its own below it."""
    rows = list(rows)
    cells = [("what", "measured", "asked", ""), *((r.what, _number(r), _asked(r), r.verdict) for r in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(4)]
    lines = ["  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in cells]
    lines.insert(1, "  ".join("-" * width for width in widths[:3]))
    figures = [f"  {row.what}: {json.dumps(row.detail)}" for row in rows if row.detail]
    return "\n".join([*lines, "", "figures behind them:", *figures]) if figures else "\n".join(lines)


def _number(row: Row) -> str:
    return f"{row.measured:,.0f} {row.unit}" if row.measured >= 100 else f"{row.measured:.2g} {row.unit}"


def _asked(row: Row) -> str:
    if row.asked is None:
        return "-"
    return f"{'at most ' if row.at_most else ''}{row.asked:g} {row.unit}"


def alternate(rounds: int, measures: dict[str, Callable[[], float]]) -> dict[str, list[float]]:
    """Calls every measure once a round, in turn, so that a busy minute of the machine hits all alike."""
    seen: dict[str, list[float]] = {name: [] for name in measures}
    for number in range(rounds):
        for name, measure in measures.items():
            say(f"round {number + 1} of {rounds}: {name}")
            seen[name].append(measure())
    return seen


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, smallest and largest, to four digits."""
    return {name: float(f"{f(values):.4g}") for name, f in (("median", median), ("min", min), ("max", max))}


def say(text: str) -> None:
    """Progress goes to stderr: stdout is the report's."""
    print(text, file=sys.stderr, flush=True)


def run(measure: Callable[[], list[Row]]) -> None:
    """The command line of one benchmark: a table, or JSON with `--json`."""
    parser = argparse.ArgumentParser(description=sys.modules[measure.__module__].__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    as_json = parser.parse_args().json
    rows = measure()
    print(json.dumps([asdict(row) for row in rows], indent=1) if as_json else show(rows))
