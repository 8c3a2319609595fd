"""A validator's verdict: kept in the ledger, the last one counts, and the gate asks for it where a rule says so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import pytest

from mlflow_hydraulic.bindings import preset
from mlflow_hydraulic.clock import utc_now
from mlflow_hydraulic.errors import BadInput
from mlflow_hydraulic.evidence import ledger, verdicts
from mlflow_hydraulic.evidence.words import told
from mlflow_hydraulic.people.rights import Role, Who
from mlflow_hydraulic.policy import Move, Policy, Rule, judge
from tests.support.house import DS1, DS2, add_project
from tests.support.registrar import API, Registry, make_registry

AT = "/models/m/versions/1/verdicts"
DEPLOY = "/models/m/environments/prod/deploy"
ONE = {"arms": [{"version": 1}]}
RULES = Policy(rules={"prod": Rule(validated=True)})
ENTERS = Move(
    kind="stage",
    model="m",
    version=1,
    actor="ds2",
    reason="",
    now=datetime(2026, 11, 23, tzinfo=timezone.utc),
    before="Staging",
    after="Production",
    stage="Staging",
    trainer="ds1",
)


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    monkeypatch.setenv("HYDRAULIC_CONFIG", str(tmp_path / "hydraulic.toml"))
    made = make_registry(tmp_path, "[policy.prod]\nreason_required = false\nvalidated = true\n")
    made.model(trainer="ds1")
    yield made
    made.close()


@pytest.mark.parametrize(
    ("verdict", "validator", "trainer", "words"),
    [
        ("", "", "ds1", "nobody gave a verdict on version 1"),
        ("rejected", "ds2", "ds1", "version 1 was rejected by 'ds2'"),
        ("approved", "ds1", "ds1", "'ds1' trained version 1"),
        ("approved", "anonymous", "ds1", "nobody was logged in"),
        ("approved", "ds2", "", "who trained version 1 is not known"),
        ("approved", "ds2", "ds1", ""),
    ],
)
def test_only_what_somebody_else_approved_enters(verdict: str, validator: str, trainer: str, words: str) -> None:
    move = replace(ENTERS, verdict=verdict, validator=validator, trainer=trainer)
    found = judge(move, preset("stages"), RULES)
    assert found.allowed is (words == "")
    assert words in "; ".join(found.reasons)
    leaves = replace(move, before="Production", after="Archived", stage="Production")
    assert judge(leaves, preset("stages"), RULES).allowed


def test_only_the_named_validators_verdict_counts() -> None:
    """Whoever makes a project makes its validators: an organisation names its own."""
    rule = Rule(validated=True, validators=("ds9", "role:validator"))
    move = replace(ENTERS, verdict="approved", validator="ds2", trainer="ds1")
    policy = Policy(rules={"prod": rule})
    found = judge(move, preset("stages"), policy)
    assert found.reasons == ("only ds9 or the role validator may approve versions for PROD, not 'ds2'",)
    assert judge(replace(move, validator="ds9"), preset("stages"), policy).allowed
    assert judge(move, preset("stages"), replace(policy, roles={"ds2": ("validator",)})).allowed


def test_the_gate_asks_for_the_last_verdict(registry: Registry) -> None:
    def refused() -> str:
        shown = registry.post(f"{DEPLOY}/preview", ONE, who=DS2).json
        answer = registry.post(DEPLOY, ONE, who=DS2)
        assert [answer.status_code == 200] == [shown["allowed"]]
        said = "; ".join(shown["refused"])
        assert said in answer.json.get("message", "")
        return said

    registry.house.accounts.other = "manage"
    assert "nobody gave a verdict" in refused()
    assert registry.post(AT, {"verdict": "rejected"}, who=DS2).status_code == 400
    registry.post(AT, {"verdict": "rejected", "reason": "it fails on cold starts"})
    assert "was rejected by 'ds2'" in refused()
    registry.post(AT, {"verdict": "approved", "reason": "I trained it"}, who=DS1)
    assert "'ds1' trained version 1" in refused()
    said = registry.post(AT, {"verdict": "approved", "reason": "back-tested"}, who=DS2)
    assert (said.json["verdict"], said.json["by"], said.json["by_trainer"]) == ("approved", "ds2", False)
    assert refused() == ""
    found = registry.browser.get(f"{API}{AT}").get_json()
    assert [(one["verdict"], one["by_trainer"]) for one in found] == [
        ("approved", False),
        ("approved", True),
        ("rejected", False),
    ]


def test_only_validators_and_owners_give_one(registry: Registry) -> None:
    add_project(registry.house.engine, "rig", {"ds1": Role.OPERATOR, "ds2": Role.VALIDATOR})
    registry.own.set_registered_model_tag("m", "hydraulic.project", "rig")
    body = {"verdict": "approved", "reason": "x"}
    assert registry.post(AT, body, who=DS1).status_code == 403
    assert registry.post(AT, body, who=DS2).status_code == 200
    assert registry.post(AT, body, who=Who(name="ds3")).status_code == 404
    for version in ("9", "0", "x", "1" * 30, "\u0661"):
        assert registry.post(f"/models/m/versions/{version}/verdicts", body, who=DS2).status_code == 404


def test_what_was_said_of_a_namesake_does_not_count(registry: Registry) -> None:
    def last(model: str) -> tuple[str, str]:
        with registry.house.engine.connect() as connection:
            return verdicts.last(connection, "default", model, 1)

    registry.post(AT, {"verdict": "approved", "reason": "x"}, who=Who())
    registry.own.rename_registered_model("m", "n")
    assert last("n")[0] == "approved"
    registry.own.delete_registered_model("n")
    registry.own.create_registered_model("n")
    registry.own.create_model_version("n", "s3://models/n/1", None)
    assert last("n") == ("", "")


def test_it_is_a_sentence_of_the_ledger(registry: Registry) -> None:
    with registry.house.engine.begin() as connection:
        for word in ("rejected", "approved"):
            row = verdicts.give(
                connection, "default", "m", 1, word=word, actor="ds2", reason=" better now ", now=utc_now()
            )
        assert told(row) == "ds2 approved version 1 (was rejected): better now"
        assert ledger.verify(connection).holds
        for reason in ("", " ", "x" * 2001, "a\0b", "\ud800"):
            with pytest.raises(BadInput):
                verdicts.give(connection, "default", "m", 1, word="approved", actor="ds2", reason=reason, now=utc_now())
