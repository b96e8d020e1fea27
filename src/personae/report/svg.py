"""SVG by hand: elements, axes, labels, legends. Charts are built from these in `charts.py`.

Conventions: lengths are pixels of a drawing 380 wide (a phone's column); the page scales it.
Colours are CSS classes (`c1`..`c4` set `color`, shapes use `currentColor`; `s0`..`s20` fill with
the heat ramp), so that one drawing follows dark mode and print. Text always passes `clean` and
`escape`. `data-tip` on an element is its hover text.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup, escape

from personae.report.text import clean, clip, number

WIDTH = 380
FONT = 11.5
CHARACTER = 0.58 * FONT  # a cautious width of one letter
SERIES = 4
DASHES = (None, "5 3", "1.5 3", "7 3 1.5 3")


def el(tag: str, *children: str, **attributes: object) -> Markup:
    """An element; `class_` and `data_tip` become `class` and `data-tip`, None is left out."""
    shown = Markup("").join(
        Markup(' {}="{}"').format(name.rstrip("_").replace("_", "-"), _plain(value))
        for name, value in attributes.items()
        if value is not None
    )
    return Markup("<{0}{1}>{2}</{0}>").format(tag, shown, join(children))


def join(parts: Iterable[str]) -> Markup:
    """Markup joined as it is, plain text escaped."""
    return Markup("").join(p if isinstance(p, Markup) else escape(clean(p)) for p in parts)


def _plain(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".")
    return clean(str(value))


@dataclass(frozen=True)
class Canvas:
    """An empty drawing: its id, a title and a description for those who cannot see it."""

    id: str
    title: str
    description: str
    width: float = WIDTH

    def draw(self, height: float, *children: str) -> Markup:
        return el(
            "svg",
            el("title", self.title, id=f"{self.id}-title"),
            el("desc", self.description, id=f"{self.id}-desc"),
            *children,
            viewBox=f"0 0 {_plain(float(self.width))} {_plain(float(height))}",
            role="img",
            aria_labelledby=f"{self.id}-title",
            aria_describedby=f"{self.id}-desc",
            class_="chart",
            xmlns="http://www.w3.org/2000/svg",
        )


def label(x: float, y: float, text: str, anchor: str = "start", class_: str = "t") -> Markup:
    return el("text", text, x=x, y=y, text_anchor=anchor, class_=class_)


def fitted(
    x: float, y: float, text: str, width: float, anchor: str = "start", class_: str = "t"
) -> Markup:
    """A label cut to a width; the whole text on hover."""
    short = clip(text, max(int(width / CHARACTER), 2))
    tip = text if short != text else None
    return el("text", short, x=x, y=y, text_anchor=anchor, class_=class_, data_tip=tip)


def in_two(text: str, width: float) -> tuple[str, ...]:
    """The text, or its two halves (broken after a space or mark) where one line is too narrow."""
    marks = "/-:_|"
    after = enumerate(pairwise(text), 1)
    breaks = [k for k, (a, b) in after if a in f"{marks} " and b not in marks]
    if len(text) * CHARACTER <= width or not breaks:
        return (text,)
    halves = [(text[:k].strip(), text[k:].strip()) for k in breaks]
    return min(halves, key=lambda pair: max(map(len, pair)))


def row_label(x: float, y: float, text: str, width: float, class_: str = "t") -> Markup:
    """A label of one line, or of two, 26 px high, where one is too narrow."""
    rows = in_two(text, width)
    first = y + 4 if len(rows) == 1 else y - 2
    return join(fitted(x, first + 12 * k, row, width, class_=class_) for k, row in enumerate(rows))


def label_width(lengths: Iterable[float], most: float) -> float:
    """Width of a column of row labels of so many characters in one line each, up to `most`."""
    return min(max(CHARACTER * max(lengths, default=0.0), 70.0) + 10, most)


def line(x1: float, y1: float, x2: float, y2: float, class_: str, **more: object) -> Markup:
    return el("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_, **more)


def path(
    points: Sequence[tuple[float, float]], class_: str, close: bool = False, **more: object
) -> Markup:
    """A polyline through the points; nothing for no points."""
    steps = " L".join(f"{_plain(float(x))} {_plain(float(y))}" for x, y in points)
    return el(
        "path", d=f"M{steps}{'Z' if close else ''}" if points else "M0 0", class_=class_, **more
    )


def marker(x: float, y: float, series: int, size: float = 4, **more: object) -> Markup:
    """The series' own shape: circle, square, diamond, triangle."""
    shape = series % SERIES
    if shape == 0:
        return el("circle", cx=x, cy=y, r=size, fill="currentColor", **more)
    corners = {
        1: [(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)],
        2: [(0, -1.25), (1.25, 0), (0, 1.25), (-1.25, 0)],
        3: [(0, -1.2), (1.1, 0.8), (-1.1, 0.8)],
    }[shape]
    points = " ".join(f"{_plain(x + size * a)},{_plain(y + size * b)}" for a, b in corners)
    return el("polygon", points=points, fill="currentColor", **more)


def series_class(series: int) -> str:
    return f"c{series % SERIES + 1}"


