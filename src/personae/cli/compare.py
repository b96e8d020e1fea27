"""`personae compare`: changes of treated runs against base, and what they mean."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from personae.cli.console import JsonFlag, clean, print_json, say, table

if TYPE_CHECKING:
    from personae.compare.model import Comparison, Row

HELP = """
Did this fine-tune damage the model's personas?

Compares treated runs with their base (and a matched control, fine-tuned the same way on harmless
data): changes with paired intervals, everything that keeps the runs from being comparable, and a
regime. `--treated` is given once for each run; checkpoints of one training are put in order.

Examples:

    personae compare --base runs/base --treated runs/tuned

    personae compare --base runs/base --treated runs/insecure --control runs/secure --out c.html

    personae compare --base runs/base --treated runs/step-100 --treated runs/step-200 --ordered

    personae compare --base runs/base --treated runs/tuned --json

Runs of `personae audit --inside` also compare what personas look like inside (docs/geometry.md):

    personae compare --base runs/base --treated runs/tuned --trait malice.safetensors
"""
SHORT = {
    "susceptibility": "S",
    "robustness": "R",
    "dispersion": "U = 1/R",
    "susceptibility_corrected": "S corrected",
    "susceptibility_latent": "S latent",
    "robustness_latent": "R latent",
    "gini": "Gini",
    "entropy": "entropy",
    "endpoint_mass": "endpoints",
}
WIDTH = 80

BaseOption = Annotated[Path, typer.Option(help="Run folder of the untouched model.")]
TreatedOption = Annotated[
    list[Path], typer.Option(help="Run folder of a fine-tune; give it once for each.")
]
ControlOption = Annotated[
    Path | None, typer.Option(help="Run folder of the matched control fine-tune.")
]
MethodOption = Annotated[
    str, typer.Option(help="jackknife, bootstrap, crossed, or costa2026 (published, unpaired).")
]
DrawsOption = Annotated[int, typer.Option(min=100, help="Of the bootstraps.")]
SeedOption = Annotated[int, typer.Option(min=0, help="Of the bootstraps.")]


def compare(
    base: BaseOption,
    treated: TreatedOption,
    control: ControlOption = None,
    out: Annotated[Path | None, typer.Option(help="Write a one-file HTML report here.")] = None,
    method: MethodOption = "jackknife",
    crossed: Annotated[
        bool, typer.Option("--crossed", help="Personas and items as samples: --method crossed.")
    ] = False,
    ordered: Annotated[
        bool | None,
        typer.Option("--ordered/--unordered", help="Steps of one training. [by their names]"),
    ] = None,
    axis: Annotated[
        Path | None, typer.Option(help="Inside: project persona states on this axis file.")
    ] = None,
    trait: Annotated[
        list[Path] | None, typer.Option(help="Inside: the same for a trait's direction file.")
    ] = None,
    misalignment: Annotated[
        list[Path] | None,
        typer.Option(help="Inside: a misalignment run of base or an arm, for the link."),
    ] = None,
    draws: DrawsOption = 2000,
    seed: SeedOption = 0,
    json_: JsonFlag = False,
) -> None:
    from personae.collect.battery_run import BatteryRun
    from personae.compare.inside_runs import named_directions

    method = "crossed" if crossed else method
    found = compared(
        base, treated, control, method=method, ordered=ordered, draws=draws, seed=seed,
        directions=named_directions(axis, trait or []),
        misalignment=[BatteryRun.open(path) for path in misalignment or []],
    )  # fmt: skip
    if json_:
        print_json(found.as_json())
    else:
        _print(found)
    if out is not None:
        from personae.report.from_comparison import write_comparison

        write_comparison(out, found)
        say(f"report: {out}")


compare.__doc__ = HELP


def compared(base: Path, treated: list[Path], control: Path | None, **options: Any) -> Comparison:
    """The comparison of run folders; `options` as `personae.compare.compare` takes them."""
    from personae.api import command_line
    from personae.collect.store import Run
    from personae.compare import compare as compare_runs
    from personae.errors import PersonaeError

    arms = [path.resolve() for path in (*treated, *([control] if control else []))]
    if base.resolve() in arms:
        raise PersonaeError(f"{base}: is both base and arm; give two different runs")
    return compare_runs(
        Run.open(base),
        [Run.open(path) for path in treated],
        None if control is None else Run.open(control),
        command=command_line(),
        **options,
    )


def _print(found: Comparison) -> None:
    for warning in found.warnings:
        typer.echo(folded(f"! {warning}", "  "))
    for arm in (found.control, *found.treated):
        if arm is None:
            continue
        rows = [_cells(found, arm.name, metric) for metric in SHORT]
        columns = ["metric", "base", "here", "change", "95% interval", "in words"]
        role = ", the control" if arm.role == "control" else ""
        table(f"{arm.name}{role}", columns, [r for r in rows if r])
        if found.control is not None and arm.role == "treated":
            excess = [_excess(found, arm.name, metric) for metric in SHORT]
            title = f"beyond the control {found.control.name}"
            table(title, ["metric", "excess", "95% interval", "in words"], [r for r in excess if r])
        verdict = found.verdict(arm.name)
        if verdict is not None:
            typer.echo(folded(f"regime: {verdict.regime.upper()}. {'; '.join(verdict.reasons)}."))
            typer.echo()
    typer.echo(folded(f"Changes are in percent of base; {found.method}. docs/compare.md says how "
                      "to read them."))  # fmt: skip


def _cells(found: Comparison, arm: str, metric: str) -> list[str]:
    row = found.row(arm, metric)
    if row is None:
        return []
    alone = [found.row(a, metric, kind="value") for a in (found.base.name, arm)]
    return [SHORT[metric], *(_value(r) for r in alone), *percents(row), row.words]


def _excess(found: Comparison, arm: str, metric: str) -> list[str]:
    row = found.row(arm, metric, kind="excess")
    return [] if row is None else [SHORT[metric], *percents(row), row.words]


def percents(row: Row) -> list[str]:
    """`+12%` and `[+3, +21]`."""
    between = f"[{_points(row.low)}, {_points(row.high)}]" if row.low == row.low else "–"
    shown = _points(row.value)
    return [shown if shown in ("–", "inf", "-inf") else f"{shown}%", between]


def _points(share: float) -> str:
    """A fraction as signed percentage points."""
    if share != share:
        return "–"
    if share in (float("inf"), float("-inf")):
        return "inf" if share > 0 else "-inf"
    size = abs(100 * share)
    return f"{100 * share:+.{0 if size >= 9.95 else 1}f}" if size >= 0.05 else "0"


def _value(row: Row | None) -> str:
    if row is None or row.value != row.value:
        return "–"
    return "inf" if row.value == float("inf") else f"{row.value:.3g}"


def folded(text: str, indent: str = "") -> str:
    """Text from names and files as lines of at most 80 columns."""
    return "\n".join(textwrap.wrap(clean(text), WIDTH, subsequent_indent=indent)) or clean(text)
