"""Report sections of persona vectors: separation by layer, tests, doses, screening, prediction.

Each reads its own value from `data.extra`: "extraction" (`internals.extraction.Extraction`),
"curves" (list of `internals.dosing.DoseCurve`, ours first), "screened" (see `screening`) and
"shifts" (list of `internals.prediction.Shift`).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from personae.report import charts, plots
from personae.report.blocks import Block, Figure, Figures, Note, Section, Table, Verdicts
from personae.report.charts import Estimate, Series
from personae.report.data import ReportData
from personae.report.plots import Curve, Point
from personae.report.svg import Canvas
from personae.report.text import interval, minus, number

if TYPE_CHECKING:
    from personae.internals.dosing import DoseCurve
    from personae.internals.extraction import Extraction
    from personae.internals.prediction import Shift
    from personae.measures.ratio import Interval

BINS = 9
SHOWN = 20


# --- extraction ------------------------------------------------------------------------------
def separation(data: ReportData) -> Section | None:
    """Layer curves with the band of random directions, and the tests at the chosen layer."""
    found: Extraction | None = data.extra.get("extraction")
    if found is None:
        return None
    tests = [s for s in found.separations if s.reading == "relative"]
    best = found.at("prompt", "new")
    lines = [
        f"New system prompts, nothing said yet: AUROC {number(best.auroc)} "
        f"{interval(best.low, best.high)}; random directions reach {number(max(best.random))} at "
        f"most, {number(float(np.mean(best.random)))} on average.",
        f"Of pairs alike but for the pole, {100 * best.paired:.0f}% project in the right order.",
    ]
    rows = [
        [s.site, s.prompts, s.reading, s.auroc, interval(s.low, s.high), s.within, s.paired,
         float(np.mean(s.random)), float(np.mean(s.shuffled)),
         f"{s.contrasts} x {s.questions}"]
        for s in found.separations
    ]  # fmt: skip
    columns = ("Site", "System prompts", "Reading", "AUROC", "Interval", "Least in a contrast",
               "Pairs in order", "Random", "Shuffled", "Contrasts x questions")  # fmt: skip
    shown = [Estimate(f"{s.site}, {s.prompts}", s.auroc, s.low, s.high) for s in tests]
    title = "Held-out questions, at the chosen layer"
    spoken = "; ".join(f"{e.label} {number(e.value)}" for e in shown)
    svg = charts.interval_plot(
        Canvas("fig-separation", title, spoken), shown, "AUROC", (0.45, 0.55, "chance"), (0, 1)
    )
    caption = "Relative readings; 95% two-way jackknife over contrasts and questions."
    whole = Figure("fig-separation", title, svg, caption, Table(columns, rows))
    blocks: list[Block] = [Verdicts(lines), Figures([_layers(found), whole]), Table(columns, rows)]
    if found.direction.pooling:
        blocks.append(Note(f"Vector: {found.direction.pooling}."))
    lead = "Does the direction tell system prompts with more of the trait from those with less?"
    return Section("separation", f"Separation: {found.trait}", lead, blocks)


def _layers(found: Extraction) -> Figure:
    layers = list(range(len(found.effect)))
    middle = [(a + b) / 2 for a, b in found.chance]
    curves = [Curve(site, layers, values) for site, values in found.selection.items()]
    curves.append(
        Curve("random directions", layers, middle, [a for a, _ in found.chance],
              [b for _, b in found.chance])
    )  # fmt: skip
    title = "By layer, on the selection questions"
    spoken = f"chosen layer {found.layer}"
    svg = plots.lines(
        Canvas("fig-layers", title, spoken), curves, "layer (output of block)", "AUROC",
        mark=(float(found.layer), f"chosen: {found.layer}"),
    )  # fmt: skip
    names = list(found.selection)
    rows = [
        [n, *(found.selection[s][n] for s in names), found.effect[n], *found.chance[n]]
        for n in layers
    ]
    caption = (
        "Each contrast of system prompts is left out of the vector that is tested on it. Band: 95% "
        "of random directions. The chosen layer is flattered here; the tests are beside."
    )
    table = Table(("layer", *names, "effect", "random low", "random high"), rows)
    return Figure("fig-layers", title, svg, caption, table)


# --- doses -----------------------------------------------------------------------------------
def doses(data: ReportData) -> Section | None:
    """Log-odds of typical answers over dose, with the band of random directions."""
    curves: Sequence[DoseCurve] = data.extra.get("curves", ())
    if not curves:
        return None
    from personae.internals.dosing import against_random

    ours, controls = curves[0], curves[1:]
    zero = int(np.argmin(np.abs(ours.doses)))
    change = {c.name: c.log_odds - c.log_odds[zero] for c in curves}
    drawn = [Curve(ours.name, ours.doses, change[ours.name].tolist())]
    if controls:
        others = np.stack([change[c.name] for c in controls])
        drawn.append(
            Curve(f"{len(controls)} random directions", ours.doses,
                  np.median(others, axis=0).tolist(), others.min(0).tolist(),
                  others.max(0).tolist())
        )  # fmt: skip
    title = "Likelihood of typical answers"
    slope = ours.slope_interval
    spoken = f"slope {number(slope.value)} nats a token per unit dose"
    svg = plots.lines(
        Canvas("fig-doses", title, spoken), drawn, "dose, share of the residual norm",
        "change of log-odds, nats a token",
    )  # fmt: skip
    rows = [[c.name, c.slope, c.monotonic, *c.log_odds.tolist()] for c in curves]
    columns = ("direction", "slope", "rises with every step", *(f"{d:g}" for d in ours.doses))
    lines = [
        f"Slope {number(slope.value)} {interval(slope.low, slope.high)} nats a token per unit "
        f"dose over {slope.n} questions; {'rises' if ours.monotonic else 'does not rise'} with "
        "every step."
    ]
    if beside := against_random(ours, controls):
        lines.append(
            f"{number(beside.ratio_median)} times the median of {beside.n} random directions of "
            f"equal norm and {number(beside.ratio_largest)} times the steepest; "
            f"{100 * beside.as_steep:.0f}% of them are as steep (p = {number(beside.p)}), "
            f"{100 * beside.one_way:.0f}% are monotonic."
        )
    caption = "Exact, without a system prompt, on test questions. Band: all random directions."
    figure = Figure("fig-doses", title, svg, caption, Table(columns, rows))
    lead = "Does adding the direction make typical answers likelier?"
    return Section("doses", "Steering", lead, [Verdicts(lines), Figures([figure])])


# --- screening -------------------------------------------------------------------------------
def screening(data: ReportData) -> Section | None:
    """Distribution of projection differences and the ranked samples.

    `data.extra["screened"]`: rows of (line, difference, prompt, answer), highest first.
    """
    rows: Sequence[tuple[int, float, str, str]] = data.extra.get("screened", ())
    if not rows:
        return None
    values = np.array([r[1] for r in rows])
    edges = np.histogram_bin_edges(values, BINS)
    counts, _ = np.histogram(values, edges)
    middles = [minus(f"{(a + b) / 2:.2g}") for a, b in pairwise(edges)]
    title = "Projection difference of the samples"
    spoken = f"{len(values)} samples, median {number(float(np.median(values)))}"
    svg = charts.columns(
        Canvas("fig-screen", title, spoken), middles,
        [Series("samples", (counts / len(values)).tolist())],
        "difference from the model's own answer",
    )  # fmt: skip
    bins = [[a, b, int(n)] for a, b, n in zip(edges[:-1], edges[1:], counts, strict=True)]
    figure = Figure("fig-screen", title, svg, f"{len(values)} samples.",
                    Table(("from", "to", "samples"), bins))  # fmt: skip
    columns = ("Line", "Difference", "Prompt", "Answer")
    high = Table(columns, [_sample(r) for r in rows[:SHOWN]], title="Towards the trait")
    low = Table(columns, [_sample(r) for r in rows[::-1][:SHOWN]], folded="Away from the trait")
    lead = "Which samples would pull the model towards the trait, if it were trained on them?"
    note = Note(
        "A ranking, not a verdict: length, topic and style move projections too. Read the samples."
    )
    return Section("screening", "Training data", lead, [Figures([figure]), high, low, note])


def _sample(row: tuple[int, float, str, str]) -> list[object]:
    line, value, prompt, answer = row
    return [line, value, prompt[:160], answer[:240]]


# --- prediction ------------------------------------------------------------------------------
def prediction(data: ReportData) -> Section | None:
    """Predicted shifts of data sets, and observed ones where there are."""
    shifts: Sequence[Shift] = data.extra.get("shifts", ())
    if not shifts:
        return None
    from personae.internals.prediction import agreement

    rows = [Estimate(s.data, s.predicted.value, s.predicted.low, s.predicted.high) for s in shifts]
    title = "Predicted before training"
    spoken = "; ".join(f"{r.label} {number(r.value)}" for r in rows)
    svg = charts.interval_plot(Canvas("fig-predicted", title, spoken), rows, "residual stream")
    table = Table(
        ("data", "predicted", "low", "high", "samples", "observed", "low", "high", "prompts"),
        [
            [s.data, s.predicted.value, s.predicted.low, s.predicted.high, s.predicted.n,
             *((s.observed.value, s.observed.low, s.observed.high, s.observed.n)
               if s.observed else (float("nan"),) * 3 + (0,))]
            for s in shifts
        ],
    )  # fmt: skip
    figures = [Figure("fig-predicted", title, svg, "t over samples, 95%.", table)]
    blocks: list[Block] = []
    checked = [s for s in shifts if s.observed is not None]
    if checked:
        points = [
            Point(s.predicted.value, s.observed.value, s.data, labelled=len(checked) < 9)
            for s in checked
            if s.observed is not None
        ]
        after = "Observed after training"
        plot = plots.scatter(
            Canvas("fig-observed", after, f"{len(points)} data sets"), points,
            x_title="predicted shift", y_title="observed shift", zero=True,
        )  # fmt: skip
        figures.append(Figure("fig-observed", after, plot, "One point a data set.", table))
        rank, line = agreement(shifts)
        blocks.append(
            Verdicts([
                f"Over {rank.n} data sets: Spearman {_shown(rank)}, Pearson {_shown(line)}."
            ])
        )  # fmt: skip
    lead = "Where does the data pull the model along the direction, and did training follow?"
    return Section("prediction", "Predicted shift", lead, [*blocks, Figures(figures)])


def _shown(found: Interval) -> str:
    return f"{number(found.value)} {interval(found.low, found.high)}".strip()


VECTOR_SECTIONS = (separation, doses, screening, prediction)
