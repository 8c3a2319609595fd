"""What a replay sends: faults as people write them, the same rows for the same seed, and where it goes on."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_hydraulic.cli.replay_parts import read_rate
from mlflow_hydraulic.drift.faults import KINDS, Fault
from mlflow_hydraulic.errors import BadInput, Conflict, HydraulicError
from mlflow_hydraulic.replay.asking import DIALECTS, Model, request_of
from mlflow_hydraulic.replay.injections import injected, read_injection
from mlflow_hydraulic.replay.progress import Progress
from mlflow_hydraulic.replay.rows import Rows
from mlflow_hydraulic.replay.run import Span, key_of
from mlflow_hydraulic.replay.truths import Bringing, Truths, read_bringing

NAMES = ("psa_bar", "tsa_temp", "tsb_temp")


def rows(count: int = 100) -> Rows:
    random = np.random.default_rng(1)
    truth = np.where(np.arange(count) % 4 == 0, 3, 100)
    return Rows(names=NAMES, cells=random.normal(50, 5, (count, 3)), truth=truth, origin="measured", digest="d" * 64)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("season=+5K", Fault(kind="season", amount=5.0)),
        ("drift=season=-5K@200", Fault(kind="season", amount=-5.0, start=200)),
        ("offset=psa_bar:+2", Fault(kind="offset", inputs=("psa_bar",), amount=2.0)),
        ("offset=psa_bar:+2bar", Fault(kind="season", inputs=("psa_bar",), amount=2.0)),
        ("gain=10%", Fault(kind="gain", amount=0.1)),
        ("noise=x3@7", Fault(kind="noise", amount=3.0, start=7)),
        ("stuck=psa_bar,tsa_temp", Fault(kind="stuck", inputs=("psa_bar", "tsa_temp"))),
        ("spikes", Fault(kind="spikes")),
        ("missing@5", Fault(kind="missing", start=5)),
        ("labels=3:0.8", Fault(kind="labels", inputs=("3",), amount=0.8)),
        ("drift=offset:2@tsa_temp+100", Fault(kind="offset", inputs=("tsa_temp",), amount=2.0, start=100)),
    ],
)
def test_faults_as_people_write_them(text: str, fault: Fault) -> None:
    assert read_injection(text) == fault


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("rust", "season"),
        ("season=+5K@x", "row"),
        ("noise=a:b", "amount"),
        ("offset=+2bar", "some inputs"),
        ("", "none"),
    ],
)
def test_what_is_no_fault_is_refused(text: str, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        read_injection(text)


@given(st.text(max_size=30) | st.builds("{}={}".format, st.sampled_from(sorted(KINDS)), st.text(max_size=12)))
def test_any_text_is_a_fault_or_refused(text: str) -> None:
    try:
        assert read_injection(text).start >= 0
    except HydraulicError:
        return


def test_several_faults_add_up_and_the_seed_decides() -> None:
    faults = [read_injection(text) for text in ("season=+5K@50", "offset=psa_bar:+2bar@50", "noise=tsb_temp:2")]
    before, once, again = rows(), injected(rows(), faults, 7), injected(rows(), faults, 7)
    assert np.array_equal(once.cells, again.cells)
    assert not np.array_equal(once.cells, injected(rows(), faults, 8).cells)
    assert np.array_equal(once.cells[:50, :2], before.cells[:50, :2])
    assert np.allclose(once.cells[50:, :2] - before.cells[50:, :2], [2.0, 5.0])


def test_a_label_shift_brings_its_true_values_along() -> None:
    made = injected(rows(), [read_injection("labels=3:0.9@20")], 0)
    assert made.truth is not None
    assert (made.truth[20:] == 3).mean() == pytest.approx(0.9)
    lines = {tuple(line): label for line, label in zip(rows().cells.tolist(), rows().truth, strict=True)}  # type: ignore[arg-type]
    assert all(lines[tuple(line)] == label for line, label in zip(made.cells.tolist(), made.truth, strict=True))


def test_the_key_is_what_is_replayed() -> None:
    span = Span(first=0, last=9)
    keys = {
        key_of(rows(), (), 0, span),
        key_of(rows(), ("noise",), 0, span),
        key_of(rows(), (), 1, span),
        key_of(rows(), (), 0, Span(first=0, last=8)),
    }
    assert len(keys) == 4 and key_of(rows(), (), 0, span) in keys
    assert [Span(first=2, last=5, loop=True).row(position) for position in range(5)] == [2, 3, 4, 2, 3]


def test_progress_survives_a_kill_at_any_byte(tmp_path: Path) -> None:
    path = tmp_path / "replay.log"
    with Progress(path, "k") as progress:
        progress.begin(2)
        assert progress.id_of(5) == "replay-k-2-5"
        with pytest.raises(Conflict, match="another replay"):
            Progress(path, "k")
        for position in (0, 1):
            progress.sending(position, 1.5)
            progress.answered(position, 200, 2.5)
            progress.brought(position)
    whole = path.read_bytes()
    for end in range(len(whole.split(b"\n")[0]) + 1, len(whole) + 1):
        path.write_bytes(whole[:end])
        with Progress(path, "k") as torn:
            lost = torn.seen.next
            torn.go_on()
            torn.sending(lost, 3.0)
            torn.answered(lost, 200, 4.0)
        with Progress(path, "k") as after:
            assert after.seen.generation == 2 and after.seen.next == lost + 1 and after.seen.doubtful is None
            assert lost == sum(line.startswith(b"d ") for line in whole[:end].split(b"\n")[:-1]), "whole lines only"


def test_a_row_that_was_sent_and_not_answered_is_in_doubt(tmp_path: Path) -> None:
    with Progress(tmp_path / "replay.log", "k") as progress:
        progress.begin(0)
        progress.sending(0, 1.0)
    with Progress(tmp_path / "replay.log", "k") as after:
        assert after.seen.doubtful == 0 and after.seen.next == 0


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_missing_cell_is_none_in_each_dialect(dialect: str) -> None:
    path, body = request_of(dialect, Model(name="m", names=("a", "b"), target="t"), "id", [1.5, math.nan])
    assert path.startswith("/") and "NaN" not in str(body) and "nan" not in str(body) and "1.5" in str(body)


def test_true_values_come_late_in_part_and_repeatedly() -> None:
    told: list[tuple[int, object, float]] = []
    how = read_bringing("delay=1h,share=0.5,repeat=0.5")
    truths = Truths(how, np.array([3, 20]), 0, lambda *one: told.append(one))
    for position in range(400):
        truths.add(position, position % 2, 1000.0 + position)
    truths.bring(1000.0 + 3599)
    assert told == []
    truths.bring(1000.0 + 3600 + 199)
    assert told and all(at <= 1000.0 + 3600 + 199 for _, _, at in told)
    truths.bring(float("inf"))
    positions = {position for position, _, _ in told}
    assert 150 < len(positions) < 250 and len(positions) * 1.3 < len(told) < len(positions) * 1.7
    assert all(value == (3, 20)[position % 2] for position, value, _ in told)


@pytest.mark.parametrize("text", ["delay=soon", "share=2", "share=half", "when=now", "via=pigeon"])
def test_what_is_no_way_of_bringing_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="--actuals"):
        read_bringing(text)
    assert read_bringing("on") == Bringing()


def test_rates() -> None:
    assert (read_rate("10/s"), read_rate("600/m"), read_rate("0.5"), read_rate("max")) == (10.0, 10.0, 0.5, 0.0)
    for wrong in ("0", "fast", "-1", "10/y"):
        with pytest.raises(BadInput, match="10/s"):
            read_rate(wrong)
