"""The Containerfile, read as a linter would: no image can be built where the tests run."""

from __future__ import annotations

import configparser
import fnmatch
import re
from pathlib import Path
from typing import NamedTuple

import pytest

from mlflow_hydraulic.deploy_targets.kubernetes import pod
from mlflow_hydraulic.version import VERSION

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "Containerfile").read_text(encoding="utf-8")
KNOWN = {"ARG", "FROM", "WORKDIR", "COPY", "RUN", "ENV", "EXPOSE", "USER", "ENTRYPOINT", "CMD"}
COMPILERS = ("gcc", "g++", "build-essential", "clang", "cmake", "cargo", "python3-dev")


class Step(NamedTuple):
    """One instruction; stage 0 is what stands before the first FROM."""

    stage: int
    word: str
    rest: str


def _steps() -> list[Step]:
    lines = [line for line in TEXT.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    found, stage = [], 0
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        word, _, rest = line.strip().partition(" ")
        stage += word == "FROM"
        found.append(Step(stage, word, re.sub(r"\s+", " ", rest.strip())))
    return found


STEPS = _steps()
LAST = max(step.stage for step in STEPS)


def _of(word: str, stage: int = LAST) -> list[str]:
    return [step.rest for step in STEPS if step.word == word and step.stage == stage]


def test_only_known_instructions_stand_there() -> None:
    assert {step.word for step in STEPS} == KNOWN
    assert STEPS[0].word == "ARG" and STEPS[1].word == "FROM"


def test_the_image_runs_as_nobody_in_particular_and_starts_the_scorer() -> None:
    assert _of("USER") == ["8888:8888"]  # by number: runAsNonRoot cannot check a name
    assert [step.word for step in STEPS if step.stage == LAST][-3:] == ["USER", "ENTRYPOINT", "CMD"]
    assert _of("ENTRYPOINT") == ['["hydraulic"]'] and _of("CMD") == [f'["{pod.ARGS[0]}"]']
    assert _of("EXPOSE") == [f"{pod.HTTP_PORT} {pod.GRPC_PORT}"]
    assert f"-t {pod.IMAGE} " in TEXT and pod.IMAGE.endswith(f":{VERSION}")


def test_what_it_writes_is_what_the_manifests_mount() -> None:
    environment = dict(part.split("=", 1) for part in _of("ENV")[0].split(" "))
    assert environment["HYDRAULIC_HOME"] == pod.HOME_FOLDER and environment["HOME"] == pod.SCRATCH_FOLDER
    assert environment["HYDRAULIC_HOST"] == "0.0.0.0"  # noqa: S104 - in the pod's own network
    assert environment["PYTHONDONTWRITEBYTECODE"] == "1"
    assert not {name for name in environment if re.search("TOKEN|SECRET|PASSWORD|KEY", name)}
    assert any(pod.HOME_FOLDER in run and "-o 8888" in run for run in _of("RUN"))


def test_the_last_stage_has_no_compiler_no_pip_and_nothing_but_the_environment() -> None:
    assert _of("COPY") == ["--from=build /opt/hydraulic /opt/hydraulic"]
    assert not [run for run in _of("RUN") if "pip" in run or "apt" in run or "curl" in run]
    assert not [word for word in COMPILERS if word in TEXT.replace("needs no compiler", "")]
    assert "--without-pip" in TEXT and "--only-binary :all:" in TEXT


def test_every_argument_is_declared_where_it_is_used() -> None:
    for stage in range(1, LAST + 1):
        declared = {arg.partition("=")[0] for arg in _of("ARG", stage)}
        used = {name for step in STEPS if step.stage == stage for name in re.findall(r"\$\{(\w+)\}", step.rest)}
        assert used - declared <= {"PYTHON", "storage", "one"}, stage
    assert all(re.fullmatch(r"docker\.io/library/python:\$\{PYTHON\}-slim( AS build)?", f) for f in _of("FROM", 1))


def test_what_is_copied_is_there_and_reaches_the_build() -> None:
    ignored = (ROOT / ".containerignore").read_text(encoding="utf-8").splitlines()
    let_in = {line[1:] for line in ignored if line.startswith("!")}
    copied = {source.rstrip("/") for rest in _of("COPY", 1) for source in rest.split(" ")[:-1]}
    assert ignored[1] == "*" and copied == let_in
    assert all((ROOT / source).exists() for source in copied)
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    homes = {line.split("=")[1].strip() for line in setup["options"]["package_dir"].split("\n") if "=" in line}
    assert homes <= copied


@pytest.mark.parametrize("name", ["bundle.txt", "pyfunc.txt"])
def test_the_ranges_are_those_of_setup_cfg(name: str) -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    declared = (setup["options"]["install_requires"] + setup["options.extras_require"]["grpc"]).splitlines()
    wanted = {line.partition(";")[0].strip() for line in declared}
    lines = (ROOT / "image" / name).read_text(encoding="utf-8").splitlines()
    listed = {line.partition(";")[0].strip().replace("mlflow-skinny", "mlflow") for line in lines}
    assert {line for line in listed if line and not line.startswith(("#", "-r "))} <= wanted


def test_every_variant_and_storage_has_its_list() -> None:
    for name in ("VARIANT=pyfunc", 'STORAGE="s3"'):
        assert name in TEXT
    given = dict(arg.split("=", 1) for arg in _of("ARG", 1) if "=" in arg)
    for variant in (given["VARIANT"], "pyfunc"):
        assert (ROOT / "image" / f"{variant}.txt").is_file()
    found = {path.stem.removeprefix("storage-") for path in (ROOT / "image").glob("storage-*.txt")}
    assert set(given["STORAGE"].strip('"').split()) == found
    assert not fnmatch.filter(found, "* *")
