"""Acts over REST on MLflow's real registry store: shown before they are done, done as a whole, judged, on record."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from mlflow_hydraulic.clock import utc_now
from mlflow_hydraulic.evidence import ledger, sight
from mlflow_hydraulic.evidence.sight import Changes, Part, Said, Seen
from mlflow_hydraulic.people.rights import Role
from tests.support.house import DS1, DS2, add_project
from tests.support.registrar import API, Registry, make_registry

DEV, PROD = (f"/models/m/environments/{name}" for name in ("dev", "prod"))
ONE = {"arms": [{"version": 3}]}


def arms(*shares: tuple[int, int], **more: object) -> dict[str, object]:
    return {"arms": [{"version": version, "share": share} for version, share in shares], **more}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HYDRAULIC_CONFIG", str(tmp_path / "hydraulic.toml"))
    return tmp_path


@pytest.fixture
def registry(folder: Path) -> Iterator[Registry]:
    made = make_registry(folder)
    made.model()
    yield made
    made.close()


def rows(registry: Registry) -> list[ledger.Row]:
    with registry.house.engine.connect() as connection:
        assert ledger.verify(connection).holds
        return list(ledger.rows(connection))


def stages(registry: Registry) -> list[str]:
    return [version.stage for version in registry.registrar.model("m").versions]


def seen(registry: Registry, environment: str, *versions: int) -> None:
    """The controller was here and saw these run."""
    parts = tuple(
        Part(
            role="champion", name=f"v{n}", model="m", version=str(n), uri=f"models:/m/{n}", traffic=100 // len(versions)
        )
        for n in versions
    )
    one = Seen(
        environment=environment,
        deployment="m",
        model="m",
        managed=True,
        state="healthy",
        said=Said(predictors=parts),
    )
    with registry.house.engine.begin() as connection:
        looked = [(environment, utc_now().isoformat(), "")]
        sight.write(connection, "default", Changes(new=[one], looks=looked), utc_now())


def test_what_is_shown_is_what_is_done_and_the_ledger_tells_it(registry: Registry) -> None:
    shown = registry.post(f"{PROD}/deploy/preview", ONE).json
    assert (shown["before"], shown["after"]) == ("nothing", "v3")
    assert shown["callers"] == ["PROD gets an address, and its callers get answers of version 3"]
    assert (shown["allowed"], shown["reason_required"]) == (True, True)
    assert rows(registry) == []
    whole = {**ONE, "reason": "beats 2", "digest": shown["digest"]}
    assert registry.post(f"{PROD}/deploy/preview", whole).json == shown, "what is to be done can be shown as it is"
    done = registry.post(f"{PROD}/deploy", whole)
    assert done.status_code == 200
    assert done.json["moved"] == shown["moves"]
    assert done.json["watch"] == "/hydraulic/deployments/prod/m"
    assert [(row.verb, row.after, row.reason) for row in rows(registry)] == [("stage", '"Production"', "beats 2")]
    assert registry.post(f"{PROD}/deploy", {**ONE, "reason": "again"}).json["moved"] == []


def test_a_reason_in_the_header_counts_as_well(registry: Registry) -> None:
    headers = {"X-Hydraulic-Reason": "tr%C3%A8s%20bien"}
    assert registry.browser.post(f"{API}{PROD}/deploy", json=ONE, headers=headers).status_code == 200
    assert rows(registry)[-1].reason == "très bien"


def test_a_refusal_comes_with_its_reasons_and_is_on_record_and_nothing_is_moved(registry: Registry) -> None:
    refused = registry.post(f"{PROD}/deploy", arms((3, 70), (2, 30)))
    assert refused.status_code == 403
    assert "PROD asks for a reason" in refused.json["message"]
    assert stages(registry) == ["None"] * 3
    assert {row.verb for row in rows(registry)} == {"refused"}


def test_challenger_split_end_and_the_way_back(registry: Registry) -> None:
    registry.post(f"{PROD}/deploy", {**ONE, "reason": "x"})
    seen(registry, "prod", 3)
    shown = registry.post(f"{PROD}/deploy/preview", arms((3, 100), challenger=2)).json
    assert shown["callers"] == ["version 2 gets a copy of every request to PROD; nobody gets its answers"]
    shown = registry.post(f"{PROD}/deploy/preview", arms((3, 80), (2, 20))).json
    told = "callers of PROD get answers of version 2 (20 %) and version 3 (80 %) instead of version 3"
    assert shown["callers"] == [f"{told}; no request fails meanwhile"]
    assert registry.post(f"{PROD}/deploy", arms((3, 80), (2, 20), reason="x")).status_code == 200
    assert "held" not in " ".join(row.after for row in rows(registry))
    assert registry.post(f"{PROD}/end", {}).status_code == 400
    shown = registry.post(f"{PROD}/end/preview").json
    assert shown["callers"] == ["callers of PROD get no answers any more: its address goes away"]
    assert registry.post(f"{PROD}/end", {"reason": "sold"}).status_code == 200
    assert stages(registry) == ["None", "Archived", "Archived"]


def test_who_looked_before_somebody_moved_does_nothing(registry: Registry) -> None:
    digest = registry.post(f"{PROD}/deploy/preview", ONE).json["digest"]
    registry.post(f"{DEV}/deploy", arms((1, 100)))
    late = registry.post(f"{PROD}/deploy", {**ONE, "reason": "x", "digest": digest})
    assert late.status_code == 409
    assert "somebody moved it meanwhile" in late.json["message"]
    assert stages(registry) == ["Staging", "None", "None"]


def test_of_two_at_once_one_does_it_and_the_other_is_told(registry: Registry) -> None:
    digest = registry.post(f"{PROD}/deploy/preview", ONE).json["digest"]
    together = Barrier(2)

    def ask(version: int) -> int:
        body = {**arms((version, 100)), "reason": f"v{version}", "digest": digest}
        together.wait(30)
        return int(registry.application.test_client().post(f"{API}{PROD}/deploy", json=body).status_code)

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(ask, (2, 3))) == [200, 409]
    assert sorted(stages(registry)) == ["None", "None", "Production"]
    assert len(rows(registry)) == 1


def test_refused_in_the_middle_everything_is_as_it_was(folder: Path) -> None:
    made = make_registry(folder, '[policy]\nprotected_aliases = ["challenger"]\nprotected_by = ["somebody"]\n')
    made.model()
    made.post(f"{PROD}/deploy", {**ONE, "reason": "x"})
    before = made.registrar.model("m")
    wish = arms((1, 60), (3, 40), challenger=2)
    shown = made.post(f"{PROD}/deploy/preview", wish).json
    assert not shown["allowed"]
    assert "only somebody may move the protected alias 'challenger'" in shown["refused"][0]
    refused = made.post(f"{PROD}/deploy", {**wish, "reason": "x"})
    assert refused.status_code == 403
    assert shown["refused"][0] in refused.json["message"]
    assert made.registrar.model("m") == before
    assert rows(made)[-1].verb == "refused"
    made.close()


def test_roles_say_who_deploys_where_and_a_refusal_is_on_record(registry: Registry) -> None:
    add_project(registry.house.engine, "rig", {"ds1": Role.OPERATOR, "ds2": Role.CONTRIBUTOR})
    registry.own.set_registered_model_tag("m", "hydraulic.project", "rig")
    shown = registry.post(f"{PROD}/deploy/preview", ONE, who=DS2).json
    assert not shown["allowed"]
    assert "'ds2' is contributor of" in shown["refused"][0]
    assert registry.post(f"{PROD}/deploy", {**ONE, "reason": "x"}, who=DS2).status_code == 403
    last = rows(registry)[-1]
    assert (last.verb, last.actor, last.environment) == ("refused", "ds2", "prod")
    assert registry.post(f"{DEV}/deploy", ONE, who=DS2).status_code == 200
    assert registry.post(f"{DEV}/end", {"reason": "x"}, who=DS2).status_code == 403
    assert registry.post(f"{PROD}/deploy", {**ONE, "reason": "x"}, who=DS1).status_code == 200
    assert rows(registry)[-1].actor == "ds1"
    ds3 = type(DS1)(name="ds3")
    for path in ("deploy/preview", "deploy", "end/preview", "rollback/preview"):
        assert registry.post(f"{PROD}/{path}", ONE, who=ds3).status_code == 404, path


def test_a_canary_is_told_before_it_begins_and_words_are_refused_where_there_is_none(folder: Path) -> None:
    made = make_registry(folder, "[environments.prod.canary]\nsteps = [10, 50]\n")
    made.model()
    made.post(f"{PROD}/deploy", {**arms((2, 100)), "reason": "x"})
    seen(made, "prod", 2)
    shown = made.post(f"{PROD}/deploy/preview", ONE).json
    assert shown["callers"][1].startswith("10 % of them first, then 50 %, then all: each step lasts 600 s and 100")
    assert shown["plan"][0]["change"] == "v2 → v2 90%/v3 10%"
    refused = made.post(f"{PROD}/canary", {"word": "abort", "reason": "x"})
    assert (refused.status_code, "there was none" in refused.json["message"]) == (409, True)
    made.close()


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        (f"{PROD}/deploy", arms((3, 80), (2, 30)), 400),
        (f"{PROD}/deploy", arms((3, 0)), 400),
        (f"{PROD}/deploy", arms((10**30, 100)), 400),
        (f"{PROD}/deploy", {"arms": []}, 400),
        (f"{PROD}/deploy", {"arms": [{"version": 3}], "digest": "x"}, 400),
        (f"{PROD}/deploy", {"arms": [{"version": 3}], "reason": "x" * 2001}, 400),
        (f"{PROD}/deploy", {"arms": [{"version": 3}], "else": 1}, 400),
        (f"{PROD}/deploy", arms((9, 100)), 404),
        ("/models/m/environments/moon/deploy", ONE, 404),
        ("/models/nobody/environments/prod/deploy", ONE, 404),
        (f"{PROD}/rollback", {"reason": "x"}, 404),
        (f"{PROD}/end", {"reason": "x"}, 404),
        (f"{PROD}/canary", {"word": "stop", "reason": "x"}, 400),
    ],
)
def test_what_makes_no_sense_is_said_and_moves_nothing(
    registry: Registry, path: str, body: dict[str, Any], status: int
) -> None:
    answer = registry.post(path, body)
    assert answer.status_code == status, answer.json
    assert answer.json["message"]
    assert stages(registry) == ["None"] * 3


def test_a_reason_that_no_database_takes_is_kept_as_far_as_it_goes(registry: Registry) -> None:
    raw = json.dumps({**ONE, "reason": "a\0b"})
    answer = registry.browser.post(f"{API}{PROD}/deploy", data=raw, content_type="application/json")
    assert answer.status_code == 200
    assert rows(registry)[-1].reason == "a\ufffdb"
    half = '{"arms": [{"version": 2}], "reason": "\\ud800"}'
    answer = registry.browser.post(f"{API}{PROD}/deploy", data=half, content_type="application/json")
    assert answer.status_code in (200, 400)
