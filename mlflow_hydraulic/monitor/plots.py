"""Plots of findings as SVG: small, without scripts or fonts of their own, the same bytes for the same numbers.

Called by the levels for alerts, by the report, and by pages.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from mlflow_hydraulic.drift.picture import Picture

TRAINING, WINDOW, BAND = "#8a8f98", "#c2410c", "#d9dce1"
SIZE_INCH = (7.2, 2.6)
MOST_POINTS = 2000  # of a line; more are not seen, and make a large file


def drift_plot(picture: Picture, unit: str | None = None) -> str:
    """How one input was spread in training and is in the window, and its values in their order."""
    with _figure(2) as (figure, (spread, course)):
        edges = np.array(picture.edges)
        name = f"{picture.feature} [{unit}]" if unit else picture.feature
        spread.stairs(picture.training, edges, fill=True, color=BAND, label="training")
        spread.stairs(picture.window, edges, color=WINDOW, linewidth=1.5, label="window")
        spread.set_xlabel(name)
        spread.set_ylabel("share of rows")
        spread.legend(frameon=False, fontsize=8)
        values = np.array(picture.values)
        every = max(1, -(-len(values) // MOST_POINTS))
        course.axhspan(picture.low, picture.high, color=BAND, label="middle 90 % of training")
        course.plot(np.arange(0, len(values), every), values[::every], color=WINDOW, linewidth=0.9)
        course.set_xlabel("row of the window")
        course.set_ylabel(name)
        course.legend(frameon=False, fontsize=8)
        return _svg(figure)


@contextmanager
def _figure(parts: int) -> Iterator[tuple[Figure, tuple[Axes, ...]]]:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    # Text stays text: readable by screen readers, and no font is embedded. "$" in a name is no formula.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "mlflow-hydraulic", "text.parse_math": False}):
        figure = Figure(figsize=SIZE_INCH, layout="constrained")
        axes = figure.subplots(1, parts, squeeze=False)[0]
        for one in axes:
            one.spines[["top", "right"]].set_visible(False)
            one.tick_params(labelsize=8)
        yield figure, tuple(axes)


def _svg(figure: Figure) -> str:
    """The figure as an SVG element, without XML prologue, to stand in a page."""
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    whole = text.getvalue()
    return whole[whole.index("<svg") :]
