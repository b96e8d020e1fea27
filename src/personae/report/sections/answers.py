"""Sections drawn from the ratings themselves: heat map, scale use, format validity."""

from __future__ import annotations

import numpy as np

from personae.ratings import Ratings
from personae.report import charts
from personae.report import heatmap as heat
from personae.report.blocks import Block, Figure, Figures, Note, Section, Table
from personae.report.charts import Estimate, Series
from personae.report.data import ReportData
from personae.report.sections.estimates import findings_table
from personae.report.svg import Canvas
from personae.report.text import interval, number, percent

MOST_PERSONAS = 200  # more rows than this are a file size, not a picture


def heat_map(data: ReportData) -> Section | None:
    if data.ratings is None or 0 in data.ratings.shape:
        return None
    ratings = data.ratings
    blocks: list[Block] = []
    if len(ratings.personas) > MOST_PERSONAS:
        blocks.append(
            Note(
                f"The map shows {MOST_PERSONAS} of {len(ratings.personas)} personas, evenly spaced "
                "over the cast; all numbers elsewhere use the whole cast."
            )
        )
        chosen = np.linspace(0, len(ratings.personas) - 1, MOST_PERSONAS).round().astype(int)
        ratings = ratings.subset(personas=[int(p) for p in chosen])
    P, I, _ = ratings.shape
    canvas = Canvas(
        "fig-heatmap",
        "Mean rating of every persona on every item",
        f"{P} personas by {I} items, ratings from {ratings.scale_min} to {ratings.scale_max}. "
        "Arrow keys move over the cells; the text below reads the cell out.",
    )
    figure = Figure(
        canvas.id,
        canvas.title,
        heat.heat_map(canvas, ratings),
        "One cell is one persona’s mean rating of one item. Point, tap, or focus the map and use "
        "the arrow keys to read a cell. Hatched: no valid rating.",
        _cells_table(ratings),
        wide=True,
        interactive={
            "personas": [[p, data.persona_texts.get(p, "")] for p in ratings.personas],
            "items": [
                [i, data.item_texts.get(i, ""), s]
                for i, s in zip(ratings.items, ratings.subscales, strict=True)
            ],
            "subscales": list(ratings.subscale_order),
            "values": [int(v) for v in ratings.values],
        },
    )
    lead = "Stripes down are items that everyone rates alike; stripes across are personas."
    return Section("heatmap", "Persona by item", lead, [*blocks, figure])


def _cells_table(ratings: Ratings) -> Table:
    """Every cell as one row: ids, mean, standard deviation, share of each rating."""
    values = [int(v) for v in ratings.values]
    share, mean, sd = (a.round(3) for a in (ratings.share, ratings.mean, ratings.sd))
    rows = [
        [p, i, ratings.subscales[b], float(mean[a, b]), float(sd[a, b]), *share[a, b].tolist()]
        for a, p in enumerate(ratings.personas)
        for b, i in enumerate(ratings.items)
    ]
    columns = ("persona", "item", "subscale", "mean", "sd", *(f"share_{v}" for v in values))
    return Table(columns, rows)


# --- scale use -------------------------------------------------------------------------------


def scale_use(data: ReportData) -> Section | None:
    panels = [
        (name, ratings)
        for name, ratings in (
            ("without a persona", data.self_ratings),
            ("with personas", data.ratings),
        )
        if ratings is not None and ratings.valid.any()
    ]
    blocks: list[Block] = []
    if panels:
        blocks.append(Figures([_pooled(panels), *_pooled_by_subscale(data)]))
    table = _scale_table(data)
    if table.rows:
        blocks.append(table)
    if not blocks:
        return None
    lead = "Which points of the scale are used; a model stuck at an end hides its differences."
    return Section("scale-use", "Use of the scale", lead, blocks)


def pooled(ratings: Ratings) -> list[float]:
    """[K] mean over all valid cells of their distributions."""
    return [float(v) for v in ratings.share[ratings.valid].mean(axis=0)]


def _pooled(panels: list[tuple[str, Ratings]]) -> Figure:
    classes = [f"{v:g}" for v in panels[0][1].values]
    series = [Series(name, pooled(ratings)) for name, ratings in panels]
    spoken = "; ".join(
        f"{s.name}: "
        + ", ".join(f"{c} {percent(v)}" for c, v in zip(classes, s.values, strict=True))
        for s in series
    )
    canvas = Canvas("fig-scale-use", "Distribution of all ratings", spoken)
    rows = [[c, *(s.values[k] for s in series)] for k, c in enumerate(classes)]
    return Figure(
        canvas.id,
        canvas.title,
        charts.columns(canvas, classes, series, "rating"),
        "Pooled over cells, each cell counting the same.",
        Table(("rating", *(s.name for s in series)), rows),
    )


