"""`personae findings`: print a run's findings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from personae.cli.console import JsonFlag, findings_table, print_json


def findings(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    metric: Annotated[list[str] | None, typer.Option(help="Only these metrics.")] = None,
    scope: Annotated[list[str] | None, typer.Option(help="Only these scopes.")] = None,
    json_: JsonFlag = False,
) -> None:
    """
    Print the findings of a run: every number with its interval and method.

    Examples:

        personae findings runs/smollm2-actor-mfi30-stated40-scale-first

        personae findings RUN --metric susceptibility --metric robustness --scope overall

        personae findings RUN --json | jq '.findings[] | select(.metric=="susceptibility")'
    """
    from personae import api

    opened = api.open_findings(run)
    _check("metric", metric, [f.metric for f in opened.findings()])
    _check("scope", scope, [f.scope for f in opened.findings()])
    document = api.findings_document(opened, metrics=metric, scopes=scope)
    if json_:
        print_json(document)
        return
    kept = [
        f
        for f in opened.findings()
        if (not metric or f.metric in metric) and (not scope or f.scope in scope)
    ]
    findings_table(str(run), kept)


def _check(what: str, wanted: list[str] | None, there: list[str]) -> None:
    """A misspelt name would otherwise give an empty table."""
    from personae.errors import PersonaeError

    if unknown := [name for name in wanted or [] if name not in there]:
        names = ", ".join(dict.fromkeys(there))
        raise PersonaeError(f"no finding of {what} {unknown[0]!r}; there are: {names or 'none'}")
