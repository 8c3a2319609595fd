"""The ASGI application of a scorer: routes, limits, prediction ids, counting. Made and run by `scoring.server`.

Bare ASGI, because a web framework takes longer than the model: the way of a scoring request is `__call__`, `_scored`,
the dialect's `parse`, `SharedCalls.score`, the dialect's `render`.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from time import perf_counter
from typing import Any

import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from mlflow_hydraulic.record.recorder import Recorder
from mlflow_hydraulic.scoring.explaining import Explainer
from mlflow_hydraulic.scoring.flagging import FlaggingEngine
from mlflow_hydraulic.scoring.ids import new_id, sane_id
from mlflow_hydraulic.scoring.metrics import CONTENT_TYPE, Metrics
from mlflow_hydraulic.scoring.reading import BodyReader, Gone, Message, Receive
from mlflow_hydraulic.scoring.sharing import SharedCalls
from mlflow_hydraulic.scoring.values import (
    Answer,
    Call,
    Cells,
    Dialect,
    Engine,
    ModelCard,
    RequestProblem,
    Scored,
    Scores,
    Told,
)
from mlflow_hydraulic.settings import Settings

Scope = MutableMapping[str, Any]  # Any: as ASGI defines it
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Plain = Callable[[Call], Answer]
Outcome = tuple[Cells, Scores]

BODY_TIMEOUT_S = 60.0
LARGE_BODY = 65536  # bytes; from here on a body is parsed in a thread, for it would hold the loop for milliseconds
READY_PATHS = ("/ping", "/health", "/readyz", "/ready", "/health/status", "/api/v1.0/health/status")
ID_HEADER = b"x-prediction-id"
HELD = "hydraulic.held"  # where `scoring.wire` puts the transport in a request's scope
NOTHING: Mapping[str, Any] = {}
RECORD_HEADER = b"x-hydraulic-record"
ANOMALOUS_HEADER = b"x-hydraulic-anomalous"
ANOMALOUS_NAMED = 100  # rows that the header names; "..." says that there are more
NOT_KEPT = "the feedback cannot be recorded now: send it again later; the scorer's log has the cause"
NOT_RECORDED = "the answer cannot be recorded, and HYDRAULIC_RECORD_ON_FULL is refuse; the scorer's log has the cause"

log = logging.getLogger(__name__)


class ScorerApp:
    """One model in several dialects. The first dialect answers for paths that none of them owns.

    draining: set when the process is to end: readiness turns 503 and each answer closes its connection.
    aliases: more paths, each with the path of a dialect that answers for it. headers: what every answer carries.
    recorder: what each answer to a scoring request is given to before it is sent.
    """

    def __init__(
        self,
        card: ModelCard,
        engine: Engine,
        dialects: Sequence[Dialect],
        settings: Settings,
        *,
        document: bytes | None = None,
        body_timeout_s: float = BODY_TIMEOUT_S,
        aliases: Mapping[str, str] | None = None,
        headers: Sequence[tuple[bytes, bytes]] = (),
        recorder: Recorder | None = None,
    ) -> None:
        self.metrics = Metrics(card)
        self.recorder = recorder
        self.metrics.journal = None if recorder is None else recorder.journal
        self.metrics.anomalous = 0 if isinstance(engine, FlaggingEngine) else None
        self.calls = SharedCalls(engine, self.metrics)
        self.reader = BodyReader(int(settings.max_body_mb * 1e6), body_timeout_s)
        self.explainer = Explainer(card, self.calls)
        self.draining = False
        self._max_rows = settings.max_rows
        self._dialects = dialects
        self._score = {path: dialect for dialect in reversed(dialects) for path in dialect.score_paths}
        self._plain: dict[tuple[str, str], tuple[Dialect, Plain]] = {
            route: (dialect, plain) for dialect in reversed(dialects) for route, plain in dialect.routes.items()
        }
        self._plain["GET", "/metrics"] = (dialects[0], self._metrics_page)
        if document is not None:
            described = Answer(body=document)
            self._plain["GET", "/openapi.json"] = (dialects[0], lambda _: described)
        for alias, path in (aliases or {}).items():
            if path in self._score:
                self._score[alias] = self._score[path]
            self._plain |= {(method, alias): plain for (method, known), plain in self._plain.items() if known == path}
        self._headers = list(headers)
        self._methods: dict[str, list[str]] = {path: ["POST"] for path in self._score}
        for method, path in self._plain:
            self._methods.setdefault(path, []).extend([method, "HEAD"] if method == "GET" else [method])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"a scorer speaks HTTP only, not {scope['type']}")
        started = perf_counter()
        metrics = self.metrics
        metrics.in_progress += 1
        try:
            path: str = scope["path"]
            method: str = scope["method"]
            headers: dict[bytes, bytes] = dict(scope["headers"])
            given = headers.get(ID_HEADER)
            prediction_id = new_id() if given is None else sane_id(given) or new_id()
            dialect = self._score.get(path) if method == "POST" else None
            body, outcome = b"", None
            try:
                if dialect is not None:
                    body = await self.reader.read(receive, headers)
                    call = _call(scope, body, headers)
                    answer, prediction_id, outcome = await self._scored(dialect, call, prediction_id)
                else:
                    answer = await self._answered(scope, receive, headers, prediction_id)
            except RequestProblem as problem:
                answer = (dialect or self._score.get(path) or self._owner(path)).error(problem)
            except Gone:
                return
            if dialect is not None and self.recorder is not None:
                cells, scores = outcome or (None, None)
                if not self.recorder.answered(
                    prediction_id=prediction_id,
                    path=path,
                    status=answer.status,
                    latency_s=perf_counter() - started,
                    headers=headers,
                    bodies=(body, answer.body),
                    cells=cells,
                    scores=scores,
                    anomalous=None if scores is None else scores.anomalous,
                    held=scope.get("state", NOTHING).get(HELD),
                ):
                    answer = dialect.error(RequestProblem(503, NOT_RECORDED))
            start, content = self._messages(answer, prediction_id, bodiless=method == "HEAD")
            await send(start)
            await send(content)
            known = path if path in self._methods else "other"
            metrics.answered(method if known != "other" else "any", known, answer.status, perf_counter() - started)
        finally:
            metrics.in_progress -= 1

    async def _scored(self, dialect: Dialect, call: Call, prediction_id: str) -> tuple[Answer, str, Outcome | None]:
        """The answer to a scoring request, its prediction id, which may stand in the body, and what was scored."""
        if len(call.body) < LARGE_BODY:
            request = dialect.parse(call)
        else:
            request = await self.explainer.in_thread(dialect.parse, call)
        prediction_id = request.prediction_id or prediction_id
        rows = len(request.cells)
        if rows > self._max_rows:
            raise RequestProblem(
                413, f"{rows} rows: at most {self._max_rows} are scored in one request; send several requests"
            )
        try:
            scores = await self.calls.score(request.cells)
            shapley = await self.explainer.explain(request.cells) if request.shapley else None
        except RequestProblem:
            raise
        except Exception as error:
            # A model may raise anything. The caller gets no trace of it; the log does, under the same id.
            self.metrics.failures += 1
            log.exception("prediction %s: the model failed on %d rows", prediction_id, rows)
            return _failure(dialect, error, prediction_id), prediction_id, None
        outcome = (request.cells, scores)
        scored = Scored(scores=scores, prediction_id=prediction_id, shapley=shapley)
        if rows > LARGE_BODY // 256:
            answer = await self.explainer.in_thread(request.render, scored)
        else:
            answer = request.render(scored)
        if scores.anomalous is not None:
            answer = self._flagged(answer, scores.anomalous)
        return answer, prediction_id, outcome

    def _flagged(self, answer: Answer, anomalous: NDArray[np.bool_]) -> Answer:
        """The answer, with a header that names the rows unlike the training data, from 0: `3, 7`."""
        if b"\x01" not in anomalous.tobytes():  # a tenth of the time of `anomalous.any()`
            return answer
        rows = anomalous.nonzero()[0]
        self.metrics.anomalous = (self.metrics.anomalous or 0) + len(rows)
        more = ", ..." if len(rows) > ANOMALOUS_NAMED else ""
        said = ", ".join(map(str, rows[:ANOMALOUS_NAMED].tolist())) + more
        return structs.replace(answer, headers=(*answer.headers, (ANOMALOUS_HEADER, said.encode("ascii"))))

    async def _answered(
        self, scope: Scope, receive: Receive, headers: Mapping[bytes, bytes], prediction_id: str
    ) -> Answer:
        """The answer to everything else: metadata, health, metrics; 404 and 405 in the owner's shape."""
        path, method = scope["path"], scope["method"]
        if path not in self._methods:
            known = ", ".join(sorted(self._score))
            raise RequestProblem(404, f"path {path[:200]!r} is not known here; rows are scored by POST to {known}")
        found = self._plain.get(("GET" if method == "HEAD" else method, path))
        if found is None:
            allowed = ", ".join(self._methods[path])
            raise RequestProblem(
                405, f"method {method} is not for {path}; use {allowed}", headers=((b"allow", allowed.encode()),)
            )
        asks_ready = path in READY_PATHS or path.endswith("/ready")
        if self.draining and asks_ready:
            raise RequestProblem(503, "the scorer is stopping: it answers what it has accepted and takes no more")
        dialect, plain = found
        body = await self.reader.read(receive, headers) if method not in ("GET", "HEAD") else b""
        try:
            answer = plain(_call(scope, body, headers))
            if answer.told is not None:
                self._keep(answer.told)
            return self._with_trouble(answer) if asks_ready and self.recorder is not None else answer
        except RequestProblem as problem:
            return dialect.error(problem)
        except Exception as error:  # a defect of ours must not become a page with a trace
            log.exception("prediction %s: %s %s failed", prediction_id, method, path)
            return _failure(dialect, error, prediction_id)

    def _keep(self, told: Told) -> None:
        """Keep feedback beside the predictions; 503 where that cannot be done."""
        kept = None
        if told.prediction_id and (told.truth or told.reward is not None) and self.recorder is not None:
            kept = self.recorder.told(told.prediction_id, told.truth, told.reward)
        if kept is False:
            raise RequestProblem(503, NOT_KEPT)
        outcome = "kept" if kept else "not recorded" if told.prediction_id else "without id"
        self.metrics.feedback[outcome] = self.metrics.feedback.get(outcome, 0) + 1

    def _with_trouble(self, answer: Answer) -> Answer:
        """What readiness says where answers cannot be recorded: 503 where they are refused then, else a header."""
        recorder = self.recorder
        trouble = recorder.trouble() if recorder is not None else ""
        if recorder is None or not trouble:
            return answer
        if recorder.refuse:
            raise RequestProblem(503, f"answers cannot be recorded, so none is given: {trouble}")
        said = f"dropped {recorder.journal.dropped}: {trouble}".encode("ascii", "replace").replace(b"\n", b" ")
        return structs.replace(answer, headers=(*answer.headers, (RECORD_HEADER, said)))

    def _owner(self, path: str) -> Dialect:
        return next((dialect for dialect in self._dialects if dialect.owns(path)), self._dialects[0])

    def _metrics_page(self, _: Call) -> Answer:
        return Answer(body=self.metrics.page(), content_type=CONTENT_TYPE)

    def _messages(self, answer: Answer, prediction_id: str, *, bodiless: bool) -> tuple[Message, Message]:
        """The answer as ASGI's two messages."""
        headers = [
            (b"content-type", answer.content_type),
            (b"content-length", b"%d" % len(answer.body)),
            (ID_HEADER, prediction_id.encode("ascii")),
            *self._headers,
        ]
        if answer.headers:
            headers.extend(answer.headers)
        if self.draining:
            headers.append((b"connection", b"close"))
        start = {"type": "http.response.start", "status": answer.status, "headers": headers}
        return start, {"type": "http.response.body", "body": b"" if bodiless else answer.body}


def _call(scope: Scope, body: bytes, headers: Mapping[bytes, bytes]) -> Call:
    content_type = headers.get(b"content-type")
    return Call(
        method=scope["method"],
        path=scope["path"],
        body=body,
        content_type="application/json" if content_type is None else content_type.decode("latin-1"),
        headers=headers,
        query=scope.get("query_string", b""),
    )


def _failure(dialect: Dialect, error: Exception, prediction_id: str) -> Answer:
    """500 in the dialect's shape; the error's type and text stay in the log, for they may hold what is not public."""
    del error
    problem = f"the model failed on this request; the scorer's log has the cause under prediction id {prediction_id}"
    return dialect.error(RequestProblem(500, problem))
