"""The digest of a folder: the same for the same content, another for any change, and no way around it."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_hydraulic.bundle.digest import digest_folder
from mlflow_hydraulic.errors import BadInput, NotFound, Untrusted

MLMODEL = """\
artifact_path: file:///tmp/mlruns/0/models/m-1/artifacts
flavors:
  python_function:
    loader_module: mlflow_hydraulic.plugin.flavor
    python_version: 3.11.2
mlflow_version: 3.17.2
model_id: m-1
model_uuid: m-1
run_id: 0123abc
utc_time_created: '2026-11-23 00:45:00.123456'
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "bundle").mkdir(parents=True)
    (folder / "MLmodel").write_text(MLMODEL)
    (folder / "model.skops").write_bytes(b"\x00\x01")
    (folder / "bundle" / "bundle.json").write_text("{}")
    return folder


def test_it_is_what_sha256sum_gives(model: Path) -> None:
    (model / "MLmodel").unlink()
    lines = [
        f"{hashlib.sha256(b'{}').hexdigest()}  bundle/bundle.json\n",
        f"{hashlib.sha256(bytes([0, 1])).hexdigest()}  model.skops\n",
    ]
    assert digest_folder(model) == hashlib.sha256("".join(lines).encode()).hexdigest()


def test_a_copy_has_the_same_digest(model: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(model, tmp_path / "elsewhere", copy_function=shutil.copyfile)
    (copy / "empty").mkdir()
    assert digest_folder(copy) == digest_folder(model)


def test_what_mlflow_and_python_add_does_not_count(model: Path) -> None:
    before = digest_folder(model)
    (model / "registered_model_meta").write_text("model_name: cooler\nmodel_version: '3'\n")
    (model / "code" / "__pycache__").mkdir(parents=True)
    (model / "code" / "__pycache__" / "x.cpython-311.pyc").write_bytes(b"")
    assert digest_folder(model) == before


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("model_id: m-1", "model_id: m-2"),
        ("run_id: 0123abc", "run_id: fff"),
        ("'2026-11-23 00:45:00.123456'", "'2027-01-01 00:00:00.000001'"),
        ("file:///tmp/mlruns", "mlflow-artifacts:/1"),
    ],
)
def test_time_and_run_in_mlmodel_do_not_count(model: Path, old: str, new: str) -> None:
    before = digest_folder(model)
    (model / "MLmodel").write_text(MLMODEL.replace(old, new))
    assert digest_folder(model) == before


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("mlflow_hydraulic.plugin.flavor", "os"),
        ("run_id: 0123abc\n", "run_id: 0123abc\n'flavors': {python_function: {loader_module: os}}\n"),
        ("run_id: 0123abc\n", "run_id: {a: b\n  }\n"),
        ("run_id: 0123abc\n", "run_id: &anchor abc\n"),
        ("run_id: 0123abc\n", "run_id: abc\n--- \nflavors: {}\n"),
        ("run_id: 0123abc\n", "run_id: abc\rflavors: {}\n"),
        ("    python_version: 3.11.2\n", "    python_version: 3.11.2\n    model_id: x\n"),
    ],
)
def test_nothing_that_acts_hides_in_mlmodel(model: Path, old: str, new: str) -> None:
    before = digest_folder(model)
    assert old in MLMODEL
    (model / "MLmodel").write_text(MLMODEL.replace(old, new), newline="")
    assert digest_folder(model) != before


def test_mlmodel_is_special_at_the_top_only(model: Path) -> None:
    (model / "bundle" / "MLmodel").write_text("run_id: a\n")
    before = digest_folder(model)
    (model / "bundle" / "MLmodel").write_text("run_id: b\n")
    assert digest_folder(model) != before


@given(st.dictionaries(st.sampled_from(["a", "b", "c/d", "c/e", "ü"]), st.binary(max_size=3), min_size=1), st.data())
def test_any_change_changes_it(files: dict[str, bytes], data: st.DataObject) -> None:
    changed = dict(files)
    name = data.draw(st.sampled_from(sorted(files)))
    match data.draw(st.sampled_from(["drop", "add", "rename", "edit"])):
        case "drop":
            del changed[name]
        case "add":
            changed["new"] = b""
        case "rename":
            changed["new"] = changed.pop(name)
        case "edit":
            changed[name] += b"!"
    with tempfile.TemporaryDirectory() as folder:
        before = _digest_of(Path(folder) / "1", {"-": b"", **files})
        assert _digest_of(Path(folder) / "2", {"-": b"", **changed}) != before


def _digest_of(folder: Path, files: dict[str, bytes]) -> str:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return digest_folder(folder)


def test_a_link_to_a_file_inside_counts_as_its_copy(model: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(model, tmp_path / "copy")
    shutil.copyfile(model / "model.skops", copy / "same.skops")
    (model / "same.skops").symlink_to("model.skops")
    assert digest_folder(model) == digest_folder(copy)


def test_a_link_that_leaves_the_folder_is_refused(model: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (model / "bundle" / "x").symlink_to("../../secret")
    with pytest.raises(Untrusted, match=r"bundle/x in .*: the link leads out of the folder, to .*secret"):
        digest_folder(model)


def test_links_to_folders_devices_and_nothing_are_refused(model: Path) -> None:
    for target, problem in ((".", "only files"), ("nowhere", "cannot be read"), ("x", "cannot be read")):
        link = model / "x"
        link.symlink_to(target)
        with pytest.raises(Untrusted, match=problem):
            digest_folder(model)
        link.unlink()
    os.mkfifo(model / "pipe")
    with pytest.raises(Untrusted, match=r"pipe in .*: only files"):
        digest_folder(model)


def test_a_line_break_in_a_name_is_refused(model: Path) -> None:
    (model / "a\nb").touch()
    with pytest.raises(Untrusted, match="line break"):
        digest_folder(model)


def test_a_link_to_the_model_itself_is_fine(model: Path, tmp_path: Path) -> None:
    link = tmp_path / "latest"
    link.symlink_to(model)
    assert digest_folder(link) == digest_folder(model)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no such folder"):
        digest_folder(tmp_path / "missing")
    with pytest.raises(BadInput, match="holds no files"):
        digest_folder(tmp_path)
