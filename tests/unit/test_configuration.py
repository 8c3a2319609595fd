"""hydraulic.toml: every key of every table, and an error that names the key, the value and the way out."""

from __future__ import annotations

from datetime import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_hydraulic.bindings import Selector, preset
from mlflow_hydraulic.configuration import Configuration, read_configuration
from mlflow_hydraulic.errors import BadInput
from mlflow_hydraulic.policy import Policy, Rule, Window
from mlflow_hydraulic.settings import TABLES, read_settings, read_tables

EVERY_KEY = """
bindings = "both"
home = "elsewhere"
[environments.prod]
target = "seldon-local"
namespace = "live"
champion = ["alias:champion", "stage:Production"]
challenger = ["alias:challenger"]
models = "hydraulic-*"
promotes_from = "stage"
[environments.stage]
champion = ["stage:Staging"]
[policy]
protected_aliases = ["champion"]
protected_by = ["role:operator", "ds9"]
project_roles = true
[policy.prod]
allow = ["ds1", "role:operator"]
reason_required = false
not_the_trainer = true
validated = true
validators = ["role:reader"]
closed = [{ days = ["sat", "sun"] }, { days = ["fri"], start = "18:00", end = 23:30:00 }]
[policy.stage]
reason_required = true
[roles]
operator = ["ds1", "ds2"]
reader = ["ds1"]
[monitor]
notify = ["log"]
[oidc]
issuer = "https://id.example.com"
"""


def write(folder: Path, toml: str) -> dict[str, str]:
    (folder / "h.toml").write_text(toml, encoding="utf-8")
    return {"HYDRAULIC_CONFIG": str(folder / "h.toml")}


def test_every_key_is_read(tmp_path: Path) -> None:
    tables = read_tables(write(tmp_path, EVERY_KEY))
    assert set(tables) == set(TABLES)
    found = read_configuration(tables)
    assert [env.name for env in found.environments] == ["dev", "prod", "stage"]
    prod = found.environment("prod")
    assert (prod.target, prod.namespace, prod.models, prod.promotes_from) == (
        "seldon-local",
        "live",
        "hydraulic-*",
        "stage",
    )
    assert prod.champion == (Selector("alias", "champion"), Selector("stage", "Production"))
    assert prod.challenger == (Selector("alias", "challenger"),)
    assert found.environment("dev") == preset("both")[0]
    assert found.environment("stage").namespace == "stage"
    assert found.policy == Policy(
        rules={
            "prod": Rule(
                allow=("ds1", "role:operator"),
                not_the_trainer=True,
                validated=True,
                validators=("role:reader",),
                closed=(
                    Window(days=("sat", "sun")),
                    Window(days=("fri",), start=time(18), end=time(23, 30)),
                ),
            ),
            "stage": Rule(reason_required=True),
        },
        roles={"ds1": ("operator", "reader"), "ds2": ("operator",)},
        protected_aliases=("champion",),
        protected_by=("role:operator", "ds9"),
        project_roles=True,
    )


def test_settings_and_tables_share_the_file(tmp_path: Path) -> None:
    assert read_settings(write(tmp_path, EVERY_KEY)).home == Path("elsewhere")


def test_nothing_said_is_stages_and_a_reason_for_prod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert read_configuration(read_tables({})) == Configuration()
    assert Configuration().environments == preset("stages")
    assert Configuration().policy.rules["prod"].reason_required


def test_the_file_of_the_current_folder_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hydraulic.toml").write_text('bindings = "aliases"', encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert read_tables() == {"bindings": "aliases"}


