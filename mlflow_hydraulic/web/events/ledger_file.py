"""Rows of the ledger as a file that is sent while it is read: JSON Lines for proof, CSV for people's tables.

A cell of the CSV that a spreadsheet would take for a formula begins with an apostrophe: such a row's hash can no longer
be verified, so that whoever wants proof takes JSON Lines.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence

from mlflow_hydraulic.evidence.export import COLUMNS, write_jsonl
from mlflow_hydraulic.evidence.ledger import Row

FULL_WIDTH = "\N{FULLWIDTH EQUALS SIGN}\N{FULLWIDTH PLUS SIGN}\N{FULLWIDTH HYPHEN-MINUS}\N{FULLWIDTH COMMERCIAL AT}"
FORMULA = tuple("=+-@\t\r\n" + FULL_WIDTH)


def jsonl(pages: Iterable[Sequence[Row]]) -> Iterator[bytes]:
    """One JSON object a line, as `hydraulic ledger export` writes it."""
    for rows in pages:
        out = io.StringIO()
        write_jsonl(rows, out)
        yield out.getvalue().encode()


def table(pages: Iterable[Sequence[Row]]) -> Iterator[bytes]:
    """CSV with a heading, every cell quoted and none a formula."""
    yield _line(COLUMNS)
    for rows in pages:
        yield b"".join(_line([safe(str(getattr(row, column))) for column in COLUMNS]) for row in rows)


def safe(cell: str) -> str:
    """`cell` as a spreadsheet shows it and never computes it."""
    return f"'{cell}" if cell.lstrip(" ").startswith(FORMULA) else cell


def _line(cells: Sequence[str]) -> bytes:
    out = io.StringIO()
    csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\r\n").writerow(cells)
    return out.getvalue().encode()
