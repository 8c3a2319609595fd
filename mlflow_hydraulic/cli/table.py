"""Tables for people: columns as wide as their widest cell; on a terminal the last one is cut at its edge."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lines of a table; control characters in cells are shown, never sent to the terminal.

    Into a file or a pipe every cell goes whole.
    """
    clean = [[printable(cell) for cell in row] for row in (headings, *rows)]
    widths = [max(len(row[column]) for row in clean) for column in range(len(headings))]
    edge = shutil.get_terminal_size((160, 24)).columns if sys.stdout.isatty() else sys.maxsize
    return "\n".join(_line(row, widths, edge) for row in clean)


def _line(row: Sequence[str], widths: Sequence[int], edge: int) -> str:
    line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    before = sum(widths[:-1]) + 2 * (len(widths) - 1)
    return line if len(line) <= max(edge, before + 20) else line[: max(edge, before + 20) - 1] + "…"


def printable(cell: str) -> str:
    """`cell` with its control characters shown rather than obeyed."""
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in cell)


def printable_lines(text: str) -> str:
    """The same for text that means its line breaks."""
    return "\n".join(map(printable, text.split("\n")))
