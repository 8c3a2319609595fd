"""Exit codes of `hydraulic`: the command line's own table, as HTTP statuses are the dialects'."""

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

EXIT_CODES: dict[type[HydraulicError], int] = {
    Failed: 1,
    BadInput: 2,
    BadData: 3,
    NotFound: 4,
    Conflict: 5,
    Refused: 6,
    Untrusted: 7,
    Unavailable: 8,
}


def exit_code(error: HydraulicError) -> int:
    """The exit code of `error`: its class's, or that of the nearest class above it; 1 for the base class."""
    return next((EXIT_CODES[kind] for kind in type(error).__mro__ if kind in EXIT_CODES), 1)
