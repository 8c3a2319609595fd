"""Charts of the report: small inline SVG that takes its colours from the page, so that light, dark and print all work.

Pure; every text is escaped. Called by `report_page`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

WIDTH, HEIGHT = 320, 120
LEFT, BOTTOM, TOP = 8, 18, 8
MOST_POINTS = 300
SERIES = 6  # colours of classes in the page


def spread(
    edges: Sequence[float], training: Sequence[float], window: Sequence[float], title: str, unit: str = ""
) -> str:
    """Shares of rows by value: training filled, the window as a line."""
    highest = max([*training, *window, 1e-12])
    width = (WIDTH - 2 * LEFT) / max(len(training), 1)

    def y(share: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - share / highest)

    bars = "".join(
        f'<rect class="base" x="{LEFT + i * width:.1f}" y="{y(s):.1f}" width="{width:.1f}" '
        f'height="{HEIGHT - BOTTOM - y(s):.1f}"/>'
        for i, s in enumerate(training)
        if s
    )
    steps = " ".join(f"{LEFT + (i + k) * width:.1f},{y(s):.1f}" for i, s in enumerate(window) for k in (0, 1))
    line = f'<polyline class="line" points="{steps}"/>'
    ends = _ends(f"{edges[0]:.4g}", f"{edges[-1]:.4g} {unit}".strip()) if len(edges) else ""
    return _svg(bars + line + _axis() + ends, title)


def course(values: Sequence[float], low: float, high: float, title: str) -> str:
    """Values in their order, with the middle 90 % of training as a band."""
    every = max(1, -(-len(values) // MOST_POINTS))
    shown = [(i, v) for i, v in enumerate(values) if i % every == 0 and math.isfinite(v)]
    if not shown:
        return _svg(_axis(), title)
    least, most = min([low, *(v for _, v in shown)]), max([high, *(v for _, v in shown)])
    room = (most - least) * 0.05 or max(abs(most), 1.0) * 0.05
    least, most = least - room, most + room

    def y(value: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - (value - least) / (most - least))

    step = (WIDTH - 2 * LEFT) / max(len(values) - 1, 1)
    band = (
        f'<rect class="base" x="{LEFT}" y="{y(high):.1f}" width="{WIDTH - 2 * LEFT}" '
        f'height="{max(y(low) - y(high), 1):.1f}"/>'
    )
    points = " ".join(f"{LEFT + i * step:.1f},{y(v):.1f}" for i, v in shown)
    line = f'<polyline class="line" points="{points}"/>'
    return _svg(band + line + _axis() + _ends("first row", "last"), title)


def shares(columns: Sequence[Sequence[float]], begin: str, end: str, title: str) -> str:
    """Stacked shares over time: a column a slice, a part a class; an empty column is a slice without rows."""
    width = (WIDTH * 2 - 2 * LEFT) / max(len(columns), 1)
    parts = []
    for number, column in enumerate(columns):
        top = float(HEIGHT - BOTTOM)
        total = sum(column)
        for place, amount in enumerate(column):
            tall = (HEIGHT - TOP - BOTTOM) * amount / total if total else 0.0
            top -= tall
            if tall:
                parts.append(
                    f'<rect class="s{place % SERIES}" x="{LEFT + number * width:.1f}" y="{top:.1f}" '
                    f'width="{max(width - 0.6, 0.5):.1f}" height="{tall:.1f}"/>'
                )
    return _svg("".join(parts) + _axis(WIDTH * 2) + _ends(begin, end, WIDTH * 2), title, WIDTH * 2)


def counts(values: Sequence[float], begin: str, end: str, title: str) -> str:
    """One bar a slice."""
    highest = max([*values, 1e-12])
    width = (WIDTH * 2 - 2 * LEFT) / max(len(values), 1)
    tall = [(HEIGHT - TOP - BOTTOM) * value / highest for value in values]
    bars = "".join(
        f'<rect class="bar" x="{LEFT + i * width:.1f}" y="{HEIGHT - BOTTOM - h:.1f}" '
        f'width="{max(width - 0.6, 0.5):.1f}" height="{h:.1f}"/>'
        for i, h in enumerate(tall)
        if h
    )
    return _svg(bars + _axis(WIDTH * 2) + _ends(begin, end, WIDTH * 2), title, WIDTH * 2)


def _axis(width: int = WIDTH) -> str:
    y = HEIGHT - BOTTOM
    return f'<line class="axis" x1="{LEFT}" y1="{y}" x2="{width - LEFT}" y2="{y}"/>'


def _ends(begin: str, end: str, width: int = WIDTH) -> str:
    y = HEIGHT - 4
    return (
        f'<text x="{LEFT}" y="{y}">{escape(begin)}</text>'
        f'<text x="{width - LEFT}" y="{y}" text-anchor="end">{escape(end)}</text>'
    )


def _svg(inner: str, title: str, width: int = WIDTH) -> str:
    return (
        f'<svg viewBox="0 0 {width} {HEIGHT}" role="img" aria-label="{escape(title, quote=True)}">'
        f"<title>{escape(title)}</title>{inner}</svg>"
    )
