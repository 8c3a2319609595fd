"""Drift over time: how far each input lies from training, the last looks' findings, every input in a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, select

from mlflow_hydraulic.drift.inputs import InputDrift, each_input
from mlflow_hydraulic.evidence.tables import findings as table
from mlflow_hydraulic.monitor.findings import COLOURS, Level, Subject
from mlflow_hydraulic.monitor.judged import judged_words
from mlflow_hydraulic.monitor.looking import SHARES, Looking
from mlflow_hydraulic.monitor.series.chart import BUCKETS, Chart, Table, iso, numbers, times
from mlflow_hydraulic.monitor.series.sample import Sample, middles, positions
from mlflow_hydraulic.monitor.series.span import Span
from mlflow_hydraulic.monitor.versions import Training
from mlflow_hydraulic.record.values import Window

MOST_INPUTS = 40  # rows of a heatmap
MOST_LOOKS = 400  # findings that are read
NOTHING_ASKED = "Nothing was asked in this time range: choose a longer one."
SMALL = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One stored finding, without its plot."""

    predictor: str
    rule: str
    colour: str
    looked: str
    until: float


def budget_words(looking: Looking, predictors: int) -> str:
    """The false-alarm budget as a person would say it."""
    budget = looking.budget
    reds, days = f"{budget.false_reds:g}", f"{budget.period_days:g}"
    shared = f", shared by its {predictors} predictors" if predictors > 1 else ""
    return (
        f"Where nothing is wrong, at most {reds} false red is expected in {days} days for the whole deployment"
        f"{shared}, and {budget.oranges:g} times as many false oranges. Drift may spend {SHARES['drift']:.0%} of that; "
        "it is divided among all inputs, tests and looks, so more of them make no more alarms."
    )


def collected_words(window: Window, looking: Looking, training: Training) -> str:
    """How many rows there are to judge by."""
    collected = min(len(window), looking.rows)
    judged = judged_words(collected, training.baseline.judged(collected), training.baseline.most)
    return f"Samples: {collected:,} of {looking.rows:,} rows are collected; {judged}."


def inputs_of(window: Window, training: Training, looking: Looking) -> list[InputDrift]:
    """Each numeric input of the newest rows, the surest deviation first; none of too few rows."""
    last = slice(-looking.rows, None)
    probabilities = None if window.probabilities is None else window.probabilities[last]
    return each_input(training.baseline, window.inputs[last], probabilities)


def inputs_table(window: Window, found: Sequence[InputDrift]) -> Table:
    """Every column with its type, unit and, where it could be judged, its deviation; the surest first."""
    by_name = {one.name: one for one in found}
    order = {one.name: number for number, one in enumerate(found)}
    fields = sorted(window.schema.inputs, key=lambda one: order.get(one.name, len(order)))
    rows = []
    for one in fields:
        drift = by_name.get(one.name)
        told = (
            [f"{drift.effect:.3g} {drift.unit}".strip(), drift.test, _chance(drift.p_value)] if drift else ["", "", ""]
        )
        importance = f"{drift.importance:.0%}" if drift else ""
        rows.append([one.name, one.type, one.unit or "", *told, importance])
    headings = ["input", "type", "unit", "deviation", "test", "p (all inputs)", "importance"]
    says = "The surest deviation first. p is corrected for all inputs and tests of one look."
    return Table(name="inputs", title="Inputs", headings=headings, rows=rows, says=says)


def _chance(p_value: float) -> str:
    return "< 1e-16" if p_value < 1e-16 else f"{p_value:.2g}"


