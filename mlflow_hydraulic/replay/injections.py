"""Faults as `--inject` says them, put into the rows that are replayed. Pure: the same seed gives the same rows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mlflow_hydraulic.drift.faults import KINDS, LABELS, Fault, fault_from, inject, shift_labels
from mlflow_hydraulic.errors import BadInput
from mlflow_hydraulic.replay.rows import Rows, temperatures

AMOUNT = re.compile(r"x?([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?) ?([A-Za-z°%][A-Za-z°%/]*)?")
SHARE = 0.8  # of a label, where none is said
WAY = "write KIND[=[INPUT,INPUT:]AMOUNT][@ROW], as season=+5K, offset=psa_bar:+2@100"


def known_faults() -> str:
    """Every kind, for `--help`."""
    lines = [f"{kind:<12}{default:g}: {text}" for kind, (default, text) in KINDS.items()]
    return "\n".join([*lines, f"{LABELS:<12}{SHARE:g}: share of a label from then on, labels=3:0.8 (a label shift)"])


def read_injection(text: str) -> Fault:
    """`KIND[=[INPUT,INPUT:]AMOUNT][@ROW]`, with `drift=` before it if wanted; `drift.faults`' own way too.

    A unit after an offset's amount (+2bar) means that it is in the input's own unit, not in standard deviations.

    >>> read_injection("offset=psa_bar:+2@100")
    Fault(kind='offset', inputs=('psa_bar',), amount=2.0, start=100)
    """
    body = text.removeprefix("drift=")
    if "=" not in body and ":" in body:
        return fault_from(body)
    body, at, start = body.partition("@")
    kind, _, said = body.partition("=")
    if kind not in KINDS and kind != LABELS:
        raise BadInput(f"--inject {text}: {kind!r} is none of {', '.join([*KINDS, LABELS])}")
    if at and not start.isdecimal():
        raise BadInput(f"--inject {text}: {start!r} is no number of a row; {WAY}")
    inputs, _, amount = said.rpartition(":")
    if not inputs and not AMOUNT.fullmatch(amount):
        inputs, amount = amount, ""
    found = AMOUNT.fullmatch(amount) if amount else None
    if amount and found is None:
        raise BadInput(f"--inject {text}: {amount!r} is no amount; {WAY}")
    number, unit = (float(found[1]), found[2]) if found else (None, None)
    if number is not None and unit == "%":
        number /= 100
    elif unit is not None and kind == "offset":
        kind = "season"  # which adds in the inputs' own unit
    named = tuple(name for name in inputs.split(",") if name)
    if kind == "season" and unit is not None and not named and not body.startswith("season"):
        raise BadInput(f"--inject {text}: an offset in {unit} is of some inputs: offset=psa_bar:+2{unit}")
    return Fault(kind=kind, inputs=named, amount=number, start=int(start or 0))


def injected(rows: Rows, faults: Sequence[Fault], seed: int) -> Rows:
    """The rows with all faults, one after the other. A season without inputs moves the temperatures."""
    spread = np.nanstd(rows.cells, axis=0)
    for number, fault in enumerate(faults):
        if fault.kind == LABELS:
            rows = _shifted(rows, fault, seed + number)
            continue
        cells = inject(rows.cells, rows.names, _placed(fault, rows), spread=spread, seed=seed + number)
        rows = replace(rows, cells=cells)
    return rows


def _placed(fault: Fault, rows: Rows) -> Fault:
    """The fault with its inputs: a season without any moves what is a temperature."""
    if fault.kind != "season" or fault.inputs:
        return fault
    warm = temperatures(rows.names)
    if not warm:
        raise BadInput("--inject season: none of the inputs is a temperature of the rig: season=INPUT:+5")
    return replace(fault, inputs=warm)


def _shifted(rows: Rows, fault: Fault, seed: int) -> Rows:
    if rows.truth is None:
        raise BadInput(f"--inject {LABELS}: the source has no true values, so nobody knows which rows to take")
    if not 0 <= fault.start < len(rows):
        raise BadInput(f"--inject {LABELS}: row {fault.start}: there are the rows 0 to {len(rows) - 1}")
    true = rows.truth[fault.start :]
    labels = sorted(set(true.tolist()), key=lambda label: str(label) not in fault.inputs)
    if fault.inputs and str(labels[0]) != fault.inputs[0]:
        raise BadInput(f"--inject {LABELS}: no row has the label {fault.inputs[0]!r}; there are {labels}")
    share = SHARE if fault.amount is None else fault.amount
    order = np.concatenate([np.arange(fault.start), fault.start + shift_labels(labels, true, share, seed=seed)])
    return replace(rows, cells=rows.cells[order], truth=rows.truth[order])
