"""The pages as values: path, right, template. A page's function gives what its template shows.

    @page("/projects/{project}", right=Right.VIEW, template="project.html", title="Project")
    def project_page(ask: Ask, project: str) -> dict[str, object]:
        return {"project": summary(ask, project)}

It calls the same functions as the REST routes; whatever changes something is sent by the browser to a route.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar, get_type_hints

from mlflow_hydraulic.people.rights import Right
from mlflow_hydraulic.web.route import PARAMETER

Handler = TypeVar("Handler", bound=Callable[..., Any])


@dataclass(frozen=True, kw_only=True)
class Page:
    """right: as of a `Route`. area: the entry of the navigation that is lit."""

    path: str
    right: Right | None
    template: str
    area: str
    handler: Callable[..., Any]

    @property
    def name(self) -> str:
        return self.handler.__name__

    @property
    def rule(self) -> str:
        return PARAMETER.sub(r"<\1>", self.path)

    @cached_property
    def hints(self) -> dict[str, Any]:
        return get_type_hints(self.handler)


PAGES: list[Page] = []


def page(path: str, *, right: Right | None, template: str, area: str) -> Callable[[Handler], Handler]:
    """Declare the function below as the page at `path`."""

    def declare(handler: Handler) -> Handler:
        PAGES.append(Page(path=path, right=right, template=template, area=area, handler=handler))
        return handler

    return declare
