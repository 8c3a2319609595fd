"""How autocorrelated a series is, and windows drawn from it as they come: whole blocks of rows, never single rows.

The calibration draws its windows here; the bundle's baseline tells the block length.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

SIGNIFICANT = 2.0  # times sqrt(log10(n) / n): Politis and White's constant
BLOCKS_OF = 4  # a window is made of blocks this many times the optimal length: their joins then matter little
SHORTEST = 10  # rows of a block: changes from row to row hang together even where rows do not


def block_length(series: NDArray[np.float64], breaks: NDArray[np.bool_] | None = None) -> float:
    """The automatic block length of one series for the circular block bootstrap, in rows; 1 for independent rows.

    D. Politis and H. White, "Automatic block-length selection for the dependent bootstrap", Econometric Reviews 23,
    2004, with the correction of A. Patton, D. Politis and H. White, 2009. At most min(3 sqrt(n), n / 3).
    breaks: rows that do not follow the row before them; products across them are left out. NaN counts as the mean.
    """
    n = len(series)
    centred, stretch = _centred(series), _stretches(n, breaks)
    if n < 8 or centred is None:
        return 1.0
    run = max(5, math.ceil(math.sqrt(math.log10(n))))
    longest = min(math.ceil(math.sqrt(n)) + run, n - 1)
    correlation = _autocorrelation(centred, stretch, longest)
    small = SIGNIFICANT * math.sqrt(math.log10(n) / n)
    quiet = np.abs(correlation[1:]) < small
    lag = next((m for m in range(len(quiet) - run + 1) if quiet[m : m + run].all()), longest)
    if lag == 0:
        return 1.0
    width = min(2 * lag, longest)
    lags = np.arange(-width, width + 1)
    taper = np.clip(2 * (1 - np.abs(lags) / width), 0, 1) * correlation[np.abs(lags)]
    g, spectrum = float((np.abs(lags) * taper).sum()), float(taper.sum())
    ceiling = min(3 * math.sqrt(n), n / 3)
    if abs(spectrum) < 1e-9:
        return ceiling
    return float(np.clip((1.5 * (g / spectrum) ** 2 * n) ** (1 / 3), 1.0, ceiling))


def lag_1(series: NDArray[np.float64], breaks: NDArray[np.bool_] | None = None) -> float:
    """The autocorrelation of neighbouring rows; NaN for a constant."""
    centred = _centred(series)
    if centred is None or len(series) < 2:
        return math.nan
    return float(_autocorrelation(centred, _stretches(len(series), breaks), 1)[1])


def _centred(series: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Without its mean and scaled, so that no value is too large to be squared; None for a constant."""
    finite = np.isfinite(series)
    size = np.abs(series[finite]).max(initial=0.0)
    if not size > 0:
        return None
    centred = np.where(finite, series / size, 0.0)
    centred = np.where(finite, centred - centred[finite].mean(), 0.0)
    return np.asarray(centred) if np.abs(centred).max() > 1e-12 else None


def _stretches(n: int, breaks: NDArray[np.bool_] | None) -> NDArray[np.int64]:
    return np.cumsum(np.zeros(n, dtype=bool) if breaks is None else breaks, dtype=np.int64)


def _autocorrelation(centred: NDArray[np.float64], stretch: NDArray[np.int64], longest: int) -> NDArray[np.float64]:
    """Lags 0 to `longest`, shape (longest + 1,)."""
    found = np.empty(longest + 1)
    variance = float(centred @ centred)
    for lag in range(longest + 1):
        products = centred[: len(centred) - lag] * centred[lag:]
        found[lag] = products[stretch[: len(stretch) - lag] == stretch[lag:]].sum() / variance
    return found


def drawn_length(block: float) -> int:
    """Rows of the blocks that windows are put together from."""
    return max(math.ceil(BLOCKS_OF * block), SHORTEST) if block > 1 else SHORTEST


def draw_windows(
    breaks: NDArray[np.bool_], rows: int, block: float, count: int, *, seed: int
) -> tuple[NDArray[np.int64], float, bool]:
    """Row numbers of `count` windows or fewer of `rows` rows, shape (windows, rows).

    Where the series remembers longer than a window lasts, windows are the consecutive ones of the series; else each is
    put together from blocks of `drawn_length` consecutive rows, drawn with replacement (H. Künsch, Annals of
    Statistics 17, 1989). Returns the windows, how many independent ones they are worth, and whether they are
    consecutive. Series shorter than two windows are read in a circle.
    """
    n = len(breaks)
    length = min(rows, drawn_length(block))
    if length >= rows and block > 1:
        starts = _starts(breaks, rows, count)
        worth = max(n / max(rows, block), 2.0)
        return (starts[:, None] + np.arange(rows)) % n, min(worth, float(len(starts))), True
    draws = math.ceil(rows / length)
    starts = np.random.default_rng([seed, rows]).integers(0, n, size=(count, draws))
    windows = (starts[:, :, None] + np.arange(length)).reshape(count, -1)[:, :rows] % n
    return windows, min(float(count), max(n / max(block, 1.0), 2.0)), False


def _starts(breaks: NDArray[np.bool_], rows: int, count: int) -> NDArray[np.int64]:
    """First rows of consecutive windows, evenly spread; windows across a break only where there are no others."""
    n = len(breaks)
    stretch = np.cumsum(breaks)
    starts = np.arange(max(n - rows + 1, 0))
    whole = starts[stretch[starts] == stretch[starts + rows - 1]] if len(starts) else starts
    if len(whole) < 2:
        whole = starts if len(starts) >= 2 else np.arange(n)
    return whole[np.linspace(0, len(whole) - 1, min(count, len(whole))).astype(np.int64)]
