"""Errors as HTTP answers: one shape for the REST API, MLflow's own: {"error_code": ..., "message": ...}."""

from __future__ import annotations

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

CODES: dict[type[HydraulicError], tuple[int, str]] = {
    BadInput: (400, "INVALID_PARAMETER_VALUE"),
    BadData: (400, "INVALID_PARAMETER_VALUE"),
    Refused: (403, "PERMISSION_DENIED"),
    NotFound: (404, "RESOURCE_DOES_NOT_EXIST"),
    Conflict: (409, "RESOURCE_CONFLICT"),
    Untrusted: (409, "RESOURCE_CONFLICT"),
    Failed: (422, "INVALID_STATE"),
    Unavailable: (503, "TEMPORARILY_UNAVAILABLE"),
}


def code_of(error: HydraulicError) -> tuple[int, str]:
    """HTTP status and MLflow's error code of `error`."""
    return next(CODES[kind] for kind in type(error).__mro__ if kind in CODES)


def told(error: HydraulicError) -> dict[str, object]:
    return {"error_code": code_of(error)[1], "message": str(error)}
