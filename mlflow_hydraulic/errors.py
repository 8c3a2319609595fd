"""The errors that this package raises, and which of them are worth a retry.

    HydraulicError
    ├── BadInput       a value breaks a rule: an argument, a setting, a request
    ├── BadData        a data file is damaged; knows file, row and column
    ├── NotFound       what was asked for does not exist
    ├── Conflict       it exists already, or someone changed it meanwhile
    ├── Refused        a policy says no
    ├── Untrusted      a digest, a certificate or a signature does not fit
    ├── Failed         a target or a model cannot do it, and will not by itself
    └── Unavailable    something is away for now: the only one worth a retry

A message names the value, the rule and the way out. Exit codes, HTTP statuses and MLflow error codes are not
known here: the skins (command line, dialects, plugin) keep those tables.
"""

from __future__ import annotations

from dataclasses import dataclass


class HydraulicError(Exception):
    """Base of all errors of this package; permanent unless a subclass says otherwise."""

    retryable = False


class BadInput(HydraulicError):
    """A value breaks a rule that the message names."""


@dataclass
class BadData(HydraulicError):
    """A data file is damaged.

    `row` and `column` count from 1, as an editor does; None where the whole file or row is meant.
    """

    file: str
    problem: str
    row: int | None = None
    column: str | int | None = None

    def __str__(self) -> str:
        place = [self.file]
        if self.row is not None:
            place.append(f"row {self.row}")
        if self.column is not None:
            place.append(f"column {self.column}")
        return f"{', '.join(place)}: {self.problem}"


class NotFound(HydraulicError):
    """What was asked for does not exist."""


class Conflict(HydraulicError):
    """It exists already, or it was changed meanwhile."""


class Refused(HydraulicError):
    """A policy says no; the message gives its reasons."""


class Untrusted(HydraulicError):
    """A digest, certificate or signature does not fit what was found."""


class Failed(HydraulicError):
    """It cannot be done, and trying again changes nothing; the message gives the cause."""


class Unavailable(HydraulicError):
    """Something is away for now; a later try may succeed."""

    retryable = True
