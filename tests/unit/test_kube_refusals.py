"""What the API server says no with, as our errors; and how long a call is repeated."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_hydraulic.deploy_targets.kubernetes.backoff import Patience, retry_after_s
from mlflow_hydraulic.deploy_targets.kubernetes.refusals import (
    Expired,
    Forbidden,
    NotServed,
    Owned,
    Stale,
    refusal,
)
from mlflow_hydraulic.errors import BadInput, Conflict, HydraulicError, NotFound, Refused, Unavailable


def status(message: str, reason: str = "", **details: object) -> str:
    return json.dumps({"kind": "Status", "message": message, "reason": reason, "details": details})


@pytest.mark.parametrize(
    ("code", "body", "kind", "words"),
    [
        (400, status("strict decoding error: unknown field"), BadInput, "unknown field"),
        (401, status("Unauthorized"), Refused, "renew the token"),
        (403, status("pods is forbidden"), Forbidden, "pods is forbidden"),
        (403, status("exceeded quota: team"), Forbidden, "a larger quota"),
        (404, status("not found", name="cooler"), NotFound, "not found"),
        (404, "404 page not found\n", NotServed, "404 page not found"),
        (409, status("exists", "AlreadyExists"), Conflict, "exists"),
        (409, status("the object has been modified", "Conflict"), Stale, "has been modified"),
        (410, status("too old resource version", "Expired"), Expired, "too old"),
        (422, status('admission webhook "v" denied the request: Traffic must sum to 100'), BadInput, "denied"),
        (429, status("too many requests"), Unavailable, "too many"),
        (500, status('failed calling webhook "v": connection refused'), Unavailable, "webhook"),
        (503, "<html>upstream connect error</html>", Unavailable, "upstream"),
    ],
)
def test_each_answer_is_one_error(code: int, body: str, kind: type[HydraulicError], words: str) -> None:
    found = refusal(code, body, "apply SeldonDeployment prod/cooler")
    assert type(found) is kind
    assert str(found).startswith(f"apply SeldonDeployment prod/cooler: the API server answers {code}: ")
    assert words in str(found)


def test_a_conflict_of_field_managers_names_fields_and_owners() -> None:
    causes = [
        {"reason": "FieldManagerConflict", "message": 'conflict with "kubectl-edit" using v1', "field": ".spec.a"},
        {"reason": "FieldManagerConflict", "message": 'conflict with "argocd"', "field": ".spec.b"},
    ]
    found = refusal(409, status("Apply failed with 2 conflicts", "Conflict", causes=causes), "apply x")
    assert isinstance(found, Owned)
    assert found.owners == {"kubectl-edit", "argocd"}
    assert ".spec.a belongs to 'kubectl-edit'; .spec.b belongs to 'argocd'" in str(found)


@given(st.integers(300, 599), st.binary(max_size=200))
def test_no_answer_breaks_the_translation(code: int, body: bytes) -> None:
    assert isinstance(refusal(code, body, "x"), HydraulicError)


def test_a_long_answer_is_cut() -> None:
    assert len(str(refusal(500, "x" * 10**6, "x"))) < 2000


@given(st.integers(1, 10_000), st.none() | st.floats(0, 3600), st.floats(0, 1))
def test_waits_are_bounded_and_never_shorter_than_the_server_asks(tries: int, asked: float | None, draw: float) -> None:
    patience = Patience(first_s=0.1, longest_s=5.0)
    wait = patience.wait_s(tries, asked, draw)
    assert 0 < wait <= max(5.0, asked or 0)
    assert wait >= (asked or 0)


@pytest.mark.parametrize("text", ["", "soon", "-1", "1.5", "Wed, 21 Oct 2026 07:28:00 GMT", "٣"])
def test_a_retry_after_that_is_no_number_of_seconds_is_none(text: str) -> None:
    assert retry_after_s({"Retry-After": text}) is None
    assert retry_after_s(None) is None
