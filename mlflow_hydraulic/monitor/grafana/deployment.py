"""The dashboard "Deployment": what was asked and answered, drift and alerts, from InfluxDB in InfluxQL. Pure.

What the fields and tags are: `record.lines`, `monitor.points`.
"""

# ruff: noqa: S608 - queries are text for Grafana, of our own names; nothing here asks a database

from __future__ import annotations

from collections.abc import Sequence

from mlflow_hydraulic.monitor.grafana.panels import (
    COLOURS,
    INFLUX,
    Json,
    chosen,
    dashboard,
    influx,
    panel,
    row,
    stat,
    steps,
)
from mlflow_hydraulic.monitor.points import ALERT, FINDING
from mlflow_hydraulic.record.lines import COLUMN, MINUTE, PREDICTION

UID = "hydraulic-deployment"
PLACE = '"namespace" =~ /^${namespace:regex}$/ AND "deployment" =~ /^${deployment:regex}$/'
WHOSE = f'{PLACE} AND "predictor" =~ /^${{predictor:regex}}$/'
HERE = f"{WHOSE} AND $timeFilter"
THERE = f"{PLACE} AND $timeFilter"
BY_TIME = "GROUP BY time($__interval)"
BY_KEY = 'GROUP BY "environment", "deployment", "predictor", "level", "rule"'
COLUMN_FIELD = '"in_${column:raw}"'
NEWEST = "ORDER BY time DESC LIMIT 5000"  # what a browser draws well
QUANTILES = ((50, "p50"), (95, "p95"), (99, "p99"))
BARS: Json = {"drawStyle": "bars", "fillOpacity": 60, "lineWidth": 0, "stacking": {"mode": "normal", "group": "A"}}
POINTS: Json = {"drawStyle": "points", "pointSize": 4, "showPoints": "always"}


def deployment_dashboard(links: Sequence[Json] = ()) -> Json:
    """The whole dashboard."""
    panels = [*_now(), *_alerts(), *_inputs(), *_answers(), *_aggregates()]
    text = "Rows scored, answers, latency, odd rows, drift, accuracy and alerts of deployments, from InfluxDB."
    return dashboard(
        UID, "Hydraulic: deployment", text, panels, _variables(), links=links, annotations=[_changes_of_alerts()]
    )


def _variables() -> list[Json]:
    def tags(measurement: str, key: str, where: str = "") -> str:
        return f'SHOW TAG VALUES FROM "{measurement}" WITH KEY = "{key}"' + (f" WHERE {where}" if where else "")

    in_namespace = '"namespace" =~ /^${namespace:regex}$/'
    numbers = f"{PLACE} AND \"kind\" = 'number'"
    return [
        chosen("namespace", "Namespace", tags(COLUMN, "namespace"), INFLUX),
        chosen("deployment", "Deployment", tags(COLUMN, "deployment", in_namespace), INFLUX),
        chosen("predictor", "Predictor", tags(COLUMN, "predictor", PLACE), INFLUX),
        chosen("column", "Column", tags(COLUMN, "column", numbers), INFLUX, several=False),
        chosen("against", "Against", tags(COLUMN, "column", numbers), INFLUX, several=False),
    ]


def _changes_of_alerts() -> Json:
    return {
        "name": "Alerts that changed",
        "datasource": INFLUX,
        "enable": True,
        "hide": False,
        "iconColor": "orange",
        "target": {
            "refId": "Anno",
            "query": f'SELECT "cause_text", "what_text" FROM "{ALERT}" WHERE "changed" = 1 AND {THERE}',
            "rawQuery": True,
            "textColumn": "cause_text",
            "titleColumn": "what_text",
            "fromAnnotations": True,
        },
    }


def _now() -> list[Json]:
    colours = f'SELECT last("colour") AS "colour" FROM "{FINDING}" WHERE {THERE} {BY_KEY}'
    opened = f'SELECT last("open") AS "open" FROM "{ALERT}" WHERE {THERE} {BY_KEY}'
    asked = f'"row" = 0 AND {HERE}'
    return [
        stat(
            "Levels",
            "The worst colour of the newest findings on each level. Grey: nobody could judge, which is not green.",
            influx(f'SELECT max("colour") FROM ({colours}) GROUP BY "level"', alias="$tag_level"),
            size=(8, 4),
            mappings=[COLOURS],
            options={"colorMode": "background", "graphMode": "none"},
            thresholds=steps((None, "text"), (1, "green"), (2, "orange"), (3, "red")),
        ),
        stat(
            "Open alerts",
            "Alerts that the monitor holds open, acknowledged ones included.",
            influx(f'SELECT sum("open") FROM ({opened})'),
            thresholds=steps((None, "green"), (1, "orange")),
            noValue="0",
            options={"graphMode": "none"},
        ),
        stat(
            "Samples collected",
            "Rows that were scored and recorded in the time range. A sampled record holds its share only.",
            influx(f'SELECT count("row") FROM "{PREDICTION}" WHERE {HERE}'),
            unit="short",
        ),
        stat(
            "Latency p99",
            "99 % of the requests that were scored took no longer, from the first byte seen to the answer.",
            influx(f'SELECT percentile("latency_s", 99) FROM "{PREDICTION}" WHERE {asked}'),
            unit="s",
        ),
        stat(
            "Odd rows",
            "Share of the rows that are unlike the training data: out of range, unseen, or far from all of it.",
            influx(f'SELECT mean("anomalous") FROM "{PREDICTION}" WHERE {HERE}'),
            unit="percentunit",
        ),
    ]


