"""Series of a deployment: how it serves, drift, accuracy, odd rows, its inputs and outputs, two predictors compared.

Every answer is bounded: charts over time have at most 120 stretches, clouds 2000 points. Ranges with up to 20 000
predictions are read whole; of others some 4000 predictions are, evenly spread over the time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Literal

from msgspec import Meta, Struct

from mlflow_hydraulic.monitor.series.chart import Panel
from mlflow_hydraulic.monitor.series.span import Span, read_span
from mlflow_hydraulic.people.rights import Right
from mlflow_hydraulic.web.ask import Ask
from mlflow_hydraulic.web.monitoring import panels
from mlflow_hydraulic.web.monitoring.monitored import Monitored, monitored
from mlflow_hydraulic.web.monitoring.panels import View
from mlflow_hydraulic.web.monitoring.scene import scene
from mlflow_hydraulic.web.route import route

AREA = "monitoring"
PATH = "/deployments/{environment}/{deployment}/monitoring"
Moment = Annotated[str, Meta(max_length=40, description="ISO 8601, in UTC where it names no zone")]
Name = Annotated[str, Meta(max_length=400)]


class Range(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A time range: the `last` hour, day, week or month before `until` (now), or since a time. predictor: its id."""

    last: Literal["1h", "1d", "7d", "30d"] = "1d"
    since: Moment = ""
    until: Moment = ""
    predictor: Name = ""

    def span(self, ask: Ask) -> Span:
        return read_span(self.last, self.since, self.until, ask.now.timestamp())


class OfColumn(Range, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """name: of an input, of the target, or "probability of LABEL"; "" is the first input."""

    name: Name = ""


class WithOther(Range, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """other: the id of the second predictor; "" is the challenger, else whoever answered last."""

    other: Name = ""


@contextmanager
def viewed(ask: Ask, environment: str, deployment: str, query: Range) -> Iterator[View]:
    span = query.span(ask)
    with scene(ask, environment, deployment) as found:
        chosen = found.choose(query.predictor) if found.answered else None
        yield View(scene=found, span=span, now=ask.now, chosen=chosen)


@route("GET", PATH, right=Right.VIEW, area=AREA)
def monitoring(ask: Ask, environment: str, deployment: str, query: Range) -> Monitored:
    """A deployment's levels, and whose rows can be looked at."""
    with scene(ask, environment, deployment) as found:
        return monitored(ask, found, query.span(ask))


@route("GET", f"{PATH}/service", right=Right.VIEW, area=AREA)
def monitoring_service(ask: Ask, environment: str, deployment: str, query: Range) -> Panel:
    """Requests, errors, latency, up, CPU, memory and restarts over time; the error budget."""
    with viewed(ask, environment, deployment, query) as view:
        return panels.service(view)


@route("GET", f"{PATH}/drift", right=Right.VIEW, area=AREA)
def monitoring_drift(ask: Ask, environment: str, deployment: str, query: Range) -> Panel:
    """Every input over time against training, the worst first; findings; rows collected; the false-alarm budget."""
    with viewed(ask, environment, deployment, query) as view:
        return panels.drift(view)


@route("GET", f"{PATH}/accuracy", right=Right.VIEW, area=AREA)
def monitoring_accuracy(ask: Ask, environment: str, deployment: str, query: Range) -> Panel:
    """Measures over time with intervals, the estimate, the confusion, and how far true values reach."""
    with viewed(ask, environment, deployment, query) as view:
        return panels.accuracy(view)


@route("GET", f"{PATH}/anomalies", right=Right.VIEW, area=AREA)
def monitoring_anomalies(ask: Ask, environment: str, deployment: str, query: Range) -> Panel:
    """Rows unlike the training data over time, and the last of them."""
    with viewed(ask, environment, deployment, query) as view:
        return panels.anomalies(view)


@route("GET", f"{PATH}/column", right=Right.VIEW, area=AREA)
def monitoring_column(ask: Ask, environment: str, deployment: str, query: OfColumn) -> Panel:
    """One input or output: its values over time, its histogram and its heatmap, each against training."""
    with viewed(ask, environment, deployment, query) as view:
        return panels.column(view, query.name)


@route("GET", f"{PATH}/comparison", right=Right.VIEW, area=AREA)
def monitoring_comparison(ask: Ask, environment: str, deployment: str, query: WithOther) -> Panel:
    """Champion and challenger, or any two, on the requests that both answered."""
    with viewed(ask, environment, deployment, query) as view:
        return panels.comparison(view, query.other)
