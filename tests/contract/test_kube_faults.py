"""The target under 200 random schedules of faults: it converges in every one, without false success or duplicates.

Each schedule has a fake cluster of its own, where requests are refused (429 with Retry-After, 500, 503), reset before
and after the server acted, answered late, and watches told 410 or cut in the middle of a line.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.support.local import ROOT

SCHEDULES = 200
PROCESSES = 2


def test_it_converges_under_every_schedule_of_faults(tmp_path: Path) -> None:
    share = SCHEDULES // PROCESSES
    command = [sys.executable, "-W", "error", "-m", "tests.support.kube_faults"]
    players = [
        subprocess.Popen(
            [*command, str(first), str(first + share), str(tmp_path)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        for first in range(0, SCHEDULES, share)
    ]
    answers = [player.communicate()[0] for player in players]
    assert [player.returncode for player in players] == [0] * PROCESSES
    failed = {seed: words for answer in answers for seed, words in json.loads(answer).items()}
    assert not failed, f"{len(failed)} of {SCHEDULES}: {json.dumps(failed, indent=1)}"
