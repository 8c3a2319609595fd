"""One request as the handlers of pages and routes see it: who asks, why, and what stands behind the pages."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from mlflow_hydraulic.clock import utc_now
from mlflow_hydraulic.people.rights import Who
from mlflow_hydraulic.web.house import House


@dataclass(frozen=True, kw_only=True)
class Ask:
    """reason: what they typed, from the header X-Hydraulic-Reason, percent-decoded."""

    house: House
    who: Who
    reason: str = ""
    now: datetime = field(default_factory=utc_now)
