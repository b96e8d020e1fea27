"""`personae run`: one battery on one model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from personae.cli.console import JsonFlag, findings_table, print_json, progress, say
from personae.cli.executing import (
    EndpointOption,
    ExecutorOption,
    PatienceOption,
    RayOption,
    SlurmOption,
    TriesOption,
    WorkersOption,
    executor_settings,
)
from personae.cli.hosting import (
    BaseUrlOption,
    BudgetOption,
    ConnectionsOption,
    DryRunOption,
    JudgeUrlOption,
    PricesOption,
    RetriesOption,
    TimeoutOption,
    hosted_pair,
    show_estimates,
)

HELP = """
Run one battery on one model; write its findings and a report.

Run the same command again to resume. `personae list batteries` names the batteries and their
options.

Examples:

    personae run misalignment --limit 12

    personae run misalignment ./my-model --judge openai/gpt-4o --set samples=10

    personae run misalignment smollm2 --set parts=pair --json

    personae run register ./my-model --executor ray --workers 8

    personae run misalignment openai/gpt-4o-mini --judge openai/gpt-4o --dry-run

    personae run misalignment openai/gpt-4o-mini --judge openai/gpt-4o --budget-usd 5
"""


def run(
    battery: Annotated[str, typer.Argument(help="A battery's name.")],
    model: Annotated[str, typer.Argument(metavar="[MODEL]", help="As for audit.")] = "smollm2",
    judge: Annotated[str | None, typer.Option(help="Model that judges free answers.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only so many items: a taste.")] = None,
    options: Annotated[
        list[str] | None, typer.Option("--set", help="An option of the battery: KEY=VALUE.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder. [runs/MODEL-BATTERY-...]")] = None,
    seed: Annotated[int, typer.Option(help="Of sampling.")] = 0,
    fresh: Annotated[
        bool, typer.Option("--fresh/--resume", help="Move an old run aside and start over.")
    ] = False,
    intervene: Annotated[
        Path | None, typer.Option(help="JSON file: steer, cap, ablate local weights.")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda, cuda:1, mps. [best there is]")
    ] = None,
    dtype: Annotated[
        str, typer.Option(help="float32, bfloat16, float16; auto: float32 on a CPU.")
    ] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads. [by load]")] = None,
    base_url: BaseUrlOption = None,
    judge_base_url: JudgeUrlOption = None,
    max_connections: ConnectionsOption = 20,
    max_retries: RetriesOption = 5,
    timeout: TimeoutOption = 60.0,
    budget_usd: BudgetOption = None,
    prices: PricesOption = None,
    executor: ExecutorOption = None,
    workers: WorkersOption = None,
    tries: TriesOption = 3,
    patience: PatienceOption = 900.0,
    ray_address: RayOption = None,
    slurm: SlurmOption = None,
    endpoints: EndpointOption = None,
    dry_run: DryRunOption = False,
    json_: JsonFlag = False,
) -> None:
    from personae import api

    chosen: dict[str, Any] = api.battery_options(battery, options or [])
    if limit is not None:
        chosen["limit"] = limit
    if dry_run:
        document = api.estimate_battery(
            battery, model, judge=judge, options=chosen, connections=max_connections,
            prices=prices,
        )  # fmt: skip
        print_json(document) if json_ else show_estimates(document)
        return
    hosted, judge_hosted = hosted_pair(
        model, judge, base_url=base_url, judge_base_url=judge_base_url, budget_usd=budget_usd,
        prices=prices, max_connections=max_connections, max_retries=max_retries, timeout=timeout,
    )  # fmt: skip
    who = executor_settings(executor, workers, tries, patience, ray_address, slurm, endpoints)
    say(f"loading {model} ...")
    with progress(battery) as update:
        done = api.run(
            battery, model, judge=judge, options=chosen, out=out, seed=seed, fresh=fresh,
            device=device, dtype=dtype, threads=threads, hosted=hosted, judge_hosted=judge_hosted,
            intervene=intervene, executor=who, on_progress=update,
            command=api.command_line(),
        )  # fmt: skip
    if json_:
        print_json(api.findings_document(done))
    else:
        overall = [f for f in done.findings() if f.scope == "overall"]
        findings_table(f"{battery}: {model}", overall or done.findings())
    say(f"run:    {done.path}\nreport: {done.path / 'report.html'}")


run.__doc__ = HELP
