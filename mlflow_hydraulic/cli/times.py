"""Times as people type them: ISO with or without a zone, a date, or how long ago (3h, -2d). For ledger and as-of."""

from __future__ import annotations

from datetime import datetime, timezone

import click

from mlflow_hydraulic.clock import utc_now
from mlflow_hydraulic.errors import BadInput
from mlflow_hydraulic.moments import AGO, read_time


def read_past(text: str, now: datetime) -> datetime:
    """As `read_time`; a time that is still to come is refused."""
    moment = read_time(text, now)
    if moment > now:
        raise BadInput(f"{shown(moment)} is in the future (it is {shown(now)}): nobody knows yet")
    return moment


def shown(moment: datetime) -> str:
    """To the second, in UTC, which it says."""
    return f"{moment.astimezone(timezone.utc):%Y-%m-%d %H:%M:%S} UTC"


def shown_stamp(at: str) -> str:
    """A time as the ledger writes it, to the second; as it is where somebody wrote something else there."""
    try:
        return f"{datetime.fromisoformat(at):%Y-%m-%d %H:%M:%S}"
    except ValueError:
        return at


def time_of(_ctx: click.Context, _option: click.Parameter, value: str | None) -> datetime | None:
    """An option's callback: its value as `read_time` understands it."""
    return read_time(value, utc_now()) if value else None


class TakesAgo(click.Command):
    """A command that takes "-2d" for an argument rather than for options."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, [arg[1:] if arg[:1] == "-" and AGO.fullmatch(arg) else arg for arg in args])
