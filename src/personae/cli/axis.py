"""`personae axis`: the assistant axis of a model: fit it, watch it, cap along it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from personae.cli.console import JsonFlag, findings_table, print_json, progress, say

app = typer.Typer(
    no_args_is_help=True,
    help="The assistant axis: from the mean of many roles to the default assistant.",
)

ModelArg = Annotated[str, typer.Argument(metavar="[MODEL]", help="Local weights, as in audit.")]
ThreadsFlag = Annotated[int | None, typer.Option(min=1, help="CPU threads. [by load]")]
FreshFlag = Annotated[
    bool, typer.Option("--fresh/--resume", help="Move old work aside and start over.")
]

FIT_HELP = """
Fit the assistant axis: role vectors, their principal components, default minus roles.

The model answers in 140 roles and as itself; answers out of character are left out, by a judge
or, without one, by likelihood. Run the same command again to resume. Beside OUT stand its report
(.html), the places of the roles (.roles.json) and the work folder (.fit).

Examples:

    personae axis fit smollm2 --out axes/smollm2.safetensors

    personae axis fit ./my-model --out axes/mine.safetensors --pairs 48 --judge openai/gpt-4o

    personae axis fit smollm2 --out axes/mine.safetensors --roles my-roles.yaml --json
"""


def fit(
    model: ModelArg = "smollm2",
    out: Annotated[
        Path | None, typer.Option(help="Direction file. [MODEL.safetensors in axes]")
    ] = None,
    roles: Annotated[Path | None, typer.Option(help="YAML file or folder of your roles.")] = None,
    pairs: Annotated[int, typer.Option(min=6, help="Answers a role.")] = 12,
    max_tokens: Annotated[int, typer.Option(min=1, help="Of an answer.")] = 32,
    temperature: Annotated[float, typer.Option(min=0, help="Of the answers.")] = 0.7,
    judge: Annotated[
        str | None, typer.Option(help="Model that judges who is in character. [likelihood]")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of sampling and resampling.")] = 0,
    fresh: FreshFlag = False,
    threads: ThreadsFlag = None,
    json_: JsonFlag = False,
) -> None:
    from personae import api
    from personae.internals.axis_findings import fit_findings
    from personae.internals.axis_fit import companion

    path = out or Path("axes") / f"{Path(model).name}.safetensors"
    say(f"loading {model} ...")
    with progress("answers") as update:
        found = api.fit_axis(
            model, out=path, roles=roles, pairs=pairs, max_tokens=max_tokens,
            temperature=temperature, judge=judge, seed=seed, fresh=fresh, threads=threads,
            on_progress=update, command=api.command_line(),
        )  # fmt: skip
    rows = fit_findings(found)
    if json_:
        document = {"schema": 1, "file": str(path), "findings": [f.as_json() for f in rows]}
        print_json(document | {"roles": companion(found)})
    else:
        findings_table(f"assistant axis of {model}", [f for f in rows if f.scope == "overall"])
    say(f"axis:   {path}\nreport: {path.with_suffix('.html')}")


fit.__doc__ = FIT_HELP
app.command("fit")(fit)


MONITOR_HELP = """
Hold conversations and show where each answer stands between the mean role (0) and the default
assistant (1), against the range of ordinary answers.

CONVERSATIONS is a .jsonl file; without it, the bundled ones (coding, writing, therapy-like,
self-reflective). A line is {"id", "kind", "turns": [...]} or {"messages": [...]}; answers in
messages are read as they are. Run the same command again to resume.

Examples:

    personae axis monitor axes/smollm2.safetensors smollm2 --out axes/drift

    personae axis monitor axes/smollm2.safetensors smollm2 chats.jsonl --out axes/chats

    personae axis monitor axes/smollm2.safetensors smollm2 --intervene cap.json --out axes/capped
"""
CAP_HELP = """
Write a floor along the axis as an interventions file, and measure what it does.

The floor stands at a percentile of the projections of ordinary answers, taken along the direction
that is capped and at the positions where it acts. Before and after: replies to persona prompts,
the same questions without them, right answers to controls; against the same cap along random
directions. Run the same command again to resume.

Examples:

    personae axis cap axes/smollm2.safetensors smollm2 --out axes/cap.json

    personae axis cap axes/smollm2.safetensors smollm2 --out axes/cap.json --percentile 50

    personae run misalignment smollm2 --intervene axes/cap.json
