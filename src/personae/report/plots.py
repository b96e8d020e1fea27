"""Curves, profiles and point maps; the other charts are in `charts.py`.

`lines`    curves with bands
`radar`    profiles over three or more axes, with a band
`scatter`  named points, with or without confidence ellipses

Values that are not finite are left out of a drawing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from personae.report.charts import Series, finite
from personae.report.svg import (
    CHARACTER,
    DASHES,
    SERIES,
    Axis,
    Canvas,
    el,
    fitted,
    join,
    label,
    legend,
    line,
    marker,
    path,
    series_class,
    x_axis,
    y_axis,
)
from personae.report.text import number

MANY = 60  # points of a curve beyond which its marks would hide the line


@dataclass(frozen=True)
class Curve:
    """y over x, with a band where `lows` and `highs` are given."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    lows: Sequence[float] = ()
    highs: Sequence[float] = ()


@dataclass(frozen=True)
class Ellipse:
    """Covariance of a point: standard deviations, correlation; `k` 2.45 covers 95%."""

    sd_x: float
    sd_y: float
    correlation: float = 0.0
    k: float = 2.4477


@dataclass(frozen=True)
class Point:
    x: float
    y: float
    name: str
    series: int = 0
    ellipse: Ellipse | None = None
    labelled: bool = False
    tip: str = ""


# --- curves ----------------------------------------------------------------------------------


def lines(
    canvas: Canvas,
    curves: Sequence[Curve],
    x_title: str = "",
    y_title: str = "",
    mark: tuple[float, str] | None = None,
    log: bool = False,
    first: int = 0,
) -> Markup:
    """Curves with bands; `mark` is a vertical line at an x, with its name; `log`: y in decades.

    `first`: the first curve's colour and mark, where an earlier series is left out.
    """
    names, legend_height = legend([c.name for c in curves], 0, 12, canvas.width, first)
    several = len(curves) > 1
    top = (legend_height if several else 0) + 24.0
    bottom, left, right = top + 150, 40.0, canvas.width - 14
    x_values = [v for c in curves for v in finite(*c.x)]
    y_values = [v for c in curves for v in finite(*c.y, *c.lows, *c.highs)]
    counts = all(v == int(v) for v in x_values)
    across = Axis.over(x_values, left, right, include=[mark[0]] if mark else (), whole=counts)
    up = Axis.decades(y_values, bottom, top) if log else Axis.over(y_values, bottom, top, [0.0])
    drawn: list[str] = [names] if several else []
    drawn += [y_axis(up, left, right, y_title), x_axis(across, top, bottom, x_title)]
    drawn += [_curve(c, k, across, up) for k, c in enumerate(curves, first)]
    if mark:
        drawn += _mark(
            across(mark[0]), mark[1], left + CHARACTER * len(y_title), right, top, bottom
        )
    return canvas.draw(bottom + (40 if x_title else 24), *drawn)


def _mark(
    x: float, name: str, title_end: float, right: float, top: float, bottom: float
) -> list[Markup]:
    """A vertical line, its name above the frame where the axis' title leaves room, else inside."""
    half = CHARACTER * len(name) / 2
    at = min(x, right - half)
    above = label(at, top - 9, name, "middle", "t m")
    inside = label(x + 5, top + 9, name, "start", "t m halo")
    return [line(x, top, x, bottom, "mark"), above if at - half > title_end + 8 else inside]


def _curve(curve: Curve, k: int, across: Axis, up: Axis) -> Markup:
    drawn: list[str] = []
    if curve.lows:
        whole = [
            (x, a, b)
            for x, a, b in zip(curve.x, curve.lows, curve.highs, strict=True)
            if len(finite(x, a, b)) == 3
        ]
        edge = [(across(x), up(b)) for x, _, b in whole]
        edge += [(across(x), up(a)) for x, a, _ in reversed(whole)]
        drawn.append(path(edge, "area", close=True))
    points = [(x, y) for x, y in zip(curve.x, curve.y, strict=True) if len(finite(x, y)) == 2]
    at = [(across(x), up(y)) for x, y in points]
    drawn.append(path(at, "stroke w2 open", stroke_dasharray=DASHES[k % SERIES]))
    size = 3.2 if len(points) <= MANY else 1.4
    for (x, y), (px, py) in zip(points, at, strict=True):
        tip = f"{curve.name} at {number(x)}: {number(y)}"
        drawn.append(marker(px, py, k, size, data_tip=tip))
    return el("g", *drawn, class_=series_class(k))


