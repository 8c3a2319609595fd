"""The Kubernetes tests with the oldest and the newest client that setup.cfg lets in. Called by `make clients`.

Each end is installed with all that it needs into a folder of its own, which comes before the environment's packages:
so the rest stays as it is. Exit 1 where a test fails or an end is not what ran.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ENDS = ("29", "37")
FOLDER = ROOT / ".cache" / "clients"
# All that meets the client: the API itself, leases, rights, the target's own work.
TESTS = (
    *("test_kube_api", "test_kube_client", "test_kube_target", "test_kube_service_level"),
    *("test_fake_cluster", "test_leader", "test_rights"),
    *("test_target", "test_target_changes", "test_target_failures"),
)
SAY = "import kubernetes, sys; sys.stdout.write(kubernetes.__version__)"


def install(end: str) -> dict[str, str]:
    """The environment in which the client of this end is imported first; installed where it is not there yet."""
    folder = FOLDER / end
    if not (folder / "kubernetes").is_dir():
        command = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--target", str(folder)]
        done = subprocess.run([*command, f"kubernetes=={end}.*"], capture_output=True, text=True, check=False)
        if done.returncode:  # else it warns that these are not the environment's versions, which is what they are for
            sys.exit(f"the client {end} cannot be installed:\n{done.stderr}")
    paths = [str(folder), str(ROOT), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def run(end: str, reports: Path) -> bool:
    """Whether the tests pass with the client of this end."""
    environ = install(end)
    said = subprocess.run([sys.executable, "-c", SAY], env=environ, capture_output=True, text=True, check=True).stdout
    sys.stdout.write(f"--- Kubernetes client {said}\n")
    sys.stdout.flush()
    if said.partition(".")[0] != end:
        return False
    files = [f"tests/contract/{name}.py" for name in TESTS]
    command = [sys.executable, "-m", "pytest", "-q", f"--junitxml={reports / f'clients-{end}.xml'}", *files]
    command += ["-n", os.environ.get("JOBS", "0"), "--dist", "loadfile", "--no-loadscope-reorder", "-k", "not local"]
    return subprocess.run(command, env=environ, cwd=ROOT, check=False).returncode == 0


def pinned() -> tuple[str, str]:
    """The ends as setup.cfg has them: the first release let in, and the last before the one that is not."""
    found = re.search(r"^\s*kubernetes>=(\d+),<(\d+)$", (ROOT / "setup.cfg").read_text(encoding="utf-8"), re.MULTILINE)
    if found is None:
        raise LookupError("setup.cfg: no line kubernetes>=FIRST,<NEXT")
    return found[1], str(int(found[2]) - 1)


if __name__ == "__main__":
    if pinned() != ENDS:
        sys.exit(f"setup.cfg lets in {' to '.join(pinned())}, tried are {' and '.join(ENDS)}: make them the same")
    passed = [run(end, Path(os.environ.get("REPORTS", ".cache/reports"))) for end in ENDS]
    sys.exit(0 if all(passed) else 1)
