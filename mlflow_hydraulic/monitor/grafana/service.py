"""The dashboard "Service": how deployments and our own processes run, from Prometheus. Pure.

Metrics: `deploy_targets.local.counts` (routers), `scoring.metrics` (scorers, pods among them), `exposition.of_process`.
"""

from __future__ import annotations

from collections.abc import Sequence

from mlflow_hydraulic.monitor.grafana.panels import (
    PROMETHEUS,
    Json,
    chosen,
    dashboard,
    panel,
    prometheus,
    row,
    stat,
    steps,
)

UID = "hydraulic-service"
PLACE = 'namespace=~"$namespace", deployment=~"$deployment"'
HERE = f'{PLACE}, predictor=~"$predictor"'
RATE = "[$__rate_interval]"
ASKED = f"hydraulic_router_requests_total{{{HERE}}}"
FAILED = f'hydraulic_router_requests_total{{{HERE}, code=~"5.."}}'
WHO = "{{deployment}} {{predictor}}"
PROCESS = "{{deployment}} {{predictor}} {{replica}} {{instance}}"
QUANTILES = (0.5, 0.95, 0.99)
NOT_LESS: Json = {"min": 0}


def service_dashboard(links: Sequence[Json] = ()) -> Json:
    """The whole dashboard."""
    panels = [*_now(), *_requests(), *_scorers(), *_processes(), *_alerts()]
    text = "Requests, latency, errors, error budget, replicas, restarts, CPU and memory, from Prometheus."
    return dashboard(UID, "Hydraulic: service", text, panels, _variables(), links=links, since="now-1h")


def _variables() -> list[Json]:
    def labels(selector: str, label: str, name: str) -> Json:
        return {"query": f"label_values({selector}, {label})", "refId": f"variable-{name}"}

    scorers = "hydraulic_model_info"
    objectives = ("0.99", "0.995", "0.999", "0.9995")
    return [
        chosen("namespace", "Namespace", labels(scorers, "namespace", "namespace"), PROMETHEUS),
        chosen(
            "deployment",
            "Deployment",
            labels(f'{scorers}{{namespace=~"$namespace"}}', "deployment", "deployment"),
            PROMETHEUS,
        ),
        chosen("predictor", "Predictor", labels(f"{scorers}{{{PLACE}}}", "predictor", "predictor"), PROMETHEUS),
        {
            "type": "custom",
            "name": "objective",
            "label": "Promised availability",
            "query": ", ".join(objectives),
            "current": {"text": "0.999", "value": "0.999"},
            "options": [{"text": one, "value": one, "selected": one == "0.999"} for one in objectives],
            "multi": False,
            "includeAll": False,
        },
    ]


def _now() -> list[Json]:
    ready = f"sum by (deployment) (hydraulic_router_replicas_ready{{{HERE}}})"
    share = f"sum(rate({FAILED}{RATE})) / sum(rate({ASKED}{RATE}))"
    spent = f"sum(increase({FAILED}[$__range])) / sum(increase({ASKED}[$__range]))"
    p99 = f"histogram_quantile(0.99, sum by (le) (rate(hydraulic_router_request_seconds_bucket{{{HERE}}}{RATE})))"
    return [
        stat(
            "Up",
            "Deployments with a scorer that answers. Red: none of its scorers is ready.",
            prometheus(f"min({ready} > bool 0)"),
            mappings=[
                {
                    "type": "value",
                    "options": {"0": {"text": "down", "index": 0}, "1": {"text": "up", "index": 1}},
                }
            ],
            thresholds=steps((None, "red"), (1, "green")),
            options={"colorMode": "background", "graphMode": "none"},
        ),
        stat("Requests", "Requests a second at the routers.", prometheus(f"sum(rate({ASKED}{RATE}))"), unit="reqps"),
        stat(
            "Errors",
            "Share of the requests that were answered with a status of 500 or more.",
            prometheus(share),
            unit="percentunit",
            thresholds=steps((None, "green"), (0.001, "orange"), (0.01, "red")),
        ),
        stat("Latency p99", "99 % of the requests took no longer.", prometheus(p99), unit="s"),
        stat(
            "Error budget left",
            "Of the errors that the promised availability allows in the time range; below 0 the promise is broken.",
            prometheus(f"1 - ({spent}) / (1 - $objective)"),
            unit="percentunit",
            thresholds=steps((None, "red"), (0, "orange"), (0.25, "green")),
        ),
        stat(
            "Restarts",
            "Scorers that ended by themselves and were started again, in the time range.",
            prometheus(f"sum(increase(hydraulic_router_restarts_total{{{HERE}}}[$__range]))"),
            thresholds=steps((None, "green"), (0.5, "orange")),
            decimals=0,
        ),
    ]


