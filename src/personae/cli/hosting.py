"""The options of models behind an API: shared by `audit`, `run` and `judge`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from personae.cli.console import say, table

if TYPE_CHECKING:
    from personae.models.caller import HostedSettings

BaseUrlOption = Annotated[
    str | None, typer.Option(help="Hosted: of an own OpenAI-compatible server.")
]
JudgeUrlOption = Annotated[
    str | None, typer.Option(help="Hosted judge: of an own OpenAI-compatible server.")
]
ConnectionsOption = Annotated[int, typer.Option(min=1, help="Hosted: calls under way at once.")]
RetriesOption = Annotated[int, typer.Option(min=0, help="Hosted: attempts after the first.")]
TimeoutOption = Annotated[float, typer.Option(min=0.1, help="Hosted: seconds an attempt.")]
BudgetOption = Annotated[
    float | None, typer.Option(min=0, help="Hosted: stop before this is passed.")
]
PricesOption = Annotated[Path | None, typer.Option(help="Hosted: a price file of your own.")]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Say calls, tokens, cost and time; ask nothing.")
]


def no_hosted_options(model: str, **given: object) -> None:
    """Options that would do nothing are a mistake: a budget above all.

    Raises:
        PersonaeError: one of them is there (not None).
    """
    from personae.errors import PersonaeError

    for name, value in given.items():
        if value is not None:
            raise PersonaeError(
                f"--{name.replace('_', '-')} is for hosted models, and {model} is a model of local "
                "weights: leave it out, or give PROVIDER/NAME"
            )


def hosted_pair(
    model: str,
    judge: str | None,
    *,
    base_url: str | None,
    judge_base_url: str | None,
    budget_usd: float | None,
    prices: Path | None,
    **calls: Any,
) -> tuple[HostedSettings | None, HostedSettings | None]:
    """Settings of a model and of its judge, where they are hosted; they share one budget.

    Raises:
        PersonaeError: an option that would do nothing, or a budget without a price.
    """
    from personae.models.opening import hosted_settings, is_hosted
    from personae.models.prices import Purse

    of_model, of_judge = is_hosted(model), judge is not None and is_hosted(judge)
    if not of_model:
        no_hosted_options(model, base_url=base_url)
    if not of_judge:
        no_hosted_options(judge or "the judge (none is named)", judge_base_url=judge_base_url)
    if not (of_model or of_judge):
        no_hosted_options(model, budget_usd=budget_usd, prices=prices)
    purse = None if budget_usd is None else Purse(budget_usd)
    shared = {"budget_usd": purse, "prices": prices, **calls}
    return (
        hosted_settings(model, base_url=base_url, **shared) if of_model else None,
        hosted_settings(judge, base_url=judge_base_url, **shared) if of_judge and judge else None,
    )


def show_estimates(document: dict[str, Any]) -> None:
    """A dry run as a table: one row for each way to ask, or for each who is asked."""
    rows = []
    for name, found in document["estimates"].items():
        low, high = found["usd_low"], found["usd_high"]
        cost = "price unknown" if low is None else f"${low:.2f} to ${high:.2f}"
        tokens = "{:,} to {:,}".format(*found["input_tokens"])
        seconds = found["seconds"]
        minutes = "by the machine" if seconds is None else f"{seconds / 60:.0f} min"
        rows.append([name, f"{found['calls']:,}", tokens, cost, minutes])
    priced = {found["priced"] for found in document["estimates"].values()} - {""}
    table(document["model"], ["asked", "calls", "input tokens", "cost", "time"], rows)
    known = "; ".join(sorted(priced)) or "none for this model"
    say(f"time assumes {document['time_assumes']}; prices: {known}")