# --- profiles --------------------------------------------------------------------------------


def radar(
    canvas: Canvas,
    axes: Sequence[str],
    series: Sequence[Series],
    limits: tuple[float, float],
    band: tuple[str, Sequence[float], Sequence[float]] | None = None,
) -> Markup:
    """Profiles over axes that share one scale; `band` (name, lows, highs) belongs to series 1."""
    names, legend_height = legend([s.name for s in series], 0, 12, canvas.width)
    longest = max(len(part) for name in axes for part in name.split("/"))
    radius = min(max(canvas.width / 2 - CHARACTER * longest, 84.0), 108.0)
    centre_x, centre_y = canvas.width / 2, legend_height + 40 + radius
    reach = Axis(*limits, 0, radius, count=5)

    def spot(axis: int, value: float) -> tuple[float, float]:
        angle = 2 * math.pi * axis / len(axes) - math.pi / 2
        distance = reach(value) if math.isfinite(value) else 0.0
        return centre_x + distance * math.cos(angle), centre_y + distance * math.sin(angle)

    def ring(values: Sequence[float]) -> list[tuple[float, float]]:
        return [spot(k, v) for k, v in enumerate(values)]

    drawn: list[str] = [names]
    for t in reach.ticks:
        drawn.append(path(ring([t] * len(axes)), "grid", close=True))
    for k, name in enumerate(axes):
        x, y = spot(k, limits[1])
        drawn.append(line(centre_x, centre_y, x, y, "grid"))
        drawn.append(_radar_label(name, x - centre_x, y - centre_y, centre_x, centre_y, radius))
    if band:
        outer, inner = ring(band[2]), ring(band[1])
        loops = " ".join(
            "M" + " L".join(f"{x:.2f} {y:.2f}" for x, y in loop) + "Z" for loop in (outer, inner)
        )
        drawn.append(
            el("path", d=loops, fill_rule="evenodd", class_=f"area {series_class(1)}",
               data_tip=band[0])
        )  # fmt: skip
    for k, one in enumerate(series):
        dots = [
            marker(*spot(a, v), k, 3.6, data_tip=f"{axes[a]}, {one.name}: {number(v)}")
            for a, v in enumerate(one.values)
            if math.isfinite(v)
        ]
        loop = path(ring(one.values), "stroke w2 open", True, stroke_dasharray=DASHES[k % SERIES])
        drawn.append(el("g", loop, *dots, class_=series_class(k)))
    half = math.pi / len(axes)  # tick labels stand between two spokes, clear of the markers
    named = reach.ticks[1:]
    while len(named) > 2 and (reach(named[1]) - reach(named[0])) * math.cos(half) < 16:
        named = named[1::2]
    for t in named:
        x = centre_x + reach(t) * math.cos(half) * math.sin(half)
        y = centre_y - reach(t) * math.cos(half) ** 2
        drawn.append(label(x, y + 4, f"{t:.4g}", "middle", "t m small halo"))
    return canvas.draw(centre_y + radius + 34, *drawn)


def _radar_label(name: str, dx: float, dy: float, x: float, y: float, radius: float) -> Markup:
    """A label outside the ring; two lines where a slash or space allows it."""
    anchor = "middle" if abs(dx) < radius * 0.25 else "start" if dx > 0 else "end"
    head, slash, tail = name.partition("/")
    rows = [head + slash, tail] if tail else [name]
    at_x, at_y = x + dx * 1.1, y + dy * 1.1 + 4
    if dy < -radius * 0.6:
        at_y -= 13 * (len(rows) - 1)
    elif dy > radius * 0.6:
        at_y += 8
    room = {"middle": 2 * x, "start": 2 * x - at_x, "end": at_x}[anchor]
    return join(fitted(at_x, at_y + 13 * k, row, room, anchor) for k, row in enumerate(rows))


