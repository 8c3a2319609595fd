"""What a model version knows of its training: baseline of drift, rate of odd rows, measured accuracy. By digest, kept.

Called by the monitor for each predictor. Where its files lie and what its run measured are asked of the plugin.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mlflow_hydraulic.bundle.read import NO_REFERENCE, read_bundle
from mlflow_hydraulic.deployment import ModelVersion
from mlflow_hydraulic.drift.baseline import Baseline
from mlflow_hydraulic.drift.rows import RowCheck
from mlflow_hydraulic.errors import HydraulicError, NotFound, Unavailable
from mlflow_hydraulic.rig.measures import Interval

BUNDLE = "bundle"
MOST = 64  # versions that are kept, some MB each
AGAIN_S = 300.0  # until what failed is tried anew
MEASURES_AGAIN_S = 3600.0  # a run's measures may be logged later than its model


@dataclass(frozen=True, kw_only=True, eq=False)
class Training:
    """baseline, odd: what windows and rows are held against. digest: of the files that they come from."""

    baseline: Baseline
    odd: RowCheck
    digest: str

    @property
    def block_rows(self) -> int:
        """How many consecutive training rows hang together."""
        return max(round(self.baseline.reference.block), 1)


@dataclass(kw_only=True)
class Versions:
    """folder: where the files of a pinned version lie, fetched and checked by digest. measured: its run's measures."""

    folder: Callable[[ModelVersion], Path]
    measured: Callable[[ModelVersion], Mapping[str, Interval]]
    clock: Callable[[], float] = time.monotonic
    _known: OrderedDict[tuple[str, str], Training | tuple[float, HydraulicError]] = field(default_factory=OrderedDict)
    _measures: dict[tuple[str, str], tuple[float, Mapping[str, Interval]]] = field(default_factory=dict)

    def training(self, model: ModelVersion) -> Training:
        """Of a pinned version; `NotFound` where it has nothing to judge by, `Untrusted` where its digest does not fit.

        What failed is remembered for some minutes: a look costs nobody a download that cannot help.
        """
        key = (model.uri, model.digest)
        found = self._known.get(key)
        if isinstance(found, tuple) and self.clock() - found[0] >= AGAIN_S:
            found = None
        if found is None:
            found = self._read(model)
            self._known[key] = found
            while len(self._known) > MOST:
                self._known.popitem(last=False)
        self._known.move_to_end(key)
        if isinstance(found, tuple):
            raise found[1]
        return found

    def measures(self, model: ModelVersion) -> Mapping[str, Interval]:
        """What training measured on runs that the model had not seen, by measure; empty where nobody knows."""
        key = (model.uri, model.digest)
        at, found = self._measures.get(key, (0.0, {}))
        if key not in self._measures or (not found and self.clock() - at >= MEASURES_AGAIN_S):
            try:
                found = self.measured(model)
            except Unavailable:
                return found
            except HydraulicError:  # there is no such run any more
                found = {}
            if len(self._measures) >= MOST:
                self._measures.clear()
            self._measures[key] = (self.clock(), found)
        return found

    def _read(self, model: ModelVersion) -> Training | tuple[float, HydraulicError]:
        try:
            folder = self.folder(model) / BUNDLE
            if not folder.is_dir():
                raise NotFound(f"{model.uri} is no model of this package's flavor: there is nothing to judge drift by")
            baseline = read_bundle(folder).read_drift()
            if baseline is None:
                raise NotFound(f"{model.uri}: {NO_REFERENCE}")
            return Training(baseline=baseline, odd=RowCheck(baseline.reference), digest=model.digest)
        except HydraulicError as error:
            return self.clock(), error
