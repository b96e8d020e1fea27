"""`personae geometry`: are personas less differentiated inside?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from personae.cli.console import JsonFlag, number, print_json, progress, say, table

if TYPE_CHECKING:
    from personae.compare.inside_model import Inside
    from personae.compare.model import Kind, Row

HELP = """
Are a model's personas less differentiated inside than those of its base?

Reads the residual stream where a persona prompt ends and where the answer begins, for every
persona of the cast, and says per layer in how many dimensions the personas differ, how far apart
they are, whether the cloud moved as a whole or changed its shape, and whether a persona can be
told on items not seen before. Local weights only. Run the same command again to resume.

Examples:

    personae geometry --base smollm2 --cast 20

    personae geometry --base smollm2 --treated smollm2+adapters/wrong
    --control smollm2+adapters/right

    personae geometry --base smollm2 --intervene calm.json --trait malice.safetensors --json
"""
SHORT = {
    "participation_ratio": "participation",
    "spread": "spread",
    "clumpiness": "clumpiness",
    "probe_accuracy": "probe accuracy",
    "probe_margin": "probe margin",
    "offset": "offset",
    "movement": "movement",
    "common_share": "common share",
    "rdm_correlation": "RDM correlation",
}


def geometry(
    base: Annotated[str, typer.Option(help="The untouched model, as for audit.")] = "smollm2",
    treated: Annotated[
        list[str] | None, typer.Option(help="A fine-tune; give it once for each.")
    ] = None,
    control: Annotated[str | None, typer.Option(help="The matched control fine-tune.")] = None,
    cast: Annotated[
        str, typer.Option(help="A cast's name, the first N of the default cast, or a file.")
    ] = "all",
    instrument: Annotated[str, typer.Option(help="Whose items are asked.")] = "mfi30",
    layout: Annotated[str, typer.Option(help="How persona and item become a prompt.")] = (
        "scale-first"
    ),
    items: Annotated[int, typer.Option(min=2, help="Items asked, evenly spread.")] = 10,
    layers: Annotated[
        str | None, typer.Option(help="Blocks: 3,7,11 or 0-29. [at most 16, evenly spread]")
    ] = None,
    axis: Annotated[Path | None, typer.Option(help="Project the states on this axis.")] = None,
    trait: Annotated[
        list[Path] | None, typer.Option(help="Project the states on this direction.")
    ] = None,
    intervene: Annotated[
        Path | None, typer.Option(help="JSON file: treated models run under it (or base does).")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder. [geometry/BASE-CAST-...]")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the probe's null.")] = 0,
    fresh: Annotated[
        bool, typer.Option("--fresh/--resume", help="Move an old folder aside and start over.")
    ] = False,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, mps. [best there is]")] = None,
    dtype: Annotated[str, typer.Option(help="float32, bfloat16, float16 or auto.")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads. [by load]")] = None,
    json_: JsonFlag = False,
) -> None:
    from personae.api import command_line
    from personae.api.geometry import document
    from personae.api.geometry import geometry as measure
    from personae.compare.inside_runs import named_directions

    chosen = None if layers is None else layer_numbers(layers)
    directions = named_directions(axis, trait or [])
    with progress("reading") as update:
        found, folder = measure(
            base, treated or [], control, cast=cast, instrument=instrument, layout=layout,
            items=items, layers=chosen, directions=directions, intervene=intervene, out=out,
            seed=seed, fresh=fresh, device=device, dtype=dtype, threads=threads,
            on_progress=update, on_stage=update.stage, command=command_line(),
        )  # fmt: skip
    if json_:
        print_json(document(found))
    else:
        _print(found)
    say(f"states: {folder}\nreport: {folder / 'report.html'}")


geometry.__doc__ = HELP


def layer_numbers(text: str) -> list[int]:
    """`3,7,11` or `0-29`, or both. Raises PersonaeError for anything else."""
    from personae.errors import PersonaeError
    from personae.files import number_range

    found: list[int] = []
    for part in text.split(","):
        layers = number_range(part)
        if layers is None:
            raise PersonaeError(f"--layers takes numbers and ranges (3,7,11 or 0-29), not {part!r}")
        found += layers
    if not found:
        raise PersonaeError(f"--layers {text}: an empty range")
    return found


def _print(found: Inside) -> None:
    for note in found.notes:
        say(f"! {note}")
    base, control = (
        found.arms[0],
        next((a for a in found.arms if found.roles[a] == "control"), None),
    )
    rows = []
    for metric, label in SHORT.items():
        cells = [_shown(found.row(base, metric, where, "value")) for where in
                 ("persona end", "answer")]  # fmt: skip
        if any(c != "–" for c in cells):
            rows.append([label, *cells])
    table(f"{base}, {found.personas} personas, mean over {len(found.layers)} layers",
          ["metric", "persona end", "answer"], rows)  # fmt: skip
    for arm in found.arms[1:]:
        columns = ["metric", "where", "against base", "95% interval",
                   *(["beyond control"] if control not in (None, arm) else [])]  # fmt: skip
        table(f"{arm} ({found.roles[arm]})", columns, _against(found, arm, control))
    for arm, (mean, p) in found.nulls.items():
        say(f"probe of {arm}: names shuffled {number(mean)}, p {number(p)}")


def _against(found: Inside, arm: str, control: str | None) -> list[list[str]]:
    rows = []
    kinds: tuple[Kind, ...] = ("change", "shift", "relation")
    for metric, label in (SHORT | {d: d for d in found.directions}).items():
        for where in ("persona end", "answer"):
            row = next((r for k in kinds if (r := found.row(arm, metric, where, k))), None)
            if row is None:
                continue
            ends = f"[{number(row.low)}, {number(row.high)}]" if row.low == row.low else "–"
            cells = [label, where, number(row.value), ends]
            if control not in (None, arm):
                cells.append(_shown(found.row(arm, metric, where, "excess")))
            rows.append(cells)
    return rows


def _shown(row: Row | None) -> str:
    if row is None or row.value != row.value:
        return "–"
    return f"{number(row.value)} [{number(row.low)}, {number(row.high)}]"
