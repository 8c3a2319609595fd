"""How values are written on pages: times, shares, numbers, sizes. Filters of the templates, put there by `shell`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import datetime, timezone

from mlflow_hydraulic.clock import utc_now

DASH = "\N{EM DASH}"
UNITS = (("year", 31_557_600), ("month", 2_629_800), ("day", 86_400), ("hour", 3600), ("minute", 60))
BYTES = ("B", "kB", "MB", "GB", "TB", "PB")
Moment = datetime | str


def ago(value: Moment | None, now: datetime | None = None) -> str:
    """ "3 minutes ago", "in 2 hours"; app.js says the same as time goes on."""
    moment = _moment(value)
    if moment is None:
        return str(value or DASH)
    seconds = ((now or utc_now()) - moment).total_seconds()
    size = abs(seconds)
    for unit, length in UNITS:
        if size >= length:
            words = f"{int(size // length)} {unit}{'' if size < 2 * length else 's'}"
            return f"{words} ago" if seconds >= 0 else f"in {words}"
    return "just now" if seconds >= 0 else "in a moment"


def utc(value: Moment | None) -> str:
    """ "2026-11-23 07:35:32 UTC"."""
    moment = _moment(value)
    return str(value or DASH) if moment is None else moment.strftime("%Y-%m-%d %H:%M:%S UTC")


def iso(value: Moment | None) -> str:
    """As <time datetime> wants it."""
    moment = _moment(value)
    return "" if moment is None else moment.isoformat(timespec="seconds")


def percent(value: float | None, digits: int = 1) -> str:
    """0.123 as "12.3 %"; of 1."""
    if value is None or not math.isfinite(value):
        return DASH
    return f"{100 * value:.{digits}f} %"


def number(value: float | None, digits: int = 4) -> str:
    """`digits` figures that count, thousands apart: "0.9812", "12 345"."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return DASH
    if isinstance(value, int) or (float(value).is_integer() and abs(value) < 1e15):
        return f"{int(value):,}".replace(",", "\N{NARROW NO-BREAK SPACE}")
    return f"{value:.{digits}g}"


def size(value: float | None) -> str:
    """Bytes: "12.3 MB"."""
    if value is None or not math.isfinite(value):
        return DASH
    power = 0 if abs(value) < 1000 else min(int(math.log10(abs(value)) // 3), len(BYTES) - 1)
    return f"{value / 1000**power:.{1 if power else 0}f} {BYTES[power]}"


def seconds(value: float | None) -> str:
    """A duration: "1.2 ms", "3.4 s", "2 min 5 s", "3 h 20 min"."""
    if value is None or not math.isfinite(value):
        return DASH
    if value < 1:
        return f"{1000 * value:.3g} ms"
    if value < 60:
        return f"{value:.3g} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _moment(value: Moment | None) -> datetime | None:
    """The time that `value` says; None for no time at all."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.replace("Z", "+00:00"))
        except ValueError:
            return None
    if value is None:
        return None
    return value.astimezone(timezone.utc) if value.tzinfo else value.replace(tzinfo=timezone.utc)


FILTERS: Mapping[str, Callable[..., str]] = {
    "ago": ago,
    "utc": utc,
    "iso": iso,
    "percent": percent,
    "number": number,
    "size": size,
    "seconds": seconds,
}