def _alerts() -> list[Json]:
    finding = f'FROM "{FINDING}" WHERE {THERE}'
    drift = f'FROM "{FINDING}" WHERE "level" = \'drift\' AND {THERE}'
    accuracy = f'FROM "{FINDING}" WHERE "level" = \'accuracy\' AND {THERE}'
    said = 'last("colour_text") AS "colour", last("cause_text") AS "cause"'
    alert = f'SELECT last("state_text") AS "state", {said}, last("opened_text") AS "opened", last("open") AS "open"'
    by_rule = f'{BY_TIME}, "predictor", "rule" fill(none)'
    return [
        row("Alerts, drift and accuracy"),
        panel(
            "state-timeline",
            "Levels over time",
            "The worst finding of each look, by level: red, orange, green, or grey where nothing could be judged.",
            influx(f'SELECT max("colour") {finding} {BY_TIME}, "level" fill(none)', alias="$tag_level"),
            mappings=[COLOURS],
            size=(24, 6),
            thresholds=steps((None, "text"), (1, "green"), (2, "orange"), (3, "red")),
            color={"mode": "thresholds"},
        ),
        panel(
            "table",
            "Alerts",
            "Alerts as they stand: each opened by findings that lasted. `hydraulic alerts` acknowledges, mutes.",
            influx(f'{alert} FROM "{ALERT}" WHERE {THERE} {BY_KEY}', table=True),
            size=(24, 7),
        ),
        panel(
            "table",
            "Why: the newest findings",
            "What each check said in its last look, with the features it is about, the most changed first.",
            influx(f'SELECT {said}, last("features_text") AS "features" {finding} {BY_KEY}', table=True),
            size=(24, 9),
        ),
        panel(
            "timeseries",
            "Drift: deviation, as a share of what is red",
            "How far inputs and predictions are from training, by test. From 1 on the false-alarm budget calls it red.",
            influx(
                f'SELECT last("n_deviation") / last("n_threshold") {drift} {by_rule}', alias="$tag_predictor $tag_rule"
            ),
            thresholds=steps((None, "transparent"), (1, "red")),
            custom={"thresholdsStyle": {"mode": "line"}},
        ),
        panel(
            "timeseries",
            "Drift: p-value",
            "How likely such a deviation is where nothing changed; already corrected for several tests.",
            influx(f'SELECT last("n_p_value") {drift} {by_rule}', alias="$tag_predictor $tag_rule"),
            custom={"scaleDistribution": {"type": "log", "log": 10}},
        ),
        panel(
            "timeseries",
            "Accuracy, with its confidence interval",
            "Measured on the true values that arrived. The estimate without true values is named as one.",
            influx(
                f'SELECT last("n_low") AS "low", last("n_high") AS "high" {accuracy} {by_rule}',
                alias="$tag_predictor $tag_rule $col",
            ),
            size=(24, 7),
        ),
    ]


def _inputs() -> list[Json]:
    cells = f'SELECT {COLUMN_FIELD} AS "${{column:raw}}" FROM "{PREDICTION}" WHERE {HERE}'
    types = 'last("type_text") AS "type", last("unit_text") AS "unit", last("position") AS "position"'
    both = f'SELECT "in_${{against:raw}}" AS "${{against:raw}}", {COLUMN_FIELD} AS "${{column:raw}}"'
    return [
        row("Inputs"),
        panel(
            "table",
            "Column types",
            "The columns of the model's input in their order, with type and unit.",
            influx(
                f'SELECT {types} FROM "{COLUMN}" WHERE {WHOSE} GROUP BY "deployment", "version", "column"', table=True
            ),
            size=(8, 18),
        ),
        panel(
            "timeseries",
            "$column over time",
            "Each recorded row is a point, in the colour of what was predicted; the newest 5000 of each class.",
            influx(f'{cells} GROUP BY "class" {NEWEST}', alias="$tag_class"),
            size=(16, 9),
            custom=POINTS,
        ),
        panel(
            "histogram",
            "$column: how often",
            "How the values of the newest rows are spread, by what was predicted.",
            influx(f'{cells} GROUP BY "class" {NEWEST}', alias="$tag_class"),
            size=(8, 9),
        ),
        panel(
            "xychart",
            "$column against $against",
            "Two columns of the same rows: where they moved together and no longer do, a correlation broke.",
            influx(f'{both} FROM "{PREDICTION}" WHERE {HERE} {NEWEST}', table=True),
            size=(8, 9),
        ),
        panel(
            "heatmap",
            "$column: how often, over time",
            "Darker: more rows with such a value at that time.",
            influx(f"{cells} {NEWEST}"),
            size=(24, 8),
        ),
    ]


