"""Faults put into rows on purpose, to see whether drift is found: for `hydraulic replay --inject` and the benchmark.

Pure: the same rows, fault and seed give the same rows.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlflow_hydraulic.errors import BadInput

Matrix = NDArray[np.float64]
SPIKES = 0.02  # share of cells
WRITTEN = re.compile(
    r"(?P<kind>[a-z]+)(:(?P<amount>[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[-+]?[0-9]{1,3})?))?(@(?P<inputs>.*?))?(\+(?P<start>[0-9]{1,9}))?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What goes wrong, with which inputs, how much, and from which row on.

    kind: a key of `KINDS`. inputs: column names; empty: all. amount: what it says is in `KINDS`; None: as there.
    start: the first row that is wrong.
    """

    kind: str
    inputs: tuple[str, ...] = ()
    amount: float | None = None
    start: int = 0


# What each kind does, with what amount if none is given, and what its amount says.
KINDS: dict[str, tuple[float, str]] = {
    "season": (5.0, "added, in the inputs' own unit"),
    "offset": (1.0, "added, in standard deviations"),
    "gain": (0.1, "of the value is added, growing from 0 over the rows"),
    "noise": (2.0, "times the standard deviation, by noise that is added"),
    "spikes": (10.0, f"standard deviations, up or down, in {SPIKES:.0%} of the cells"),
    "stuck": (0.0, "(no amount) the first value stays"),
    "missing": (0.2, "of the cells are missing"),
    "unit": (14.5038, "times the value: a slip of the unit, as from bar to psi"),
    "correlation": (1.0, "of the rows exchange their values, input by input"),
}


def _faulty(kind: str, x: Matrix, amount: float, spread: NDArray[np.float64], random: np.random.Generator) -> Matrix:  # noqa: PLR0911 - one line a kind
    """Cells (n, columns) with the fault."""
    if kind == "season":
        return x + amount
    if kind == "offset":
        return x + amount * spread
    if kind == "gain":
        return np.asarray(x * (1 + amount * np.linspace(0, 1, len(x))[:, None]))
    if kind == "noise":
        return np.asarray(x + random.normal(size=x.shape) * spread * np.sqrt(max(amount**2 - 1, 0.0)))
    if kind == "spikes":
        hit = random.random(x.shape) < SPIKES
        return np.asarray(x + hit * amount * spread * random.choice([-1.0, 1.0], size=x.shape))
    if kind == "stuck":
        return np.repeat(x[:1], len(x), axis=0)
    if kind == "missing":
        return np.where(random.random(x.shape) < amount, np.nan, x)
    if kind == "unit":
        return x * amount
    chosen = np.flatnonzero(random.random(len(x)) < amount)
    moved: Matrix = x.copy()
    for column in range(x.shape[1]):
        moved[chosen, column] = x[random.permutation(chosen), column]
    return moved


def inject(
    rows: Matrix, names: Sequence[str], fault: Fault, *, spread: NDArray[np.float64] | None = None, seed: int = 0
) -> Matrix:
    """A copy of `rows` (n, k) with the fault. spread: (k,), standard deviations of training; None: of these rows.

    `BadInput` names an unknown kind or input, or an amount that the kind cannot take.
    """
    if fault.kind not in KINDS:
        raise BadInput(f"fault {fault.kind!r}: choose one of {', '.join([*KINDS, LABELS])}")
    unknown = [name for name in fault.inputs if name not in names]
    if unknown:
        raise BadInput(f"fault {fault.kind!r}: there is no input {unknown[0]!r}; there are {', '.join(names)}")
    amount = KINDS[fault.kind][0] if fault.amount is None else fault.amount
    if not np.isfinite(amount) or (fault.kind in ("missing", "correlation") and not 0 <= amount <= 1):
        raise BadInput(f"fault {fault.kind!r}: amount {amount}: must be a number; a share must be between 0 and 1")
    rows = np.array(rows, dtype=np.float64)
    if not 0 <= fault.start < max(len(rows), 1):
        raise BadInput(f"fault {fault.kind!r}: start={fault.start}: there are the rows 0 to {len(rows) - 1}")
    columns = [list(names).index(name) for name in fault.inputs] or list(range(len(names)))
    size = np.nanstd(rows, axis=0) if spread is None else spread
    cells = rows[fault.start :, columns]
    if len(cells):
        rows[fault.start :, columns] = _faulty(fault.kind, cells, amount, size[columns], np.random.default_rng(seed))
    return rows


LABELS = "labels"


def shift_labels(
    labels: Sequence[object], true: NDArray[np.generic], amount: float, *, seed: int = 0
) -> NDArray[np.intp]:
    """Row numbers, as many as `true` has, in which the first of `labels` has the share `amount`: a shift of labels.

    Rows are drawn with replacement within their class, in time order; every other class keeps its proportions.
    """
    first = np.asarray(true) == labels[0]
    if not 0 <= amount <= 1 or not first.any() or first.all():
        raise BadInput(f"label shift to {amount} of {labels[0]!r}: must be a share, of a label that some rows have")
    random = np.random.default_rng(seed)
    count = round(amount * len(first))
    chosen = [random.choice(np.flatnonzero(first), count), random.choice(np.flatnonzero(~first), len(first) - count)]
    return np.sort(np.concatenate(chosen))


def fault_from(text: str) -> Fault:
    """`kind[:amount][@input,input][+start]` as the command line gives it.

    >>> fault_from("offset:2@tsa_temp,tsb_temp+100")
    Fault(kind='offset', inputs=('tsa_temp', 'tsb_temp'), amount=2.0, start=100)
    """
    parts = WRITTEN.fullmatch(text)
    if parts is None:
        raise BadInput(f"fault {text!r}: write kind:amount@input,input+first row, as in offset:2@tsa_temp+100")
    kind, amount, inputs, start = (
        parts.group("kind"),
        parts.group("amount"),
        parts.group("inputs"),
        parts.group("start"),
    )
    if kind not in KINDS and kind != LABELS:
        raise BadInput(f"fault {text!r}: {kind!r} is none of {', '.join([*KINDS, LABELS])}")
    return Fault(
        kind=kind,
        inputs=tuple(name for name in (inputs or "").split(",") if name),
        amount=None if amount is None else float(amount),
        start=int(start or 0),
    )
