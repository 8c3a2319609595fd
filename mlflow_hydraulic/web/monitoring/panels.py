"""The parts of the monitoring page: what each shows of one deployment over a time range. Called by `api.monitoring`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from mlflow_hydraulic.drift.inputs import InputDrift
from mlflow_hydraulic.errors import HydraulicError, NotFound
from mlflow_hydraulic.monitor.findings import Level
from mlflow_hydraulic.monitor.looks import Seen
from mlflow_hydraulic.monitor.series import accuracy as accuracies
from mlflow_hydraulic.monitor.series import anomalies as odds
from mlflow_hydraulic.monitor.series import compare, told
from mlflow_hydraulic.monitor.series import drift as drifts
from mlflow_hydraulic.monitor.series import service as services
from mlflow_hydraulic.monitor.series.chart import Chart, Panel, Table, iso
from mlflow_hydraulic.monitor.series.columns import column_charts
from mlflow_hydraulic.monitor.series.sample import Answerer, last_flagged, sample
from mlflow_hydraulic.monitor.series.span import Span
from mlflow_hydraulic.monitor.series.values import values_of
from mlflow_hydraulic.monitor.service_history import read_history
from mlflow_hydraulic.monitor.sla import ENOUGH_S, sla_of
from mlflow_hydraulic.record.store import Store
from mlflow_hydraulic.record.values import Window
from mlflow_hydraulic.web.monitoring.scene import Scene


@dataclass(frozen=True, kw_only=True)
class View:
    """What is looked at: one answerer of a scene over a range. chosen: None where nothing is recorded here."""

    scene: Scene
    span: Span
    now: datetime
    chosen: Answerer | None

    @property
    def recorded(self) -> tuple[Store, Answerer] | None:
        """The record and whose rows are shown."""
        record = self.scene.record
        return (record, self.chosen) if record is not None and self.chosen is not None else None

    @property
    def predictor(self) -> str:
        return self.chosen.served.predictor if self.chosen else ""

    def panel(self, notes: Sequence[str], charts: Sequence[Chart], tables: Sequence[Table]) -> Panel:
        found = [note for note in notes if note]
        return Panel(
            since=iso(self.span.since),
            until=iso(self.span.until),
            notes=found if self.recorded else [*found, self.scene.unread],
            charts=list(charts),
            tables=list(tables),
        )


def service(view: View) -> Panel:
    """From the evidence database alone."""
    house, subject = view.scene.house, view.scene.subject
    slas, now = house.monitoring.slas, view.now.timestamp()
    since = min(view.span.since, now - max(sla_of(slas, subject).window_s, ENOUGH_S))
    with house.engine.connect() as connection:
        history = read_history(connection, subject, since)
        seen = told.last_said(connection, subject)
    tables = [
        told.findings_table(seen, "service"),
        services.budget_table(history, slas, subject, now),
        services.predictors_table(history, view.span),
    ]
    panel = view.panel([], services.service_charts(history, view.span), tables)
    return Panel(since=panel.since, until=panel.until, charts=panel.charts, tables=panel.tables)


def drift(view: View) -> Panel:
    """Findings, every input over time, and each input's deviation now."""
    looking = view.scene.house.monitoring.looking
    seen, looks = _said(view, "drift")
    notes = [drifts.budget_words(looking, len(view.scene.parts) or len(view.scene.answered))]
    charts = [drifts.looks_chart(looks, view.predictor, "drift")]
    tables = [told.findings_table(seen, "drift", view.predictor)]
    if view.recorded:
        record, chosen = view.recorded
        training, why = view.scene.training(chosen)
        window = _newest(view, record, chosen)
        found: list[InputDrift] = []
        if training is not None and window is not None and len(window):
            found = drifts.inputs_of(window, training, looking)
            notes.append(drifts.collected_words(window, looking, training))
        made = sample(record, chosen, view.span.since, view.span.until)
        charts.insert(0, drifts.shift_chart(made, view.span, training, [one.name for one in found]))
        notes.append(why)
        tables.append(drifts.inputs_table(window if window is not None else made.window, found))
    return view.panel(notes, charts, tables)


