"""The dashboard "Service": how deployments and our own processes run, from Prometheus. Pure.

Most of it is drawn by the recording rules of `hydraulic monitor prometheus`, which are the same on one machine, where
routers count, and in a cluster, where pods do; the rest by what scorers, routers and loops tell themselves.
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
REQUESTS = "predictor:hydraulic_requests:rate5m"
ERRORS = "predictor:hydraulic_errors:rate5m"
DURATION = "predictor:hydraulic_request_duration_seconds"
RATIO = "deployment:hydraulic_error_ratio"
JOBS = "(.*[-/])?hydraulic-.*"  # as in the rules: job_name, or a PodMonitor's "namespace/name"
WHO = "{{deployment}} {{predictor}}"
QUANTILES = ("p50", "p95", "p99")
FAST, FAST_WINDOWS = 14.4, ("1h", "5m")  # a page, in Google's workbook
FROM_0: Json = {"min": 0}


def service_dashboard(links: Sequence[Json] = ()) -> Json:
    """The whole dashboard."""
    panels = [*_now(), *_requests(), *_scorers(), *_alerts()]
    text = "Requests, latency, errors, error budget, replicas, restarts, CPU and memory, from Prometheus."
    return dashboard(UID, "Hydraulic: service", text, panels, _variables(), links=links, since="now-1h")


def _variables() -> list[Json]:
    def labels(label: str, where: str = "") -> Json:
        selector = f"predictor:hydraulic_up:bool{{{where}}}" if where else "predictor:hydraulic_up:bool"
        return {"query": f"label_values({selector}, {label})", "refId": f"variable-{label}"}

    objectives = ("0.99", "0.995", "0.999", "0.9995")
    return [
        chosen("namespace", "Namespace", labels("namespace"), PROMETHEUS),
        chosen("deployment", "Deployment", labels("deployment", 'namespace=~"$namespace"'), PROMETHEUS),
        chosen("predictor", "Predictor", labels("predictor", PLACE), PROMETHEUS),
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
    def total(metric: str) -> str:
        return f"sum(sum_over_time({metric}{{{HERE}}}[$__range]))"

    return [
        stat(
            "Up",
            "Whether every predictor of the chosen deployments has a replica that answers.",
            prometheus(f"min(predictor:hydraulic_up:bool{{{HERE}}})"),
            mappings=[
                {"type": "value", "options": {"0": {"text": "down", "index": 0}, "1": {"text": "up", "index": 1}}}
            ],
            thresholds=steps((None, "red"), (1, "green")),
            options={"colorMode": "background", "graphMode": "none"},
        ),
        stat("Requests", "Scoring requests a second.", prometheus(f"sum({REQUESTS}{{{HERE}}})"), unit="reqps"),
        stat(
            "Errors",
            "Share of the requests that were answered with a status of 500 or more, over five minutes.",
            prometheus(f"sum({ERRORS}{{{HERE}}}) / (sum({REQUESTS}{{{HERE}}}) > 0)"),
            unit="percentunit",
            thresholds=steps((None, "green"), (0.001, "orange"), (0.01, "red")),
        ),
        stat(
            "Latency p99",
            "99 % of the requests took no longer; of several predictors the slowest one's.",
            prometheus(f"max({DURATION}:p99_5m{{{HERE}}})"),
            unit="s",
        ),
        stat(
            "Error budget left",
            "Of the errors that the promised availability allows in the time range; below 0 the promise is broken.",
            prometheus(f"1 - ({total(ERRORS)} / ({total(REQUESTS)} > 0)) / (1 - $objective)"),
            unit="percentunit",
            thresholds=steps((None, "red"), (0, "orange"), (0.25, "green")),
        ),
        stat(
            "Restarts",
            "Scorers that ended by themselves and were started again, in the last hour.",
            prometheus(f"sum(predictor:hydraulic_restarts:increase1h{{{HERE}}})"),
            thresholds=steps((None, "green"), (0.5, "orange"), (4, "red")),
            decimals=0,
        ),
    ]


def _requests() -> list[Json]:
    burns = [
        prometheus(f"{RATIO}:rate{one}{{{PLACE}}} / (1 - $objective)", f"{one} {{{{deployment}}}}")
        for one in FAST_WINDOWS
    ]
    return [
        row("Deployments"),
        panel(
            "timeseries",
            "Requests a second",
            "By predictor; a canary's share shows here.",
            prometheus(f"{REQUESTS}{{{HERE}}}", WHO),
            unit="reqps",
            **FROM_0,
        ),
        panel(
            "timeseries",
            "Latency: p50, p95, p99",
            "On one machine as the router's callers see it, waits included; in a cluster as the pods do.",
            *(prometheus(f"{DURATION}:{one}_5m{{{HERE}}}", f"{one} {WHO}") for one in QUANTILES),
            unit="s",
            **FROM_0,
        ),
        panel(
            "timeseries",
            "Error rate",
            "Share of the requests that were answered with a status of 500 or more, by predictor.",
            prometheus(f"predictor:hydraulic_error_ratio:rate5m{{{HERE}}}", WHO),
            unit="percentunit",
            **FROM_0,
        ),
        panel(
            "timeseries",
            "Error budget: burn rate",
            "1 spends a budget of 30 days in 30 days. 14.4 over both an hour and five minutes wants a person at once.",
            *burns,
            thresholds=steps((None, "transparent"), (FAST, "red")),
            custom={"thresholdsStyle": {"mode": "line"}},
            **FROM_0,
        ),
        panel(
            "timeseries",
            "CPU",
            "Processors that a predictor's processes keep busy.",
            prometheus(f"predictor:hydraulic_cpu_cores:rate5m{{{HERE}}}", WHO),
            **FROM_0,
        ),
        panel(
            "timeseries",
            "Memory",
            "Resident memory of a predictor's processes.",
            prometheus(f"predictor:hydraulic_memory_bytes:sum{{{HERE}}}", WHO),
            unit="bytes",
            **FROM_0,
        ),
        panel(
            "timeseries",
            "Up, and restarts in the last hour",
            "Up is 1 where a replica answers.",
            prometheus(f"predictor:hydraulic_up:bool{{{HERE}}}", f"up {WHO}"),
            prometheus(f"predictor:hydraulic_restarts:increase1h{{{HERE}}}", f"restarts {WHO}"),
            **FROM_0,
        ),
        panel(
            "timeseries",
            "On one machine: replicas, requests asked again, the shadow's lost copies",
            "What the router of a local deployment tells; in a cluster this is Kubernetes' and the gateway's.",
            prometheus(f"hydraulic_router_replicas_ready{{{HERE}}}", f"ready {WHO}"),
            prometheus(f"hydraulic_router_replicas_wanted{{{HERE}}}", f"wanted {WHO}"),
            prometheus(f"increase(hydraulic_router_retries_total{{{PLACE}}}{RATE})", "asked again {{deployment}}"),
            prometheus(
                f'increase(hydraulic_router_shadow_total{{{PLACE}, outcome!="sent"}}{RATE})',
                "shadow {{outcome}} {{deployment}}",
            ),
            **FROM_0,
        ),
    ]


def _scorers() -> list[Json]:
    def rate(metric: str, by: str = "deployment, predictor") -> str:
        return f"sum by ({by}) (rate({metric}{{{HERE}}}{RATE}))"

    return [
        row("Scorers"),
        panel(
            "timeseries",
            "Answers a second, by status",
            "What scorers answered, on every path, health checks included.",
            prometheus(rate("http_requests_total", "status"), "{{status}}"),
            unit="reqps",
            **FROM_0,
        ),
        panel(
            "timeseries",
            "Rows scored, and rows unlike the training data",
            "Rows a second.",
            prometheus(f"predictor:hydraulic_rows:rate5m{{{HERE}}}", f"rows {WHO}"),
            prometheus(rate("hydraulic_anomalous_rows_total"), f"odd {WHO}"),
            **FROM_0,
        ),
        panel(
            "timeseries",
            "Failures of the model, and answers that could not be recorded",
            "Both are 0 when all is well.",
            prometheus(rate("hydraulic_model_failures_total"), f"model failed {WHO}"),
            prometheus(rate("hydraulic_record_dropped_total"), f"not recorded {WHO}"),
            **FROM_0,
        ),
        panel(
            "table",
            "Models that serve",
            "Name, version, digest and engine, as each scorer tells them.",
            prometheus(f"hydraulic_model_info{{{HERE}}}", now=True),
        ),
    ]


def _alerts() -> list[Json]:
    return [
        row("Alerts, and our own processes"),
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
            "How many are red, orange, green and grey, where the page of `hydraulic monitor --health-port` is scraped.",
            *(prometheus(f"sum(hydraulic_monitor_findings_{one})", one) for one in ("red", "orange", "green", "grey")),
            **FROM_0,
        ),
        panel(
            "table",
            "Scraped",
            "Every page of metrics that Prometheus asks for: 1 where it answered.",
            prometheus(f'up{{job=~"{JOBS}"}}', now=True),
        ),
        panel(
            "table",
            "Started",
            "When each process started.",
            prometheus(f'process_start_time_seconds{{job=~"{JOBS}"}} * 1000', now=True),
            unit="dateTimeAsIso",
        ),
    ]