def _pooled_by_subscale(data: ReportData) -> list[Figure]:
    if data.ratings is None or not data.ratings.valid.any():
        return []
    low, high = data.scale
    names, at_low, at_high = [], [], []
    for name in data.ratings.subscale_order:
        part = data.ratings.on(name)
        if part.valid.any():
            shares = pooled(part)
            names.append(name)
            at_low.append(shares[0])
            at_high.append(shares[-1])
    series = [Series(f"lowest ({low})", at_low), Series(f"highest ({high})", at_high)]
    spoken = "; ".join(
        f"{n}: lowest {percent(a)}, highest {percent(b)}"
        for n, a, b in zip(names, at_low, at_high, strict=True)
    )
    canvas = Canvas("fig-endpoints", "Ratings at the ends of the scale", spoken)
    rows = [list(row) for row in zip(names, at_low, at_high, strict=True)]
    return [
        Figure(
            canvas.id,
            canvas.title,
            charts.bars(canvas, names, series, unit="share of ratings"),
            "With personas, per foundation.",
            Table(("subscale", "share_lowest", "share_highest"), rows),
        )
    ]


def _scale_table(data: ReportData) -> Table:
    names = {
        "endpoint_mass": ("Endpoint mass", "share of ratings at the two ends"),
        "entropy": ("Entropy", "bits of the pooled distribution"),
        "top_rating_share": ("Top-rating share", "share of the most frequent rating"),
        "span_rate": ("Span rate", "share of cells whose repeats span 4 points or more"),
    }
    found = [(words, data.find(metric)) for metric, words in names.items()]
    rows = [
        [name, number(f.value), interval(f.low, f.high), meaning]
        for (name, meaning), f in found
        if f is not None
    ]
    return Table(("Quantity", "Value", "Interval", "Meaning"), rows, remark_last=True)


# --- format validity -------------------------------------------------------------------------


def format_validity(data: ReportData) -> Section | None:
    found = [f for f in data.findings if f.battery == "moral" and f.metric == "format_validity"]
    if not found:
        return None
    names = {"overall": "With personas", "self": "Without persona", "null": "Names only"}
    rows = [
        Estimate(
            names.get(f.scope, f.scope.replace(":", ": ")),
            f.value,
            f.low,
            f.high,
            0,
            f.scope == "overall",
        )
        for f in found
    ]
    spoken = "; ".join(f"{r.label} {percent(r.value)}" for r in rows)
    canvas = Canvas("fig-validity", "Share of answers on the scale", spoken)
    figures = [
        Figure(
            canvas.id,
            canvas.title,
            charts.interval_plot(canvas, rows, "share", limits=(0.0, 1.0)),
            "Exact runs: probability that the first token is a rating. Sampled runs: share of "
            "answers that could be read as one.",
            findings_table(found),
        ),
        *_mass_histogram(data),
    ]
    lead = (
        "S and R describe the answers that are ratings. Where few are, they describe the prompt’s "
        "format more than the model’s personas."
    )
    return Section("validity", "Format validity", lead, [Figures(figures)])


def _mass_histogram(data: ReportData) -> list[Figure]:
    """How the on-scale share spreads over cells."""
    if data.ratings is None or data.ratings.scale_mass is None:
        return []
    mass = data.ratings.scale_mass[np.isfinite(data.ratings.scale_mass)]
    if not mass.size:
        return []
    counts, edges = np.histogram(np.clip(mass, 0, 1), bins=10, range=(0, 1))
    classes = [f"{100 * left:.0f}–" for left in edges[:-1]]
    shares = [float(c) / mass.size for c in counts]
    spoken = "; ".join(f"{c}: {percent(s)}" for c, s in zip(classes, shares, strict=True))
    canvas = Canvas("fig-mass", "On-scale share over cells", spoken)
    rows = [
        [float(a), float(b), int(n)] for a, b, n in zip(edges[:-1], edges[1:], counts, strict=True)
    ]
    svg = charts.columns(canvas, classes, [Series("cells", shares)], "on-scale share, % from")
    caption = "Each cell is one persona on one item."
    return [Figure(canvas.id, canvas.title, svg, caption, Table(("from", "to", "cells"), rows))]
