"""What a pod is told, what it leaves behind, and what it answers before it has a model."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_hydraulic.cli.serve_pod import MESSAGE_BYTES, leave_message, read_order, warm_up
from mlflow_hydraulic.deploy_targets.kubernetes import pod
from mlflow_hydraulic.deploy_targets.kubernetes.container import Ports, container
from mlflow_hydraulic.deploy_targets.kubernetes.options import KubernetesOptions
from mlflow_hydraulic.errors import BadInput, Failed
from mlflow_hydraulic.scoring.pod_server import Front
from mlflow_hydraulic.scoring.values import Cells, ModelCard, Scores
from tests.scorers import FOREST_SCHEMA
from tests.support.kube_values import model, predictor

TOLD = {pod.MODEL_URI: "models:/rig/7", pod.MODEL_DIGEST: "0" * 64}


def test_what_the_manifests_write_is_read_back() -> None:
    """The contract of `kubernetes.pod`, from one end to the other."""
    for options in (KubernetesOptions(engine="onnx"), KubernetesOptions(delivery="initializer")):
        made = container(predictor("3", "left"), options, name=pod.NODE, ports=Ports(http=8080, grpc=0))
        order = read_order({one["name"]: one["value"] for one in made["env"]})
        wanted = model("3")
        assert (order.digest, order.name, order.version) == (wanted.digest, wanted.name, wanted.version)
        assert order.uri == (pod.INITIALIZED_FOLDER if options.delivery == "initializer" else wanted.uri)
        assert (order.engine, order.predictor) == (options.engine, "left")
        assert (order.http_port, order.grpc_port) == (8080, 0)


def test_what_is_not_told_has_a_default() -> None:
    order = read_order(TOLD)
    assert (order.http_port, order.grpc_port, order.engine) == (9000, 9500, "auto")
    assert (order.name, order.version, order.predictor) == ("model", "0", "")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (pod.MODEL_URI, ""),
        (pod.MODEL_DIGEST, ""),
        (pod.MODEL_DIGEST, "sha256:" + "0" * 64),
        (pod.MODEL_DIGEST, "0" * 63),
        (pod.MODEL_DIGEST, "G" * 64),
        (pod.ENGINE, "tensorflow"),
        (pod.PREDICTOR, "a\r\nset-cookie: x"),
        (pod.PREDICTOR, "ä"),
        (pod.HTTP_PORT_VARIABLE, "0"),
        (pod.HTTP_PORT_VARIABLE, "65536"),
        (pod.HTTP_PORT_VARIABLE, "tcp://10.0.0.1:80"),  # what Kubernetes sets for a Service of that name
        (pod.GRPC_PORT_VARIABLE, "-1"),
        (pod.GRPC_PORT_VARIABLE, "٩٠"),
    ],
)
def test_a_variable_that_is_wrong_is_named(name: str, value: str) -> None:
    with pytest.raises(BadInput, match=name):
        read_order({**TOLD, name: value})


@given(st.dictionaries(st.sampled_from(sorted(pod.RESERVED)), st.text(max_size=70)))
def test_any_text_is_an_order_or_a_clear_error(environ: dict[str, str]) -> None:
    try:
        order = read_order({**TOLD, **environ})
    except BadInput as error:
        assert str(error).startswith("HYDRAULIC_")
    else:
        assert order.http_port and order.uri


def test_the_cause_is_left_where_kubernetes_looks_for_it(tmp_path: Path) -> None:
    file = tmp_path / "termination-log"
    leave_message(file, "why")
    assert not file.exists()  # outside a pod nothing is made
    file.touch()
    leave_message(file, "ä" * MESSAGE_BYTES)
    assert file.stat().st_size == MESSAGE_BYTES
    leave_message(tmp_path, "a folder is no file: said, and no second error")


class _Counting:
    loop_rows, shares_calls = 1, False

    def __init__(self, *, fails: bool = False) -> None:
        self.rows: list[int] = []
        self.fails = fails

    def score(self, cells: Cells) -> Scores:
        if self.fails:
            raise RuntimeError("no such column")
        self.rows.append(len(cells))
        return Scores(np.zeros(len(cells)), None)


def _card(rows: int) -> ModelCard:
    sample = np.zeros((rows, len(FOREST_SCHEMA.inputs)))
    return ModelCard(name="rig", version="7", digest="d", engine="x", schema=FOREST_SCHEMA, sample=sample)


def test_warming_up_scores_the_model_s_own_sample() -> None:
    engine = _Counting()
    warm_up(_card(3), engine)
    assert engine.rows == [1, 3] * 5
    warm_up(_card(0), engine)
    assert len(engine.rows) == 10
    with pytest.raises(Failed, match="own sample rows: RuntimeError: no such column"):
        warm_up(_card(1), _Counting(fails=True))


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/live", 200),
        ("HEAD", "/live", 200),
        ("GET", "/ready", 503),
        ("POST", "/live", 503),
        ("POST", "/x", 503),
    ],
)
def test_before_there_is_a_model_it_lives_and_says_why_it_is_not_ready(method: str, path: str, status: int) -> None:
    front = Front()
    front.doing = "fetching models:/rig/7"
    sent = asyncio.run(_asked(front, method, path))
    assert sent[0]["status"] == status
    if status == 503:
        assert json.loads(sent[1]["body"])["reason"] == "not ready yet: fetching models:/rig/7"
        assert (b"retry-after", b"1") in sent[0]["headers"]
    assert method != "HEAD" or sent[1]["body"] == b""


async def _asked(front: Front, method: str, path: str) -> list[Any]:
    sent: list[Any] = []

    async def receive() -> Any:
        raise AssertionError("no body is read")

    async def send(message: Any) -> None:
        sent.append(message)

    await front({"type": "http", "method": method, "path": path}, receive, send)
    return sent
