"""What every request and answer of ours goes through: writes from another origin are refused, security headers are set.

The other origins that MLflow's --cors-allowed-origins names may write; "*" names none here, for a log-in is a cookie.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from urllib.parse import urlsplit

import msgspec
from flask import Response, current_app, request

SAFE = ("GET", "HEAD", "OPTIONS")
ORIGINS = "HYDRAULIC_ORIGINS"  # of Flask's configuration: the other origins that may write
PORTS = {"http": 80, "https": 443}
POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'self'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "SAMEORIGIN",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


def refuse() -> Response | None:
    """The refusal of a write that another site's page makes a browser send; None for all others."""
    if not is_foreign():
        return None
    origin = request.headers.get("Origin") or "another site"
    said = f"a write from {origin!r} is refused: open the page on this server"
    told = msgspec.json.encode({"error_code": "PERMISSION_DENIED", "message": said})
    return Response(told, status=403, mimetype="application/json")


def is_foreign() -> bool:
    """Whether the request is a write that a page of another origin caused.

    Sec-Fetch-Site is the browser's own word, which no page can set. Browsers send it over https and to this machine
    only, so elsewhere Origin is compared with the address that was asked for: Host, or what a proxy says it was.
    """
    if request.method in SAFE:
        return False
    origin, site = request.headers.get("Origin", ""), request.headers.get("Sec-Fetch-Site", "")
    if origin and _is_allowed(origin):
        return False
    if site:
        return site not in ("same-origin", "none")
    return bool(origin) and not _is_ours(origin)


def is_https() -> bool:
    """Whether the browser asked over https, here or at a proxy before us."""
    return request.is_secure or _first("X-Forwarded-Proto") == "https"


def own_origin() -> str:
    """ "https://host:port" as the browser sees this server."""
    return f"{'https' if is_https() else 'http'}://{_first('X-Forwarded-Host') or request.host}"


def secured(response: Response) -> Response:
    """The answer with the headers that keep a browser from doing harm with it; nothing of it is kept in caches."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    if not (request.endpoint or "").startswith("hydraulic.static"):  # scripts and styles, plotly among them
        response.headers["Cache-Control"] = "no-store"
    return response


def _is_allowed(origin: str) -> bool:
    named = current_app.config.get(ORIGINS) or ()
    return any(fnmatchcase(origin, pattern) for pattern in named if pattern != "*")


def _is_ours(origin: str) -> bool:
    """Whether `origin` is where the request went; a page of another site cannot set any of these headers."""
    said = _host(urlsplit(origin).scheme, urlsplit(origin).netloc)
    hosts = (request.host, _first("X-Forwarded-Host"), _first("X-Forwarded-Host", "X-Forwarded-Port"))
    return said is not None and any(said == _host(urlsplit(origin).scheme, host) for host in hosts if host)


def _host(scheme: str, netloc: str) -> tuple[str, int] | None:
    """Host and port, the scheme's own where none is named; None for what is neither."""
    try:
        parts = urlsplit(f"//{netloc}")
        return (parts.hostname, parts.port or PORTS.get(scheme, 0)) if parts.hostname else None
    except ValueError:
        return None


def _first(*names: str) -> str:
    """The values of these headers as the first proxy wrote them, joined by a colon; "" where one is missing."""
    values = [request.headers.get(name, "").split(",")[0].strip() for name in names]
    return ":".join(values) if all(values) else ""
