"""The main job, command by command: train, register, move to Staging and Production, ask. `make quickstart` calls it.

Every command is printed before it runs, so that it can be repeated by hand. Everything lies in the folder `quickstart/`
of the checkout, where `hydraulic up` goes on running at the end; `--stop` ends it. A second run trains a new version,
which takes the place of the one in Production.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TARGET = "cool_cond_y"
MODEL = "hydraulic-cooler"
BY_HAND = "cooler-by-hand"
PROJECT = "hydraulic"
EXPERIMENT = "hydraulic"
PORT = 5000
HEALTHY_S = 180.0
PROGRAMS = {  # run by this Python, so that its environment needs not be activated
    "hydraulic": [sys.executable, "-m", "mlflow_hydraulic.cli"],
    "mlflow": [sys.executable, "-m", "mlflow"],
}


def run(*command: str, shown: bool = True) -> str:
    """Print `command`, run it with its output on the terminal as it comes, and return what it wrote to stdout."""
    if shown:
        print(f"\n$ {shlex.join(command)}", flush=True)
    lines = []
    started = [*PROGRAMS.get(command[0], [command[0]]), *command[1:]]
    # stderr is inherited, so that progress bars see the terminal
    with subprocess.Popen(started, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout or ():
            lines.append(line)
            if shown:
                print(f"  {line.rstrip()}", flush=True)
    if process.returncode:
        sys.exit(f"that failed with exit code {process.returncode}; what was done before it stays")
    return "".join(lines)


def bring_up(folder: Path) -> str:
    """MLflow's server, the controller and the local target in `folder`; this process gets its environment. The URL."""
    run("hydraulic", "up", "--folder", str(folder), "--port", str(free_port()), "--demo-users", "--detach")
    print(f"\n$ . {folder / 'env.sh'}")
    for line in (folder / "env.sh").read_text(encoding="utf-8").splitlines():
        name, value = shlex.split(line.removeprefix("export "))[0].split("=", 1)
        if name != "PATH":
            os.environ[name] = value
            print(f"  {name}={value}")
    if "MLFLOW_TRACKING_USERNAME" not in os.environ:
        sys.exit(f"an older quickstart runs in {folder}, without the demo's users: `make stop`, then start it again")
    return os.environ["MLFLOW_TRACKING_URI"]


def free_port() -> int:
    """MLflow's usual port, or 0 for any where that one is taken."""
    with socket.socket() as probe:
        return 0 if probe.connect_ex(("127.0.0.1", PORT)) == 0 else PORT


def train() -> tuple[str, float]:
    """Train and register; (number of the version, seconds)."""
    start = time.monotonic()
    said = run("hydraulic", "train", "--target", TARGET, "--experiment", EXPERIMENT, "--register", MODEL)
    versions = re.findall(rf"models:/{MODEL}/(\d+)", said)
    if not versions:
        sys.exit(f"hydraulic train named no version of {MODEL}")
    return versions[-1], time.monotonic() - start


def move(url: str, version: str, stage: str, reason: str) -> None:
    """The one thing that a person does: the same as the stage dialog of MLflow's page, with its comment."""
    asked = {"name": MODEL, "version": version, "stage": stage, "archive_existing_versions": True}
    headers = {"X-Hydraulic-Reason": reason}
    answer = post(f"{url}/api/2.0/mlflow/model-versions/transition-stage", asked, headers, login=login())
    print(f"  {MODEL} {version} is in {answer['model_version']['current_stage']}", flush=True)


def wait_healthy(url: str, version: str, environment: str) -> tuple[str, float]:
    """Wait for the controller's word, which it writes on the version as tags; (address of the deployment, seconds)."""
    start = time.monotonic()
    query = urllib.parse.urlencode({"name": MODEL, "version": version})
    state = f"hydraulic.{environment}.state"
    print(f"  waiting for its tag {state} ...", flush=True)
    while time.monotonic() - start < HEALTHY_S:
        found = get(f"{url}/api/2.0/mlflow/model-versions/get?{query}")["model_version"]
        tags = {tag["key"]: tag["value"] for tag in found.get("tags", [])}
        endpoint = tags.get(f"hydraulic.{environment}.endpoint")
        if tags.get(state) == "healthy" and endpoint:
            took = time.monotonic() - start
            print(f"  {state}=healthy after {took:.1f} s, at {endpoint}", flush=True)
            return endpoint, took
        time.sleep(0.1)
    sys.exit(f"{MODEL} {version} does not serve in {environment} after {HEALTHY_S:g} s: see the controller's log")


def login() -> str:
    """ "user:password" of the shell that env.sh makes: ds1's."""
    return f"{os.environ['MLFLOW_TRACKING_USERNAME']}:{os.environ['MLFLOW_TRACKING_PASSWORD']}"


def basic() -> dict[str, str]:
    """The header that says so."""
    return {"Authorization": f"Basic {base64.b64encode(login().encode()).decode()}"}


def get(url: str) -> Any:  # Any: JSON
    """Ask MLflow's server as ds1."""
    request = urllib.request.Request(url, headers=basic())  # noqa: S310 - an address of our own
    with urllib.request.urlopen(request, timeout=30) as reply:  # noqa: S310 - as above
        return json.load(reply)


