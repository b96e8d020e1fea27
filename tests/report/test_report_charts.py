from __future__ import annotations

import math
import re
from collections.abc import Callable
from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
import pytest
from markupsafe import Markup

from personae.ratings import Ratings
from personae.report.charts import Estimate, Series, bars, columns, interval_plot
from personae.report.heatmap import heat_map
from personae.report.plots import Curve, Ellipse, Point, lines, radar, scatter
from personae.report.svg import Axis, Canvas, el, fitted, in_two, legend, tick_text, ticks

SVG = "{http://www.w3.org/2000/svg}"
BAD = 'x" onload="alert(1)"><script>alert(1)</script>\x00\ud800'
CANVAS = Canvas("fig", BAD, BAD)
NAN, INF = math.nan, math.inf

DRAWINGS: dict[str, Callable[[list[float], str], Markup]] = {
    "interval_plot": lambda v, s: interval_plot(
        CANVAS, [Estimate(s, x, x, x, k, k == 0) for k, x in enumerate(v)], s, (0.1, 0.2, s)
    ),
    "bars": lambda v, s: bars(CANVAS, [s] * len(v), [Series(s, v, v, v), Series(s, v)], None, s),
    "bars in limits": lambda v, s: bars(CANVAS, [s] * len(v), [Series(s, v)], (0.0, 5.0)),
    "columns": lambda v, s: columns(CANVAS, [s] * len(v), [Series(s, v), Series(s, v)], s),
    "lines": lambda v, s: lines(CANVAS, [Curve(s, v, v, v, v), Curve(s, v, v)], s, s, (1, s)),
    "lines, log": lambda v, s: lines(CANVAS, [Curve(s, v, v)], log=True),
    "radar": lambda v, s: radar(CANVAS, [s] * len(v), [Series(s, v)], (0.0, 5.0), (s, v, v)),
    "scatter": lambda v, s: scatter(
        CANVAS,
        [Point(x, x, s, k, Ellipse(1, 1, 0.5), True) for k, x in enumerate(v)],
        [s], s, s, True,
    ),
}  # fmt: skip


def parse(svg: Markup) -> ElementTree.Element:
    return ElementTree.fromstring(svg)


@pytest.mark.parametrize("name", DRAWINGS)
@pytest.mark.parametrize(
    "values",
    [[1.0, 2.0, 3.0], [0.0] * 3, [NAN] * 3, [INF, -INF, NAN], [1e-9, 1e9, -5.0], [2.0] * 3],
    ids=str,
)
def test_every_chart_draws_any_values_with_any_text(name: str, values: list[float]) -> None:
    svg = DRAWINGS[name](values, BAD)
    root = parse(svg)
    assert not list(root.iter(f"{SVG}script"))
    assert not any(a.startswith("on") for e in root.iter() for a in e.attrib)
    numbers = re.findall(r'(?<=[ "ML])-?(?:nan|inf)', re.sub(r"data-tip=\"[^\"]*\"", "", svg))
    assert not numbers
    _, _, width, height = (float(n) for n in root.attrib["viewBox"].split())
    for node in root.iter():
        for axis, end in (("x", width), ("y", height), ("cx", width), ("cy", height)):
            if axis in node.attrib:
                assert -1 <= float(node.attrib[axis]) <= end + 1, (node.tag, node.attrib)


@pytest.mark.parametrize("name", DRAWINGS)
def test_every_chart_says_what_it_is(name: str) -> None:
    root = parse(DRAWINGS[name]([1.0, 2.0, 3.0], "a"))
    title, description = root.find(f"{SVG}title"), root.find(f"{SVG}desc")
    assert title is not None
    assert title.attrib["id"] == root.attrib["aria-labelledby"]
    assert description is not None
    assert description.attrib["id"] == root.attrib["aria-describedby"]


