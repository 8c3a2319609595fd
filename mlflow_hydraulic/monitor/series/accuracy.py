"""Accuracy over time where true values are known, with intervals; the estimate where not; how far true values reach."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from mlflow_hydraulic.accuracy.estimate import Calibration, Estimate, calibrate, estimate
from mlflow_hydraulic.accuracy.measures import FEWEST, confusion, measures
from mlflow_hydraulic.accuracy.store import ActualStore
from mlflow_hydraulic.accuracy.values import Labelled
from mlflow_hydraulic.monitor.levels.accuracy_rule import HIGHER_IS_BETTER
from mlflow_hydraulic.monitor.series.chart import Chart, Series, Table, numbers, times
from mlflow_hydraulic.monitor.series.sample import Answerer, Sample, middles, positions
from mlflow_hydraulic.monitor.series.span import Span
from mlflow_hydraulic.monitor.served import length
from mlflow_hydraulic.rig.measures import Interval

STRETCHES = 24  # over time
MOST_LABELLED = 20_000  # rows, the newest
NO_TRUTH = (
    'No true value of these predictions is known. Bring some with "hydraulic actuals load FILE", with Seldon\'s '
    "feedback or through the intake; the monitor joins them at its next look."
)
NO_ESTIMATE = "There is no estimate: it needs rows of a classifier that gives probabilities."
MEANING: Mapping[str, str] = {
    "accuracy": "share of right answers",
    "balanced_accuracy": "mean share of right answers of each class",
    "log_loss": "how surprised the model was; 0 is best",
    "brier": "squared error of the probabilities; 0 is best",
    "ece": "how far stated confidence is from truth; 0 is best",
    "mae": "mean absolute error",
    "rmse": "root mean square error",
    "bias": "mean of predicted minus true",
    "r2": "share of variance explained; 1 is best",
}


def labelled_of(actuals: ActualStore | None, one: Answerer, span: Span) -> Labelled:
    """Rows of `one` predicted in `span` whose truth is known, at most the newest `MOST_LABELLED`."""
    served = one.served
    found = []
    if actuals is not None:
        found = [
            rows
            for rows in actuals.labelled(
                target=served.target,
                namespace=served.namespace,
                deployment=served.deployment,
                predictor=served.predictor,
                since=span.since,
                until=span.until,
                last_rows=MOST_LABELLED,
            )
            if rows.served == served
        ]
    empty = np.empty(0)
    none = Labelled(served=served, schema=one.schema, at=empty, arrived=empty, truth=empty, predicted=empty)
    return found[-1] if found else none


def main_measure(rows: Labelled, asked: str = "") -> str:
    """The measure that is drawn: the rule's, else accuracy or the mean absolute error."""
    return asked or ("accuracy" if rows.schema.labels else "mae")


def measured_chart(
    rows: Labelled, made: Sample, span: Span, *, measure: str, bar: float | None, block_rows: int
) -> Chart:
    """What was measured in stretches of time, with 95 % intervals; the estimate beside it, and the bar."""
    title = f"{measure.capitalize()} over time".replace("_", " ")
    edges = span.edges(STRETCHES)
    seen = list(_measured(rows, edges, measure, block_rows))
    guessed = list(_estimated(made, edges, calibrate(rows), block_rows)) if measure == "accuracy" else []
    series = []
    if any(seen):
        series.append(_intervals("measured", seen, "window"))
    if any(guessed):
        series.append(_intervals("estimate, no measurement", guessed, "baseline"))
    if not series:
        return Chart(name="measured", title=title, missing=NO_TRUTH if not len(rows) else _too_few(rows))
    if bar is not None:
        series.append(Series(name="bar", y=numbers(np.full(len(edges) - 1, bar)), tone="red"))
    better = "higher" if HIGHER_IS_BETTER.get(measure, True) else "lower"
    says = f"{MEANING.get(measure, measure)}; {better} is better. {len(rows):,} rows with a true value; 95 % intervals."
    return Chart(name="measured", title=title, says=says, x=times(middles(edges)), y_title=measure, series=series)


def _too_few(rows: Labelled) -> str:
    return f"{len(rows)} rows have a true value: {FEWEST} in one stretch of time are needed. Choose a shorter range."


def _measured(rows: Labelled, edges: NDArray[np.float64], measure: str, block_rows: int) -> Iterator[Interval | None]:
    place = positions(rows.at, edges) if len(rows) else np.empty(0, dtype=np.int64)
    for number in range(len(edges) - 1):
        yield measures(chosen(rows, np.flatnonzero(place == number)), block_rows=block_rows).get(measure)


def _estimated(
    made: Sample, edges: NDArray[np.float64], calibration: Calibration | None, block_rows: int
) -> Iterator[Interval | None]:
    window = made.window
    if window.probabilities is None or not len(window):
        return
    place = positions(window.at, edges)
    for number in range(len(edges) - 1):
        found = estimate(window.probabilities[place == number], calibration, block_rows=block_rows)
        yield found.accuracy if found else None


