"""Report sections of latents: the dictionary, what changed, what drives behaviour, snippets,
prediction, rerouting. They read the documents of `personae latents` from `extra["latents"]`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from personae.findings import Finding
from personae.report import charts, plots
from personae.report.blocks import Block, Figure, Figures, Note, Section, Table, Verdicts
from personae.report.charts import Estimate, Series
from personae.report.data import ReportData
from personae.report.plots import Curve, Point
from personae.report.sections.estimates import findings_table
from personae.report.svg import Canvas
from personae.report.text import interval, number, short_names

SHOWN = 12
MEASURES = {
    "l0": "Active latents a token (L0)",
    "dead": "Dead latents",
    "ce": "Loss of the model",
    "ce_spliced": "Loss with the dictionary in place",
    "ce_mean": "Loss with the mean state in place",
}
POOLINGS = ("prompt end", "answer")


def _step(data: ReportData, name: str) -> dict[str, Any] | None:
    found: dict[str, Any] | None = data.extra.get("latents", {}).get(name)
    return found


def _findings(data: ReportData, *metrics: str) -> list[Finding]:
    return [f for f in data.findings if f.battery == "latents" and f.metric in metrics]


def _value(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _forest(ident: str, title: str, found: Sequence[Finding], unit: str, caption: str) -> Figure:
    names = short_names([f.scope for f in found])
    rows = [Estimate(n, f.value, f.low, f.high) for n, f in zip(names, found, strict=True)]
    spoken = "; ".join(f"{r.label} {number(r.value)}" for r in rows)
    svg = charts.interval_plot(Canvas(ident, title, spoken), rows, unit)
    return Figure(ident, title, svg, caption, findings_table(found))


# --- the dictionary -------------------------------------------------------------------------------
def dictionary(data: ReportData) -> Section | None:
    """Quality on held-out text, for every model measured, and the course of learning."""
    step = _step(data, "train")
    if step is None:
        return None
    kept = {"variance_explained": "Variance explained", "loss_recovered": "Loss recovered"}
    figures = [
        _forest(f"fig-{metric.replace('_', '-')}", title, found, "share", found[0].method)
        for metric, title in kept.items()
        if (found := _findings(data, metric))
    ]
    steps, losses = [p[0] for p in step["losses"]], [p[1] for p in step["losses"]]
    svg = plots.lines(
        Canvas("fig-learning", "Course of learning", "mean squared error by step"),
        [Curve("error", steps, losses)], "step", "mean squared error", log=True,
    )  # fmt: skip
    table = Table(("step", "mean squared error"), step["losses"])
    figures.append(Figure("fig-learning", "Course of learning", svg, "In scaled units.", table))
    rest = _findings(data, *MEASURES)
    rows = [
        [MEASURES[f.metric], f.scope, number(f.value), interval(f.low, f.high), f.unit]
        for f in rest
    ]
    columns = ("Measure", "Model", "Value", "Interval", "Unit")
    plan = step["plan"]
    lead = (
        f"{step['sae']['width']} latents at layer {step['layer']}, {plan['kind']} with k = "
        f"{plan['k']}, {step['states']:,} states. Is it faithful, also after the fine-tune?"
    )
    return Section("dictionary", "The dictionary", lead, [Figures(figures), Table(columns, rows)])


# --- what changed ---------------------------------------------------------------------------------
def changes(data: ReportData) -> Section | None:
    """Candidates with their change and places, and how far rankings agree."""
    step = _step(data, "diff")
    if step is None:
        return None
    candidates = step["candidates"][:SHOWN]
    names = [f"latent {c['latent']}" for c in candidates]
    series = [Series(p, [c[p]["excess"] for c in candidates]) for p in POOLINGS]
    against = "control" if "control" in step["models"] else "base"
    svg = charts.bars(
        Canvas("fig-latent-change", "Change of latents", "; ".join(names)), names, series,
        unit="mean activation",
    )  # fmt: skip
    places = [f"Place by {r}" for r in step["rankings"]]
    columns = ("Latent", *(f"{p}: excess" for p in POOLINGS), *(f"{p}: q" for p in POOLINGS),
               "Cosine", *places, "Domains of the same sign")  # fmt: skip
    rows = [
        [c["latent"], *(number(c[p]["excess"]) for p in POOLINGS),
         *(number(c[p]["q"]) for p in POOLINGS), number(c["cosine"]),
         *(c["places"][r] for r in step["rankings"]), "{} of {}".format(*c["same_sign"])]
        for c in candidates
    ]  # fmt: skip
    figure = Figure(
        "fig-latent-change", f"Change of latents, treated minus {against}", svg,
        f"Mean over {step['prompts']} prompts that rank and do not test.", Table(columns, rows),
    )  # fmt: skip
    overlap = [[a, b, number(_value(j)), number(_value(r))] for a, b, j, r in step["overlap"]]
    agree = Table(
        ("Ranking", "Ranking", f"Jaccard of the first {step['top']}", "Spearman"), overlap
    )
    counts = [
        f"{int(f.value)} latents changed at the {f.scope} ({f.method})."
        for f in _findings(data, "changed_latents")
    ]
    counts += [
        f"The latents carry {100 * f.value:.0f}% of the squared mean difference of states."
        for f in _findings(data, "difference_captured")
    ]
    blocks: list[Block] = [Verdicts(counts), Figures([figure]), Table(columns, rows), agree]
    lead = "Which latents the fine-tune moved, and whether rankings agree on them."
    return Section("latent-changes", "What changed", lead, blocks)


# --- what drives behaviour ------------------------------------------------------------------------
def causes(data: ReportData) -> Section | None:
    """Effects of steering both ways, and dose curves."""
    step = _step(data, "test")
    if step is None:
        return None
    rows = step["directions"]
    kept = [r["name"] for r in rows if r["kept"]]
    tested = sum(r["kind"] == "latent" for r in rows)
    line = (
        f"{len(kept)} of {tested} latents work both ways: {', '.join(kept)}."
        if kept
        else f"None of {tested} latents works both ways beyond random latents."
    )
    figures = [_effects(rows, "up", "Base, steered up"), _effects(rows, "down", "Treated, down")]
    figures += [_curves(rows, arm) for arm in ("up", "down")]
    note = Note(
        f"Outcome: log-odds of the misaligned over the aligned answer, nats a token, on "
        f"{step['pairs']} pairs that did not rank. Doses cost at most {step['limit']:g} nats a "
        "token on the model's own plain answers. Intervals drawn are 95%; to be kept, a latent "
        "must also hold at the level corrected for the number tested, and beat every random latent."
    )
    lead = "Steering a latent up in the base should induce, down in the treated model repair."
    return Section("latent-causes", "What drives behaviour", lead,
                   [Verdicts([line]), Figures(figures), note])  # fmt: skip


def _effects(rows: Sequence[dict[str, Any]], arm: str, title: str) -> Figure:
    shown = [
        Estimate(r["name"], _value(r[arm]["effect"]), _value(r[arm]["low"]), _value(r[arm]["high"]),
                 ("latent", "random", "mean difference").index(r["kind"]), r["kept"])
        for r in rows
    ]  # fmt: skip
    ident = f"fig-steer-{arm}"
    spoken = "; ".join(f"{r.label} {number(r.value)}" for r in shown)
    svg = charts.interval_plot(Canvas(ident, title, spoken), shown, "nats a token")
    columns = ("direction", "kind", "dose", "effect", "low", "high", "corrected low",
               "corrected high", "kept")  # fmt: skip
    table = Table(columns, [
        [r["name"], r["kind"], r[arm]["dose"], r[arm]["effect"], r[arm]["low"], r[arm]["high"],
         *r[arm]["corrected"], r["kept"]]
        for r in rows
    ])  # fmt: skip
    return Figure(ident, title, svg, "Bold: kept.", table)


def _curves(rows: Sequence[dict[str, Any]], arm: str) -> Figure:
    """The outcome by dose on a few pairs, for the strongest directions."""
    drawn = [r for r in rows if r[arm]["curve"]]
    drawn = sorted(drawn, key=lambda r: (not r["kept"], -abs(_value(r[arm]["effect"]))))[:4]
    curves = [
        Curve(r["name"], [0.0, *map(abs, r[arm]["doses"])], [0.0, *r[arm]["curve"]]) for r in drawn
    ]
    ident, title = f"fig-dose-{arm}", f"Dose curve, {'base' if arm == 'up' else 'treated'}"
    svg = plots.lines(
        Canvas(ident, title, ", ".join(c.name for c in curves)), curves,
        "dose, share of the residual norm", "change, nats a token",
    )  # fmt: skip
    table = Table(
        ("direction", "dose", "change", "cost"),
        [
            [r["name"], *values]
            for r in drawn
            for values in zip(r[arm]["doses"], r[arm]["curve"], r[arm]["cost"], strict=True)
        ],
    )
    caption = "On a few pairs of the ranking half; the last dose of a curve may exceed the limit."
    return Figure(ident, title, svg, caption, table)


# --- snippets -------------------------------------------------------------------------------------
def snippets(data: ReportData) -> Section | None:
    """Text around the strongest activations; everything here came from elsewhere and is escaped."""
    step = _step(data, "diff")
    if step is None or not any(step["snippets"].values()):
        return None
    said = (_step(data, "test") or {}).get("explanations", {})
    rows = [
        [latent, number(one["value"]), f"{one['before']} »{one['token']}« {one['after']}"]
        for latent, found in step["snippets"].items()
        for one in found
    ]
    columns = ("Latent", "Activation", "Text")
    blocks: list[Block] = [Table(columns, rows, remark_last=True)]
    if said:
        told = [[latent, words] for latent, words in said.items()]
        blocks.append(Table(("Latent", "What a model makes of it"), told, remark_last=True))
    if said:
        explainer = (_step(data, "test") or {}).get("explainer", "a model")
        blocks.append(
            Note(f"The sentences were written by {explainer}: guesses, not measurements.")
        )
    lead = "Where the changed latents fire most in the base, marked by » «."
    return Section("latent-snippets", "Top snippets", lead, blocks)


# --- prediction -----------------------------------------------------------------------------------
def predictions(data: ReportData) -> Section | None:
    """AUROC with domains left out, scores against outcomes, early warning."""
    step = _step(data, "predict")
    if step is None:
        return None
    areas = _findings(data, "prediction_auroc")
    figures = [
        _forest("fig-prediction", "Held-out AUROC, leave one domain out", areas, "AUROC",
                areas[0].method),
        _outcomes(step),
    ]  # fmt: skip
    figures += [_warning(domain, doses) for domain, doses in step["early_warning"].items()]
    chosen = ", ".join(f"{d}: {j}" for d, j in step["predictors"][0]["chosen"].items())
    lines = [f"Latent chosen without each domain: {chosen}."]
    for domain, moved in step["first_moved"].items():
        words = [
            f"{name} from {number(_value(moved[key]))}%"
            if moved[key] is not None
            else f"{name} never"
            for key, name in (
                ("latent", f"latent {step['watched'][domain]}"),
                ("outcome", "behaviour"),
            )
        ]
        lines.append(f"{domain}, apart from the least treated mixture: {'; '.join(words)}.")
    lead = "Do latents tell misaligned fine-tunes of a domain they were not chosen on?"
    return Section("latent-prediction", "Prediction", lead, [Verdicts(lines), Figures(figures)])


def _outcomes(step: dict[str, Any]) -> Figure:
    scores = step["predictors"][0]["scores"]
    points = [
        Point(_value(s), _value(o["outcome"]["value"]), o["name"], int(o["label"]), labelled=True)
        for s, o in zip(scores, step["organisms"], strict=True)
    ]
    svg = plots.scatter(
        Canvas("fig-outcomes", "Held-out score and outcome", f"{len(points)} fine-tunes"), points,
        ("not misaligned", "misaligned"),
        x_title="score of the chosen latent, domain held out",
        y_title="change of preference, nats a token",
    )  # fmt: skip
    columns = ("fine-tune", "domain", "treated %", "score", "outcome", "low", "high", "misaligned")
    table = Table(columns, [
        [o["name"], o["domain"], o["share"], s, o["outcome"]["value"], o["outcome"]["low"],
         o["outcome"]["high"], o["label"]]
        for s, o in zip(scores, step["organisms"], strict=True)
    ])  # fmt: skip
    return Figure("fig-outcomes", "Held-out score and outcome", svg,
                  "Behaviour on pairs outside of the training domains.", table)  # fmt: skip


def _warning(domain: str, doses: Sequence[dict[str, Any]]) -> Figure:
    """Both curves in units of their standard error, so that one axis serves."""
    curves = []
    for key, name in (("latent", "latent"), ("outcome", "behaviour")):
        se = [_value(d[key]["se"]) or math.nan for d in doses]
        z = [_value(d[key]["value"]) / s for d, s in zip(doses, se, strict=True)]
        ends = [[v + w for v in z] for w in (-2.0, 2.0)]
        curves.append(Curve(name, [d["share"] for d in doses], z, *ends))
    ident, title = f"fig-warning-{domain}", f"Early warning: {domain}"
    svg = plots.lines(
        Canvas(ident, title, "latent and behaviour by treated share"), curves,
        "treated share of the data, %", "change / standard error",
    )  # fmt: skip
    columns = ("treated %", "latent", "low", "high", "behaviour", "low", "high")
    table = Table(columns, [
        [d["share"], *(d[k][e] for k in ("latent", "outcome") for e in ("value", "low", "high"))]
        for d in doses
    ])  # fmt: skip
    caption = (
        "Against the least treated mixture; bands are two standard errors, over prompts and over "
        "pairs. In these units the more precise measure rises first, whatever comes first."
    )
    return Figure(ident, title, svg, caption, table)


# --- rerouting ------------------------------------------------------------------------------------
def reroutes(data: ReportData) -> Section | None:
    """What a block held, what is left, which latents took over, and behaviour."""
    step = _step(data, "reroute")
    if step is None:
        return None
    behaviour = _findings(data, "log_odds_per_token_change")
    left = _findings(data, "difference_left")
    figures = [
        _forest("fig-block-behaviour", "Preference for misaligned answers, against base", behaviour,
                "nats a token", behaviour[0].method),
        _forest("fig-left", "What remains of the change of states", left, "share", left[0].method),
    ]  # fmt: skip
    rows = [
        [r["name"], number(_value(r["held"])), number(_value(r["left"])), len(r["took_over"]),
         ", ".join(map(str, r["took_over"][:SHOWN])) or "none"]
        for r in step["defences"]
    ]  # fmt: skip
    columns = ("Fine-tune", "Held", "Left", "Took over", "Which")
    sides = f"may not rise: {step['up'] or 'none'}; may not fall: {step['down'] or 'none'}"
    lead = f"Blocked latents ({sides}). A block is a success when behaviour is better."
    return Section("latent-rerouting", "Blocking and rerouting", lead,
                   [Figures(figures), Table(columns, rows, remark_last=True)])  # fmt: skip


# --- narrow or general ----------------------------------------------------------------------------
def narrowness(data: ReportData) -> Section | None:
    """Cost of noise, loss at matched norm, cosines of directions."""
    if _step(data, "narrow") is None:
        return None
    kinds = (
        ("noise_cost", "Cost of orthogonal noise", "nats a token"),
        ("loss_at_norm", "Loss at matched adapter norm", "nats a token"),
        ("direction_cosine", "Cosines of mean differences", ""),
    )
    figures = [
        _forest(f"fig-{metric.replace('_', '-')}", title, found, unit, found[0].method)
        for metric, title, unit in kinds
        if (found := _findings(data, metric))
    ]
    lead = "A general solution bears noise, achieves more at the same norm, and resembles others."
    return Section("latent-narrowness", "Narrow or general", lead, [Figures(figures)])


LATENT_SECTIONS = (dictionary, changes, causes, snippets, predictions, reroutes, narrowness)
