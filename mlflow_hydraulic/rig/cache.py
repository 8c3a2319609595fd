"""Keeps full-rate text reduced to seconds, as parquet named by the digest of the text. Called by `load`.

A file here is either whole or not there: it is written under another name and renamed. One that is damaged later does
not fit the digest that it carries, and is made again.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

from mlflow_hydraulic.errors import Failed, HydraulicError
from mlflow_hydraulic.rig.cycles import Cycles
from mlflow_hydraulic.rig.published import open_published
from mlflow_hydraulic.rig.tables import load_table
from mlflow_hydraulic.rig.uci import read_published
from mlflow_hydraulic.rig.write import stored_digest, write_parquet

LAYOUT = 1  # raise it when the reduction or the layout of the file changes
logger = logging.getLogger(__name__)


def load_cached(path: Path, cache: Path | None) -> Cycles:
    """`Cycles` of UCI's folder or zip, read from `cache` (a folder) if the same text was reduced before."""
    published = open_published(path)
    if cache is None:
        return read_published(published)
    file = cache / f"cycles-{LAYOUT}-{published.content_key()}.parquet"
    known = _read(file)
    if known is not None:
        return replace(known, source=str(path))
    cycles = read_published(published)
    try:
        write_parquet(cycles, file)
    except Failed as error:  # the numbers are there; a full or read-only disk only costs the next call some seconds
        logger.warning("the reduced cycles could not be kept for the next time: %s", error)
    return cycles


def _read(file: Path) -> Cycles | None:
    if not file.exists():
        return None
    try:
        cycles = load_table(file)
    except HydraulicError as error:
        logger.warning("%s: damaged, so it is made again: %s", file, error)
        return None
    if cycles.digest != stored_digest(file):
        logger.warning("%s: does not fit its digest, so it is made again", file)
        return None
    return cycles
