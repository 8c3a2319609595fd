"""Small scorers for tests: a real forest, its bundle, each dialect's way to ask and to answer, an in-process client."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

import msgspec
import numpy as np
import pandas as pd
from sklearn.ensemble import RandomForestClassifier

from mlflow_hydraulic.bundle.build import build_bundle
from mlflow_hydraulic.rig.model import HydraulicModel
from mlflow_hydraulic.schema import Field, Schema
from mlflow_hydraulic.scoring.asgi import ScorerApp
from mlflow_hydraulic.scoring.dialects.mlflow import MlflowDialect
from mlflow_hydraulic.scoring.dialects.seldon import SeldonDialect
from mlflow_hydraulic.scoring.dialects.tutorial import TutorialDialect
from mlflow_hydraulic.scoring.dialects.v2 import V2Dialect
from mlflow_hydraulic.scoring.onnx_engine import OnnxEngine
from mlflow_hydraulic.scoring.openapi import openapi_document
from mlflow_hydraulic.scoring.values import Cells, Dialect, Engine, ModelCard, Scores
from mlflow_hydraulic.settings import Settings

NAMES = ("PS1", "PS2", "EPS1", "FS1", "TS1", "VS1")
UNITS = ("bar", "bar", "W", "l/min", "°C", "mm/s")
LABELS = (3, 20, 100)
DEADLINE_S = 60.0
FOREST_SCHEMA = Schema(
    inputs=tuple(Field(name=name, unit=unit) for name, unit in zip(NAMES, UNITS, strict=True)),
    target="cool_cond_y",
    labels=LABELS,
)
Json = Any  # a JSON value


@dataclass(frozen=True)
class ForestEngine:
    """The Python model itself as an engine, as pyfunc would run it."""

    model: HydraulicModel
    loop_rows: int = 1000
    shares_calls: bool = True

    def score(self, cells: Cells) -> Scores:
        X = pd.DataFrame(cells, columns=list(self.model.schema.names))
        return Scores(self.model.predict(X), self.model.predict_proba(X))


@dataclass(frozen=True)
class SumEngine:
    """A regression over columns of every type: so many characters and so much of each number and truth."""

    loop_rows: int = 1000
    shares_calls: bool = True

    def score(self, cells: Cells) -> Scores:
        def worth(cell: object) -> float:
            if isinstance(cell, str):
                return float(len(cell))
            return 0.0 if cell is None or cell != cell else float(cell)  # type: ignore[arg-type]

        return Scores(np.array([sum(worth(cell) for cell in row) for row in cells], dtype=np.float64), None)


def forest(seed: int = 0) -> HydraulicModel:
    """A forest of 20 trees on 6 columns whose classes depend on the first two."""
    random = np.random.default_rng(seed)
    X = pd.DataFrame(random.normal(100, 20, (300, len(NAMES))), columns=list(NAMES))
    y = np.asarray(LABELS)[np.digitize(X["PS1"] + X["PS2"], [185, 215])]
    fitted = RandomForestClassifier(20, random_state=seed).fit(X, y)
    return HydraulicModel(
        estimator=fitted, schema=FOREST_SCHEMA, features="means", origin="simulated", background=X[:200]
    )


MIXED = Schema(
    inputs=(
        Field(name="double"),
        Field(name="float", type="float"),
        Field(name="long", type="long"),
        Field(name="integer", type="integer"),
        Field(name="boolean", type="boolean"),
        Field(name="string", type="string"),
        Field(name="maybe", required=False),
    ),
    target="worth",
)
MIXED_ROWS: list[list[Json]] = [[0.5, 0.25, 2**40, 7, True, "abc", None], [1.5, 2.0, -3, 0, False, "", 2.5]]


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Json:
        return json.loads(self.body)


class Client:
    """Speaks ASGI with a scorer as uvicorn does: the path comes decoded, header names in lower case."""

    def __init__(self, app: ScorerApp, card: ModelCard) -> None:
        self.app = app
        self.card = card
        self._loop = asyncio.new_event_loop()

    def close(self) -> None:
        self.app.calls.close()
        self.app.explainer.close()
        self._loop.close()

    def ask(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        *,
        content_type: str | None = "application/json",
        headers: Sequence[tuple[bytes, bytes]] = (),
    ) -> Reply:
        """One request; fails the test when there is no answer within the deadline."""
        exchange = self._exchange(*_request(method, path, body, content_type, headers))
        return self._loop.run_until_complete(asyncio.wait_for(exchange, DEADLINE_S))

    def post(self, path: str, value: Json, **more: Any) -> Reply:
        return self.ask("POST", path, msgspec.json.encode(value), **more)

    def post_at_once(self, requests: Sequence[tuple[str, Json]]) -> list[Reply]:
        """All requests in flight together, as from as many connections."""

        async def all_of_them() -> list[Reply]:
            exchanges = [self._exchange(*_request("POST", path, msgspec.json.encode(body))) for path, body in requests]
            return await asyncio.wait_for(asyncio.gather(*exchanges), DEADLINE_S)

        return self._loop.run_until_complete(all_of_them())

    async def _exchange(self, scope: dict[str, Any], body: bytes) -> Reply:
        messages = [{"type": "http.request", "body": body, "more_body": False}]
        sent: list[Any] = []

        async def receive() -> Any:
            return messages.pop(0) if messages else {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        await self.app(scope, receive, send)
        start, rest = sent[0], sent[1:]
        for name, value in start["headers"]:
            assert not set(b"\r\n\0") & set(name + value), f"a header holds a line break: {name!r}: {value!r}"
        named = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in start["headers"]}
        return Reply(start["status"], named, b"".join(message.get("body", b"") for message in rest))


def _request(
    method: str,
    path: str,
    body: bytes,
    content_type: str | None = "application/json",
    headers: Sequence[tuple[bytes, bytes]] = (),
) -> tuple[dict[str, Any], bytes]:
    raw, _, query = path.partition("?")
    given = [*headers, (b"content-length", b"%d" % len(body))]
    if content_type is not None:
        given.append((b"content-type", content_type.encode("latin-1")))
    scope = {
        "type": "http",
        "method": method,
        "path": unquote(raw),
        "raw_path": raw.encode("ascii", "replace"),
        "query_string": query.encode(),
        "headers": given,
    }
    return scope, body


@dataclass(frozen=True)
class Tongue:
    """One scoring path: how rows are asked in it, where probabilities stand in its answer, and a problem's message."""

    name: str
    path: str
    asks: Callable[[Sequence[str], Sequence[Sequence[Json]]], Json]
    reads: Callable[[Json], list[list[float]]]
    problem: Callable[[Json], str]
    superset: bool = False  # ignores columns that the model does not know
    text: bool = False  # cells are strings

    def __str__(self) -> str:
        return self.name