def legend(
    names: Sequence[str], x: float, y: float, width: float, first: int = 0
) -> tuple[Markup, float]:
    """Marker and name of each series (from `first` on), wrapped to a width; and its height."""
    drawn: list[str] = []
    left, top = x, y
    for series, name in enumerate(names, first):
        need = 30 + CHARACTER * len(name)
        if left > x and left + need > x + width:
            left, top = x, top + 17
        drawn.append(
            el("g", marker(left + 6, top - 4, series), class_=series_class(series))
            + fitted(left + 16, top, name, width - 16)
        )
        left += need
    return join(drawn), top - y + 17


def ticks(low: float, high: float, count: int = 5, whole: bool = False) -> list[float]:
    """About `count` round values inside [low, high]; `whole`: integers only."""
    if not high > low:
        return [low]
    rough = max((high - low) / count, 1.0 if whole else 0.0)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(
        m * power
        for m in (1, 2, 2.5, 5, 10)
        if m * power >= rough * 0.999 and not (whole and m * power % 1)
    )
    first = math.ceil(low / step - 1e-9)
    return [float(f"{k * step:.12g}") for k in range(first, math.floor(high / step + 1e-9) + 1)]


@dataclass(frozen=True)
class Axis:
    """A map from values [low, high] to pixels [start, end], linear or (`log`) in decades."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False
    count: int = 4  # ticks wanted, about
    whole: bool = False  # values are counts: layers, steps, turns

    @classmethod
    def over(
        cls,
        values: Iterable[float],
        start: float,
        end: float,
        include: Sequence[float] = (),
        whole: bool = False,
        part: float = 1.0,
    ) -> Axis:
        """A linear axis over all finite values, widened to round ends: to a `part` of a step."""
        finite = [v for v in (*values, *include) if math.isfinite(v)] or [0.0, 1.0]
        low, high = min(finite), max(finite)
        if high - low <= 1e-9 * max(abs(low), abs(high)):
            low, high = (0.0, 1.0) if high == 0 else (min(0.0, 2 * high), max(0.0, 2 * high))
        inside = ticks(low, high, whole=whole)
        step = part * (inside[1] - inside[0]) if len(inside) > 1 else high - low
        first, last = math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step
        return cls(min(first, low), max(last, high), start, end, whole=whole)

    @classmethod
    def decades(cls, values: Iterable[float], start: float, end: float) -> Axis:
        """A logarithmic axis over the positive finite values."""
        positive = [v for v in values if math.isfinite(v) and v > 0] or [1.0, 10.0]
        low, high = min(positive), max(positive)
        return cls(low / 1.15, max(high, low * 2) * 1.15, start, end, log=True)

    def __call__(self, value: float) -> float:
        """Pixel of a value, held inside the axis."""
        if self.log:
            top, bottom = math.log(self.high), math.log(self.low)
            part = (math.log(max(value, self.low)) - bottom) / (top - bottom)
        else:
            part = (value - self.low) / (self.high - self.low)
        return self.start + min(max(part, 0.0), 1.0) * (self.end - self.start)

    @property
    def ticks(self) -> list[float]:
        if not self.log:
            return ticks(self.low, self.high, self.count, self.whole)
        first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        wide = last - first > 3
        marks = [m * 10.0**k for k in range(first, last + 1) for m in ((1,) if wide else (1, 2, 5))]
        return [m for m in marks if self.low <= m <= self.high]


def x_axis(axis: Axis, top: float, bottom: float, title: str = "", zero: bool = True) -> Markup:
    """Grid lines, tick labels and a title below; takes 34 px under `bottom`.

    `zero`: where values of both signs are shown, the line at 0 is stronger.
    """
    drawn = [line(axis(t), top, axis(t), bottom, _grid(t, axis, zero)) for t in axis.ticks]
    named = axis.ticks
    while len(named) > 2 and not _apart(named, axis):
        named = named[named.index(0.0) % 2 if 0.0 in named else 0 :: 2]
    drawn += [label(axis(t), bottom + 16, tick_text(t), "middle", "t m") for t in named]
    if title:
        drawn.append(label((axis.start + axis.end) / 2, bottom + 32, title, "middle", "t m"))
    return join(drawn)


def _grid(tick: float, axis: Axis, zero: bool = True) -> str:
    return "zero" if zero and tick == 0 and axis.low < 0 < axis.high else "grid"


def _apart(named: Sequence[float], axis: Axis) -> bool:
    """Do the tick labels leave a gap between each other?"""
    return all(
        abs(axis(b) - axis(a)) > CHARACTER * (len(tick_text(a)) + len(tick_text(b))) / 2 + 8
        for a, b in pairwise(named)
    )


def y_axis(axis: Axis, left: float, right: float, title: str = "", zero: bool = True) -> Markup:
    """Grid lines and tick labels left of `left`; the title stands above the axis."""
    drawn = [line(left, axis(t), right, axis(t), _grid(t, axis, zero)) for t in axis.ticks]
    drawn += [label(left - 6, axis(t) + 4, tick_text(t), "end", "t m") for t in axis.ticks]
    if title:
        drawn.append(label(left, min(axis.start, axis.end) - 9, title, "start", "t m"))
    return join(drawn)


def tick_text(value: float) -> str:
    if abs(value) >= 1000:
        return f"{value:,.0f}".replace("-", "−")
    if value == 0 or abs(value) >= 0.0001:
        return f"{value:.4g}".replace("-", "−")
    return number(value)
