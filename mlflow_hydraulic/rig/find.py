"""`find_cycles`: the best cycles that can be had without asking anybody. Called by `hydraulic train`.

In this order: the data that the settings name, `../shared/data`, an earlier download, the download, simulated ones.
"""

from __future__ import annotations

import sys
from pathlib import Path

from mlflow_hydraulic.errors import Failed, NotFound, Unavailable, Untrusted
from mlflow_hydraulic.rig.cycles import Cycles
from mlflow_hydraulic.rig.fetch import URL, Attempts, Progress
from mlflow_hydraulic.rig.fetch import fetch as fetch_zip
from mlflow_hydraulic.rig.load import load_cycles
from mlflow_hydraulic.rig.published import ZIP_NAME
from mlflow_hydraulic.rig.simulate import simulate_cycles
from mlflow_hydraulic.settings import Settings

SHARED = Path("../shared/data")
QUICK = Attempts(count=2, pause_s=0.5, connect_s=3.0)  # offline, training starts after seconds


def find_cycles(
    settings: Settings, *, fetch: bool = True, url: str = URL, progress: Progress = lambda *_: None
) -> Cycles:
    """`Cycles` from the first source that is there; simulated ones come with a warning on stderr.

    Data that `settings.data` names are taken or refused (`NotFound`, `BadData`), never silently replaced.
    """
    cache = cache_folder(settings)
    if settings.data:
        return load_cycles(settings.data, cache=cache)
    if SHARED.is_dir():
        try:
            return load_cycles(SHARED, cache=cache)
        except NotFound as error:
            _say(f"{error}; looking further")
    download = download_folder(settings)
    if (download / ZIP_NAME).exists():
        return load_cycles(download / ZIP_NAME, cache=cache)
    reason = "no data was given"
    if fetch:
        try:
            return load_cycles(fetch_zip(download, url=url, progress=progress, attempts=QUICK), cache=cache)
        except (Unavailable, Failed, Untrusted) as error:
            reason = str(error)
    _say(f"WARNING: these cycles are SIMULATED, not measured on the rig: {reason}")
    return simulate_cycles()


def cache_folder(settings: Settings) -> Path:
    """Where full-rate text is kept reduced to seconds."""
    return settings.home / "cache"


def download_folder(settings: Settings) -> Path:
    """Where the downloaded zip is."""
    return settings.home / "data"


def _say(line: str) -> None:
    print(f"hydraulic: {line}", file=sys.stderr)  # noqa: T201 - a person must see this, whatever logging is set to
