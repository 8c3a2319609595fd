"""Times as people type them, on the command line and on pages: ISO, a date, or how long ago."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

from mlflow_hydraulic.errors import BadInput

AGO = re.compile(r"-?(\d+)([smhdw])")
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
WAYS = '"2026-03-01T14:30", "2026-03-01T14:30+01:00", "2026-03-01" (its first moment), or how long ago: 90s, 3h, 2d, 1w'


def read_time(text: str, now: datetime) -> datetime:
    """The time that `text` means, in UTC; without a zone it is UTC. `BadInput` where it means none."""
    ago = AGO.fullmatch(text.strip())
    try:
        if ago:
            return now - timedelta(**{UNITS[ago[2]]: int(ago[1])})
        moment = datetime.fromisoformat(re.sub(r"[zZ]$", "+00:00", text.strip()))
        return moment.astimezone(timezone.utc) if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
    except (ValueError, OverflowError) as error:
        raise BadInput(f"time {text!r} cannot be read: write {WAYS}") from error
