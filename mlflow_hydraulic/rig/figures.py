"""Figures of a training result: confusion matrix, reliability, feature importance. The plugin logs them to MLflow.

Colours are of P. Okabe and K. Ito's palette and of cividis, which people with any colour vision tell apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mlflow_hydraulic.rig.folds import SCHEMES
from mlflow_hydraulic.rig.measures import reliability
from mlflow_hydraulic.rig.sensors import condition

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mlflow_hydraulic.rig.train import TrainingResult

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#666666"
MARKS = {"unseen_runs": (BLUE, "o"), "contiguous_time": (ORANGE, "s")}
TOP = 15


def figures(result: TrainingResult) -> dict[str, Figure]:
    """The figures by file name; drawn without a display."""
    drawn = {
        "confusion_matrix.png": confusion_figure(result),
        "calibration.png": calibration_figure(result),
        "feature_importance.png": importance_figure(result),
    }
    if result.model.origin == "simulated":
        for figure in drawn.values():
            figure.text(0.99, 0.01, "SIMULATED data", ha="right", va="bottom", color=ORANGE, weight="bold")
    return drawn


def confusion_figure(result: TrainingResult) -> Figure:
    """Counts of true against predicted class, one panel a scheme; shaded by the share of the true class."""
    figure, panels = _panels(len(MARKS), width=9.6, height=4.6)
    labels = [str(label) for label in result.model.schema.labels]
    unit = condition(result.target).unit
    for axes, scheme in zip(panels, MARKS, strict=True):
        counts = result.confusion(scheme)
        shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        axes.imshow(shares, cmap="cividis", vmin=0, vmax=1)
        for (row, column), count in np.ndenumerate(counts):
            colour = "black" if shares[row, column] > 0.5 else "white"
            axes.text(column, row, f"{count}", ha="center", va="center", color=colour, fontsize=12)
        axes.set_xticks(range(len(labels)), labels)
        axes.set_yticks(range(len(labels)), labels)
        axes.set_xlabel(f"predicted, {unit}")
        axes.set_ylabel(f"true, {unit}")
        accuracy = result.evaluations[scheme].measures["accuracy"]
        axes.set_title(f"{SCHEMES[scheme]}: accuracy {accuracy.value:.3f}", fontsize=11)
    figure.suptitle(f"{result.target}: cycles that the model did not see ({result.chosen})")
    return figure


def calibration_figure(result: TrainingResult) -> Figure:
    """How often the predicted class was right against the probability given to it; each bin has its count."""
    figure, (axes,) = _panels(1, width=6.4, height=5.6)
    axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1, label="perfect")
    for (scheme, (colour, mark)), above in zip(MARKS.items(), (-14, 8), strict=True):
        found = result.evaluations[scheme]
        confidence, right, count = reliability(result.truth, found.probabilities)
        error = found.measures["ece"].value
        label = f"{SCHEMES[scheme]} (calibration error {error:.3f})"
        axes.plot(confidence, right, color=colour, marker=mark, linewidth=1.5, alpha=0.85, label=label)
        for x, y, cycles in zip(confidence, right, count, strict=True):
            axes.annotate(f"{cycles}", (x, y), (-6, above), textcoords="offset points", color=colour, fontsize=8)
    lowest = 1 / len(result.model.schema.labels)
    axes.set_xlim(max(0.0, lowest - 0.1), 1.03)
    axes.set_ylim(-0.05, 1.08)
    axes.set_xlabel("probability of the predicted class (mean of its bin)")
    axes.set_ylabel("share of the cycles in which it was right")
    axes.legend(loc="lower left" if lowest < 0.5 else "lower right", fontsize=9, framealpha=0.9)
    axes.grid(alpha=0.3)
    axes.set_title(f"{result.target}: reliability ({result.chosen})")
    return figure


def importance_figure(result: TrainingResult) -> Figure:
    """The fifteen features whose shuffling costs most accuracy, with the spread over the folds."""
    top = result.importance.head(TOP)[::-1]
    figure, (axes,) = _panels(1, width=7.6, height=0.8 + 0.33 * len(top) + 0.6)
    bars = {"ecolor": GREY, "capsize": 2}
    axes.barh(top["feature"], top["importance"], xerr=top["spread"], color=BLUE, error_kw=bars)
    axes.set_xlabel("fall in accuracy when shuffled (unseen runs; whisker: spread over folds)")
    axes.set_xlim(left=min(0.0, float((top["importance"] - top["spread"]).min())))
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    axes.set_title(f"{result.target}: what the model leans on ({result.chosen})")
    return figure


def _panels(count: int, *, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """A figure of its own canvas: nothing global of pyplot is touched, so it works in any thread."""
    figure = Figure(figsize=(width, height), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, list(figure.subplots(1, count, squeeze=False)[0])
