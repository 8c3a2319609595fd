"""Two predictors on the same requests, as champion and challenger are: joined by prediction id and row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from mlflow_hydraulic.accuracy.measures import FEWEST, SEED, interval_blocks, measures, resampled_mean
from mlflow_hydraulic.accuracy.store import ActualStore
from mlflow_hydraulic.accuracy.values import Labelled, class_number
from mlflow_hydraulic.monitor.series.accuracy import chosen, crossed_chart
from mlflow_hydraulic.monitor.series.chart import BUCKETS, Chart, Series, Table, numbers, times
from mlflow_hydraulic.monitor.series.drift import means
from mlflow_hydraulic.monitor.series.sample import Answerer, middles, positions, sample, taken
from mlflow_hydraulic.monitor.series.span import Span
from mlflow_hydraulic.record.store import Store
from mlflow_hydraulic.record.values import Window
from mlflow_hydraulic.schema import Label

MOST_PAIRS = 20_000  # rows
BARS = 40
ENOUGH_BLOCKS = 8  # of rows that hang together: fewer tell no difference
NO_PAIR = (
    "They were not asked the same requests in this time range: only a challenger (a shadow) gets a copy of each "
    "request. Of an A/B split compare their accuracy instead."
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Pairs:
    """The same rows, answered by two: one and other are windows of equal length, row by row."""

    one: Window
    other: Window

    def __len__(self) -> int:
        return len(self.one)

    @property
    def agree(self) -> NDArray[np.bool_]:
        return np.array([str(a) == str(b) for a, b in zip(self.one.labels, self.other.labels, strict=True)], dtype=bool)

    @property
    def classes(self) -> tuple[str, ...]:
        """The labels that both know, as text; none of a regression."""
        known = [str(one) for one in self.one.schema.labels]
        return (*known, *(str(b) for b in self.other.schema.labels if str(b) not in known))


def pairs_of(record: Store, one: Answerer, other: Answerer, span: Span) -> Pairs:
    """Rows that both answered in `span`, at most `MOST_PAIRS`; what the first answered is sampled, and then joined."""
    mine = sample(record, one, span.since, span.until).window
    mine = taken(mine, np.arange(len(mine))[-MOST_PAIRS:])
    found: dict[tuple[str, int], tuple[object, NDArray[np.float64] | None, float]] = {}
    for answer in record.scored(dict.fromkeys(mine.ids.tolist())):
        if answer.served == other.served:
            for row, label in enumerate(answer.labels.tolist()):
                probabilities = None if answer.probabilities is None else answer.probabilities[row]
                found[answer.id, row] = (label, probabilities, answer.at)
    keys = list(zip(mine.ids.tolist(), mine.rows.tolist(), strict=True))
    places = np.array([at for at, key in enumerate(keys) if key in found], dtype=np.int64)
    both = taken(mine, places) if len(places) < len(mine) else mine
    theirs = [found[keys[at]] for at in places]
    labels = np.empty(len(theirs), dtype=object)
    labels[:] = [label for label, _, _ in theirs]
    known = bool(theirs) and all(p is not None for _, p, _ in theirs)
    probabilities = np.array([p for _, p, _ in theirs]) if known else None
    answered = replace(both, schema=other.schema, served=other.served, labels=labels, probabilities=probabilities)
    return Pairs(one=both, other=answered)


def compared(pairs: Pairs, one: Answerer, other: Answerer, span: Span) -> list[Chart]:
    """Agreement over time, how their answers differ, and who says what."""
    titles = {"agreement": "Agreement over time", "difference": "Differences", "crossed": "Who says what"}
    if not len(pairs):
        return [Chart(name=name, title=title, missing=NO_PAIR) for name, title in titles.items()]
    if not pairs.classes:
        return [_gap_over_time(pairs, span), _gaps(pairs, one, other)]
    return [_agreement(pairs, span), _differences(pairs, one, other), _crossed(pairs, one, other)]


def _agreement(pairs: Pairs, span: Span) -> Chart:
    edges = span.edges(BUCKETS)
    place = positions(pairs.one.at, edges)
    share = means(pairs.agree.astype(np.float64)[:, None], place, len(edges) - 1)[0]
    rows = np.bincount(place, minlength=len(edges) - 1)
    agreed = f"{pairs.agree.mean():.2%} of {len(pairs):,} rows that both answered got the same answer"
    says = [f"{count:,} rows" for count in rows.tolist()]
    return Chart(
        name="agreement",
        title="Agreement over time",
        says=f"{agreed}.",
        x=times(middles(edges)),
        y_title="% of rows",
        unit="%",
        series=[Series(name="agreement", y=numbers(share * 100), says=says, tone="window")],
    )


def _differences(pairs: Pairs, one: Answerer, other: Answerer) -> Chart:
    """How much probability the other gives to what the first said, less what the first gave it."""
    mine, theirs = pairs.one.probabilities, pairs.other.probabilities
    chart = partial(Chart, name="difference", title="Differences")
    same = [str(a) for a in one.schema.labels] == [str(b) for b in other.schema.labels]
    if mine is None or theirs is None or not same:
        return chart(missing="One of them gives no probabilities, or they know other classes.")
    top = mine.argmax(axis=1)
    rows = np.arange(len(mine))
    values = theirs[rows, top] - mine[rows, top]
    what = f"probability that {other.name} gives to the answer of {one.name}, less its own"
    return _spread(values, f"The {what}; 0 is no difference.", "difference in probability", -1.0, 1.0)


def _gaps(pairs: Pairs, one: Answerer, other: Answerer) -> Chart:
    values = _gap(pairs)
    says = f"{other.name} minus {one.name}: mean {values.mean():.4g}, mean size {np.abs(values).mean():.4g}."
    low, high = np.quantile(values, (0.001, 0.999)) if len(values) else (-1.0, 1.0)
    return _spread(values, says, f"difference in {one.schema.target}", float(low), float(high))


def _gap_over_time(pairs: Pairs, span: Span) -> Chart:
    edges = span.edges(BUCKETS)
    place = positions(pairs.one.at, edges)
    gap = means(np.abs(_gap(pairs))[:, None], place, len(edges) - 1)[0]
    return Chart(
        name="agreement",
        title="Mean difference over time",
        says=f"The mean size of the difference, of {len(pairs):,} rows that both answered.",
        x=times(middles(edges)),
        y_title=pairs.one.schema.target,
        series=[Series(name="mean difference", y=numbers(gap), tone="window")],
    )


def _gap(pairs: Pairs) -> NDArray[np.float64]:
    return pairs.other.labels.astype(np.float64) - pairs.one.labels.astype(np.float64)


def _spread(values: NDArray[np.float64], says: str, title: str, low: float, high: float) -> Chart:
    low, high = (low, high) if high > low else (low - 0.5, high + 0.5)
    edges = np.linspace(low, high, BARS + 1)
    counts = np.histogram(np.clip(values, low, high), edges)[0] / max(len(values), 1)
    return Chart(
        name="difference",
        title="Differences",
        says=says,
        x=[float(one) for one in middles(edges)],
        x_kind="number",
        x_title=title,
        y_title="share of rows",
        series=[Series(name="rows", kind="bars", y=numbers(counts), tone="window")],
    )


def _crossed(pairs: Pairs, one: Answerer, other: Answerer) -> Chart:
    names = list(pairs.classes)
    place = {name: at for at, name in enumerate(names)}
    counts = np.zeros((len(names), len(names)), dtype=np.int64)
    for mine, theirs in zip(pairs.one.labels, pairs.other.labels, strict=True):
        counts[place[str(mine)], place[str(theirs)]] += 1
    who = f"Rows: {one.name}; columns: {other.name}; {len(pairs):,} rows."
    return crossed_chart("crossed", "Who says what", counts, names, says=who, of_rows="first", of_columns="second")


def measured_table(
    pairs: Pairs, actuals: ActualStore | None, one: Answerer, other: Answerer, block_rows: int = 1
) -> Table:
    """Measures of both on the same rows with a true value, and the difference of what each row cost, with interval.

    block_rows: how many consecutive rows hang together.
    """
    table = partial(Table, name="measured", title="Measures on the same rows")
    truth = {} if actuals is None else actuals.truths(pairs.one.ids.tolist())
    keys = zip(pairs.one.ids.tolist(), pairs.one.rows.tolist(), strict=True)
    places = np.array([at for at, key in enumerate(keys) if key in truth], dtype=np.int64)
    if len(places) < FEWEST:
        missing = f"{len(places)} rows that both answered have a true value: {FEWEST} are needed."
        return table(missing=missing)
    rows = [_labelled(taken(window, places), truth) for window in (pairs.one, pairs.other)]
    known = np.flatnonzero((rows[0].truth >= 0) & (rows[1].truth >= 0)) if pairs.classes else np.arange(len(places))
    found = [measures(chosen(each, known), block_rows=block_rows) for each in rows]
    shown = [
        [name, str(found[0][name]), str(found[1][name]), f"{found[1][name].value - found[0][name].value:+.4g}"]
        for name in found[0]
        if name in found[1]
    ]
    verdict = better(chosen(rows[0], known), chosen(rows[1], known), block_rows)
    says = f"{len(known):,} rows that both answered have a true value. {verdict}"
    return table(headings=["measure", one.name, other.name, "difference"], rows=shown, says=says)


def better(one: Labelled, other: Labelled, block_rows: int) -> str:
    """Whether the other errs less, by the difference on each row: paired, so it shows what two intervals hide.

    block_rows: how many consecutive rows hang together.
    """
    if one.schema.labels:
        cost = [(rows.truth != rows.predicted).astype(np.float64) for rows in (one, other)]
        what = "errors"
    else:
        cost = [np.abs(rows.truth - rows.predicted) for rows in (one, other)]
        what = "mean error"
    gap = cost[1] - cost[0]
    low, high = np.percentile(resampled_mean(gap, interval_blocks(len(gap), block_rows), SEED), (2.5, 97.5))
    told = f"{what} of the second minus the first: {gap.mean():+.4g} (95 % interval {low:+.4g} to {high:+.4g})"
    if len(gap) < ENOUGH_BLOCKS * block_rows:
        return f"{told[:1].upper()}{told[1:]}: too few rows to be sure, since some {block_rows} in a row are alike."
    verdict = "the second is better" if high < 0 else "the first is better" if low > 0 else "no difference is sure"
    return f"{told[:1].upper()}{told[1:]}: {verdict}."


def _labelled(window: Window, truth: Mapping[tuple[str, int], Label]) -> Labelled:
    schema = window.schema
    keys = zip(window.ids.tolist(), window.rows.tolist(), strict=True)
    return Labelled(
        served=window.served,
        schema=schema,
        at=window.at,
        arrived=window.at,
        truth=np.array([class_number(schema, truth[key]) for key in keys]),
        predicted=np.array([class_number(schema, label) for label in window.labels.tolist()]),
        probabilities=window.probabilities,
    )
