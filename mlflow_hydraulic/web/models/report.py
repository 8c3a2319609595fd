"""All of a version as one HTML file that needs no server: figures are in it. For the models' pages."""

from __future__ import annotations

from base64 import b64encode

from mlflow_hydraulic.errors import HydraulicError
from mlflow_hydraulic.version import VERSION
from mlflow_hydraulic.web import shell
from mlflow_hydraulic.web.ask import Ask
from mlflow_hydraulic.web.catalogue import Figure
from mlflow_hydraulic.web.models import metadata, version_facts
from mlflow_hydraulic.web.models.flat import told
from mlflow_hydraulic.web.models.sparkline import sparklines

MOST_BYTES = 20_000_000  # of all figures together; the rest are named


def written(ask: Ask, model: str, number: int) -> str:
    """The report on a version, with the comments and deployments of this moment."""
    details = version_facts.details(ask, model, number)
    files = version_facts.files(ask, model, number)
    problems = list(files.problems)
    shown = {
        "version": details.version,
        "line": details.version.line,
        "comments": details.comments,
        "ran": details.ran,
        "files": files,
        "charts": sparklines(files.histories),
        "lines": list(metadata.lines(details.version, files.card)),
        "figures": _figures(ask, model, number, files.figures, problems),
        "problems": problems,
        "told": told,
        "now": ask.now,
        "by": ask.who.actor,
        "ours": VERSION,
    }
    return shell.engine().get_template("models/report.html").render(**shown)


def _figures(ask: Ask, model: str, number: int, figures: list[Figure], problems: list[str]) -> list[tuple[Figure, str]]:
    """Each with its content as a data URI; "" for one that was left out, which `problems` then say."""
    found, left = [], MOST_BYTES
    for figure in figures:
        content = b""
        try:
            if (figure.bytes or 0) > left:
                problems.append(f"figure {figure.path}: left out, the report would be larger than {MOST_BYTES} bytes")
            else:
                content = version_facts.catalogue(ask).image(model, number, figure.path)
        except HydraulicError as error:
            problems.append(f"figure {figure.path}: {error}")
        left -= len(content)
        found.append((figure, f"data:{figure.media};base64,{b64encode(content).decode()}" if content else ""))
    return found
