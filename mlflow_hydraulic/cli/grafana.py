"""`hydraulic monitor grafana`: writes dashboards and data sources as files that Grafana reads when it starts."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option("--output", "-o", type=click.Path(file_okay=False, path_type=Path), required=True, help="The folder.")
@click.option("--influx-url", default=None, help="InfluxDB, as Grafana reaches it.  [default: HYDRAULIC_INFLUX_URL]")
@click.option("--influx-user", default="", help="Its user (1.x); Grafana has HYDRAULIC_INFLUX_PASSWORD set.")
@click.option(
    "--prometheus-url", default="http://localhost:9090", show_default=True, help="Prometheus, as Grafana reaches it."
)
@click.option("--folder", default=None, help="Where Grafana finds the dashboards.  [default: dashboards in the folder]")
@click.option("--report-url", default="", help="Link to your reports; may hold ${namespace} and ${deployment}.")
def grafana(
    *,
    output: Path,
    influx_url: str | None,
    influx_user: str,
    prometheus_url: str,
    folder: str | None,
    report_url: str,
) -> None:
    """Write dashboards/ and provisioning/ for Grafana: two dashboards, on InfluxDB and on Prometheus.

    InfluxDB's database and organisation are those of HYDRAULIC_INFLUX_DATABASE and HYDRAULIC_INFLUX_ORG. No secret is
    written: Grafana reads HYDRAULIC_INFLUX_PASSWORD (1.x) or HYDRAULIC_INFLUX_TOKEN (2.x) from its own environment.

    \b
    Examples:
      hydraulic monitor grafana -o grafana
      hydraulic monitor grafana -o grafana --influx-url http://influxdb:8086 --prometheus-url http://prometheus:9090
      GF_PATHS_PROVISIONING=$PWD/grafana/provisioning grafana server
    """
    from mlflow_hydraulic.errors import Failed
    from mlflow_hydraulic.monitor.grafana.files import Places, tree
    from mlflow_hydraulic.settings import read_settings

    settings = read_settings()
    places = Places(
        influx_url=influx_url or settings.influx_url or "http://localhost:8086",
        influx_database=settings.influx_database,
        influx_org=settings.influx_org,
        influx_user=influx_user,
        prometheus_url=prometheus_url,
        folder=folder or str((output / "dashboards").resolve()),
        report_url=report_url,
    )
    for name, text in tree(places).items():
        path = output / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise Failed(f"{path}: cannot be written: {error}") from error
        click.echo(path)
