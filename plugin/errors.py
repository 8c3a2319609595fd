"""The plugin's table from this package's errors to MLflow's codes; the flavor and the deployments client use it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import (
    INTERNAL_ERROR,
    INVALID_PARAMETER_VALUE,
    INVALID_STATE,
    PERMISSION_DENIED,
    RESOURCE_CONFLICT,
    RESOURCE_DOES_NOT_EXIST,
    TEMPORARILY_UNAVAILABLE,
)

from mlflow_hydraulic.errors import (
    BadData,
    BadInput,
    Conflict,
    Failed,
    HydraulicError,
    NotFound,
    Refused,
    Unavailable,
    Untrusted,
)

ERROR_CODES: dict[type[HydraulicError], int] = {
    BadInput: INVALID_PARAMETER_VALUE,  # 400
    BadData: INVALID_PARAMETER_VALUE,  # 400
    NotFound: RESOURCE_DOES_NOT_EXIST,  # 404
    Conflict: RESOURCE_CONFLICT,  # 409
    Refused: PERMISSION_DENIED,  # 403
    Untrusted: INVALID_STATE,  # 500
    Failed: INTERNAL_ERROR,  # 500
    Unavailable: TEMPORARILY_UNAVAILABLE,  # 503, the only one that MLflow's clients retry
}
FROM_STATUS: tuple[tuple[tuple[int, ...], type[HydraulicError]], ...] = (
    ((404,), NotFound),
    ((401, 403), Refused),
    ((400,), BadInput),
    ((409,), Conflict),
    ((429, 500, 502, 503, 504), Unavailable),  # MLflow's client wraps lost connections in a 500
)


class PluginError(MlflowException, click.ClickException):  # type: ignore[misc]  # MlflowException is untyped
    """What MLflow's callers get: an MlflowException with its code that the command line prints as one clean line."""

    def __init__(self, message: str, error_code: int = INTERNAL_ERROR) -> None:
        MlflowException.__init__(self, message, error_code=error_code)


def to_mlflow(error: HydraulicError) -> PluginError:
    """`error` as MLflow's callers know errors: the code of its class, or of the nearest class above it."""
    code = next((ERROR_CODES[kind] for kind in type(error).__mro__ if kind in ERROR_CODES), INTERNAL_ERROR)
    return PluginError(str(error), error_code=code)


@contextmanager
def translated() -> Iterator[None]:
    """Turns this package's errors into MLflow's; a `with` block or a decorator, written `@translated()`.

    Every other exception passes as it is.
    """
    try:
        yield
    except HydraulicError as error:
        raise to_mlflow(error) from error


@contextmanager
def from_mlflow(what: str) -> Iterator[None]:
    """Turns MLflow's errors into this package's, for callers that decide by whether a retry helps."""
    try:
        yield
    except MlflowException as error:
        raise from_mlflow_error(what, error) from error
    except (ConnectionError, TimeoutError) as error:
        raise Unavailable(f"{what}: {error}") from error


def from_mlflow_error(what: str, error: MlflowException) -> HydraulicError:
    """One error of MLflow's as this package's own."""
    status = error.get_http_status_code()
    kind = next((kind for codes, kind in FROM_STATUS if status in codes), Failed)
    return kind(f"{what}: {error.message}")