# --- points ----------------------------------------------------------------------------------


def scatter(
    canvas: Canvas,
    points: Sequence[Point],
    groups: Sequence[str] = (),
    x_title: str = "",
    y_title: str = "",
    zero: bool = False,
) -> Markup:
    """Named points with ellipses; `zero` draws both zero lines (maps of changes)."""
    names, legend_height = legend(groups, 0, 12, canvas.width)
    top = (legend_height if groups else 0) + 22.0
    bottom, left, right = top + 260, 44.0, canvas.width - 14
    edges = [_outline(p) for p in points]
    include = [0.0] if zero else []
    across = Axis.over([x for e in edges for x, _ in e], left, right, include)
    up = Axis.over([y for e in edges for _, y in e], bottom, top, include)
    drawn: list[str] = [names] if groups else []
    drawn += [
        y_axis(up, left, right, y_title, zero=False),
        x_axis(across, top, bottom, x_title, zero=False),
    ]
    if zero:
        drawn.append(line(across(0), top, across(0), bottom, "mark"))
        drawn.append(line(left, up(0), right, up(0), "mark"))
    spots = [(across(p.x), up(p.y)) for p in points if len(finite(p.x, p.y)) == 2]
    taken: list[Box] = []
    for point, edge in zip(points, edges, strict=True):
        if len(finite(point.x, point.y)) < 2:
            continue
        px, py = across(point.x), up(point.y)
        shown: list[str] = []
        if point.ellipse:
            shown.append(path([(across(x), up(y)) for x, y in edge], "area outlined", close=True))
        shown.append(marker(px, py, point.series, 4))
        tip = point.tip or f"{point.name}: {number(point.x)}, {number(point.y)}"
        drawn.append(el("g", *shown, class_=series_class(point.series), data_tip=tip))
        if point.labelled:
            others = [spot for spot in spots if spot != (px, py)]
            drawn += _name(point.name, px, py, (left, top, right, bottom), others, taken)
    return canvas.draw(bottom + (40 if x_title else 24), *drawn)


Box = tuple[float, float, float, float]  # left, top, right, bottom


def _name(
    name: str, x: float, y: float, frame: Box, spots: Sequence[tuple[float, float]],
    taken: list[Box],
) -> list[Markup]:  # fmt: skip
    """A point's name beside it, off the other points and names; none where all places are taken.

    The name stays in the hover text. `taken`: boxes of the names so far; its own is added.
    """
    left, top, right, bottom = frame
    sides = (-1, 1) if x > (left + right) / 2 else (1, -1)
    for lift in (-6.0, 14.0):
        for side in sides:
            room = (x - left if side < 0 else right - x) - 8
            wide = min(CHARACTER * len(name), room)
            start = x + 8 * side - (wide if side < 0 else 0)
            box = (start, y + lift - 10, start + wide, y + lift + 3)
            if wide < min(CHARACTER * len(name), 60) or not top - 4 <= box[1] <= bottom - 13:
                continue
            if any(_overlap(box, b) for b in taken):
                continue
            if any(_overlap(box, (a - 4, b - 4, a + 4, b + 4)) for a, b in spots):
                continue
            taken.append(box)
            anchor = "end" if side < 0 else "start"
            return [fitted(x + 8 * side, y + lift, name, room, anchor, "t halo")]
    return []


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _outline(point: Point) -> list[tuple[float, float]]:
    """The point's ellipse as a polygon in data units; the point itself without one."""
    if not point.ellipse or len(finite(point.x, point.y)) < 2:
        return [(point.x, point.y)]
    e = point.ellipse
    across = math.sqrt(max(1 - e.correlation**2, 0.0))
    turns = [2 * math.pi * k / 48 for k in range(48)]
    return [
        (
            point.x + e.k * e.sd_x * math.cos(t),
            point.y + e.k * e.sd_y * (e.correlation * math.cos(t) + across * math.sin(t)),
        )
        for t in turns
    ]
