"""`personae vectors monitor`, `screen` and `predict`: directions at work."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from personae.cli.console import JsonFlag, interval, number, print_json, progress, say, table

if TYPE_CHECKING:
    from personae.internals.samples import Sample

ModelArg = Annotated[str, typer.Argument(metavar="[MODEL]", help="Local weights, as in audit.")]
VectorArg = Annotated[Path, typer.Argument(metavar="VECTOR", help="A direction file.")]
LayerFlag = Annotated[int | None, typer.Option(help="Block to read. [the vector's own choice]")]
DeviceFlag = Annotated[str | None, typer.Option(help="cpu, cuda, mps. [best there is]")]
DtypeFlag = Annotated[str, typer.Option(help="float32, bfloat16, float16 or auto.")]
SeedFlag = Annotated[int, typer.Option(help="Of the draw and of the model's own answers.")]
ThreadsFlag = Annotated[int | None, typer.Option(min=1, help="CPU threads. [by load]")]
ReportFlag = Annotated[bool, typer.Option("--report/--no-report", help="Write an HTML report.")]


def monitor(
    vector: VectorArg,
    prompts: Annotated[Path, typer.Argument(help="Prompts: .txt (one a line) or .jsonl.")],
    model: ModelArg = "smollm2",
    normal: Annotated[
        Path | None, typer.Option(help="Prompts of ordinary use: the normal range.")
    ] = None,
    layer: LayerFlag = None,
    device: DeviceFlag = None,
    dtype: DtypeFlag = "auto",
    threads: ThreadsFlag = None,
    json_: JsonFlag = False,
) -> None:
    """Project each prompt's last token: what the model is about to be like.

    "relative" is against the same conversation without its system prompt.

    Examples:

        personae vectors monitor vectors/smollm2-malice.safetensors prompts.txt --normal usual.txt
    """
    from personae.internals.direction_files import load_direction
    from personae.internals.samples import read_prompts
    from personae.internals.vectors import monitor as read
    from personae.models.loading import load_model

    direction, asked = load_direction(vector), read_prompts(prompts)
    usual = read_prompts(normal) if normal else []
    respondent = load_model(model, device=device, dtype=dtype, threads=threads)
    found = read(respondent, direction, asked, usual, layer)
    if json_:
        rows = [
            {"prompt": p.messages[-1][1], "projection": r.value, "relative": _known(r.relative),
             "rank": _known(r.rank)}
            for p, r in zip(asked, found, strict=True)
        ]  # fmt: skip
        print_json({"direction": direction.name, "prompts": rows})
        return
    shown = [
        [p.messages[-1][1][:60], number(r.value), number(r.relative), number(r.rank)]
        for p, r in zip(asked, found, strict=True)
    ]
    table(direction.name, ["prompt", "projection", "relative", "rank among normal"], shown)


def screen(
    vector: VectorArg,
    dataset: Annotated[str, typer.Argument(help="Training samples: .jsonl, or as for train.")],
    model: ModelArg = "smollm2",
    limit: Annotated[int, typer.Option(min=1, help="Samples drawn by chance.")] = 200,
    max_tokens: Annotated[int, typer.Option(min=1, help="Of the model's own answers.")] = 48,
    top: Annotated[int, typer.Option(min=1, help="Rows shown.")] = 20,
    layer: LayerFlag = None,
    out: Annotated[Path | None, typer.Option(help="Report. [VECTOR-DATASET.html]")] = None,
    seed: SeedFlag = 0,
    report: ReportFlag = True,
    device: DeviceFlag = None,
    dtype: DtypeFlag = "auto",
    threads: ThreadsFlag = None,
    json_: JsonFlag = False,
) -> None:
    """Rank training samples by how far they pull towards the trait, before any training.

    Each answer's projection minus that of the model's own answer to the same prompt.

    Examples:

        personae vectors screen vectors/smollm2-malice.safetensors data.jsonl --limit 500

        personae vectors screen vectors/smollm2-malice.safetensors bad-advice-money@50
    """
    from personae import api
    from personae.internals import vectors
    from personae.internals.direction_files import load_direction
    from personae.models.loading import load_model
    from personae.report.from_vectors import write_vectors_report

    direction = load_direction(vector)
    some = _samples(dataset, limit, seed)
    respondent = load_model(model, device=device, dtype=dtype, threads=threads)
    asked = [s.prompt for s in some]
    with progress("own answers") as update:
        others = vectors.own(respondent, asked, max_tokens, update)
        update.stage("projections")
        answers = [s.response for s in some]
        found = vectors.screen(respondent, direction, asked, answers, others, layer, update)
    ranked = sorted(
        ((s, float(v)) for s, v in zip(some, found, strict=True) if not math.isnan(v)),
        key=lambda pair: -pair[1],
    )
    page = out or vector.with_name(f"{vector.stem}-{_label(dataset).replace(':', '-')}.html")
    if report:
        rows = [(s.line, v, s.prompt.messages[-1][1], s.response) for s, v in ranked]
        write_vectors_report(
            page, f"{direction.name} in {_label(dataset)}", respondent.card, direction,
            api.command_line(), screened=rows,
        )  # fmt: skip
    if json_:
        document = [{"line": s.line, "difference": v} for s, v in ranked]
        print_json({"direction": direction.name, "samples": document,
                    "skipped": len(some) - len(ranked)})  # fmt: skip
    else:
        shown = [[str(s.line), number(v), s.response[:60]] for s, v in ranked[:top]]
        table(f"{direction.name}: projection difference", ["line", "difference", "answer"], shown)
    if report:
        say(f"report: {page}")


def predict(
    vector: VectorArg,
    model: ModelArg = "smollm2",
    data: Annotated[
        list[str] | None, typer.Option(help="As for train, or .jsonl; once for each data set.")
    ] = None,
    tuned: Annotated[
        list[str] | None, typer.Option(help="The model trained on each, in the same order.")
    ] = None,
    prompts: Annotated[
        Path | None, typer.Option(help="--tuned: held-out prompts. [questions of the traits]")
    ] = None,
    limit: Annotated[int, typer.Option(min=2, help="Samples of each data set.")] = 100,
    max_tokens: Annotated[int, typer.Option(min=1, help="Of the model's own answers.")] = 48,
    layer: LayerFlag = None,
    out: Annotated[Path | None, typer.Option(help="Report. [VECTOR-shift.html]")] = None,
    seed: SeedFlag = 0,
    report: ReportFlag = True,
    device: DeviceFlag = None,
    dtype: DtypeFlag = "auto",
    threads: ThreadsFlag = None,
    json_: JsonFlag = False,
) -> None:
    """Where would training on the data move the model along the direction?

    With --tuned, also where it did, and how the two agree over the data sets.

    Examples:

        personae vectors predict v.safetensors --data a.jsonl --data b.jsonl

        personae vectors predict v.safetensors --data bad-advice-money --tuned smollm2+adapters/m
    """
    from personae import api
    from personae.errors import PersonaeError
    from personae.findings import json_number
    from personae.internals import prediction, samples, traits
    from personae.internals.direction_files import load_direction
    from personae.internals.vectors import chosen_layer
    from personae.measures.ratio import Interval
    from personae.models.loading import load_model
    from personae.report.from_vectors import write_vectors_report

    files, models = data or [], tuned or []
    if not files:
        raise PersonaeError("say what would be trained on: --data FILE.jsonl, once for each")
    if models and len(models) != len(files):
        raise PersonaeError(f"{len(files)} --data but {len(models)} --tuned: one model for each")
    direction = load_direction(vector)
    at = chosen_layer(direction, layer)
    read = {name: _samples(name, limit, seed) for name in dict.fromkeys(files)}
    held_out = samples.read_prompts(prompts) if prompts else traits.everyday_prompts()
    settings = {"device": device, "dtype": dtype, "threads": threads}
    respondent = load_model(model, **settings)  # type: ignore[arg-type]
    before: dict[str, Interval] = {}
    shifts: list[prediction.Shift] = []
    with progress("own answers") as update:
        for name, some in read.items():
            update.stage(_label(name))
            before[name] = prediction.predicted_shift(
                respondent, direction, some, at, max_tokens, update
            )
    for n, name in enumerate(files):
        label, after = _label(name), None
        if models:
            say(f"reading {models[n]} ...")
            other = load_model(models[n], **settings)  # type: ignore[arg-type]
            after = prediction.observed_shift(respondent, other, direction, held_out, at)
        if files.count(name) > 1:  # trained on more than once, with other seeds say
            label += f" {files[:n].count(name) + 1}"
        shifts.append(prediction.Shift(label, before[name], after, models[n] if models else ""))
    findings = prediction.findings(direction.name, f"layer {at} of {model}", shifts)
    page = out or vector.with_name(f"{vector.stem}-shift.html")
    if report:
        write_vectors_report(
            page, f"Predicted shift of {direction.name}", respondent.card, direction,
            api.command_line(), findings, shifts=shifts,
        )  # fmt: skip
    rank, line = prediction.agreement(shifts)
    if json_:
        print_json({
            "direction": direction.name, "layer": at, "data": [s.as_json() for s in shifts],
            "spearman": {k: json_number(v) for k, v in vars(rank).items()},
            "pearson": {k: json_number(v) for k, v in vars(line).items()},
        })  # fmt: skip
    else:
        rows = [
            [s.data, f"{number(s.predicted.value)} {interval(s.predicted.low, s.predicted.high)}",
             "" if s.observed is None else
             f"{number(s.observed.value)} {interval(s.observed.low, s.observed.high)}"]
            for s in shifts
        ]  # fmt: skip
        table(f"{direction.name}, layer {at}", ["data", "predicted", "observed"], rows)
        if models:
            say(f"over {rank.n} data sets: Spearman {number(rank.value)} "
                f"{interval(rank.low, rank.high)}, Pearson {number(line.value)} "
                f"{interval(line.low, line.high)}")  # fmt: skip
    if report:
        say(f"report: {page}")


def _samples(name: str, limit: int, seed: int) -> list[Sample]:
    """Samples of a file, or of data that `personae train` knows by name."""
    from personae.internals.samples import Sample, read_samples
    from personae.prompts import Prompt
    from personae.training.organisms import load_data

    if name.endswith(".jsonl") or Path(name).is_file():
        return read_samples(Path(name), limit, seed)
    rows = load_data(name, seed=seed, limit=limit).rows
    return [
        Sample(n, Prompt(row.messages[:-1]), row.messages[-1][1]) for n, row in enumerate(rows, 1)
    ]


def _label(name: str) -> str:
    return Path(name).stem if name.endswith(".jsonl") else name


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
