"""The one clock. Everything that needs the time asks here, so that a test can set it."""

from __future__ import annotations

from datetime import datetime, timezone


def utc_now() -> datetime:
    """The time now, aware, in UTC."""
    return datetime.now(timezone.utc)