def test_interval_plot_puts_points_where_the_axis_says() -> None:
    rows = [Estimate("a", 0.0), Estimate("b", 2.0), Estimate("c", 4.0, 3.0, 5.0)]
    root = parse(interval_plot(Canvas("f", "t", "d"), rows, limits=(0.0, 5.0)))
    at = [float(c.attrib["cx"]) for c in root.iter(f"{SVG}circle")]
    assert at[2] - at[1] == pytest.approx(at[1] - at[0], abs=0.02)
    whisker = next(e for e in root.iter(f"{SVG}line") if "w2" in e.attrib["class"])
    assert float(whisker.attrib["x1"]) < at[2] < float(whisker.attrib["x2"])


def test_infinite_robustness_is_an_arrow_and_a_sign() -> None:
    svg = interval_plot(Canvas("f", "t", "d"), [Estimate("R", INF), Estimate("A", 2.0)])
    assert "∞" in svg
    assert len(list(parse(svg).iter(f"{SVG}circle"))) == 1


def test_heat_map_has_a_cell_per_cell_coloured_by_the_mean() -> None:
    cells = np.zeros((2, 3, 6))
    cells[0, :, 0] = 1
    cells[1, :2, 5] = 1  # the last cell of persona b is missing
    ratings = Ratings(
        cells, "counts", ("a", "b"), ("i", "j", "k"), ("S", "T", "S"), (False,) * 3, 0
    )
    root = parse(heat_map(Canvas("f", "t", "d"), ratings))
    rows = [g for g in root.iter(f"{SVG}g") if g.attrib.get("class") == "row"]
    colours = [[r.get("class") or r.get("fill") for r in g.iter(f"{SVG}rect")] for g in rows]
    assert colours == [["s0"] * 3, ["s20", "s20", "url(#missing)"]]
    xs = [float(r.attrib["x"]) for r in rows[0].iter(f"{SVG}rect")]
    assert xs[0] < xs[2] < xs[1]  # subscale S first
    assert "0 60" in rows[0].attrib["transform"]  # the lower mean stands below
    assert "0 48" in rows[1].attrib["transform"]