"""
AxisArg = Annotated[Path, typer.Argument(metavar="AXIS", help="Made by axis fit.")]


def monitor(
    axis: AxisArg,
    model: ModelArg = "smollm2",
    conversations: Annotated[
        Path | None, typer.Argument(metavar="[CONVERSATIONS]", help="A .jsonl file. [bundled]")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder. [axes/MODEL-monitor or -CONVERSATIONS]")
    ] = None,
    layer: Annotated[int | None, typer.Option(help="Block to read. [the axis' own]")] = None,
    max_tokens: Annotated[
        int | None, typer.Option(min=1, help="Of an answer. [as in the fit]")
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(min=0, help="Of the answers. [as in the fit]")
    ] = None,
    intervene: Annotated[
        Path | None, typer.Option(help="JSON file: interventions under which answers are written.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of sampling and random directions.")] = 0,
    fresh: FreshFlag = False,
    threads: ThreadsFlag = None,
    json_: JsonFlag = False,
) -> None:
    from personae import api
    from personae.internals.axis_monitor import drift_findings

    what = conversations.stem if conversations else "monitor"
    folder = out or Path("axes") / f"{Path(model).name}-{what}"
    say(f"loading {model} ...")
    with progress("answers") as update:
        found = api.monitor_axis(
            axis, model, conversations, out=folder, layer=layer, max_tokens=max_tokens,
            temperature=temperature, intervene=intervene, seed=seed, fresh=fresh,
            threads=threads, on_progress=update, command=api.command_line(),
        )  # fmt: skip
    rows = drift_findings(found)
    if json_:
        turns = [
            {"id": c.id, "kind": c.kind, "places": [None if v != v else v for v in row]}
            for c, row in zip(found.conversations, found.places.tolist(), strict=True)
        ]
        document = {"schema": 1, "path": str(folder), "layer": found.scale.layer}
        normal = list(found.scale.normal)
        print_json(document | {"normal": normal, "conversations": turns,
                               "findings": [f.as_json() for f in rows]})  # fmt: skip
    else:
        findings_table("place on the assistant axis (0 mean role, 1 default)", rows)
    say(f"run:    {folder}\nreport: {folder / 'report.html'}")


def cap(
    axis: AxisArg,
    model: ModelArg = "smollm2",
    out: Annotated[
        Path | None, typer.Option(help="Interventions file. [axes/MODEL-cap.json]")
    ] = None,
    percentile: Annotated[
        float, typer.Option(min=0, max=100, help="Of ordinary answers' tokens.")
    ] = 25.0,
    band: Annotated[
        str | None, typer.Option(help="Layers, as 12-15. [an eighth, about the axis' own]")
    ] = None,
    positions: Annotated[str, typer.Option(help="answer, or all tokens.")] = "answer",
    random: Annotated[int, typer.Option(min=0, help="Random directions to compare with.")] = 5,
    max_tokens: Annotated[int, typer.Option(min=1, help="Of an ordinary answer.")] = 32,
    measure: Annotated[
        bool, typer.Option("--measure/--no-measure", help="Or only write the file.")
    ] = True,
    seed: Annotated[int, typer.Option(help="Of the random directions.")] = 0,
    fresh: FreshFlag = False,
    threads: ThreadsFlag = None,
    json_: JsonFlag = False,
) -> None:
    from personae import api
    from personae.internals.axis_cap import parse_band
    from personae.internals.axis_effect import effect_findings

    path = out or Path("axes") / f"{Path(model).name}-cap.json"
    layers = parse_band(band)
    say(f"loading {model} ...")
    with progress("arms") as update:
        made, found = api.cap_axis(
            axis, model, out=path, percentile=percentile, layers=layers, positions=positions,
            random=random, max_tokens=max_tokens, measure=measure, seed=seed, fresh=fresh,
            threads=threads, on_progress=update, command=api.command_line(),
        )  # fmt: skip
    rows = effect_findings(found) if found else []
    if json_:
        tau = {str(layer): value for layer, value in sorted(made.tau.items())}
        print_json({"schema": 1, "file": str(path), "percentile": percentile, "tau": tau,
                    "findings": [f.as_json() for f in rows]})  # fmt: skip
    elif rows:
        findings_table("floor along the assistant axis",
                       [f for f in rows if not f.scope.startswith("random")])  # fmt: skip
    say(f"cap:    {path}")
    if found:
        say(f"report: {path.with_suffix('.html')}")


monitor.__doc__ = MONITOR_HELP
cap.__doc__ = CAP_HELP
app.command("monitor")(monitor)
app.command("cap")(cap)
