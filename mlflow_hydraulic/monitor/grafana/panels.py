"""Panels, queries and variables as the JSON of Grafana's dashboard schema, and how panels are laid out. Pure.

Colours are Grafana's own names, which follow its light or dark theme. Schema: https://grafana.com/docs/grafana/latest/
dashboards/build-dashboards/view-dashboard-json-model/; types: npm's @grafana/schema.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

Json = dict[str, Any]  # Any: the value is JSON
INFLUX: Json = {"type": "influxdb", "uid": "hydraulic-influxdb"}
PROMETHEUS: Json = {"type": "prometheus", "uid": "hydraulic-prometheus"}
WIDTH = 24  # of Grafana's grid
SCHEMA_VERSION = 39  # Grafana 11; later ones migrate it as they load it
LEGEND: Json = {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []}
ONE: Json = {"mode": "single", "sort": "none"}
ALL: Json = {"mode": "multi", "sort": "desc"}
LAST: Json = {"values": False, "calcs": ["lastNotNull"], "fields": ""}
OPTIONS: Mapping[str, Json] = {
    "timeseries": {"legend": LEGEND, "tooltip": ALL},
    "stat": {
        "reduceOptions": LAST,
        "orientation": "auto",
        "textMode": "auto",
        "wideLayout": True,
        "colorMode": "value",
        "graphMode": "area",
        "justifyMode": "auto",
        "showPercentChange": False,
        "percentChangeColorMode": "standard",
    },
    "table": {"showHeader": True, "cellHeight": "sm", "frameIndex": 0},
    "state-timeline": {
        "showValue": "never",
        "rowHeight": 0.9,
        "mergeValues": True,
        "legend": {**LEGEND, "showLegend": False},
        "tooltip": ONE,
    },
    "histogram": {"legend": LEGEND, "tooltip": ONE, "combine": False},
    "xychart": {"mapping": "auto", "series": [], "legend": LEGEND, "tooltip": ONE},
    "heatmap": {
        "calculate": True,
        "cellGap": 1,
        "color": {
            "mode": "scheme",
            "scheme": "Blues",
            "steps": 32,
            "reverse": False,
            "exponent": 0.5,
            "fill": "dark-blue",
            "scale": "exponential",
        },
        "exemplars": {"color": "rgba(127,127,127,0.7)"},
        "filterValues": {"le": 1e-9},
        "legend": {"show": True},
        "rowsFrame": {"layout": "auto"},
        "showValue": "never",
        "tooltip": {"mode": "single", "yHistogram": True, "showColorScale": False},
        "yAxis": {"axisPlacement": "left"},
    },
    "text": {"mode": "markdown"},
}
CUSTOM: Mapping[str, Json] = {
    "timeseries": {"drawStyle": "line", "lineWidth": 1, "fillOpacity": 8, "showPoints": "auto", "spanNulls": False},
    "state-timeline": {"lineWidth": 0, "fillOpacity": 80},
    "histogram": {"lineWidth": 1, "fillOpacity": 70},
    "xychart": {"show": "points", "pointSize": {"fixed": 4}},
}
COLOURS: Json = {
    "type": "value",
    "options": {
        "0": {"text": "grey", "color": "text", "index": 0},
        "1": {"text": "green", "color": "green", "index": 1},
        "2": {"text": "orange", "color": "orange", "index": 2},
        "3": {"text": "red", "color": "red", "index": 3},
    },
}


def influx(query: str, *, alias: str = "", table: bool = False) -> Json:
    """A query in InfluxQL."""
    form = "table" if table else "time_series"
    target: Json = {"datasource": INFLUX, "query": query, "rawQuery": True, "resultFormat": form}
    return target | ({"alias": alias} if alias else {})


def prometheus(expr: str, legend: str = "", *, now: bool = False) -> Json:
    """A query in PromQL; now: a table of one moment, else a range."""
    target: Json = {"datasource": PROMETHEUS, "expr": expr, "editorMode": "code", "range": not now, "instant": now}
    return target | ({"legendFormat": legend} if legend else {}) | ({"format": "table"} if now else {})


def panel(
    kind: str,
    title: str,
    text: str,
    *queries: Json,
    size: tuple[int, int] = (12, 8),
    unit: str = "",
    custom: Json | None = None,
    options: Json | None = None,
    transformations: Sequence[Json] = (),
    **defaults: Any,  # Any: the schema's FieldConfig
) -> Json:
    """A panel without a place. size: width and height in cells of the grid. defaults: of its fields ("min", ...)."""
    fields: Json = {"color": {"mode": "palette-classic"}, "noValue": "no data", **defaults}
    if unit:
        fields["unit"] = unit
    if kind in CUSTOM or custom:
        fields["custom"] = {**CUSTOM.get(kind, {}), **(custom or {})}
    targets = [{"refId": chr(ord("A") + number), **query} for number, query in enumerate(queries)]
    return {
        "type": kind,
        "title": title,
        "description": text,
        "gridPos": {"x": 0, "y": 0, "w": size[0], "h": size[1]},
        "options": deepcopy({**OPTIONS[kind], **(options or {})}),
        "fieldConfig": {"defaults": fields, "overrides": []},
        "transformations": list(transformations),
        **({"datasource": targets[0]["datasource"], "targets": targets} if targets else {}),
    }


def stat(title: str, text: str, *queries: Json, size: tuple[int, int] = (4, 4), **more: Any) -> Json:
    """One number, in the colour of its thresholds."""
    return panel("stat", title, text, *queries, size=size, **{"color": {"mode": "thresholds"}, **more})


def steps(*bounds: tuple[float | None, str]) -> Json:
    """Colours from each value on; the first from None."""
    return {"mode": "absolute", "steps": [{"value": value, "color": colour} for value, colour in bounds]}


def row(title: str, *, collapsed: bool = False) -> Json:
    """The heading of the panels after it, up to the next; collapsed: they show when it is clicked."""
    return {"type": "row", "title": title, "collapsed": collapsed, "panels": []}


def chosen(name: str, label: str, query: str | Json, source: Json, *, several: bool = True, regex: str = "") -> Json:
    """A variable whose values are asked for; several: many or all of them may be chosen."""
    every: Json = {"includeAll": True, "allValue": ".*", "current": {"text": ["All"], "value": ["$__all"]}}
    return {
        "type": "query",
        "name": name,
        "label": label,
        "datasource": source,
        "query": query,
        "refresh": 2,  # whenever the time range changes
        "regex": regex,
        "sort": 1,
        "multi": several,
        **(every if several else {"includeAll": False}),
    }


def laid_out(panels: Sequence[Json]) -> list[Json]:
    """The panels with ids and places: left to right, a new line where one does not fit; rows hold what they hide."""
    placed: list[Json] = []
    x = y = tallest = 0
    hidden: Json | None = None
    for number, one in enumerate(deepcopy(list(panels)), start=1):
        one["id"] = number
        if one["type"] == "row":
            x, y, tallest = 0, y + tallest, 1
            one["gridPos"] = {"x": 0, "y": y, "w": WIDTH, "h": 1}
            placed.append(one)
            hidden = one if one["collapsed"] else None
            x = WIDTH
            continue
        place = one["gridPos"]
        if x + place["w"] > WIDTH:
            x, y, tallest = 0, y + tallest, 0
        place["x"], place["y"] = x, y
        x, tallest = x + place["w"], max(tallest, place["h"])
        (placed if hidden is None else hidden["panels"]).append(one)
    return placed


def dashboard(
    uid: str,
    title: str,
    text: str,
    panels: Sequence[Json],
    variables: Sequence[Json],
    *,
    links: Sequence[Json] = (),
    annotations: Sequence[Json] = (),
    since: str = "now-6h",
) -> Json:
    """A whole dashboard, refreshed every half a minute, in the viewer's own theme and time zone."""
    return {
        "uid": uid,
        "title": title,
        "description": text,
        "tags": ["hydraulic"],
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "timezone": "browser",
        "time": {"from": since, "to": "now"},
        "refresh": "30s",
        "timepicker": {"refresh_intervals": ["5s", "10s", "30s", "1m", "5m", "15m", "1h"]},
        "annotations": {"list": list(annotations)},
        "links": list(links),
        "templating": {"list": list(variables)},
        "panels": laid_out(panels),
    }


def link(title: str, url: str, text: str) -> Json:
    """A link at the top of a dashboard."""
    return {
        "type": "link",
        "title": title,
        "url": url,
        "tooltip": text,
        "icon": "external link",
        "tags": [],
        "asDropdown": False,
        "includeVars": False,
        "keepTime": True,
        "targetBlank": True,
    }