def _answers() -> list[Json]:
    scored = f'FROM "{PREDICTION}" WHERE {HERE}'
    asked = f'FROM "{PREDICTION}" WHERE "row" = 0 AND {HERE}'
    quantiles = ", ".join(f'percentile("latency_s", {q}) AS "{name}"' for q, name in QUANTILES)
    return [
        row("Answers"),
        panel(
            "timeseries",
            "Predictions by class",
            "How many rows got which answer. A regression has no classes: see the predicted value.",
            influx(f'SELECT count("row") {scored} {BY_TIME}, "class" fill(0)', alias="$tag_class"),
            custom=BARS,
        ),
        panel(
            "timeseries",
            "Predicted value, and mean probability of each class",
            "The mean prediction of numeric labels, and how sure the model was of each class on average.",
            influx(f'SELECT mean("label") AS "predicted" {scored} {BY_TIME} fill(none)', alias="$col"),
            influx(f"SELECT mean(/^p_/) {scored} {BY_TIME} fill(none)", alias="$col"),
        ),
        panel(
            "timeseries",
            "Samples collected over time",
            "Rows scored and recorded, by predictor and version; while a canary runs there are two.",
            influx(
                f'SELECT count("row") {scored} {BY_TIME}, "predictor", "version" fill(0)',
                alias="$tag_predictor, version $tag_version",
            ),
            custom=BARS,
        ),
        panel(
            "timeseries",
            "Scoring latency",
            "Of requests that were scored, from the first byte seen to the answer: half, 95 % and 99 % were as quick.",
            influx(f"SELECT {quantiles} {asked} {BY_TIME} fill(none)", alias="$col"),
            unit="s",
        ),
        panel(
            "heatmap",
            "Scoring latency: how often",
            "Darker: more requests took that long; the newest 5000.",
            influx(f'SELECT "latency_s" {asked} {NEWEST}'),
            unit="s",
        ),
        panel(
            "timeseries",
            "Odd rows over time",
            "Share of the rows that are unlike the training data.",
            influx(f'SELECT mean("anomalous") {scored} {BY_TIME}, "predictor" fill(none)', alias="$tag_predictor"),
            unit="percentunit",
            min=0,
        ),
        panel(
            "timeseries",
            "Refused and failed requests",
            "Recorded requests with a status of 400 or more: the caller's mistakes and ours.",
            influx(f'SELECT count("status") FROM "{PREDICTION}" WHERE "status" >= 400 AND {HERE} {BY_TIME} fill(0)'),
            custom=BARS,
            size=(24, 6),
        ),
    ]


def _aggregates() -> list[Json]:
    minutes = f'FROM "{MINUTE}" WHERE {HERE}'
    column = 'mean("mean_${column:raw}") AS "mean", mean("sd_${column:raw}") AS "standard deviation"'
    return [
        row("Where no rows are kept (HYDRAULIC_RECORD=aggregates)", collapsed=True),
        panel(
            "timeseries",
            "Minutes: answers, failures, rows, odd rows",
            "Counted in the scorer; no row leaves it.",
            influx(
                'SELECT sum("answers") AS "answers", sum("failures") AS "failures", sum("rows") AS "rows", '
                f'sum("anomalous") AS "odd rows" {minutes} {BY_TIME} fill(none)',
                alias="$col",
            ),
        ),
        panel(
            "timeseries",
            "Minutes: $column",
            "Mean and standard deviation of the column, told only of 20 rows or more.",
            influx(f"SELECT {column} {minutes} {BY_TIME} fill(none)", alias="$col"),
        ),
        panel(
            "timeseries",
            "Minutes: missing cells of $column",
            "Cells that the caller left empty.",
            influx(f'SELECT sum("missing_${{column:raw}}") {minutes} {BY_TIME} fill(none)', alias="missing"),
        ),
        panel(
            "timeseries",
            "Minutes: predictions by class",
            "How many rows got which answer.",
            influx(f"SELECT sum(/^label_/) {minutes} {BY_TIME} fill(none)", alias="$col"),
            custom=BARS,
        ),
    ]