def _intervals(name: str, found: list[Interval | None], tone: str) -> Series:
    def column(which: str) -> list[float | None]:
        return numbers([np.nan if one is None else getattr(one, which) for one in found])

    return Series(
        name=name,
        kind="line",
        y=column("value"),
        low=column("low"),
        high=column("high"),
        tone="window" if tone == "window" else "baseline",
    )


def chosen(rows: Labelled, places: NDArray[np.int64]) -> Labelled:
    """The rows at these places."""
    return replace(
        rows,
        at=rows.at[places],
        arrived=rows.arrived[places],
        truth=rows.truth[places],
        predicted=rows.predicted[places],
        probabilities=None if rows.probabilities is None else rows.probabilities[places],
    )


def measures_table(rows: Labelled, trained: Mapping[str, Interval], block_rows: int) -> Table:
    """Every measure over the whole range, beside what training measured on unseen runs."""
    title = "Measures"
    if not len(rows):
        return Table(name="measures", title=title, missing=NO_TRUTH)
    found = measures(rows, block_rows=block_rows)
    if not found:
        return Table(name="measures", title=title, missing=f"{len(rows)} rows have a true value: {FEWEST} are needed.")
    table = [
        [
            name,
            f"{one.value:.4g}",
            f"{one.low:.4g} to {one.high:.4g}",
            _trained(trained.get(name)),
            MEANING.get(name, ""),
        ]
        for name, one in found.items()
    ]
    headings = ["measure", "value", "95 % interval", "in training", "meaning"]
    return Table(name="measures", title=title, headings=headings, rows=table, says=f"On {len(rows):,} rows.")


def _trained(one: Interval | None) -> str:
    return f"{one.value:.4g} ({one.low:.4g} to {one.high:.4g})" if one else "unknown"


def estimate_words(made: Sample, rows: Labelled, block_rows: int) -> str:
    """The estimate over the whole range, in words."""
    window = made.window
    found: Estimate | None = None
    if window.probabilities is not None and len(window):
        found = estimate(window.probabilities, calibrate(rows), block_rows=block_rows)
    if found is None:
        return NO_ESTIMATE
    how = f"calibrated on {found.calibrated_on:,} true values" if found.calibrated_on else "as the model gives them"
    return (
        f"Without true values, accuracy is estimated at {found.accuracy} from the probabilities of {found.rows:,} "
        f"rows, {how}: an estimate, no measurement."
    )


def coverage_table(rows: Labelled, made: Sample) -> Table:
    """How many of the predictions have a true value, by predicted class, and how late it came."""
    title = "Coverage of true values"
    window, labels = made.window, rows.schema.labels
    if not len(window):
        return Table(name="coverage", title=title, missing="Nothing was predicted in this time range.")
    delays = np.maximum(rows.arrived - rows.at, 0.0)
    late = f" They came {length(float(np.median(delays)))} after the prediction (median)." if len(rows) else ""
    if not made.whole:
        missing = f"{len(rows):,} predicted rows have a true value.{late} Shares are shown for ranges with fewer rows."
        return Table(name="coverage", title=title, missing=missing)
    predicted = np.array([str(one) for one in window.labels.tolist()])
    known = np.array([str(labels[int(one)]) for one in rows.predicted]) if labels else np.full(len(rows), "")
    parts = [(str(label), int((predicted == str(label)).sum()), int((known == str(label)).sum())) for label in labels]
    table = [[name, f"{all_:,}", f"{some:,}", _share(some, all_)] for name, all_, some in parts]
    table.append(["all", f"{len(window):,}", f"{len(rows):,}", _share(len(rows), len(window))])
    headings = ["predicted", "rows", "with a true value", "share"]
    return Table(name="coverage", title=title, headings=headings, rows=table, says=late.strip())


def _share(some: int, whole: int) -> str:
    return f"{some / whole:.1%}" if whole else ""


def confusion_chart(rows: Labelled) -> Chart:
    """True class by predicted class: shares of each true class."""
    chart = partial(Chart, name="confusion", title="Confusion")
    if not rows.schema.labels:
        return chart(missing="A regression has no classes to confuse.")
    if not len(rows):
        return chart(missing=NO_TRUTH)
    names = [str(one) for one in rows.schema.labels]
    says = f"{len(rows):,} rows."
    return crossed_chart(
        "confusion", "Confusion", confusion(rows), names, says=says, of_rows="true", of_columns="predicted"
    )


def crossed_chart(
    name: str, title: str, counts: NDArray[np.int64], names: list[str], *, says: str, of_rows: str, of_columns: str
) -> Chart:
    """counts: shape (names, or one more for an unknown class, names). Cells are shares of their row."""
    total = counts.sum(axis=1)
    labels = [*(f"{of_rows} {label}" for label in names), f"{of_rows} unknown"][: len(counts)]
    places = [at for at in range(len(counts)) if total[at] or at < len(names)]
    share = counts / np.maximum(total, 1)[:, None]
    return Chart(
        name=name,
        title=title,
        says=f"Shares of each row. {says}",
        x=[f"{of_columns} {label}" for label in names],
        x_kind="name",
        rows=[labels[at] for at in places],
        cells=[numbers(share[at]) if total[at] else [None] * len(names) for at in places],
        cell_says=[[f"{count:,} rows" for count in counts[at].tolist()] for at in places],
        scale="share",
    )
