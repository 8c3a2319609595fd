"""Who one is, and what answers."""

from __future__ import annotations

from msgspec import Struct

from mlflow_hydraulic.version import VERSION
from mlflow_hydraulic.web.ask import Ask
from mlflow_hydraulic.web.route import route


class About(Struct, frozen=True, kw_only=True):
    """user: "" where the server has no log-in."""

    version: str
    user: str
    admin: bool
    environments: list[str]


@route("GET", "/about", right=None, area="about")
def about(ask: Ask) -> About:
    """Who is logged in, the version, and the environments in their order of promotion."""
    names = [env.name for env in ask.house.configuration.environments]
    return About(version=VERSION, user=ask.who.name, admin=ask.who.admin, environments=names)
