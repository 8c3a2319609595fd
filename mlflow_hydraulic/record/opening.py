"""Opens the record of this machine for whoever reads it, with everything in it that was answered until now."""

from __future__ import annotations

import logging

from mlflow_hydraulic.errors import HydraulicError
from mlflow_hydraulic.record.recorder import journal_folder, record_folder
from mlflow_hydraulic.record.ship import Local, ship_once
from mlflow_hydraulic.record.store import FILE, Store
from mlflow_hydraulic.settings import Settings

log = logging.getLogger(__name__)


def open_record(settings: Settings, *, ship: bool = True) -> Store:
    """The store, after what scorers have appended was brought to it; `NotFound` where nothing was ever recorded.

    A shipper may be at work beside: each prediction is stored once. Where the store cannot be written, it is read as
    it is.
    """
    folder = journal_folder(settings)
    waiting = ship and folder.is_dir() and any(folder.iterdir())
    store = Store(record_folder(settings) / FILE, make=waiting)
    if waiting:
        try:
            for trouble in ship_once(folder, Local(store)).troubles:
                log.warning("%s", trouble)
        except HydraulicError as error:
            log.warning("what scorers appended last is not shown: %s", error)
    return store
