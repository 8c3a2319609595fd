"""Plotly's script, from the Python package on this machine: nothing is fetched from elsewhere. Served by `blueprint`.

Some 5 MB, 1.4 MB compressed: pages name it with its version, and browsers keep it for a year.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from flask import Response, request

from mlflow_hydraulic.errors import NotFound

ENDPOINT = "static_plotly"  # of the blueprint; public, as all scripts
PATH = "static/plotly.min.js"
KEPT = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class Script:
    plain: bytes
    packed: bytes
    tag: str


@cache
def url() -> str:
    """Below the pages' base: the path, and the version, so that another release is another address."""
    return f"{PATH}?{version('plotly')}"


def serve() -> Response:
    """The script, compressed where the browser takes that; 304 where it has it."""
    try:
        script = _read()
    except NotFound as error:
        return Response(str(error), status=404, mimetype="text/plain")
    packed = "gzip" in request.headers.get("Accept-Encoding", "")
    answer = Response(script.packed if packed else script.plain, mimetype="text/javascript")
    if packed:
        answer.headers["Content-Encoding"] = "gzip"
    answer.headers["Vary"] = "Accept-Encoding"
    answer.headers["Cache-Control"] = KEPT
    answer.set_etag(f"{script.tag}{'-gzip' if packed else ''}")
    return Response.make_conditional(answer, request)  # type: ignore[return-value]  # it is the same object


@cache
def _read() -> Script:
    """Once a process; without importing the package, which takes a second."""
    found = find_spec("plotly")
    file = Path(found.origin or "").parent / "package_data" / "plotly.min.js" if found else Path("plotly.min.js")
    try:
        plain = file.read_bytes()
    except OSError as error:
        raise NotFound(f"{file}: plotly's script is not there: install plotly 6 or newer") from error
    return Script(plain, gzip.compress(plain, 6, mtime=0), version("plotly"))
