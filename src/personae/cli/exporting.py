"""`personae export`: a run for other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from personae.cli.console import JsonFlag, print_json, say


def export(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    eval_log: Annotated[
        Path | None, typer.Option("--eval", help="Inspect log to write (.eval).")
    ] = None,
    csv: Annotated[Path | None, typer.Option(help="CSV file to write.")] = None,
    json_: JsonFlag = False,
) -> None:
    """
    Write a run as an Inspect log or as CSV.

    A log holds one sample a persona and opens in `inspect view`. The CSV has the columns of public
    ratings, with `X_self.csv` beside `X.csv`; of a misalignment run it holds the answers with
    their scores, ready to be labelled. `personae import` reads logs and ratings back.

    Examples:

        personae export runs/smollm2-actor-mfi30-stated40-scale-first --eval smollm2.eval

        personae export RUN --csv ratings.csv
    """
    from personae import api

    written = api.export(run, eval_log=eval_log, csv=csv)
    if json_:
        print_json({"schema": 1, "files": [str(path) for path in written]})
    for path in written:
        say(f"wrote {path}")
