"""What the Containerfile's RUN steps do, without a container engine: a wheel in a new environment, run as in a pod.

As root on Linux it runs as uid 8888 on a read-only file system of its own; elsewhere as whoever runs the tests.
No image is built here.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mlflow_hydraulic.bundle.digest import digest_folder
from mlflow_hydraulic.deploy_targets.kubernetes import pod
from mlflow_hydraulic.plugin import flavor
from tests.scorers import forest, good_rows
from tests.services import free_port
from tests.support.local import ROOT, until
from tests.support.pods import DEADLINE_S, Pod, clean_environ

pytestmark = pytest.mark.slow
FOLDER = ROOT / ".cache" / "image-env"
COPIED = (
    *("pyproject.toml", "setup.cfg", "MANIFEST.in", "README.md", "LICENSE"),
    *("mlflow_hydraulic", "plugin", "deploy_targets"),  # with the links between them, as COPY leaves them
)
ISOLATED = """
mount --make-rprivate / && mount -t tmpfs -o mode=0755 tmpfs /mnt && mkdir /mnt/models /mnt/image
mount --bind "$MODEL" /mnt/models && mount --bind "$IMAGE" /mnt/image
mount -o remount,ro,bind / && mount -t tmpfs -o mode=0755 tmpfs /var/lib && mkdir -m 0777 /var/lib/hydraulic
mount -t tmpfs -o mode=1777 tmpfs /tmp && cd /tmp
exec setpriv --reuid 8888 --regid 8888 --clear-groups --no-new-privs --inh-caps=-all --bounding-set=-all "$@"
"""


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The environment that the image has at /opt/hydraulic, made by its own steps."""
    lists = "".join((ROOT / "image" / "bundle.txt").read_text(encoding="utf-8"))
    stamp, wanted = FOLDER / ".requirements", hashlib.sha256((lists + sys.version).encode()).hexdigest()
    try:
        if not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
            shutil.rmtree(FOLDER, ignore_errors=True)
            _run(sys.executable, "-m", "venv", "--without-pip", str(FOLDER))
            _pip("install", "--only-binary", ":all:", "-r", str(ROOT / "image" / "bundle.txt"))
            stamp.write_text(wanted, encoding="utf-8")
        source, wheels = tmp_path_factory.mktemp("src"), tmp_path_factory.mktemp("wheel")
        for name in COPIED:
            _copy(ROOT / name, source / name)
        _run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--wheel-dir", str(wheels), str(source))
        _pip("install", "--no-deps", "--force-reinstall", *map(str, wheels.glob("*.whl")))
    except subprocess.CalledProcessError as error:
        pytest.skip(f"the image's environment cannot be installed here: {error.stderr[-500:]}")
    return FOLDER


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "model"
    flavor.save_model(forest(), folder)
    folder.chmod(0o755)
    return folder


def test_the_wheel_is_whole(image: Path) -> None:
    """Nothing of the checkout is needed: every package of setup.cfg is in the wheel, and no test is."""
    python = str(image / "bin" / "python")
    found = _run(python, "-I", "-c", "import mlflow_hydraulic as m; print(m.__file__)").strip()
    assert str(image) in found
    assert _run(str(image / "bin" / "hydraulic"), "--version")
    assert not list((image / "lib").glob("python*/site-packages/tests"))
    assert not list((image / "lib").glob("python*/site-packages/pip"))


def test_a_pod_serves_from_the_image_sclean_environment(image: Path, model: Path, tmp_path: Path) -> None:
    with _started(image, model, tmp_path) as (started, isolated):
        until(lambda: started.process.poll() is not None or started.ready()[0] == 200, "ready")
        assert started.process.poll() is None, started.said()
        status, body = started.ask("POST", "/predict", b'{"data": {"ndarray": %r}}' % good_rows(1))
        assert status == 200, body
        if isolated:
            assert Path(f"/proc/{started.process.pid}/status").read_text().split("Uid:\t")[1].startswith("8888\t")
        assert started.end() == 0, started.said()
    print(re.findall(r"serving .* after the start|ready|gRPC on port.*", started.said()))
    assert "gRPC on port" in started.said()


def test_a_model_that_the_small_image_cannot_serve_is_one_clear_line(image: Path, model: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    shutil.copytree(model, plain)
    shutil.rmtree(plain / "bundle")
    with _started(image, plain, tmp_path) as (started, _):
        assert started.process.wait(DEADLINE_S) == 1, started.said()
    assert "VARIANT=pyfunc" in started.said().splitlines()[-1]
    assert "Traceback" not in started.said()


@contextmanager
def _started(image: Path, model: Path, folder: Path) -> Iterator[tuple[Pod, bool]]:
    """A pod of the image, and whether it runs as another user on a read-only file system."""
    ports = free_port(), free_port()
    isolated = _can_isolate(image)
    told = {
        pod.MODEL_URI: pod.INITIALIZED_FOLDER if isolated else str(model),
        pod.MODEL_DIGEST: digest_folder(model),
        pod.HOME: pod.HOME_FOLDER if isolated else str(folder / "home"),
        pod.HTTP_PORT_VARIABLE: str(ports[0]),
        pod.GRPC_PORT_VARIABLE: str(ports[1]),
        pod.DRAIN: "5",
        "HOME": pod.SCRATCH_FOLDER,
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    environ = {name: value for name, value in clean_environ(told).items() if name != "PYTHONPATH"}
    python = Path("/mnt/image" if isolated else image) / "bin" / "python"
    command = [str(python), "-m", "mlflow_hydraulic.cli", *pod.ARGS, "--linger", "0.1"]
    log = folder / "log"
    if isolated:
        environ |= {"MODEL": str(model), "IMAGE": str(image)}
        command = ["unshare", "-m", "sh", "-ec", ISOLATED, "sh", *command]
    with log.open("wb") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=stream, env=environ, cwd="/")
    try:
        yield Pod(process=process, http_port=ports[0], grpc_port=ports[1], log=log, termination=log), isolated
    finally:
        process.kill()
        process.wait()


def _can_isolate(image: Path) -> bool:
    if not hasattr(os, "geteuid") or os.geteuid() != 0 or not shutil.which("unshare") or not shutil.which("setpriv"):
        return False
    tried = subprocess.run(
        ["unshare", "-m", "sh", "-ec", ISOLATED, "sh", "true"],
        env={**os.environ, "MODEL": str(image), "IMAGE": str(image)},
        capture_output=True,
        check=False,
    )
    return tried.returncode == 0


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copyfile(source, target)


def _pip(*words: str) -> str:
    return _run(sys.executable, "-m", "pip", "--python", str(FOLDER / "bin" / "python"), *words, "-q")


def _run(*command: str) -> str:
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=400, cwd="/")
    return done.stdout
