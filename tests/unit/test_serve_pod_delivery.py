"""How a pod gets its model: from a folder at once, else by a process that may fail in every way a process can."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import PERMISSION_DENIED

from mlflow_hydraulic.bundle.digest import digest_folder
from mlflow_hydraulic.errors import BadData, Failed, HydraulicError, NotFound, Refused, Unavailable, Untrusted
from mlflow_hydraulic.plugin import delivery, delivery_process, models
from tests.support.local import until


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "a model"
    folder.mkdir()
    (folder / "MLmodel").write_text("flavors: {}\n")
    return folder


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "PROCESS", "tests.support.fake_delivery")
    monkeypatch.setattr(delivery, "FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(delivery, "END_S", 0.2)


def _deliver(uri: str, home: Path, digest: str = "0" * 64, *, patience_s: float = 0.2) -> tuple[Path, list[str]]:
    told: list[str] = []
    home.mkdir(exist_ok=True)
    folder = asyncio.run(delivery.deliver(uri, home, digest, tell=told.append, patience_s=patience_s))
    return folder, told


def test_a_folder_is_taken_where_it_lies(model: Path, tmp_path: Path) -> None:
    for uri in (str(model), model.as_uri()):  # the latter has %20 for the blank
        folder, told = _deliver(uri, tmp_path / "home", digest_folder(model))
        assert folder == model and told == ["checking the digest"]
    assert not (tmp_path / "home" / "attempts").exists()


def test_another_digest_is_refused_wherever_the_model_comes_from(model: Path, tmp_path: Path) -> None:
    for uri in (str(model), f"fake:after:0:{model}"):
        with pytest.raises(Untrusted, match=f"{'0' * 64}: this is another model"):
            _deliver(uri, tmp_path / "home")


def test_a_folder_without_a_model_is_named_and_so_is_the_one_inside(model: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"no file MLmodel .* there is one in a model"):
        _deliver(str(model.parent), tmp_path / "home")


def test_what_is_here_already_is_not_fetched_again_unless_it_is_damaged(model: Path, tmp_path: Path) -> None:
    home, digest = tmp_path / "home", digest_folder(model)
    here = home / "models" / digest
    here.mkdir(parents=True)
    (here / "MLmodel").write_bytes((model / "MLmodel").read_bytes())
    assert _deliver("fake:error:Failed", home, digest)[0] == here
    (here / "MLmodel").write_text("flavors: {evil: }\n")
    assert _deliver(f"fake:after:0:{model}", home, digest)[0] == model


def test_a_server_that_is_away_is_asked_again(model: Path, tmp_path: Path) -> None:
    folder, told = _deliver(f"fake:after:2:{model}", tmp_path / "home", digest_folder(model), patience_s=30)
    assert folder == model
    assert any("waiting to fetch" in doing and "away" in doing for doing in told)
    assert any("attempt 3" in doing for doing in told)


def test_patience_has_an_end(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"away \(asked \d+ times in \d+ s\)"):
        _deliver("fake:after:99:", tmp_path / "home", patience_s=0.1)
    assert 1 <= int((tmp_path / "home" / "attempts").read_text()) <= 5


@given(patience=st.floats(0, 1e4))
def test_waits_grow_to_a_bound_and_fit_in_the_patience(patience: float) -> None:
    waits = delivery.waits(patience)
    assert sum(waits) <= patience and waits == sorted(waits)
    assert all(wait <= delivery.LONGEST_WAIT_S for wait in waits)


@pytest.mark.parametrize(
    ("uri", "kind", "words"),
    [
        ("fake:error:NotFound", NotFound, "it is NotFound"),
        ("fake:error:Refused", Refused, "it is Refused"),
        ("fake:error:SystemExit", Failed, "exit code 0"),  # no error of ours
        ("fake:exit:3", Failed, "exit code 3"),
        ("fake:killed", Failed, "signal 9; was its memory limit reached"),
    ],
)
def test_what_cannot_be_fetched_is_not_asked_for_twice(
    tmp_path: Path, uri: str, kind: type[HydraulicError], words: str
) -> None:
    with pytest.raises(kind, match=words):
        _deliver(uri, tmp_path / "home", patience_s=30)
    assert (tmp_path / "home" / "attempts").read_text() == "1"


def test_a_fetch_that_is_given_up_leaves_no_process_even_one_that_ignores_sigterm(tmp_path: Path) -> None:
    async def give_up() -> int:
        asked = delivery.deliver("fake:hang", tmp_path, "0" * 64, tell=lambda _: None, patience_s=30)
        task = asyncio.create_task(asked)
        await asyncio.to_thread(
            until, lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text(), "it runs"
        )
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return int((tmp_path / "pid").read_text())

    assert not psutil.pid_exists(asyncio.run(give_up()))


class TestProcess:
    """What the process makes of the errors of MLflow and of storage libraries, in this process."""

    @pytest.mark.parametrize(
        ("raised", "kind"),
        [
            (NotFound("gone"), NotFound),
            (ModuleNotFoundError("No module named 'boto3'"), Failed),
            (RuntimeError("the storage's own words"), Unavailable),
        ],
    )
    def test_errors_become_ours(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raised: Exception, kind: type[HydraulicError]
    ) -> None:
        monkeypatch.setattr(delivery_process, "fetch", _raises(raised))
        with pytest.raises(kind) as caught:
            delivery_process.fetched("s3://bucket/model", tmp_path)
        assert str(raised) in str(caught.value)

    def test_who_may_not_read_it_is_not_asked_to_wait(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        error = Unavailable("the server said no")
        error.__cause__ = MlflowException("Permission denied", error_code=PERMISSION_DENIED)
        monkeypatch.setattr(delivery_process, "fetch", _raises(error))
        with pytest.raises(Refused, match="MLFLOW_TRACKING_USERNAME"):
            delivery_process.fetched("models:/m/1", tmp_path)

    @pytest.mark.parametrize(("uri", "asked"), [("abfs://c@a/m", "abfss://c@a/m"), ("s3://b/m", "s3://b/m")])
    def test_storage_is_named_as_mlflow_names_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uri: str, asked: str
    ) -> None:
        seen = []

        def fetch(uri: str, home: Path) -> SimpleNamespace:
            seen.append(uri)
            return SimpleNamespace(digest="d")

        monkeypatch.setattr(delivery_process, "fetch", fetch)
        assert delivery_process.fetched(uri, tmp_path) == tmp_path / "models" / "d"
        assert seen == [asked]

    def test_damaged_data_is_told_in_words(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(delivery_process, "fetch", _raises(BadData("MLmodel", "is no YAML")))
        said = delivery_process.outcome("models:/m/1", tmp_path)
        assert said == {"error": "Failed", "message": "MLmodel: is no YAML"}


@pytest.mark.parametrize(
    ("status", "kind"), [(401, Refused), (403, Refused), (404, NotFound), (503, Unavailable), (None, Unavailable)]
)
def test_a_server_of_plain_http_says_whether_it_is_worth_a_retry(
    status: int | None, kind: type[HydraulicError]
) -> None:
    error = requests.HTTPError("no")
    if status is not None:
        error.response = requests.Response()
        error.response.status_code = status
    assert type(models._of_network("model", error)) is kind


def test_what_a_killed_fetch_left_is_swept_and_what_a_live_one_has_is_not(tmp_path: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    folders = {pid: tmp_path / "models" / f".fetching-{pid}-x" for pid in (ended.pid, os.getpid(), os.getppid(), "x")}
    for folder in folders.values():
        folder.mkdir(parents=True)
    models.sweep(tmp_path)
    assert [pid for pid, folder in folders.items() if folder.exists()] == [os.getppid()]


def _raises(error: Exception) -> Callable[..., None]:
    def fetch(*_: object) -> None:
        raise error

    return fetch
