"""The loaders: what they read, and that each kind of damage is named by file, row and column."""

from __future__ import annotations

import shutil
import struct
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlflow_hydraulic.errors import BadData, BadInput, NotFound
from mlflow_hydraulic.rig.cells import parse_csv, parse_rows, problem_of
from mlflow_hydraulic.rig.load import load_cycles
from mlflow_hydraulic.rig.published import FILES, MAX_MEMBERS
from mlflow_hydraulic.rig.sensors import SENSORS
from mlflow_hydraulic.rig.simulate import simulate_cycles
from mlflow_hydraulic.rig.uci import second_means
from mlflow_hydraulic.rig.write import frame_of, write_csv, write_parquet, write_uci

CYCLES = 3
BAD_CELLS = ["", "x", "NaN", "inf", "-inf", "1,5", "1e999", "0x10", "1_0", "--1", "1 2", "1.2.3"]


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three simulated cycles as UCI's text files, without the mark that they are simulated."""
    folder = tmp_path_factory.mktemp("rig") / "text"
    write_uci(simulate_cycles(cycles=CYCLES, seed=1), folder)
    (folder / "SIMULATED.txt").unlink()
    (folder / "documentation.txt").write_text("not read")
    return folder


@pytest.fixture
def text(good: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(good, tmp_path / "text"))


def zip_of(folder: Path, path: Path, inside: str = "") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, inside + file.name)
    return path


def test_folder_zip_and_nested_zip_hold_the_same(good: Path, tmp_path: Path) -> None:
    expected = simulate_cycles(cycles=CYCLES, seed=1)
    for source in (good, good.parent, zip_of(good, tmp_path / "a.zip"), zip_of(good, tmp_path / "b.zip", "uci/")):
        cycles = load_cycles(source)
        assert cycles.digest == expected.digest
        assert cycles.origin == "measured"
        assert cycles.seconds is not None and expected.seconds is not None
        np.testing.assert_allclose(cycles.seconds, expected.seconds, rtol=0, atol=1e-9)


@pytest.mark.parametrize("form", ["parquet", "csv", "uci"])
def test_simulated_cycles_stay_simulated(form: str, tmp_path: Path) -> None:
    made = simulate_cycles(cycles=4, seed=2)
    out = tmp_path / ("text" if form == "uci" else f"cycles.{form}")
    if form == "uci":
        write_uci(made, out)
    else:
        (write_csv if form == "csv" else write_parquet)(made, out)
    back = load_cycles(out)
    assert (back.origin, back.digest) == ("simulated", made.digest)
    if form == "uci":
        assert load_cycles(zip_of(out, tmp_path / "text.zip")).origin == "simulated"
        assert "SIMULATED" in (out / "SIMULATED.txt").read_text()
    else:
        assert back.run is not None and made.run is not None
        assert back.run.tolist() == made.run.tolist()


@settings(max_examples=60, deadline=None)
@given(
    place=st.tuples(st.sampled_from(FILES), st.integers(0, CYCLES - 1), st.integers(0, 10**6)),
    cell=st.sampled_from(BAD_CELLS),
)
def test_one_damaged_cell_is_named_exactly(good: Path, place: tuple[str, int, int], cell: str) -> None:
    name, row, column = place
    lines = (good / name).read_text().splitlines()
    cells = lines[row].split("\t")
    column %= len(cells)
    cells[column] = cell
    lines[row] = "\t".join(cells)
    with tempfile.TemporaryDirectory() as folder:
        for file in good.iterdir():
            (Path(folder) / file.name).symlink_to(file)
        (Path(folder) / name).unlink()
        (Path(folder) / name).write_text("\n".join(lines) + "\n")
        with pytest.raises(BadData) as caught:
            load_cycles(folder)
    assert (caught.value.file, caught.value.row, caught.value.column) == (name, row + 1, column + 1)


@settings(max_examples=40, deadline=None)
@given(
    row=st.integers(0, 2 * 60 - 1), column=st.integers(0, 100), cell=st.sampled_from([*BAD_CELLS[:5], *BAD_CELLS[6:]])
)
def test_one_damaged_cell_of_a_csv_is_named_exactly(row: int, column: int, cell: str) -> None:
    frame = frame_of(simulate_cycles(cycles=2)).astype(object)
    column %= frame.shape[1]
    frame.iloc[row, column] = cell
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "c.csv"
        frame.to_csv(path, index=False)
        with pytest.raises(BadData) as caught:
            load_cycles(path)
    assert (caught.value.file, caught.value.row, caught.value.column) == ("c.csv", row + 2, frame.columns[column])


