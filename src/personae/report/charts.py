"""Charts as functions of plain values; each returns one SVG that follows the page's theme.

`interval_plot`  estimates with intervals, one row each (forest plot)
`bars`           horizontal bars in groups, with or without intervals
`columns`        vertical columns over ordered classes (histogram)
Curves, radar and scatter are in `plots.py`.

NaN values are left out of a drawing and shown as "–" where there is a number; an infinite value
is an arrow at the axis' end marked ∞.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from markupsafe import Markup

from personae.report.svg import (
    CHARACTER,
    Axis,
    Canvas,
    el,
    in_two,
    join,
    label,
    label_width,
    legend,
    line,
    marker,
    path,
    row_label,
    series_class,
    x_axis,
)
from personae.report.text import interval, number, percent

LABELS = 118.0  # widest column of row labels beside bars
NUMBER = 46.0  # room for a number beside a bar
LEAST_PLOT = 120.0  # what row labels leave to the drawing
NAN = math.nan


@dataclass(frozen=True)
class Estimate:
    """A value and its interval; `strong` sets a summary row apart from its parts."""

    label: str
    value: float
    low: float = NAN
    high: float = NAN
    series: int = 0
    strong: bool = False


@dataclass(frozen=True)
class Series:
    """Values over shared classes, with or without intervals (same length, or empty)."""

    name: str
    values: Sequence[float]
    lows: Sequence[float] = ()
    highs: Sequence[float] = ()


def finite(*values: float) -> list[float]:
    """The values that are neither NaN nor infinite."""
    return [v for v in values if math.isfinite(v)]


# --- estimates -------------------------------------------------------------------------------


def interval_plot(
    canvas: Canvas,
    rows: Sequence[Estimate],
    unit: str = "",
    band: tuple[float, float, str] | None = None,
    limits: tuple[float, float] | None = None,
) -> Markup:
    """One row per estimate: label, point with interval, numbers.

    `band` is (low, high, what it is): a reference range behind the points. `limits` are the ends
    of the axis; without them it spans 0 and all values.
    """
    longest = max((len(_shown(r)) for r in rows), default=0)
    right = canvas.width - min(0.95 * CHARACTER * longest + 12, 180)
    lengths = (len(r.label) * (1.1 if r.strong else 1.0) for r in rows)
    left = label_width(lengths, max(LABELS, right - LEAST_PLOT))
    top = 20.0 if band else 6.0
    edges = _edges([r.label for r in rows], left - 10, top)
    bottom = edges[-1]
    values = [v for r in rows for v in finite(r.value, r.low, r.high)]
    include = [0.0, *(band[:2] if band else ())]
    axis = (
        Axis(*limits, left, right) if limits else Axis.over(values, left, right, include, part=0.5)
    )
    drawn: list[str] = []
    if band:
        start, end = axis(band[0]), axis(band[1])
        drawn.append(
            el("rect", x=start, y=top, width=end - start, height=bottom - top, class_="band")
        )
        drawn.append(label((start + end) / 2, top - 6, band[2], "middle", "t m"))
    drawn.append(x_axis(axis, top, bottom, unit))
    for row, (above, below) in zip(rows, pairwise(edges), strict=True):
        drawn.append(_estimate_row(row, axis, (above + below) / 2, left - 10, canvas.width))
    return canvas.draw(bottom + (40 if unit else 24), *drawn)


def _edges(names: Sequence[str], width: float, top: float) -> list[float]:
    """Upper edge of every row and the lower one of the last: labels of two lines need more room."""
    heights = (25.0 if len(in_two(name, width)) == 1 else 33.0 for name in names)
    return list(accumulate(heights, initial=top))


def _shown(row: Estimate) -> str:
    return f"{number(row.value)} {interval(row.low, row.high)}".strip()


def _estimate_row(row: Estimate, axis: Axis, y: float, labels: float, width: float) -> Markup:
    weight = "t b" if row.strong else "t"
    shown = _shown(row)
    drawn = [
        row_label(0, y, row.label, labels, weight),
        label(width, y + 4, shown, "end", f"{weight} n"),
    ]
    mark: list[str] = []
    if len(finite(row.low, row.high)) == 2:
        mark.append(line(axis(row.low), y, axis(row.high), y, "stroke w2"))
        mark += [line(axis(v), y - 4, axis(v), y + 4, "stroke") for v in (row.low, row.high)]
    if math.isfinite(row.value):
        mark.append(marker(axis(row.value), y, row.series, 5 if row.strong else 4))
    elif math.isinf(row.value):
        tip = axis.end if row.value > 0 else axis.start
        back = -7 if row.value > 0 else 7
        mark.append(path([(tip + back, y - 4), (tip, y), (tip + back, y + 4)], "stroke w2 open"))
    tip_text = f"{row.label}: {shown}"
    drawn.append(el("g", *mark, class_=series_class(row.series), data_tip=tip_text))
    return join(drawn)


# --- bars and columns ------------------------------------------------------------------------


def bars(
    canvas: Canvas,
    classes: Sequence[str],
    series: Sequence[Series],
    limits: tuple[float, float] | None = None,
    unit: str = "",
) -> Markup:
    """Horizontal bars, one group per class, a number at the end of each bar."""
    names, legend_height = legend([s.name for s in series], 0, 12, canvas.width)
    thick = 13.0
    left = label_width(map(len, classes), LABELS)
    two = any(len(in_two(name, left - 10)) == 2 for name in classes)
    group = max(thick * len(series) + 12, 33.0 if two else 25.0)
    top = legend_height + 8 if len(series) > 1 else 4.0
    bottom = top + group * len(classes)
    values = [v for s in series for v in finite(*s.values, *s.lows, *s.highs)]
    start = left + (NUMBER if min(values, default=0.0) < 0 else 0.0)
    axis = (
        Axis(*limits, start, canvas.width - NUMBER, count=5)
        if limits
        else Axis.over(values, start, canvas.width - NUMBER, include=[0.0])
    )
    drawn: list[str] = [names] if len(series) > 1 else []
    drawn.append(x_axis(axis, top, bottom, unit))
    for row, name in enumerate(classes):
        middle = top + group * (row + 0.5)
        y = middle - thick * len(series) / 2
        drawn.append(row_label(0, middle, name, left - 10))
        for k, one in enumerate(series):
            drawn.append(_bar(one, k, row, name, axis, y + thick * k, thick))
    return canvas.draw(bottom + (40 if unit else 24), *drawn)


def _bar(one: Series, k: int, row: int, name: str, axis: Axis, y: float, thick: float) -> Markup:
    value = one.values[row]
    drawn: list[str] = []
    low = end = axis.start
    middle = y + thick / 2
    if math.isfinite(value):
        base = axis(min(max(0.0, axis.low), axis.high))
        low = end = axis(value)
        left, wide = min(base, end), abs(end - base)
        drawn.append(
            el("rect", x=left, y=y + 1.5, width=wide, height=thick - 3, class_="bar", rx=1)
        )
        drawn.append(marker(end, middle, k, 3.4))
    shown = number(value)
    if one.lows and len(finite(one.lows[row], one.highs[row])) == 2:
        drawn.append(line(axis(one.lows[row]), middle, axis(one.highs[row]), middle, "stroke"))
        low, end = min(low, axis(one.lows[row])), max(end, axis(one.highs[row]))
        shown += f" {interval(one.lows[row], one.highs[row])}"
    group = el("g", *drawn, class_=series_class(k), data_tip=f"{name}, {one.name}: {shown}")
    if value < 0:
        return group + label(low - 8, middle + 4, number(value), "end", "t n")
    return group + label(end + 8, middle + 4, number(value), "start", "t n")


def columns(
    canvas: Canvas, classes: Sequence[str], series: Sequence[Series], x_title: str = ""
) -> Markup:
    """Shares over ordered classes as columns in percent."""
    names, legend_height = legend([s.name for s in series], 0, 12, canvas.width)
    several = len(series) > 1
    top = legend_height + 14.0 if several else 18.0
    bottom = top + 150
    left = 38.0
    values = [v for s in series for v in finite(*s.values)]
    axis = Axis.over(values, bottom, top, include=[0.0, 0.1])
    drawn: list[str] = [names] if several else []
    for t in axis.ticks:
        drawn.append(line(left, axis(t), canvas.width, axis(t), "grid"))
        drawn.append(label(left - 6, axis(t) + 4, f"{100 * t:.4g}%", "end", "t m"))
    slot = (canvas.width - left) / max(len(classes), 1)
    thick = min(slot * 0.74 / max(len(series), 1), 44)
    longest = max((len(name) for name in classes), default=1)
    every = math.ceil((CHARACTER * longest + 4) / slot)
    for c, name in enumerate(classes):
        middle = left + slot * (c + 0.5)
        if c % every == 0:
            drawn.append(label(middle, bottom + 15, name, "middle"))
        for k, one in enumerate(series):
            drawn.append(
                _column(
                    one, k, c, name, axis, middle + thick * (k - len(series) / 2), thick, several
                )
            )
    if x_title:
        drawn.append(label((left + canvas.width) / 2, bottom + 32, x_title, "middle", "t m"))
    return canvas.draw(bottom + (40 if x_title else 22), *drawn)


def _column(
    one: Series, k: int, c: int, name: str, axis: Axis, x: float, thick: float, several: bool
) -> Markup:
    value = one.values[c]
    if not math.isfinite(value):
        return Markup("")
    top = axis(value)
    bar = el("rect", x=x + 1.5, y=top, width=thick - 3, height=axis.start - top, class_="bar", rx=1)
    drawn: list[str] = [bar, line(x + 1.5, top, x + thick - 1.5, top, "stroke w2")]
    if several:
        drawn.append(marker(x + thick / 2, top, k, 3.4))
    if thick >= 24 and value >= 0.01:
        drawn.append(label(x + thick / 2, top - 5, percent(value), "middle", "t n small"))
    tip = f"{name}, {one.name}: {percent(value)}"
    return el("g", *drawn, class_=series_class(k), data_tip=tip)