def accuracy(view: View) -> Panel:
    """What was measured where truth is known, the estimate, and how far true values reach."""
    rule = view.scene.house.monitoring.looking.accuracy
    seen, looks = _said(view, "accuracy")
    charts = [drifts.looks_chart(looks, view.predictor, "accuracy")]
    tables = [told.findings_table(seen, "accuracy", view.predictor)]
    notes = []
    if view.recorded:
        record, chosen = view.recorded
        training, why = view.scene.training(chosen)
        block_rows = training.block_rows if training else 1
        rows = accuracies.labelled_of(view.scene.actuals, chosen, view.span)
        made = sample(record, chosen, view.span.since, view.span.until)
        measure = accuracies.main_measure(rows, rule.measure)
        bar = rule.bar if rule.bar is not None else told.bar_of(seen, measure, view.predictor)
        over_time = accuracies.measured_chart(rows, made, view.span, measure=measure, bar=bar, block_rows=block_rows)
        charts = [over_time, accuracies.confusion_chart(rows), *charts]
        tables.append(accuracies.measures_table(rows, view.scene.trained(chosen), block_rows))
        tables.append(accuracies.coverage_table(rows, made))
        notes += [accuracies.estimate_words(made, rows, block_rows), why]
    return view.panel(notes, charts, tables)


def anomalies(view: View) -> Panel:
    """Rows that are unlike the training data."""
    seen, looks = _said(view, "anomaly")
    charts = [drifts.looks_chart(looks, view.predictor, "anomaly")]
    tables = [told.findings_table(seen, "anomaly", view.predictor)]
    notes = []
    if view.recorded:
        record, chosen = view.recorded
        training, why = view.scene.training(chosen)
        made = sample(record, chosen, view.span.since, view.span.until)
        charts.insert(0, odds.odd_chart(made, view.span, training))
        last = last_flagged(record, chosen, view.span.since, view.span.until)
        tables.append(odds.flagged_table(last, training))
        notes.append(why)
    return view.panel(notes, charts, tables)


def column(view: View, name: str) -> Panel:
    """One input or output, against training; the first input where `name` is ""."""
    if not view.recorded:
        return view.panel([], [], [])
    record, chosen = view.recorded
    training, why = view.scene.training(chosen)
    made = sample(record, chosen, view.span.since, view.span.until)
    wanted = name or (chosen.schema.names[0] if chosen.schema.inputs else chosen.schema.target)
    reference = training.baseline.reference if training else None
    found = values_of(made.window, reference, wanted)
    if found is None:
        known = ", ".join([*chosen.schema.names, chosen.schema.target])
        raise NotFound(f"column {wanted[:100]!r}: there is none of that name; known are {known[:1000]}")
    return view.panel([why], column_charts(made, found, view.span), [])


def comparison(view: View, other: str) -> Panel:
    """The chosen answerer beside another one, on the requests that both answered."""
    if not view.recorded:
        return view.panel([], [], [])
    record, one = view.recorded
    rest = [answerer for answerer in view.scene.answered if answerer.id != one.id]
    if not rest:
        missing = (
            "Only one predictor and version of this deployment is recorded: deploy a challenger, and both are compared "
            "here on the same requests."
        )
        return view.panel([missing], [], [])
    second = view.scene.choose(other) if other else _beside(view.scene, one, rest)
    pairs = compare.pairs_of(record, one, second, view.span)
    notes = [f"First: {one.name}. Second: {second.name}. Joined by prediction id and row in the record."]
    training, why = view.scene.training(one)
    block_rows = training.block_rows if training else 1
    table = compare.measured_table(pairs, view.scene.actuals, one, second, block_rows)
    return view.panel([*notes, why], compare.compared(pairs, one, second, view.span), [table])


def _beside(scene: Scene, one: Answerer, rest: Sequence[Answerer]) -> Answerer:
    """The challenger of `one`, else whoever answered last."""
    wanted = "champion" if scene.role(one) == "challenger" else "challenger"
    return next((other for other in rest if scene.role(other) == wanted), rest[0])


def _said(view: View, level: Level) -> tuple[list[Seen], list[drifts.Seen]]:
    with view.scene.house.engine.connect() as connection:
        return told.last_said(connection, view.scene.subject), drifts.seen(connection, view.scene.subject, level)


def _newest(view: View, record: Store, one: Answerer) -> Window | None:
    """The last rows of the range, as many as the monitor judges."""
    served = one.served
    try:
        return record.window(
            target=served.target,
            namespace=served.namespace,
            deployment=served.deployment,
            predictor=served.predictor,
            version=served.version,
            since=view.span.since,
            until=view.span.until,
            last_rows=view.scene.house.monitoring.looking.rows,
        )
    except HydraulicError:  # pruned meanwhile
        return None