def _text(rows: Sequence[Sequence[Json]]) -> list[list[str]]:
    return [[cell if isinstance(cell, str) else repr(cell) for cell in row] for row in rows]


def _folded(tensor: Json) -> list[list[float]]:
    width = tensor["shape"][1]
    flat = tensor.get("values", tensor.get("data"))
    return [flat[start : start + width] for start in range(0, len(flat), width)]


def _proba(answer: Json) -> list[list[float]]:
    return _folded(next(output for output in answer["outputs"] if output["name"] == "predict_proba"))


def _by_column(names: Sequence[str], rows: Sequence[Sequence[Json]]) -> Json:
    columns = list(zip(*rows, strict=False)) or [()] * len(names)
    return {
        "inputs": [
            {"name": name, "shape": [len(column)], "datatype": "FP64", "data": list(column)}
            for name, column in zip(names, columns, strict=False)
        ]
    }


def _records(names: Sequence[str], rows: Sequence[Sequence[Json]]) -> list[dict[str, Json]]:
    return [dict(zip(names, row, strict=False)) for row in rows]


def _mlflow_proba(answer: Json) -> list[list[float]]:
    return [list(record.values()) for record in answer["predictions"]]


def _seldon_problem(answer: Json) -> str:
    assert set(answer) == {"status", "meta"} and answer["status"]["status"] == 1 and answer["status"]["reason"]
    return str(answer["status"]["info"])


def _v2_problem(answer: Json) -> str:
    assert set(answer) == {"error"}
    return str(answer["error"])


