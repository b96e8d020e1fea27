"""`personae report`: write the HTML report of a run again, a site of many, or their figures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from personae.cli.console import JsonFlag, print_json, progress, say


def report(
    runs: Annotated[
        list[Path],
        typer.Argument(help="One or more run folders; with --figures, any report.html too."),
    ],
    site: Annotated[
        Path | None,
        typer.Option(help="Write a folder of pages: an index over the runs, and each report."),
    ] = None,
    figures: Annotated[
        Path | None,
        typer.Option(help="Write every figure to this folder as an SVG file of its own."),
    ] = None,
    json_: JsonFlag = False,
) -> None:
    """
    Write the one-file HTML report of each run again, from what is stored.

    With --site the reports go into one folder with an index that can be filtered and sorted, and
    all findings as one CSV; it can be opened from disk or put on any static host.

    Examples:

        personae report runs/smollm2-actor-mfi30-stated40-scale-first

        personae report runs/* --site public

        personae report runs/study-collapse-smollm2/report.html --figures figures
    """
    from personae import api

    if site is not None:
        with progress("reports") as bar:
            made = api.site(runs, site, progress=bar)
        written = [made.index]
        for problem in made.problems:
            say(f"not shown: {problem}")
    else:
        written = [run if _is_page(run, figures) else api.report(api.load_run(run)) for run in runs]
    drawn = [] if figures is None else api.figures(written, figures)
    if json_:
        document = {"schema": 1, "reports": [str(p) for p in written]}
        print_json(document | ({} if figures is None else {"figures": [str(p) for p in drawn]}))
    for path in written:
        say(f"report: {path}")
    if figures is not None:
        say(f"{len(drawn)} figures: {figures}")
    if site is not None and len(made.problems) == len(runs):
        raise typer.Exit(1)


def _is_page(path: Path, figures: Path | None) -> bool:
    return figures is not None and path.suffix == ".html"