@given(st.lists(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=3, max_size=3), min_size=1))
def test_every_finite_number_is_read_to_the_bit(rows: list[list[float]]) -> None:
    lines = ["\t".join(map(repr, row)).encode() for row in rows]
    assert parse_rows(lines, 3, file="f", first_row=1).tolist() == rows
    text = "\n".join(",".join(map(repr, row)) for row in rows)
    assert parse_csv(text, ["a", "b", "c"], file="f", first_row=2).tolist() == rows


@given(st.text(max_size=12))
def test_a_cell_has_a_problem_or_is_a_number(cell: str) -> None:
    if problem_of(cell) is None:
        assert np.isfinite(float(cell))


def damage(path: Path, old: bytes, new: bytes) -> None:
    path.write_bytes(path.read_bytes().replace(old, new, 1))


@pytest.mark.parametrize(
    ("name", "change", "row", "column", "words"),
    [
        ("TS1.txt", lambda b: b.splitlines(keepends=True)[0] * 2, 2, None, "ends after 2 rows"),
        ("TS1.txt", lambda b: b + b.splitlines(keepends=True)[0], 4, None, "goes on to row 4"),
        ("PS1.txt", lambda b: b[: len(b) // 2], 2, None, "columns: 6000 are needed|no line end"),
        ("PS1.txt", lambda b: b[:-1], 3, 6000, "no line end"),
        ("FS1.txt", lambda b: b.replace(b"\n", b"\t1\n", 1), 1, 601, "goes on to 601 columns"),
        ("FS1.txt", lambda b: b.replace(b"\t", b" ", 1), 1, 1, "not a number"),
        ("FS1.txt", lambda b: b.replace(b"\n", b"\n\n", 1), 2, None, "ends after 1 columns: 600 are needed"),
        ("FS1.txt", lambda b: b.decode().encode("utf-16"), 1, None, "0xff is not ASCII"),
        ("FS1.txt", lambda b: b.replace(b"\t", "\tµ".encode(), 1), 1, 2, "not ASCII"),
        ("TS2.txt", lambda b: b"", None, None, "empty"),
        ("TS2.txt", lambda b: b"1" * 5_000_000, 1, None, "longer than"),
        ("profile.txt", lambda b: b.replace(b"3\t", b"4\t", 1), 1, 1, "no class of cooler_condition: known are 3, 20"),
        ("profile.txt", lambda b: b.splitlines(keepends=True)[0], 1, None, "the other files have 3"),
    ],
)
def test_damaged_text(text: Path, name: str, change, row: int | None, column: int | None, words: str) -> None:  # type: ignore[no-untyped-def]
    (text / name).write_bytes(change((text / name).read_bytes()))
    with pytest.raises(BadData, match=words) as caught:
        load_cycles(text)
    assert (caught.value.file, caught.value.row) == (name, row)
    assert column is None or caught.value.column == column


def test_windows_line_ends_are_fine(text: Path, good: Path) -> None:
    for name in ("PS1.txt", "profile.txt"):
        (text / name).write_bytes((text / name).read_bytes().replace(b"\n", b"\r\n"))
    assert load_cycles(text).digest == load_cycles(good).digest


def test_missing_and_misnamed_files(text: Path) -> None:
    (text / "PS6.txt").rename(text / "ps6.txt")
    with pytest.raises(BadData, match=r"there is ps6\.txt: rename it") as caught:
        load_cycles(text)
    assert caught.value.file == "PS6.txt"
    (text / "ps6.txt").rename(text / "PS7.txt")
    with pytest.raises(BadData, match=r"found instead: .*PS7\.txt"):
        load_cycles(text)


def test_zips_that_lie(text: Path, tmp_path: Path) -> None:
    path = zip_of(text, tmp_path / "good.zip")
    whole = path.read_bytes()
    cut = tmp_path / "cut.zip"
    for size in (0, 10, len(whole) // 2, len(whole) - 1):
        cut.write_bytes(whole[:size])
        with pytest.raises(BadData, match=r"cut\.zip"):
            load_cycles(cut)
    middle = len(whole) // 3
    cut.write_bytes(whole[:middle] + bytes(255 - byte for byte in whole[middle : middle + 50]) + whole[middle + 50 :])
    with pytest.raises(BadData, match="cannot be read"):
        load_cycles(cut)
    for unsafe in ("../PS1.txt", "/etc/PS1.txt", "a\\..\\..\\b.txt", "C:/PS1.txt"):
        slip = zip_of(text, tmp_path / "slip.zip")
        with zipfile.ZipFile(slip, "a") as archive:
            archive.writestr(unsafe, "1")
        with pytest.raises(BadData, match="leads out of the folder"):
            load_cycles(slip)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("copy/PS1.txt", "1")
    with pytest.raises(BadData, match=r"is there twice: PS1.txt and copy/PS1.txt"):
        load_cycles(path)


def test_zip_bombs(text: Path, tmp_path: Path) -> None:
    bomb = zip_of(text, tmp_path / "bomb.zip")
    raw = bytearray(bomb.read_bytes())
    at = raw.rindex(b"PS1.txt") - 46 + 24  # the declared size in the central directory
    raw[at : at + 4] = struct.pack("<I", 2**31)
    bomb.write_bytes(raw)
    with pytest.raises(BadData, match="at most"):
        load_cycles(bomb)
    with zipfile.ZipFile(bomb, "w") as archive:
        for i in range(MAX_MEMBERS + 1):
            archive.writestr(f"{i}.txt", "")
    with pytest.raises(BadData, match="1001 files"):
        load_cycles(bomb)


def test_cache_is_used_and_never_trusted(text: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = tmp_path / "cache"
    first = load_cycles(text, cache=cache)
    (kept,) = cache.iterdir()
    assert load_cycles(text, cache=cache).digest == first.digest
    assert load_cycles(zip_of(text, tmp_path / "a.zip"), cache=cache).digest == first.digest
    assert list(cache.iterdir()) == [kept]
    whole = kept.read_bytes()
    kept.write_bytes(whole[: len(whole) // 2])
    assert load_cycles(text, cache=cache).digest == first.digest
    assert "damaged, so it is made again" in caplog.text
    assert kept.read_bytes()[-4:] == b"PAR1"
    write_parquet(simulate_cycles(cycles=1), kept)  # a whole file, but of other numbers under the old digest
    forged = pq.read_table(kept).replace_schema_metadata({b"digest": first.digest.encode()})
    pq.write_table(forged, kept)
    assert load_cycles(text, cache=cache).digest == first.digest
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert load_cycles(text, cache=blocked / "x").digest == first.digest


def test_damaged_text_is_not_cached(text: Path, tmp_path: Path) -> None:
    damage(text / "PS1.txt", b"\t", b"\tx")
    with pytest.raises(BadData):
        load_cycles(text, cache=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def seconds_frame() -> pd.DataFrame:
    return frame_of(simulate_cycles(cycles=3, seed=5))


@pytest.mark.parametrize(
    ("change", "row", "column", "words"),
    [
        (lambda f: f.rename(columns={"PS1": "PS9"}), None, "PS1", "found instead: PS9"),
        (lambda f: f.assign(extra=1), None, "extra", "unknown column"),
        (lambda f: f.drop(index=70), 71, "t_s", "is 11, must be 10"),
        (lambda f: f.iloc[:-1], 179, "t_s", "ends after 59 s"),
        (lambda f: f.assign(cycle=0), 61, "cycle", "occurs twice"),
        (lambda f: f.iloc[:0], None, None, "no rows"),
        (lambda f: f.assign(PS1="x"), None, "PS1", "are not numbers"),
        (lambda f: f.assign(cooler_condition=4), 1, "cooler_condition", "no class"),
        (lambda f: f.assign(run=0), 2 * 60 + 1, "run", "change within run 0"),
        (lambda f: f.assign(PS1=f["PS1"].where(f.index != 7)), 8, "PS1", "empty|not a finite"),
        (lambda f: f.assign(PS1=f["PS1"].where(f.index != 7, np.inf)), 8, "PS1", "not a finite"),
        (
            lambda f: f.assign(valve_condition=f["valve_condition"].where(f.index != 7, 73)),
            8,
            "valve_condition",
            "at the start of the cycle",
        ),
    ],
)
def test_damaged_parquet(tmp_path: Path, change, row: int | None, column: str | None, words: str) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "c.parquet"
    change(seconds_frame()).to_parquet(path, index=False)
    with pytest.raises(BadData, match=words) as caught:
        load_cycles(path)
    assert caught.value.column == column
    if words != "change within run 0":  # which cycles the simulation takes decides where the run breaks
        assert caught.value.row == row


def test_torn_parquet_and_odd_files(tmp_path: Path) -> None:
    path = tmp_path / "c.parquet"
    seconds_frame().to_parquet(path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(BadData, match="not a readable parquet"):
        load_cycles(path)
    pq.write_table(pa.table({"a": [1.0]}), path)
    with pytest.raises(BadData, match="neither per-second cycles"):
        load_cycles(path)
    (tmp_path / "c.csv").write_bytes(b"cycle,t_s\n0,\xff\n")
    with pytest.raises(BadData, match=r"c\.csv, row 2, column 2: byte 0xff is not UTF-8"):
        load_cycles(tmp_path / "c.csv")
    (tmp_path / "c.csv").write_text("psa_bar\n")
    with pytest.raises(BadData, match="no rows below the header"):
        load_cycles(tmp_path / "c.csv")
    with pytest.raises(NotFound, match="no such file"):
        load_cycles(tmp_path / "absent")
    with pytest.raises(BadInput, match=r"must be a folder"):
        (tmp_path / "c.xlsx").write_text("")
        load_cycles(tmp_path / "c.xlsx")
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotFound, match="holds no cycles"):
        load_cycles(tmp_path / "empty")


def test_second_means_are_exact_whatever_the_order() -> None:
    samples = np.random.default_rng(0).integers(0, 200_000, (2, 6000)) / 1000
    means = second_means(samples, 100)
    shuffled = samples.reshape(2, 60, 100)[:, :, ::-1].reshape(2, 6000)
    assert np.array_equal(means, second_means(shuffled, 100))
    np.testing.assert_allclose(means, samples.reshape(2, 60, 100).mean(axis=2), rtol=1e-14)
    fine = np.full((1, 600), 1 / 3)
    np.testing.assert_allclose(second_means(fine, 10), 1 / 3, rtol=1e-15)


def test_real_seconds_give_the_tutorials_means(rig_data: Path) -> None:
    cycles = load_cycles(rig_data)
    table = load_cycles(rig_data / "hydraulic_cycle_means_h2o.csv")
    profile = pd.read_csv(rig_data / "profile.csv")
    assert cycles.seconds is not None and cycles.seconds.shape == (2205, len(SENSORS), 60)
    assert table.seconds is None
    assert cycles.run is not None and cycles.run.tolist() == profile["run"].tolist()
    assert table.run is not None and table.run.tolist() == profile["run"].tolist()
    pd.testing.assert_frame_equal(cycles.means, table.means, rtol=1e-9, atol=1e-12, check_exact=False)
    assert cycles.conditions is not None and table.conditions is not None
    pd.testing.assert_frame_equal(cycles.conditions, table.conditions)


def test_real_samples_in_parquet_and_csv_are_the_same(rig_data: Path) -> None:
    parquet = load_cycles(rig_data / "sample_cycles_1hz.parquet")
    assert len(parquet) == 96
    assert parquet.digest == load_cycles(rig_data / "sample_cycles_1hz.csv").digest


def test_real_full_rate_fragments_reduce_to_the_seconds(rig_data: Path) -> None:
    seconds = load_cycles(rig_data).seconds
    assert seconds is not None
    names = [sensor.name for sensor in SENSORS]
    with np.load(rig_data / "fullrate_fragments.npz") as fragments:
        for key, cycles, sensor, rate in (
            ("PS2_100hz", "PS2_cycles", "PS2", 100),
            ("FS1_10hz", "FS1_cycles", "FS1", 10),
        ):
            samples = np.round(fragments[key].astype(np.float64), 3)  # stored in 32 bits: back to the 3 decimals
            expected = seconds[fragments[cycles], names.index(sensor)]
            # both are the double nearest to the true mean, or its neighbour: 4 ulp
            np.testing.assert_array_max_ulp(second_means(samples, rate), expected, maxulp=4)
