"""What Grafana does with a dashboard before it asks: all queries of it, and variables and intervals filled in."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

Json = dict[str, Any]
VARIABLE = re.compile(r"\$\{(\w+)(?::\w+)?\}|\$(\w+)")
OWN = {"timeFilter", "__interval", "__rate_interval", "__range"}  # Grafana's own


def every_panel(dashboard: Json) -> Iterator[Json]:
    """All panels, rows and those that a row hides too."""
    for panel in dashboard["panels"]:
        yield panel
        yield from panel.get("panels", [])


def queries(dashboard: Json) -> Iterator[tuple[str, str, str]]:
    """(where it stands, type of its source, text) of each query: panels, variables, annotations."""
    for panel in every_panel(dashboard):
        for target in panel.get("targets", []):
            text = target.get("query") or target["expr"]
            yield f"{panel['title']} {target['refId']}", target["datasource"]["type"], text
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            query = variable["query"]
            text = query if isinstance(query, str) else query["query"]
            yield f"${variable['name']}", variable["datasource"]["type"], text
    for annotation in dashboard["annotations"]["list"]:
        yield annotation["name"], annotation["datasource"]["type"], annotation["target"]["query"]


def names(text: str) -> set[str]:
    """The variables in a text.

    >>> sorted(names('"in_${column:raw}" $timeFilter'))
    ['column', 'timeFilter']
    """
    return {braced or plain for braced, plain in VARIABLE.findall(text)}


def filled(text: str, values: Mapping[str, str]) -> str:
    """`text` with each variable's value in its place; an unknown one is an error."""
    return VARIABLE.sub(lambda found: values[found[1] or found[2]], text)