def test_the_presets_rules_are_kept_where_the_file_does_not_speak() -> None:
    policy = read_configuration({"policy": {"prod": {"allow": ["ds1"]}}}).policy
    assert policy.rules["prod"] == Rule(allow=("ds1",), reason_required=True)


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ('bindings = "nonsense"', "bindings='nonsense': choose one of stages"),
        ('[policy.prod]\nvalidators = ["ds9"]', "policy.prod.validators: nobody asks them"),
        ("bindings = 3", "bindings=3: must be a text"),
        ("environments = 3", "environments=3: must be a table"),
        ("[environments]\nprod = 3", "environments.prod=3: must be a table"),
        ('[environments.prod]\nchampions = ["x"]', "environments.prod.champions: no such key; known are target"),
        ("[environments.prod]\ntarget = 3", "environments.prod.target=3: must be a text"),
        (
            '[environments.prod]\nchampion = "stage:Staging"',
            "environments.prod.champion='stage:Staging': must be a list",
        ),
        ("[environments.prod]\nchampion = [3]", "environments.prod.champion=3: must be a text"),
        ('[environments.prod]\nchampion = ["stage:Live"]', "selector 'stage:Live'"),
        ('[environments.prod]\nchampion = ["stage:None"]', "selector 'stage:None'"),
        ('[environments.prod]\nchampion = ["Production"]', "selector 'Production'"),
        ("[environments.prod]\nchampion = []", "environments.prod: says no champion"),
        ("[environments.new]\nmodels = 'x'", "environments.new: says no champion"),
        ('[environments.prod]\nnamespace = "Not a name"', "Not a name"),
        ('[environments."a b"]\nchampion = ["stage:Staging"]', "a b"),
        ('[environments.prod]\npromotes_from = "test"', "environments.prod.promotes_from='test': no such environment"),
        ('[environments.prod]\npromotes_from = "prod"', "promotes_from='prod': it leads back to prod"),
        ('[environments.dev]\npromotes_from = "prod"', "environments.dev.promotes_from='prod': it leads back to dev"),
        ("policy = []", "must be a table"),
        ("[policy.test]\nallow = []", "policy.test: no such key; known are dev, prod, protected_aliases, protected_by"),
        ("[policy.prod]\nallowed = []", "policy.prod.allowed: no such key; known are allow"),
        ('[policy.prod]\nallow = "ds1"', "policy.prod.allow='ds1': must be a list"),
        ('[policy.prod]\nreason_required = "yes"', "policy.prod.reason_required='yes': must be true or false"),
        ("[policy.prod]\nnot_the_trainer = 1", "policy.prod.not_the_trainer=1: must be true or false"),
        ("[policy.prod]\nclosed = true", "policy.prod.closed=True: must be a list"),
        ('[policy.prod]\nclosed = ["sat"]', "policy.prod.closed='sat': must be a table"),
        ('[policy.prod]\nclosed = [{ days = ["saturday"] }]', "closed days ['saturday']: name at least one of mon"),
        ('[policy.prod]\nclosed = [{ start = "08:00" }]', "closed days []"),
        ('[policy.prod]\nclosed = [{ days = ["mon"], from = "08:00" }]', "policy.prod.closed.from: no such key"),
        ('[policy.prod]\nclosed = [{ days = ["mon"], start = "8 o\'clock" }]', "write a time of day in UTC"),
        ('[policy.prod]\nclosed = [{ days = ["mon"], start = "09:00", end = "08:00" }]', "the end must be later"),
        ('[policy]\nprotected_aliases = "champion"', "policy.protected_aliases='champion': must be a list"),
        ("[policy]\nprotected_by = [1]", "policy.protected_by=1: must be a text"),
        ('[roles]\noperator = "ds1"', "roles.operator='ds1': must be a list"),
        ("roles = 1", "roles=1: must be a table"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, toml: str, message: str) -> None:
    with pytest.raises(BadInput) as error:
        read_configuration(read_tables(write(tmp_path, toml)))
    assert message in str(error.value)


def test_an_environment_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(BadInput, match=r"environment 'test': .* known are dev, prod"):
        Configuration().environment("test")


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ("[environment.prod]\nx = 1", "'environment' is no setting; known are home"),
        ('interval_s = "soon"', "interval_s='soon': must be of type float"),
        ("lease_s = 0", "HYDRAULIC_LEASE_S=0.0: must be more than 0"),
    ],
)
def test_a_key_outside_the_tables_is_a_setting_or_an_error(tmp_path: Path, toml: str, message: str) -> None:
    with pytest.raises(BadInput) as error:
        read_settings(write(tmp_path, toml))
    assert message in str(error.value)


@pytest.mark.parametrize("content", [b"bindings = ", b"\xff\xfe", b"a = 1\na = 2"])
def test_a_file_that_is_no_toml_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "h.toml").write_bytes(content)
    with pytest.raises(BadInput, match=r"h\.toml: not a readable TOML file"):
        read_tables({"HYDRAULIC_CONFIG": str(tmp_path / "h.toml")})


def test_a_named_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="there is no such file"):
        read_tables({"HYDRAULIC_CONFIG": str(tmp_path / "none.toml")})


JUNK: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.times(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["prod", "dev", "champion", "allow", "closed", "days", "start", "models", "x"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=9,
)


@given(st.dictionaries(st.sampled_from(TABLES), JUNK))
def test_whatever_the_tables_hold_is_read_or_named(tables: dict[str, Any]) -> None:
    try:
        assert read_configuration(tables).environments
    except BadInput as error:
        assert str(error)
