"""The REST API's routes as values: path, right, types. One table makes the URL rules, the checks and the OpenAPI text.

    @route("POST", "/projects/{project}/members", right=Right.SHARE, area="projects")
    def share(ask: Ask, project: str, body: NewMember) -> Member:
        '''Share the project with a user.'''

Parameters named in the path are strings. `body` and `query` are msgspec Structs, decoded before the handler runs: what
does not fit is a 400 that names the field. The result is a Struct, a list of them, or None (204).
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeVar, get_type_hints

from mlflow_hydraulic.people.rights import Right

Method = Literal["GET", "POST", "PUT", "DELETE"]
Handler = TypeVar("Handler", bound=Callable[..., Any])
PARAMETER = re.compile(r"\{(\w+)\}")
SCOPES = ("project", "model", "deployment")  # path parameters that say whose rights are asked for


@dataclass(frozen=True, kw_only=True)
class Sent:
    """An answer that is a file. filename: it is saved under that name, rather than shown; policy: its own
    Content-Security-Policy, "" for the one of every answer."""

    content: bytes | Iterable[bytes]
    media: str
    filename: str = ""
    policy: str = ""


@dataclass(frozen=True, kw_only=True)
class Route:
    """right: what the caller needs in the project that the path names; None: a log-in is enough, and the handler leaves
    out what the caller may not see. media: what the answer is where it is not JSON: the handler then gives bytes, an
    iterator of bytes, or a `Sent`."""

    method: Method
    path: str
    right: Right | None
    area: str
    handler: Callable[..., Any]
    media: str = ""

    @property
    def name(self) -> str:
        """The operation's id, and Flask's endpoint."""
        return self.handler.__name__

    @property
    def rule(self) -> str:
        """The path in Flask's way of writing."""
        return PARAMETER.sub(r"<\1>", self.path)

    @property
    def parameters(self) -> tuple[str, ...]:
        return tuple(PARAMETER.findall(self.path))

    @cached_property
    def hints(self) -> dict[str, Any]:
        """The handler's annotations, resolved."""
        return get_type_hints(self.handler)

    @property
    def summary(self) -> str:
        """The docstring's first paragraph."""
        return " ".join((inspect.getdoc(self.handler) or self.name).split("\n\n")[0].split())


ROUTES: list[Route] = []


def route(
    method: Method, path: str, *, right: Right | None, area: str, media: str = ""
) -> Callable[[Handler], Handler]:
    """Declare the function below as what answers `method path` under the API's base."""

    def declare(handler: Handler) -> Handler:
        made = Route(method=method, path=path, right=right, area=area, handler=handler, media=media)
        if right is not None and not set(made.parameters) & set(SCOPES):
            raise TypeError(f"{path}: a right is asked for, and nothing in the path says in which project")
        if any(known.name == made.name for known in ROUTES):
            raise TypeError(f"{made.name}: two routes have this name")
        ROUTES.append(made)
        return handler

    return declare