def shift_chart(made: Sample, span: Span, training: Training | None, order: Sequence[str]) -> Chart:
    """Input x time: how far the mean of each stretch lies from training's, in training standard deviations."""
    window = made.window
    chart = partial(Chart, name="shift", title="Inputs over time")
    if not len(window):
        return chart(missing=NOTHING_ASKED)
    names = [one.name for one in window.schema.inputs if one.numeric]
    columns = [window.schema.names.index(name) for name in names]
    cells = window.inputs[:, columns]
    centre, spread = _scale(names, training, cells)
    edges = span.edges(BUCKETS)
    shift = (means(cells, positions(window.at, edges), len(edges) - 1) - centre[:, None]) / spread[:, None]
    ranked = sorted(range(len(names)), key=lambda at: _rank(names[at], order, shift[at]))[:MOST_INPUTS]
    against = "the training mean" if training else "the mean of this time range (there is no baseline)"
    more = f" The {MOST_INPUTS} worst of {len(names)} are shown." if len(names) > MOST_INPUTS else ""
    return chart(
        says=f"Mean of each stretch against {against}, in standard deviations, from {made.says}; worst first.{more}",
        x=times(middles(edges)),
        rows=[names[at] for at in ranked],
        cells=[numbers(shift[at]) for at in ranked],
        scale="shift",
    )


def means(cells: NDArray[np.float64], place: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    """The mean of each column in each of `count` stretches, shape (columns, count); NaN where there is none."""
    found = np.full((cells.shape[1], count), np.nan)
    for column in range(cells.shape[1]):
        values = cells[:, column]
        known = np.isfinite(values)
        many = np.bincount(place[known], minlength=count)
        total = np.bincount(place[known], weights=values[known], minlength=count)
        np.divide(total, many, out=found[column], where=many > 0)
    return found


def _scale(
    names: Sequence[str], training: Training | None, cells: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rows = cells
    if training is not None:
        reference = training.baseline.reference
        rows = reference.rows[:, [reference.names.index(name) for name in names]]
    known = np.where(np.isfinite(rows), rows, np.nan)
    some = np.isfinite(known).any(axis=0)
    centre, spread = np.full(len(names), np.nan), np.full(len(names), np.nan)
    centre[some], spread[some] = np.nanmean(known[:, some], axis=0), np.nanstd(known[:, some], axis=0)
    return centre, np.maximum(spread, np.maximum(np.abs(centre) * 1e-6, SMALL))


def _rank(name: str, order: Sequence[str], shift: NDArray[np.float64]) -> tuple[float, float]:
    known = shift[np.isfinite(shift)]
    worst = float(np.abs(known).max()) if len(known) else 0.0
    return (order.index(name) if name in order else len(order)), -worst


def seen(connection: Connection, subject: Subject, level: Level) -> list[Seen]:
    """The findings that are kept of a deployment on one level, the newest `MOST_LOOKS`, oldest first."""
    columns = (table.c.predictor, table.c.rule, table.c.colour, table.c.looked, table.c.until_us)
    mine = (
        table.c.workspace == subject.workspace,
        table.c.environment == subject.environment,
        table.c.deployment == subject.deployment,
        table.c.level == level,
    )
    rows = connection.execute(select(*columns).where(*mine).order_by(table.c.until_us.desc()).limit(MOST_LOOKS)).all()
    return [Seen(predictor=p, rule=r, colour=c, looked=at, until=us / 1e6) for p, r, c, at, us in reversed(rows)]


def looks_chart(found: Sequence[Seen], predictor: str, level: Level) -> Chart:
    """Check x look: the colour of each of the last looks."""
    chart = partial(Chart, name=f"looks-{level}", title="The monitor's last looks")
    mine = [one for one in found if one.predictor in ("", predictor)]
    if not mine:
        return chart(missing=f'The monitor has not judged {level} yet: see that "hydraulic monitor" runs.')
    moments = sorted({one.until for one in mine})[-BUCKETS:]
    rules = sorted({one.rule for one in mine}, key=lambda rule: _badness(mine, rule))[:MOST_INPUTS]
    cells: list[list[float | None]] = [[None] * len(moments) for _ in rules]
    for one in mine:
        if one.rule in rules and one.until in moments:
            cells[rules.index(one.rule)][moments.index(one.until)] = float(COLOURS.index(one.colour))
    return chart(
        says="Each check at each look that is still kept: green, orange, red, or grey where it could not judge.",
        x=[iso(one) for one in moments],
        rows=rules,
        cells=cells,
        cell_says=[["" if one is None else COLOURS[int(one)] for one in row] for row in cells],
        scale="colour",
    )


def _badness(found: Sequence[Seen], rule: str) -> tuple[float, str]:
    return -max(COLOURS.index(one.colour) for one in found if one.rule == rule), rule
