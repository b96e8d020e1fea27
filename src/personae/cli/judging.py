"""`personae judge`: judge stored answers again, and judge the judge."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from personae.cli.console import JsonFlag, findings_table, print_json, progress, say
from personae.cli.hosting import (
    BaseUrlOption,
    BudgetOption,
    ConnectionsOption,
    PricesOption,
    RetriesOption,
    TimeoutOption,
    hosted_pair,
)

if TYPE_CHECKING:
    from personae.findings import Finding

HELP = """
Judge the answers of a misalignment run again, without asking the model.

Scores are kept in RUN/judgements beside those of other judges, and the run's findings and report
are written anew. Run the same command again to resume. Without --judge the scores that are there
are read under another protocol, or held against people's labels.

Examples:

    personae judge runs/smollm2-misalignment --judge openai/gpt-4o

    personae judge runs/smollm2-misalignment --protocol below-50

    personae judge runs/smollm2-misalignment --labels labels.csv

    personae judge --table judged.csv --labels labels.csv --json
"""


def judge(
    run: Annotated[Path | None, typer.Argument(help="Folder of a misalignment run.")] = None,
    judge: Annotated[str | None, typer.Option(help="Model that judges, as for audit.")] = None,
    protocol: Annotated[
        str | None, typer.Option(help="Thresholds: a name, or aligned<40,coherent>=60. [the run's]")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="People's labels (CSV, JSONL): agreement, corrected rate.")
    ] = None,
    table: Annotated[
        Path | None, typer.Option(help="CSV of answers that are judged already, instead of RUN.")
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads. [by load]")] = None,
    base_url: BaseUrlOption = None,
    max_connections: ConnectionsOption = 20,
    max_retries: RetriesOption = 5,
    timeout: TimeoutOption = 60.0,
    budget_usd: BudgetOption = None,
    prices: PricesOption = None,
    json_: JsonFlag = False,
) -> None:
    from personae import api

    # hosted_pair takes the judge for the one whose server is `base_url`.
    hosted, _ = hosted_pair(
        judge or "nobody", None, base_url=base_url, judge_base_url=None, budget_usd=budget_usd,
        prices=prices, max_connections=max_connections, max_retries=max_retries, timeout=timeout,
    )  # fmt: skip
    with progress("judging") as update:
        found = api.judge(
            run, judge=judge, protocol=protocol, labels=labels, table=table, threads=threads,
            hosted=hosted, on_progress=update,
        )  # fmt: skip
    if json_:
        where = None if run is None else str(run)
        print_json({"schema": 1, "run": where, "findings": [f.as_json() for f in found]})
    else:
        findings_table("", [f for f in found if _headline(f)])
        for reason in dict.fromkeys(f.method for f in found if "undefined" in f.method):
            say(reason)
    if run is not None and judge is not None:
        say(f"run:    {run}\nreport: {run / 'report.html'}")


judge.__doc__ = HELP


def _headline(finding: Finding) -> bool:
    """Overall values and what concerns the judges, not the single questions."""
    return finding.scope.startswith("overall") or finding.metric.startswith("judge_")
