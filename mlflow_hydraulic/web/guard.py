"""What every answer of ours goes through: writes from another origin are refused, security headers are set."""

from __future__ import annotations

from urllib.parse import urlsplit

from flask import Response, request

SAFE = ("GET", "HEAD", "OPTIONS")
POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'self'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "SAMEORIGIN",
}


def refuse() -> Response | None:
    """The refusal of a write that another site's page makes a browser send; None for all others."""
    if request.method in SAFE:
        return None
    site, origin = request.headers.get("Sec-Fetch-Site", ""), request.headers.get("Origin", "")
    foreign = site not in ("", "same-origin", "none") or (origin and urlsplit(origin).netloc != request.host)
    return Response("writes from another origin are refused", status=403) if foreign else None


def secured(response: Response) -> Response:
    """The answer with the headers that keep a browser from doing harm with it; nothing of it is kept in caches."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    if request.endpoint != "hydraulic.static":
        response.headers["Cache-Control"] = "no-store"
    return response