def test_ticks_are_round_and_inside() -> None:
    assert ticks(0, 1) == [0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert ticks(0.13, 0.87, 4) == [0.2, 0.4, 0.6, 0.8]
    assert ticks(3, 3) == [3]
    assert ticks(-50, 50, 4) == [-50, -25, 0, 25, 50]


@pytest.mark.parametrize("values", [[], [NAN], [0.0], [5.0], [-3.0, -1.0], [1e-15, 2e-15]])
def test_axis_covers_its_values_and_is_never_empty(values: list[float]) -> None:
    axis = Axis.over(values, 0, 100)
    assert axis.low < axis.high
    for value in values:
        if math.isfinite(value):
            assert axis.low <= value <= axis.high


def test_log_axis_is_even_in_ratios() -> None:
    axis = Axis.decades([1.0, 10.0, 100.0], 0, 100)
    assert axis(100) - axis(10) == pytest.approx(axis(10) - axis(1))
    assert {1, 10, 100} <= set(axis.ticks)


def test_elements_escape_attributes_and_text() -> None:
    made = el("text", "a < b", data_tip='"', class_="t")
    assert made == '<text data-tip="&#34;" class="t">a &lt; b</text>'


def test_a_cut_label_keeps_its_whole_text_for_the_reader() -> None:
    made = fitted(0, 0, "a rather long label for so little room", 60)
    assert "…<" in made
    assert 'data-tip="a rather long label for so little room"' in made


def test_legend_wraps_instead_of_running_out() -> None:
    _, one_row = legend(["a", "b"], 0, 12, 380)
    _, several = legend(["a long name for a series " * 2] * 3, 0, 12, 380)
    assert several == 3 * one_row


def test_the_last_tick_of_a_line_plot_is_not_cut_off() -> None:
    svg = lines(Canvas("fig-x", "x", "x"), [Curve("a", [0.0, 50.0, 100.0], [1.0, 2.0, 3.0])])
    (width,) = re.findall(r'viewBox="0 0 ([0-9.]+) ', svg)
    (at,) = re.findall(r'<text x="([0-9.]+)"[^>]*text-anchor="middle"[^>]*>100</text>', svg)
    assert float(at) + 3 * 6.5 / 2 <= float(width)  # three digits of about 6.5 each, centred


def texts(svg: Markup) -> list[tuple[float, float, str]]:
    """(x, y, words) of every text."""
    found = parse(svg).iter(f"{SVG}text")
    return [(float(t.attrib["x"]), float(t.attrib["y"]), t.text or "") for t in found]


def test_the_number_of_a_negative_bar_stands_left_of_it() -> None:
    svg = bars(Canvas("f", "t", "d"), ["a"], [Series("s", [-3.0])], unit="u")
    (bar,) = (r for r in parse(svg).iter(f"{SVG}rect") if r.attrib["class"] == "bar")
    (number,) = (t for t in parse(svg).iter(f"{SVG}text") if t.text == "−3.00")
    assert number.attrib["text-anchor"] == "end"
    assert float(number.attrib["x"]) < float(bar.attrib["x"])


def test_thinned_ticks_keep_zero_and_its_line_is_stronger() -> None:
    rows = [Estimate("a", -0.62, -0.7, 0.05), Estimate("a long label of a row", 0.15, -0.3, 0.2)]
    svg = interval_plot(Canvas("f", "t", "d"), rows)
    zero = [x for x, _, words in texts(svg) if words == "0"]
    strong = [e for e in parse(svg).iter(f"{SVG}line") if e.attrib["class"] == "zero"]
    assert [float(e.attrib["x1"]) for e in strong] == zero


@pytest.mark.parametrize(("values", "whole"), [([0.0, 1.0], True), ([0.0, 1.5], False)])
def test_counts_have_whole_ticks(values: list[float], whole: bool) -> None:
    svg = lines(Canvas("f", "t", "d"), [Curve("a", values, [1.0, 2.0])])
    below = max(y for _, y, _ in texts(svg))
    shown = [float(words) for _, y, words in texts(svg) if y == below]
    assert all(v == int(v) for v in shown) is whole


def test_small_ticks_are_told_apart() -> None:
    assert [tick_text(v) for v in (0.0005, 0.001, -0.0005, 2e-5)] == [
        "0.0005", "0.001", "−0.0005", "2e−5",
    ]  # fmt: skip


def test_labels_of_two_lines_have_room_of_their_own() -> None:
    assert in_two("specialist | authority", 100) == ("specialist |", "authority")
    long = "a label that needs two lines"
    svg = interval_plot(Canvas("f", "t", "d"), [Estimate(long, 1.0, 0.5, 1.5)] * 3)
    heights = sorted(y for x, y, _ in texts(svg) if x == 0)
    assert len(heights) == 6
    gaps = [b - a for a, b in pairwise(heights)]
    assert all(between > within + 6 for within, between in pairwise(gaps[:2]))


def test_names_of_near_points_do_not_cover_each_other() -> None:
    points = [Point(0.01 * k, 0.01 * k, f"a fine-tune {k}", labelled=True) for k in range(8)]
    svg = scatter(Canvas("f", "t", "d"), [*points, Point(9, 9, "far", labelled=True)])
    named = [(x, y) for x, y, words in texts(svg) if "fine-tune" in words]
    assert 0 < len(named) < len(points)
    assert all(
        abs(ay - by) >= 12 or abs(ax - bx) >= 60
        for k, (ax, ay) in enumerate(named)
        for bx, by in named[:k]
    )
    assert "far" in [words for _, _, words in texts(svg)]


def test_more_classes_than_fit_are_named_now_and_then() -> None:
    names = [str(k) for k in range(21)]
    svg = columns(Canvas("f", "t", "d"), names, [Series("s", [0.05] * 21)])
    at = [(x, len(words)) for x, _, words in texts(svg) if words in names]
    assert all(b - a > 6.5 * (m + n) / 2 for (a, m), (b, n) in pairwise(at))
