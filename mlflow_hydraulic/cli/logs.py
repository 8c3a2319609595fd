"""Log lines of `hydraulic`'s long-running commands: one line, or one JSON object, for each record. No secret in any.

Names come from MLflow, which lets them hold line breaks and escapes: shown here, never obeyed.
"""

from __future__ import annotations

import json
import logging
import sys
from dataclasses import fields

from mlflow_hydraulic.cli.table import printable, printable_lines
from mlflow_hydraulic.settings import Settings


class Lines(logging.Formatter):
    """Time, level, what; a traceback's lines are indented, so that no line of it passes for another record."""

    def __init__(self, layout: str = "%(asctime)s %(levelname)s %(message)s") -> None:
        super().__init__(layout)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging calls it so
        return printable(super().formatMessage(record))

    def formatException(self, ei: object) -> str:  # noqa: N802 - logging calls it so
        trace = super().formatException(ei)  # type: ignore[arg-type]  # typeshed's type for it is private
        return "\n".join(f"  {line}" for line in printable_lines(trace).split("\n"))


class JsonLines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        said = {"time": self.formatTime(record), "level": record.levelname, "message": record.getMessage()}
        if record.exc_info:
            said["traceback"] = self.formatException(record.exc_info)
        return json.dumps(said)


def log_to_stderr(*, json_logs: bool = False) -> None:
    """Log lines of the controller."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if json_logs else Lines())
    logger = logging.getLogger("hydraulic")
    logger.handlers[:] = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False


def settings_line(settings: Settings) -> str:
    """All settings in one line, for the start of a log; the database without its password."""
    values = {field.name: getattr(settings, field.name) for field in fields(Settings)}
    if settings.database:
        from mlflow_hydraulic.evidence.database import safe_uri  # a scorer has no database and starts without this

        values["database"] = safe_uri(settings.database)
    return "settings: " + " ".join(f"{name}={value}" for name, value in values.items())
