"""schemathesis reads `/openapi.json` of a real scorer and asks everything it describes, rightly and wrongly."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.test_serve import ask, scorer

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
)
EXAMPLES = 15
FUZZING_S = 240


@pytest.mark.slow
def test_nothing_described_ends_in_a_server_error_or_an_undescribed_answer(
    small_saved: Path, tmp_path: Path, free_port: int
) -> None:
    pytest.importorskip("schemathesis", reason="schemathesis is not installed: the OpenAPI document is NOT fuzzed")
    address = f"http://127.0.0.1:{free_port}/openapi.json"
    command = [sys.executable, "-m", "schemathesis.cli", "run", address, "--checks", ",".join(CHECKS)]
    options = ["--max-examples", str(EXAMPLES), "--seed", "1", "--phases", "examples,coverage,fuzzing", "--no-color"]
    with scorer(small_saved, free_port, tmp_path / "log", "--name", "rig", "--version", "7"):
        found = subprocess.run(
            [*command, *options], cwd=tmp_path, capture_output=True, text=True, timeout=FUZZING_S, check=False
        )
        assert ask(free_port, "GET", "/v2/health/ready")[0] == 200
    assert found.returncode == 0, found.stdout[-8000:] + found.stderr[-2000:]
