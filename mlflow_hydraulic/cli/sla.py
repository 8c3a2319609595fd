"""`hydraulic monitor sla`: how each deployment served, and what is left of the error budget of what was promised."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from mlflow_hydraulic.monitor.served import Served
    from mlflow_hydraulic.monitor.sla import Budget, Sla

WINDOWS = {"5m": 300.0, "1h": 3600.0, "1d": 86_400.0}


@click.command()
@click.option("--env", "environment", default="*", help="Only of these environments, as a pattern.")
@click.option("--deployment", default="*", help="Only these deployments, as a pattern.")
@click.option("--window", type=click.Choice(list(WINDOWS)), default="1h", show_default=True, help="For the figures.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: every predictor, every burn rate.")
def sla(*, environment: str, deployment: str, window: str, as_json: bool) -> None:
    """Show how each deployment served, and its error budgets: of what was promised in [[monitor.sla]].

    The budget is what may fail within the promise's window; it burns at 1 when it ends just with the window.

    \b
    Examples:
      hydraulic monitor sla
      hydraulic monitor sla --env prod --window 1d
      hydraulic monitor sla --json | jq '.[] | select(.budgets[].left < 0.25) | .deployment'
    """
    from fnmatch import fnmatchcase

    from mlflow_hydraulic.cli.table import table
    from mlflow_hydraulic.cli.world import open_evidence, open_monitoring, workspace
    from mlflow_hydraulic.clock import utc_now
    from mlflow_hydraulic.monitor.service_history import read_history, recorded_subjects
    from mlflow_hydraulic.monitor.sla import ENOUGH_S, budgets, sla_of

    now, slas = utc_now().timestamp(), open_monitoring().slas
    told: list[dict[str, Any]] = []  # Any: the value is JSON
    rows: list[tuple[str, ...]] = []
    with open_evidence().connect() as connection:
        for subject in recorded_subjects(connection, workspace()):
            if not fnmatchcase(subject.environment, environment) or not fnmatchcase(subject.deployment, deployment):
                continue
            promised = sla_of(slas, subject)
            history = read_history(connection, subject, now - max(promised.window_s, ENOUGH_S))
            made = budgets(history, promised, now)
            served = {name: history.served(now - WINDOWS[window], now, name) for name in ("", *history.replicas)}
            told.append(
                {
                    "environment": subject.environment,
                    "deployment": subject.deployment,
                    "looked": history.at,
                    "up": history.up,
                    "window_s": WINDOWS[window],
                    "served": {name or "all": one.to_json() for name, one in served.items()},
                    "budgets": [_budget_json(one) for one in made],
                }
            )
            name = f"{subject.environment}/{subject.deployment}"
            rows += [(name, *_figures(served[""]), *_budget(one, promised)) for one in made] or [
                (name, *_figures(served[""]), "nothing promised", "", "", "")
            ]
    if as_json:
        click.echo(json.dumps(told, indent=1))
    elif rows:
        headings = ("deployment", "up", "req/s", "p50", "p95", "p99", "errors", "promise", "colour", "left", "burns")
        click.echo(table(headings, rows))
    else:
        click.echo('nothing was counted yet: "hydraulic monitor" does it at every look')


def _figures(served: Served) -> tuple[str, ...]:
    found = served.to_json()

    def shown(name: str, form: str, scale: float = 1.0) -> str:
        value = found[name]
        return "-" if value is None else form.format(value * scale)

    latencies = tuple(shown(name, "{:.3g} ms", 1e3) for name in ("p50_s", "p95_s", "p99_s"))
    return (shown("up", "{:.2%}"), shown("requests_per_s", "{:.3g}"), *latencies, shown("error_rate", "{:.2%}"))


def _budget(budget: Budget, sla: Sla) -> tuple[str, str, str, str]:
    from mlflow_hydraulic.monitor.served import length

    what = f"{1 - budget.allowed:.4%}".rstrip("0%").rstrip(".") + " %"
    what += " answered" if budget.promise == "errors" else f" in {sla.p99_ms:g} ms"
    left = "-" if budget.left is None else f"{budget.left:.0%}"
    rates = ", ".join(
        f"{length(burn.alarm.long_s)} {'-' if burn.long is None else f'{burn.long:.2g}'}" for burn in budget.burns
    )
    return f"{what}, {length(budget.window_s)}", budget.colour, left, rates


def _budget_json(budget: Budget) -> dict[str, Any]:
    return {
        "promise": budget.promise,
        "allowed": budget.allowed,
        "window_s": budget.window_s,
        "bad": budget.bad,
        "requests": budget.requests,
        "left": budget.left,
        "colour": budget.colour,
        "burns": [
            {
                "long_s": one.alarm.long_s,
                "short_s": one.alarm.short_s,
                "limit": one.alarm.limit,
                "colour": one.alarm.colour,
                "long": one.long,
                "short": one.short,
                "fires": one.fires,
            }
            for one in budget.burns
        ],
    }
