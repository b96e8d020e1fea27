"""`personae audit`: measure the personas of a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

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
    PricesOption,
    RetriesOption,
    TimeoutOption,
    no_hosted_options,
    show_estimates,
)

SMALL = 6
HELP = """
Measure how well a model holds characters apart, and write a report.

Every persona of the cast answers every item of the questionnaire; so does the model without a
persona ("self"), and a panel of content-free names that shows the floor. For local weights the
exact distribution over the scale is computed, without sampling.

MODEL is `smollm2-actor` (embedded, taught to play personas, the default), `smollm2` (the same,
untaught), a Hugging Face id or folder, a GGUF file, a folder
with a PEFT adapter, `BASE+ADAPTER`, or any Inspect id of a hosted model (`openai/gpt-4o`,
`anthropic/...`, `vllm/base:adapter`, ...; keys from the environment or `.env`).

Run the same command again to resume a run that was stopped.

Examples:

    personae audit

    personae audit smollm2 --cast 20 --layout item-first

    personae audit Qwen/Qwen3-0.6B --instrument mfq30 --out runs/qwen

    personae audit base-model+./my-adapter --out runs/tuned

    personae audit base-model+./my-adapter --inside

    personae audit ./my-model --preset costa2026

    personae audit openai/gpt-4o --limit 20 --dry-run

    personae audit openai-api/local/my-model --base-url http://localhost:8000/v1

    personae audit ./my-model --executor local --workers 4 --threads 2

    personae audit vllm/my-model --endpoint http://a:8000/v1 --endpoint http://b:8000/v1
"""


def audit(
    model: Annotated[str, typer.Argument(metavar="[MODEL]")] = "smollm2-actor",
    cast: Annotated[
        str | None,
        typer.Option(help="A cast's name, the first N citizens, or a file. [all; actor: stated]"),
    ] = None,
    instrument: Annotated[
        str | None, typer.Option(help="A questionnaire's name or a YAML/JSON file. [mfi30]")
    ] = None,
    layout: Annotated[
        str | None, typer.Option(help="How persona and item become a prompt. [scale-first]")
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="A published protocol: costa2026. Options given win.")
    ] = None,
    repeats: Annotated[
        int | None, typer.Option(min=1, help="Sample N answers a cell instead of exact ratings.")
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(min=0.01, help="Of the sampled answers. [1.0]")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder. [runs/MODEL-...]")] = None,
    seed: Annotated[int, typer.Option(help="Of sampling and of resampling.")] = 0,
    limit: Annotated[
        str | None,
        typer.Option(help="First N personas, and N items a battery: a taste. `small` is 6."),
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh/--resume", help="Move an old run aside and start over.")
    ] = False,
    suite: Annotated[
        str,
        typer.Option(
            help="quick, standard (with checks and controls) or full (with all batteries)."
        ),
    ] = "standard",
    intervene: Annotated[
        Path | None, typer.Option(help="JSON file: steer, cap, ablate local weights.")
    ] = None,
    inside: Annotated[
        bool, typer.Option("--inside", help="Also read persona states (docs/geometry.md).")
    ] = False,
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda, cuda:1, mps. [best there is]")
    ] = None,
    dtype: Annotated[
        str, typer.Option(help="float32, bfloat16, float16; auto: float32 on a CPU.")
    ] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads. [by load]")] = None,
    memory_mb: Annotated[
        int | None, typer.Option(min=64, help="Memory for one packed pass. [by free memory]")
    ] = None,
    base_url: BaseUrlOption = None,
    max_connections: ConnectionsOption = 20,
    max_retries: RetriesOption = 5,
    timeout: TimeoutOption = 60.0,
    parser: Annotated[str, typer.Option(help="Hosted, sampled: strict or lenient.")] = "strict",
    batch: Annotated[
        bool, typer.Option("--batch", help="Hosted: the provider's batch interface.")
    ] = False,
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
    from personae.models.opening import hosted_settings, is_hosted

    most = _limit(limit)
    if dry_run:
        document = api.estimate_audit(
            model, cast=cast, instrument=instrument, layout=layout, preset=preset,
            repeats=repeats, temperature=temperature, limit=most, suite=suite,
            connections=max_connections, prices=prices,
        )  # fmt: skip
        print_json(document) if json_ else show_estimates(document)
        return
    hosted = None
    if is_hosted(model):
        hosted = hosted_settings(
            model, budget_usd=budget_usd, prices=prices, base_url=base_url,
            max_connections=max_connections, max_retries=max_retries, timeout=timeout,
            parser=parser, batch=batch,
        )  # fmt: skip
    else:
        no_hosted_options(
            model, base_url=base_url, budget_usd=budget_usd, prices=prices, batch=batch or None
        )
    who = executor_settings(executor, workers, tries, patience, ray_address, slurm, endpoints)
    say(f"loading {model} ...")
    with progress("rating") as update:
        run = api.audit(
            model,
            cast=cast,
            instrument=instrument,
            layout=layout,
            preset=preset,
            repeats=repeats,
            temperature=temperature,
            out=out,
            seed=seed,
            limit=most,
            fresh=fresh,
            suite=suite,
            device=device,
            dtype=dtype,
            threads=threads,
            memory_mb=memory_mb,
            intervene=intervene,
            inside=inside,
            executor=who,
            hosted=hosted,
            on_progress=update,
            on_stage=update.stage,
            command=api.command_line(),
        )
    if json_:
        print_json(api.findings_document(run))
    else:
        headline(run)
    say(f"run:    {run.path}\nreport: {run.path / 'report.html'}")


audit.__doc__ = HELP


def _limit(text: str | None) -> int | None:
    from personae.errors import PersonaeError

    if text is None:
        return None
    if text == "small":
        return SMALL
    if not text.isdecimal() or int(text) < 2:
        raise PersonaeError(f"--limit is a number from 2, or small, not {text!r}")
    return int(text)


def headline(run: object) -> None:
    """The few numbers that a person wants first."""
    from personae.collect.store import Run

    assert isinstance(run, Run)
    wanted = (
        "susceptibility", "robustness", "dispersion", "format_validity", "endpoint_mass", "entropy",
    )  # fmt: skip
    kept = [
        f for f in run.findings() if f.metric in wanted and f.scope in ("overall", "self", "null")
    ]
    findings_table(run.manifest.model.name, kept)
