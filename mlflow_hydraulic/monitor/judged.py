"""How many of a window's rows drift is judged on, and why not on more, in words. Pure; for report and pages."""

from __future__ import annotations


def judged_words(collected: int, judged: int, most: int) -> str:
    """collected: rows of the window. judged: of them, as `Baseline.judged` says; most: as `Baseline.most`.

    >>> judged_words(500, 275, 275)
    'drift is judged on the newest 275 of 500 rows: the training data is too short to calibrate longer windows'
    """
    if not judged:
        return f"{collected:,} rows are too few to judge drift"
    if judged >= collected:
        return f"drift is judged on all {collected:,} rows"
    why = "the training data is too short to calibrate longer windows"
    if judged < most:
        why = "windows are judged in calibrated lengths, some 10 % apart"
    return f"drift is judged on the newest {judged:,} of {collected:,} rows: {why}"
