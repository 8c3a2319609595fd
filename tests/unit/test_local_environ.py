"""What scorers are told of the environment of whoever deployed: all but secrets."""

from __future__ import annotations

import pytest

from mlflow_hydraulic.deploy_targets.local.environ import without_secrets


@pytest.mark.parametrize(
    "name",
    [
        "MLFLOW_TRACKING_USERNAME",
        "MLFLOW_TRACKING_PASSWORD",
        "MLFLOW_TRACKING_TOKEN",
        "MLFLOW_FLASK_SERVER_SECRET_KEY",
        "MLFLOW_AUTH_ADMIN_PASSWORD",
        "MLFLOW_AUTH_CONFIG_PATH",
        "HYDRAULIC_DATABASE",
        "MLFLOW_BACKEND_STORE_URI",
        "MLFLOW_REGISTRY_STORE_URI",
        "MLFLOW_READ_REPLICA_BACKEND_STORE_URI",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_ACCESS_KEY_ID",
        "AWS_SESSION_TOKEN",
        "AZURE_STORAGE_CONNECTION_STRING",
        "AZURE_STORAGE_ACCESS_KEY",
        "GOOGLE_APPLICATION_CREDENTIALS",
        "PGPASSWORD",
        "MYSQL_PWD",
        "GITHUB_TOKEN",
        "HF_TOKEN",
        "OPENAI_API_KEY",
        "db_password",
        "SSH_AUTH_SOCK",
    ],
)
def test_a_secret_is_left_out_by_its_name(name: str) -> None:
    assert without_secrets({name: "x", "PATH": "/bin"}) == {"PATH": "/bin"}


@pytest.mark.parametrize(
    "value",
    [
        "postgresql://mlflow:pw@db/mlflow",
        "http://user:p%40ss@proxy:3128",
        "mysql+pymysql://:pw@db/m",
        "postgresql://db/mlflow?user=mlflow&password=pw",
    ],
)
def test_a_password_in_a_uri_is_left_out_whatever_the_variable_is_called(value: str) -> None:
    assert without_secrets({"ANYTHING": value}) == {}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PATH", "/usr/bin:/bin"),
        ("HOME", "/home/ds1"),
        ("LD_LIBRARY_PATH", "/opt/lib"),
        ("PYTHONPATH", "/code"),
        ("PYTHONHASHSEED", "0"),
        ("TMPDIR", "/scratch"),
        ("LANG", "C.UTF-8"),
        ("LC_ALL", "C"),
        ("OMP_NUM_THREADS", "1"),
        ("CUDA_VISIBLE_DEVICES", "0"),
        ("TOKENIZERS_PARALLELISM", "false"),
        ("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000"),
        ("MLFLOW_DISABLE_TELEMETRY", "true"),
        ("HYDRAULIC_HOME", "/home/ds1/@:/"),
        ("HYDRAULIC_DATA", "https://example.org/a:b/rig@1.zip"),
        ("PWD", "/home/ds1"),
        ("OLDPWD", "/"),
        ("KEYBOARD", "de"),
        ("COMPASS", "north"),
    ],
)
def test_what_a_scorer_may_need_stays(name: str, value: str) -> None:
    assert without_secrets({name: value}) == {name: value}
