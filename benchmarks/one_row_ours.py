"""Prints the median time from a request's bytes to its answer's bytes in our scorer; benchmarks.one_row starts it.

Takes a model folder saved by our flavor and a file with the request's body.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from statistics import median

from mlflow_hydraulic.bundle.read import read_bundle
from mlflow_hydraulic.scoring.dialects.mlflow import MlflowDialect
from mlflow_hydraulic.scoring.ids import new_id
from mlflow_hydraulic.scoring.onnx_engine import OnnxEngine
from mlflow_hydraulic.scoring.values import Call, ModelCard, Scored

CALLS = 5000


def main() -> None:
    bundle = read_bundle(Path(sys.argv[1], "bundle"))
    engine = OnnxEngine(bundle)
    card = ModelCard(name="forest", version="1", digest="0" * 64, engine="onnxruntime", schema=bundle.schema)
    dialect = MlflowDialect(card)
    body = Path(sys.argv[2]).read_bytes()
    times = []
    for _ in range(CALLS):
        start = time.perf_counter()
        call = Call(method="POST", path="/invocations", body=body, content_type="application/json", headers={})
        request = dialect.parse(call)
        answer = request.render(Scored(scores=engine.score(request.cells), prediction_id=new_id()))
        times.append(time.perf_counter() - start)
    assert answer.status == 200, answer.body
    print(json.dumps({"median_us": median(times[CALLS // 10 :]) * 1e6}))


if __name__ == "__main__":
    main()
