"""What a SIGKILL loses of the record: nothing that a caller has got. And what the killed one leaves can be shipped."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.kills import kill_again_and_again
from mlflow_hydraulic.record.store import Store
from tests.integration.conftest import make_rows
from tests.support.recorded import ids, ship

KILLS = 8  # benchmarks/recording.py does a hundred
ROW = make_rows(1, seed=3)
BODY = json.dumps({"dataframe_split": {"columns": list(ROW.columns), "data": ROW.to_numpy().tolist()}}).encode()


def test_no_answer_that_a_caller_got_is_lost_by_sigkill(small_saved: Path, tmp_path: Path) -> None:
    tally = kill_again_and_again(small_saved, BODY, tmp_path, KILLS)
    assert len(tally.acknowledged) > 100 * KILLS, "there was no load worth the name"
    assert tally.lost == 0
    with Store(tmp_path / "record.db") as store:
        ship(tmp_path / "record" / "journal", store)
        stored = ids(store)
        assert len(stored) == len(set(stored)) and set(stored) == tally.recorded
        assert sum(gap.bytes for gap in store.missing()) == tally.torn_bytes
    assert not list((tmp_path / "record" / "journal").iterdir())