def _mlflow_problem(answer: Json) -> str:
    assert set(answer) == {"error_code", "message"}
    return str(answer["message"])


def _tutorial_problem(answer: Json) -> str:
    assert set(answer) == {"detail"}
    return str(answer["detail"])


PROBA = {"predict_method": "predict_proba"}
TONGUES = (
    Tongue(
        "mlflow-split",
        "/invocations",
        lambda names, rows: {"dataframe_split": {"columns": list(names), "data": list(rows)}, "params": PROBA},
        _mlflow_proba,
        _mlflow_problem,
    ),
    Tongue(
        "mlflow-records",
        "/invocations",
        lambda names, rows: {"dataframe_records": _records(names, rows), "params": PROBA},
        _mlflow_proba,
        _mlflow_problem,
    ),
    Tongue(
        "seldon-ndarray",
        "/api/v1.0/predictions",
        lambda names, rows: {"data": {"names": list(names), "ndarray": list(rows)}},
        lambda answer: answer["data"]["ndarray"],
        _seldon_problem,
    ),
    Tongue(
        "seldon-tensor",
        "/predict",
        lambda names, rows: {
            "data": {
                "names": list(names),
                "tensor": {
                    "shape": [len(rows), len(rows[0]) if rows else len(names)],
                    "values": [cell for row in rows for cell in row],
                },
            }
        },
        lambda answer: _folded(answer["data"]["tensor"]),
        _seldon_problem,
    ),
    Tongue(
        "seldon-json",
        "/predict",
        lambda names, rows: {"jsonData": _records(names, rows)},
        lambda answer: _folded(answer["data"]["tensor"]),
        _seldon_problem,
    ),
    Tongue("v2-columns", "/v2/models/rig/infer", _by_column, _proba, _v2_problem),
    Tongue(
        "tutorial",
        "/model/score",
        lambda names, rows: {"fields": list(names), "rows": _text(rows)},
        lambda answer: [[float(cell) for cell in row] for row in answer["score"]],
        _tutorial_problem,
        superset=True,
        text=True,
    ),
)
V2_MATRIX = Tongue(
    "v2-matrix",
    "/v2/models/rig/versions/7/infer",
    lambda _, rows: {
        "inputs": [
            {
                "name": "rows",
                "shape": [len(rows), len(rows[0]) if rows else len(NAMES)],
                "datatype": "FP64",
                "data": [cell for row in rows for cell in row],
            }
        ]
    },
    _proba,
    _v2_problem,
)
"""Has no column names, so it stands apart from the others."""


def dialects_of(card: ModelCard) -> list[Dialect]:
    return [MlflowDialect(card), SeldonDialect(card), V2Dialect(card), TutorialDialect(card)]


def app_of(card: ModelCard, engine: Engine, settings: Settings | None = None) -> ScorerApp:
    """A scorer that reads at most 1 MB and 1000 rows."""
    dialects = dialects_of(card)
    document = msgspec.json.encode(openapi_document(card, dialects))
    return ScorerApp(card, engine, dialects, settings or Settings(max_body_mb=1.0, max_rows=1000), document=document)


def forest_scorer(folder: Path, engine: str) -> Client:
    """The forest in `onnxruntime` from its bundle, or in `python`."""
    model = forest()
    bundle = build_bundle(model, folder / "bundle")
    card = ModelCard(
        name="rig",
        version="7",
        digest=bundle.digest,
        engine=engine,
        schema=model.schema,
        origin=model.origin,
        sample=bundle.sample,
        background=bundle.background,
    )
    made: Engine = OnnxEngine(bundle) if engine == "onnxruntime" else ForestEngine(model)
    return Client(app_of(card, made), card)


def mixed_scorer() -> Client:
    """The regression over columns of every type."""
    card = ModelCard(name="rig", version="7", digest="d", engine="python", schema=MIXED)
    return Client(app_of(card, SumEngine()), card)


def good_rows(count: int = 3, seed: int = 5) -> list[list[float]]:
    """Rows of the forest's six columns, full doubles."""
    rows: list[list[float]] = np.random.default_rng(seed).normal(100, 20, (count, len(NAMES))).tolist()
    return rows
