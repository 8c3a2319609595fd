"""How a deployment served over time, as charts, and its error budgets; from the counts in the evidence database."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from mlflow_hydraulic.monitor.findings import Subject
from mlflow_hydraulic.monitor.series.chart import BUCKETS, Chart, Series, Table, numbers, times
from mlflow_hydraulic.monitor.series.sample import middles, positions
from mlflow_hydraulic.monitor.series.span import Span
from mlflow_hydraulic.monitor.served import History, Served, Slice, added, length
from mlflow_hydraulic.monitor.service_history import FINE_S
from mlflow_hydraulic.monitor.sla import Budget, Sla, budgets, sla_of

MISSING = (
    "Nobody counted requests of this deployment in this time range. The monitor does it at every look: see that "
    '"hydraulic monitor" runs, or choose a longer range.'
)
Pick = Callable[[dict[str, float | None], Served], float | None]


def service_charts(history: History, span: Span) -> list[Chart]:
    """Requests, errors, latency, up, CPU, memory and restarts of the whole deployment, without its shadow."""
    edges = span.edges(2 * BUCKETS, FINE_S)
    served = in_buckets(history.slices.get("", ()), span)
    told = [one.to_json() for one in served]
    x = times(middles(edges))

    def line(name: str, pick: Pick, kind: str = "line") -> Series:
        values = [math.nan if (v := pick(*pair)) is None else v for pair in zip(told, served, strict=True)]
        return Series(name=name, kind="bars" if kind == "bars" else "line", y=numbers(values))

    def chart(name: str, title: str, unit: str, says: str, *lines: Series) -> Chart:
        known = any(value is not None for one in lines for value in one.y)
        if not known:
            return Chart(name=name, title=title, missing=MISSING)
        return Chart(name=name, title=title, x=x, y_title=unit, unit=unit, says=says, series=list(lines))

    def field(name: str, scale: float = 1.0) -> Pick:
        return lambda said, _: None if (value := said[name]) is None else value * scale

    whole = Served.of(added(((one.slice, 1.0) for one in served), span.since, span.length))
    asked = f"{whole.level.requests:,} requests, {whole.level.errors:,} of them failed"
    return [
        chart("requests", "Requests", "requests/s", asked, line("requests/s", field("requests_per_s"))),
        chart(
            "errors",
            "Errors",
            "%",
            f"Share of the requests that failed on our side (5xx): {asked}.",
            line("errors", field("error_rate", 100.0), "bars"),
        ),
        chart(
            "latency",
            "Latency",
            "ms",
            "Half, 95 % and 99 % of the answers were quicker than this.",
            *(line(name, field(f"{name}_s", 1e3)) for name in ("p50", "p95", "p99")),
        ),
        chart("up", "Up", "%", "Share of the time in which it answered.", line("up", field("up", 100.0))),
        chart("cpu", "CPU", "cores", "Of all its processes together.", line("CPU", field("cpu_cores"))),
        chart("memory", "Memory", "MB", "The most that was seen.", line("memory", field("memory_bytes", 1e-6))),
        chart("restarts", "Restarts", "", "Of its processes.", line("restarts", field("restarts"), "bars")),
    ]


def in_buckets(slices: Sequence[Slice], span: Span) -> list[Served]:
    """What the slices come to in each stretch of `span`; one that lies in several counts in each by its share."""
    edges = span.edges(2 * BUCKETS, FINE_S)
    parts: list[list[tuple[Slice, float]]] = [[] for _ in edges[1:]]
    for one in slices:
        if one.start + one.length <= span.since or one.start >= span.until:
            continue
        first, last = positions(np.array([one.start, one.start + one.length - 1e-6]), edges)
        for number in range(first, last + 1):
            parts[number].append((one, one.share(edges[number], edges[number + 1])))
    ends = zip(parts, edges[:-1], edges[1:], strict=True)
    return [Served.of(added(part, begin, end - begin)) for part, begin, end in ends]


def predictors_table(history: History, span: Span) -> Table:
    """Each predictor's replicas as last seen, and how it served in the range: of the last day at most."""
    if not history.replicas:
        return Table(name="predictors", title="Predictors", missing=MISSING)
    rows = []
    for name, (ready, wanted) in sorted(history.replicas.items()):
        said = history.served(span.since, span.until, name).to_json()
        rows.append(
            [
                name,
                f"{ready} of {wanted}",
                _shown(said["requests"], "{:,.0f}"),
                _shown(said["error_rate"], "{:.2%}"),
                _shown(said["p99_s"], "{:,.3g} ms", 1e3),
                _shown(said["cpu_cores"], "{:.3g} cores"),
                _shown(said["memory_bytes"], "{:,.0f} MB", 1e-6),
                _shown(said["restarts"], "{:,.0f}"),
            ]
        )
    headings = ["predictor", "replicas", "requests", "errors", "p99", "CPU", "memory", "restarts"]
    return Table(name="predictors", title="Predictors", headings=headings, rows=rows, says="Of the last day at most.")


def budget_table(history: History, slas: Sequence[Sla], subject: Subject, now: float) -> Table:
    """What was promised, and what is left of it."""
    sla = sla_of(slas, subject)
    title = "Service level and error budget"
    made = budgets(history, sla, now)
    if not made:
        missing = (
            "Nothing was promised for this deployment: write [[monitor.sla]] with availability or p99_ms into "
            "hydraulic.toml, and its error budget is shown here."
        )
        return Table(name="sla", title=title, missing=missing)
    headings = ["promise", "window", "bad of asked", "budget left", "burns fastest", "level"]
    return Table(name="sla", title=title, headings=headings, rows=[_budget(one, sla) for one in made])


def _budget(one: Budget, sla: Sla) -> list[str]:
    promise = (
        f"{sla.availability:.4%} without errors"
        if one.promise == "errors" and sla.availability
        else f"99% within {sla.p99_ms:g} ms"
    )
    worst = one.worst
    burns = f"{worst.long:.3g}x over {length(worst.alarm.long_s)}" if worst.long is not None else "nothing was asked"
    left = "unknown" if one.left is None else f"{one.left:.1%}"
    return [promise, length(one.window_s), f"{one.bad:,} of {one.requests:,}", left, burns, one.colour]


def _shown(value: float | None, form: str, scale: float = 1.0) -> str:
    return "unknown" if value is None else form.format(value * scale)
