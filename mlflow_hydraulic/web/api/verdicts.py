"""What those who validate say of a version: approved or rejected, with a reason. The last verdict counts."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from mlflow_hydraulic.people.rights import Right
from mlflow_hydraulic.web.acts import judging
from mlflow_hydraulic.web.acts.judging import Given
from mlflow_hydraulic.web.ask import Ask
from mlflow_hydraulic.web.route import route

AREA = "acts"


class NewVerdict(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A verdict. reason: at least one character, here or as the header X-Hydraulic-Reason."""

    verdict: Literal["approved", "rejected"]
    reason: Annotated[str, Meta(max_length=2000)] = ""


@route("GET", "/models/{model}/versions/{version}/verdicts", right=Right.VIEW, area=AREA)
def list_verdicts(ask: Ask, model: str, version: str) -> list[Given]:
    """Every verdict on a version, the newest first: that one counts."""
    return judging.verdicts_of(ask, model, version)


@route("POST", "/models/{model}/versions/{version}/verdicts", right=Right.VALIDATE, area=AREA)
def give_verdict(ask: Ask, model: str, version: str, body: NewVerdict) -> Given:
    """Approve or reject a version; where policy.ENVIRONMENT has `validated`, only approved ones enter."""
    return judging.judge(ask, model, version, body.verdict, body.reason or ask.reason)
