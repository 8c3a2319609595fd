"""Asks a scorer, in one of its dialects, until a row is answered. Called by `run`.

What cannot have been read by the scorer is sent again; what may have been is looked up in the prediction record first.
"""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import requests
from urllib3.exceptions import MaxRetryError, NewConnectionError

from mlflow_hydraulic.errors import Unavailable

TIMEOUT_S = (5.0, 120.0)
PAUSE_S, LONGEST_PAUSE_S = 0.2, 5.0
IDLE_S = 2.0  # after which servers may have closed a connection
NOT_NOW = (429, 503)  # nothing was scored
IN_DOUBT = (502, 504)  # a gateway knows no more than we
FOUND = 200
DIALECTS = ("seldon", "mlflow", "v2", "tutorial")
Json = Any  # a JSON value
Known = Callable[[str], bool | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """What a scorer says of its model; empty where it does not say."""

    name: str = ""
    names: tuple[str, ...] = ()
    target: str = ""


@dataclass(slots=True)
class Trouble:
    """How often it had to be asked again. repeated: sent twice, for nobody could tell whether it was scored."""

    retries: int = 0
    repeated: int = 0
    found: int = 0


class Stopped(Exception):
    """The person wants no more."""


def read_model(url: str) -> Model:
    """What `GET /metadata` tells; an empty model where nothing is there that we can read."""
    try:
        answer = requests.get(f"{url}/metadata", timeout=TIMEOUT_S)
        if answer.status_code != 200:
            return Model()
        said = answer.json()
        names = tuple(str(name) for name in said["inputs"][0]["schema"]["names"])
        return Model(name=str(said["name"]), names=names, target=str(said.get("custom", {}).get("target", "")))
    except requests.exceptions.JSONDecodeError:
        return Model()
    except requests.RequestException as error:
        raise Unavailable(f"{url}: {error}: is it running, and is this its address?") from error
    except (KeyError, IndexError, TypeError):
        return Model()


class Asker:
    """One connection. known: whether an id is in the record; None where that cannot be told.

    told: called with what is waited for, when something is away.
    """

    def __init__(
        self,
        url: str,
        dialect: str,
        model: Model,
        *,
        known: Known,
        stopping: threading.Event,
        told: Callable[[str], None],
    ) -> None:
        self.trouble = Trouble()
        self._url, self._dialect, self._model = url, dialect, model
        self._known, self._stopping, self._told = known, stopping, told
        self._session = requests.Session()
        self._session.trust_env = False
        self._last = 0.0

    def score(self, prediction_id: str, row: Sequence[float], *, doubtful: bool = False) -> int:
        """The status of the answer. doubtful: an earlier process may have sent it. `Stopped` where it is not known."""
        if doubtful and self._is_there(prediction_id):
            return FOUND
        path, body = request_of(self._dialect, self._model, prediction_id, row)
        headers = {"X-Prediction-Id": prediction_id, "Seldon-Puid": prediction_id}
        return self._ask(path, body, headers, prediction_id)

    def feed_back(self, prediction_id: str, label: Json) -> int:
        """Send a true value as Seldon's feedback; twice does no harm."""
        body = {"response": {"meta": {"puid": prediction_id}}, "truth": {"data": {"ndarray": [[label]]}}}
        return self._ask("/api/v1.0/feedback", body, {"Seldon-Puid": prediction_id}, "")

    def close(self) -> None:
        self._session.close()

    def _ask(self, path: str, body: Json, headers: dict[str, str], prediction_id: str) -> int:
        pause_s = PAUSE_S
        data = json.dumps(body).encode()
        while True:
            if time.monotonic() - self._last > IDLE_S:
                self._session.close()
            doubtful, why, status = False, "", 0
            try:
                answer = self._session.post(
                    self._url + path,
                    data=data,
                    headers={"Content-Type": "application/json", **headers},
                    timeout=TIMEOUT_S,
                    allow_redirects=False,
                )
                status, why = answer.status_code, f"it answers {answer.status_code}"
                doubtful = status in IN_DOUBT
            except requests.RequestException as error:
                why, doubtful = f"it is away ({type(error).__name__})", not _unsent(error)
            self._last = time.monotonic()
            if status and status not in (*NOT_NOW, *IN_DOUBT):
                return status
            self.trouble.retries += 1
            self._told(why)
            if self._stopping.wait(pause_s):
                raise Stopped
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            if doubtful and prediction_id and self._is_there(prediction_id):
                return FOUND

    def _is_there(self, prediction_id: str) -> bool:
        known = self._known(prediction_id)
        self.trouble.found += known is True
        self.trouble.repeated += known is None
        return known is True


def request_of(dialect: str, model: Model, prediction_id: str, row: Sequence[float]) -> tuple[str, Json]:
    """Path and body of one row; a cell that is missing is null, in the tutorial's dialect an empty text."""
    names = list(model.names)
    cells = [None if math.isnan(cell) else cell for cell in row]
    if dialect == "mlflow":
        return "/invocations", {"dataframe_split": {"columns": names, "data": [cells]}}
    if dialect == "v2":
        inputs = [
            {"name": name, "shape": [1], "datatype": "FP64", "data": [cell]}
            for name, cell in zip(names, cells, strict=True)
        ]
        return f"/v2/models/{model.name}/infer", {"id": prediction_id, "inputs": inputs}
    if dialect == "tutorial":
        return "/model/score", {"fields": names, "rows": [["" if cell is None else repr(cell) for cell in cells]]}
    data = {"names": names, "ndarray": [cells]}
    return "/api/v1.0/predictions", {"data": data, "meta": {"puid": prediction_id}}


def _unsent(error: requests.RequestException) -> bool:
    """Whether the scorer cannot have got anything."""
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return True
    reason = error.args[0] if error.args else None
    return isinstance(reason, MaxRetryError) and isinstance(reason.reason, NewConnectionError)
