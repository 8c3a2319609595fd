"""The main job, command by command: train on the rig's data, register, deploy, ask. `make quickstart` calls it.

Every command is printed before it runs, so that it can be repeated by hand. Everything lies in the folder `quickstart/`
of the checkout; a second run trains a new version and updates the deployment in place. `--stop` ends the deployment.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HOME = ROOT / "quickstart"
TARGET = "cool_cond_y"
MODEL = "hydraulic-cooler"
DEPLOYMENT = "cooler"
EXPERIMENT = "hydraulic"
SETTINGS = {
    "MLFLOW_TRACKING_URI": f"sqlite:///{HOME}/mlflow.db",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "HYDRAULIC_HOME": str(HOME / "home"),
}


def run(*command: str, shown: bool = True, check: bool = True) -> str:
    """Print `command`, run it with its output on the terminal as it comes, and return what it wrote to stdout."""
    if shown:
        print(f"\n$ {shlex.join(command)}", flush=True)
    lines = []
    stderr = None if shown else subprocess.DEVNULL  # inherited, so that progress bars see the terminal
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=stderr, text=True) as process:
        for line in process.stdout or ():
            lines.append(line)
            if shown:
                print(f"  {line.rstrip()}", flush=True)
    if check and process.returncode:
        sys.exit(f"that failed with exit code {process.returncode}; what was done before it stays in {HOME}")
    return "".join(lines) if process.returncode == 0 else ""


def set_up() -> None:
    """A registry of our own in `quickstart/`, and a file with the settings for later shells."""
    HOME.mkdir(exist_ok=True)
    os.environ.update(SETTINGS)
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    exports = [f"export {name}={shlex.quote(value)}" for name, value in SETTINGS.items()]
    exports.append(f'export PATH={shlex.quote(str(Path(sys.executable).parent))}:"$PATH"')
    (HOME / "env.sh").write_text("\n".join(exports) + "\n", encoding="utf-8")
    print("\n".join(f"$ {line}" for line in exports))
    if not (HOME / "artifacts").exists():
        artifacts = (HOME / "artifacts").as_uri()
        run("mlflow", "experiments", "create", "--experiment-name", EXPERIMENT, "--artifact-location", artifacts)
        (HOME / "artifacts").mkdir(exist_ok=True)


def train() -> tuple[str, float]:
    """Train and register; ("models:/hydraulic-cooler/N", seconds)."""
    start = time.monotonic()
    said = run("hydraulic", "train", "--target", TARGET, "--experiment", EXPERIMENT, "--register", MODEL)
    uris = re.findall(rf"models:/{MODEL}/\d+", said)
    if not uris:
        sys.exit(f"hydraulic train named no version of {MODEL}")
    return uris[-1], time.monotonic() - start


def deploy(uri: str) -> str:
    """Create the deployment, or update it in place where it runs already; its address."""
    target = ("-t", "seldon-local", "--name", DEPLOYMENT)
    verb = "update" if run("mlflow", "deployments", "get", *target, shown=False, check=False) else "create"
    run("mlflow", "deployments", verb, *target, "-m", uri)
    said = run("mlflow", "deployments", "get", *target)
    found = re.search(r"https?://[^\s'\",}]+", said)
    if found is None:
        sys.exit("the deployment names no address")
    return found[0].rstrip("/")


def requests() -> list[tuple[int, str, dict[str, list[object]]]]:
    """One cycle of each class in the tutorial's form: (class, where it is from, {"fields", "rows"})."""
    from mlflow_hydraulic.rig.find import find_cycles
    from mlflow_hydraulic.settings import read_settings

    cycles = find_cycles(read_settings())
    if cycles.conditions is None:
        sys.exit(f"{cycles.source} has no labels: name the rig's data in HYDRAULIC_DATA")
    conditions = cycles.conditions.reset_index(drop=True)
    asked = []
    for label in (3, 20, 100):
        candidates = conditions.index[(conditions[TARGET] == label) & (conditions["stable_y"] == 0)]
        cycle = int(candidates[len(candidates) // 2])
        row = cycles.means.iloc[cycle]
        cells = [f"{value:.6g}" for value in row]
        asked.append((label, f"{cycles.origin} cycle {cycle}", {"fields": list(row.index), "rows": [cells]}))
    return asked


def ask(url: str) -> None:
    """The tutorial's request for a cycle of each class, and the probabilities that come back."""
    for label, origin, request in requests():
        print(f"\n# {origin}: its cooler was at {label} %")
        body = json.dumps(request)
        command = ["curl", "-sS", f"{url}/model/score", "-H", "Content-Type: application/json", "-d", body]
        if shutil.which("curl"):
            answer = json.loads(run(*command))
        else:
            print(f"$ {shlex.join(command)}   # curl is not here: Python asks instead")
            post = urllib.request.Request(  # noqa: S310 - the address of our own deployment
                f"{url}/model/score", body.encode(), {"Content-Type": "application/json"}
            )
            with urllib.request.urlopen(post, timeout=30) as reply:  # noqa: S310 - as above
                answer = json.load(reply)
            print(f"  {json.dumps(answer)}")
        if "score" not in answer:
            sys.exit("that is no score")
        for name, probability in zip(answer["fields"], answer["score"][0], strict=True):
            print(f"  {name:>16} {float(probability):8.4f}")


def farewell(url: str, train_s: float, total_s: float) -> None:
    print(f"""
Done in {total_s:.0f} s, set-up included, of which training {train_s:.0f} s.

running    deployment {DEPLOYMENT!r} at {url}
           metrics {url}/metrics
stop it    make stop
go on      . quickstart/env.sh        # this shell then finds the same registry and deployments
           mlflow deployments list -t seldon-local
           mlflow ui --backend-store-uri {SETTINGS["MLFLOW_TRACKING_URI"]}
           mlflow deployments help -t seldon-local
           python examples/second_project/train.py      # another project's model, deployed the same way""")


def stop() -> None:
    os.environ.update(SETTINGS)
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    run("mlflow", "deployments", "delete", "-t", "seldon-local", "--name", DEPLOYMENT)


def main() -> None:
    if sys.argv[1:] == ["--stop"]:
        stop()
        return
    # make says when it began, so that the total has the installation in it
    started = float(os.environ.get("QUICKSTART_STARTED") or time.time())
    set_up()
    uri, train_s = train()
    url = deploy(uri)
    ask(url)
    farewell(url, train_s, time.time() - started)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("\nstopped; a new `make quickstart` goes on from here, `make stop` ends what is deployed")
