"""setup.cfg lists the packages by hand: a folder that it forgets would be missing from the wheel."""

from __future__ import annotations

import configparser
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HOMES = {
    "mlflow_hydraulic": "mlflow_hydraulic",
    "plugin": "mlflow_hydraulic.plugin",
    "deploy_targets": "mlflow_hydraulic.deploy_targets",
}
FROM_A_CHECKOUT = ROOT / "deploy_targets" / "kubernetes" / "install"  # for helm and kubectl: no code of ours reads it


def _packages_on_disk() -> set[str]:
    found = set()
    for folder, package in HOMES.items():
        for init in (ROOT / folder).rglob("__init__.py"):
            inner = init.parent.relative_to(ROOT / folder).parts
            if folder == "mlflow_hydraulic" and inner[:1] in {("plugin",), ("deploy_targets",)}:
                continue  # the symbolic links
            found.add(".".join([package, *inner]))
    return found


def test_every_package_is_listed() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    assert set(setup["options"]["packages"].split()) == _packages_on_disk()


def test_the_data_files_of_packages_are_listed() -> None:
    """A file beside the code that is no Python file must be package data, or an installed copy lacks it."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    listed = setup["options.package_data"]
    missing = []
    for folder, package in HOMES.items():
        for path in (ROOT / folder).rglob("*"):
            inner = path.parent.relative_to(ROOT / folder).parts
            linked = folder == "mlflow_hydraulic" and inner[:1] in {("plugin",), ("deploy_targets",)}
            if not path.is_file() or path.suffix in {".py", ".pyc"} or linked or "__pycache__" in path.parts:
                continue
            if FROM_A_CHECKOUT in path.parents:
                continue
            above = range(len(inner) + 1)  # a package lists what lies in its folders that are no packages, too
            globs = {
                str(Path(*inner[depth:], path.name)): listed.get(".".join([package, *inner[:depth]]), "").split()
                for depth in above
            }
            if not any(fnmatch(name, glob) for name, given in globs.items() for glob in given):
                missing.append(str(path.relative_to(ROOT)))
    assert not missing


def test_no_room_but_the_plugin_may_import_mlflow() -> None:
    """The import contracts name every room: one that is built later must not be forgotten."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    contracts = ("importlinter:contract:mlflow", "importlinter:contract:mlflow-cli")
    named = {room for contract in contracts for room in setup[contract]["source_modules"].split()}
    folder = ROOT / "mlflow_hydraulic"
    rooms = {path.stem for path in folder.glob("*.py")} | {init.parent.name for init in folder.glob("*/__init__.py")}
    assert named == {f"mlflow_hydraulic.{room}" for room in rooms - {"__init__", "plugin"}}