def _requests() -> list[Json]:
    seconds = f"hydraulic_router_request_seconds_bucket{{{HERE}}}"
    quantiles = [
        prometheus(
            f"histogram_quantile({q}, sum by (le, deployment, predictor) (rate({seconds}{RATE})))",
            f"p{q * 100:g} {WHO}",
        )
        for q in QUANTILES
    ]
    by = "by (deployment, predictor)"
    return [
        row("Deployments, as their routers see them"),
        panel(
            "timeseries",
            "Requests a second",
            "By predictor; a canary's share shows here.",
            prometheus(f"sum {by} (rate({ASKED}{RATE}))", WHO),
            unit="reqps",
            **NOT_LESS,
        ),
        panel(
            "timeseries",
            "Latency: p50, p95, p99",
            "From the whole request to the whole answer, waits included.",
            *quantiles,
            unit="s",
            **NOT_LESS,
        ),
        panel(
            "timeseries",
            "Error rate",
            "Share of the requests that were answered with a status of 500 or more, by predictor.",
            prometheus(f"sum {by} (rate({FAILED}{RATE})) / sum {by} (rate({ASKED}{RATE}))", WHO),
            unit="percentunit",
            **NOT_LESS,
        ),
        panel(
            "timeseries",
            "Error budget burn rate",
            "1 spends the budget exactly by the end of the promise's window; 14.4 over an hour and over five minutes "
            "is a page in Google's SRE workbook.",
            prometheus(f"(sum(rate({FAILED}[1h])) / sum(rate({ASKED}[1h]))) / (1 - $objective)", "1 h"),
            prometheus(f"(sum(rate({FAILED}[5m])) / sum(rate({ASKED}[5m]))) / (1 - $objective)", "5 min"),
            thresholds=steps((None, "transparent"), (14.4, "red")),
            custom={"thresholdsStyle": {"mode": "line"}},
            **NOT_LESS,
        ),
        panel(
            "timeseries",
            "Replicas: ready and wanted",
            "Scorers that answer, and that should.",
            prometheus(f"hydraulic_router_replicas_ready{{{HERE}}}", f"ready {WHO}"),
            prometheus(f"hydraulic_router_replicas_wanted{{{HERE}}}", f"wanted {WHO}"),
            **NOT_LESS,
        ),
        panel(
            "timeseries",
            "Restarts, and copies for the shadow",
            "Scorers that ended by themselves, requests that were asked again, copies that the shadow did not get.",
            prometheus(f"increase(hydraulic_router_restarts_total{{{HERE}}}{RATE})", f"restarts {WHO}"),
            prometheus(f"increase(hydraulic_router_retries_total{{{PLACE}}}{RATE})", "asked again {{deployment}}"),
            prometheus(
                f'increase(hydraulic_router_shadow_total{{{PLACE}, outcome!="sent"}}{RATE})',
                "shadow {{outcome}} {{deployment}}",
            ),
            **NOT_LESS,
        ),
    ]


def _scorers() -> list[Json]:
    quantile = f"sum by (le) (rate(http_request_duration_seconds_bucket{{{HERE}}}{RATE}))"
    return [
        row("Scorers, pods among them, as they count themselves"),
        panel(
            "timeseries",
            "Requests a second, by status",
            "What scorers answered, on every path.",
            prometheus(f"sum by (status) (rate(http_requests_total{{{HERE}}}{RATE}))", "{{status}}"),
            unit="reqps",
            **NOT_LESS,
        ),
        panel(
            "timeseries",
            "Latency in the scorer",
            "From the first byte seen to the answer's last; without the router and the network.",
            *(prometheus(f"histogram_quantile({q}, {quantile})", f"p{q * 100:g}") for q in QUANTILES),
            unit="s",
            **NOT_LESS,
        ),
        panel(
            "timeseries",
            "Rows scored, and rows unlike the training data",
            "Rows a second, by predictor.",
            prometheus(f"sum by (deployment, predictor) (rate(hydraulic_rows_total{{{HERE}}}{RATE}))", f"rows {WHO}"),
            prometheus(
                f"sum by (deployment, predictor) (rate(hydraulic_anomalous_rows_total{{{HERE}}}{RATE}))", f"odd {WHO}"
            ),
            **NOT_LESS,
        ),
        panel(
            "timeseries",
            "Failures of the model, and answers that could not be recorded",
            "Both are 0 when all is well.",
            prometheus(f"sum(rate(hydraulic_model_failures_total{{{HERE}}}{RATE}))", "model failed"),
            prometheus(f"sum(rate(hydraulic_record_dropped_total{{{HERE}}}{RATE}))", "not recorded"),
            **NOT_LESS,
        ),
        panel(
            "table",
            "Models that serve",
            "Name, version, digest and engine, as each scorer tells them.",
            prometheus(f"hydraulic_model_info{{{HERE}}}", now=True),
            size=(24, 6),
        ),
    ]


def _processes() -> list[Json]:
    return [
        row("Processes"),
        panel(
            "timeseries",
            "CPU",
            "Processors that each process keeps busy.",
            prometheus(f"rate(process_cpu_seconds_total{{{PLACE}}}{RATE})", PROCESS),
            **NOT_LESS,
        ),
        panel(
            "timeseries",
            "Memory",
            "Resident memory of each process.",
            prometheus(f"process_resident_memory_bytes{{{PLACE}}}", PROCESS),
            unit="bytes",
            **NOT_LESS,
        ),
        panel(
            "table",
            "Started",
            "When each process started, and which release it is.",
            prometheus(f"process_start_time_seconds{{{PLACE}}} * 1000", now=True),
            size=(12, 7),
            unit="dateTimeAsIso",
        ),
        panel(
            "table",
            "Scraped",
            "Every process that Prometheus asks: 1 where it answered.",
            prometheus('up{job=~"hydraulic.*"}', now=True),
            size=(12, 7),
        ),
    ]


def _alerts() -> list[Json]:
    return [
        row("Alerts"),
        panel(
            "table",
            "Alerts of Prometheus' rules",
            "Pending and firing now; empty is good. Alerts on drift and accuracy are on the dashboard Deployment.",
            prometheus('ALERTS{alertname=~"Hydraulic.*"}', now=True),
            noValue="none",
        ),
        panel(
            "timeseries",
            "Findings of the monitor's last look",
            "How many of them are red, orange, green and grey, where `hydraulic monitor --health-port` is scraped.",
            *(
                prometheus(f"sum(hydraulic_monitor_findings_{colour})", colour)
                for colour in ("red", "orange", "green", "grey")
            ),
            **NOT_LESS,
        ),
    ]