def share_out(url: str) -> None:
    """The project of the demo with the model in it, as ds1 who then owns it; as the page's buttons do."""
    print("\n# A project, so that others see the model when it is shared with them, and not before.")
    projects = f"{url}/api/2.0/hydraulic/projects"
    if PROJECT not in [one["name"] for one in get(f"{projects}?text={PROJECT}")["items"]]:
        post(projects, {"name": PROJECT, "description": "The hydraulic rig's cooler"}, {}, login=login())
    if MODEL not in get(f"{projects}/{PROJECT}/models"):
        post(f"{projects}/{PROJECT}/models", {"model": MODEL}, {}, login=login())


def post(url: str, body: object, headers: dict[str, str], *, login: str = "") -> dict[str, Any]:  # Any: JSON
    """Post JSON by curl, as a person would, or by Python where there is no curl; the answer. login: "user:password"."""
    text = json.dumps(body)
    headers = {"Content-Type": "application/json", **headers}
    given = [word for name, value in headers.items() for word in ("-H", f"{name}: {value}")]
    command = ["curl", "-sS", *(["-u", login] if login else []), url, *given, "-d", text]
    print(f"\n$ {shlex.join(command)}", flush=True)
    if shutil.which("curl"):
        answer: dict[str, Any] = json.loads(run(*command, shown=False) or "{}")
    else:
        print("  (curl is not here: Python asks instead)")
        headers |= basic() if login else {}
        request = urllib.request.Request(url, text.encode(), headers)  # noqa: S310 - an address of our own
        with urllib.request.urlopen(request, timeout=60) as reply:  # noqa: S310 - as above
            answer = json.loads(reply.read() or b"{}")
    if "error_code" in answer:
        sys.exit(f"  {answer}")
    return answer


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


def ask(url: str, asked: list[tuple[int, str, dict[str, list[object]]]]) -> None:
    """The tutorial's request for a cycle of each class, and the probabilities that come back."""
    for label, origin, request in asked:
        print(f"\n# {origin}: its cooler was at {label} %")
        answer = post(f"{url}/model/score", request, {})
        print(f"  {json.dumps(answer)}")
        if "score" not in answer:
            sys.exit("that is no score")
        for name, probability in zip(answer["fields"], answer["score"][0], strict=True):
            print(f"  {name:>16} {float(probability):8.4f}")


def deploy_by_hand(version: str) -> str:
    """The same target without the registry's word; the address."""
    print("\n# By hand, without a stage: MLflow's own command. The controller leaves such a deployment alone.")
    verb = "update" if local_url(BY_HAND) else "create"
    target = ("-t", "seldon-local", "--name", BY_HAND)
    run("mlflow", "deployments", verb, *target, "-m", f"models:/{MODEL}/{version}")
    return local_url(BY_HAND)


def local_url(name: str) -> str:
    """Where a deployment answers, or "" where there is none."""
    listed = json.loads(run("hydraulic", "local", "list", "--json", shown=False))
    return next((str(one["url"]) for one in listed if one["name"] == name), "")


def show_record() -> None:
    """Who did what, and that nobody changed the record of it."""
    from mlflow_hydraulic.cli import COMMANDS

    for command in (["history", MODEL], ["ledger", "verify"], ["plan"]):
        if command[0] in COMMANDS:
            run("hydraulic", *command)


def demo_users() -> str:
    """Who can log in, for the person who opens the page."""
    from mlflow_hydraulic.cli.accounts import DEMO

    lines = [f"log in as  {name}, password {password}" for name, password in DEMO.items()]
    return "\n".join([*lines, "           everybody knows these two: the server listens on 127.0.0.1 only"])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=ROOT / "quickstart")
    parser.add_argument("--stop", action="store_true", help="end what it left running")
    given = parser.parse_args()
    folder = given.folder.absolute()
    if given.stop:
        run("hydraulic", "down", "--folder", str(folder))
        return
    # make says when it began, so that the total has the installation in it
    started = float(os.environ.get("QUICKSTART_STARTED") or time.time())
    url = bring_up(folder)
    version, train_s = train()
    share_out(url)
    asked = requests()
    move(url, version, "Staging", "to be tried on known cycles")
    dev, dev_s = wait_healthy(url, version, "dev")
    ask(dev, asked[:1])
    move(url, version, "Production", "knows the cooler's three conditions")
    prod, prod_s = wait_healthy(url, version, "prod")
    ask(prod, asked)
    show_record()
    ask(deploy_by_hand(version), asked[:1])
    print(f"""
Done in {time.time() - started:.0f} s, set-up included, of which training {train_s:.0f} s.
From the move to a healthy deployment: DEV {dev_s:.1f} s, PROD {prod_s:.1f} s.

open       {url}/hydraulic/projects    projects, models, deployments, alerts; MLflow's own page is {url}
{demo_users()}
asks       {prod}/model/score
stop it    make stop    (all of it; the next `make quickstart` brings it back)
go on      . {folder}/env.sh        # this shell then finds the same registry and deployments
           hydraulic plan
           mlflow deployments list -t seldon-local
           python examples/second_project/train.py      # another project's model, deployed by hand the same way""")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("\nstopped; a new `make quickstart` goes on from here, `make stop` ends what runs")
