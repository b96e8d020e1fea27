"""`personae vectors`: directions of traits inside a model: make, test, show."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from personae.cli import vectors_dosing, vectors_use
from personae.cli.console import JsonFlag, interval, number, print_json, progress, say, table
from personae.cli.vectors_use import DeviceFlag, DtypeFlag, ModelArg, ReportFlag, ThreadsFlag

if TYPE_CHECKING:
    from personae.internals.dosing import DoseCurve
    from personae.internals.extraction import Extraction

app = typer.Typer(no_args_is_help=True, help="Persona vectors: directions of traits in a model.")


@app.command()
def extract(
    trait: Annotated[str, typer.Argument(help="A bundled trait or a YAML file.")],
    model: ModelArg = "smollm2",
    out: Annotated[Path | None, typer.Option(help="Direction file. [vectors/MODEL-TRAIT]")] = None,
    own: Annotated[
        bool, typer.Option("--own/--typical", help="The model's own answers, or the trait file's.")
    ] = False,
    judge: Annotated[
        str | None, typer.Option(help="--own: keep answers by this model's score, 0 to 100.")
    ] = None,
    more_from: Annotated[
        float, typer.Option(min=0, max=100, help="--judge: least score of an answer with more.")
    ] = 50.0,
    less_to: Annotated[
        float, typer.Option(min=0, max=100, help="--judge: largest score of an answer with less.")
    ] = 50.0,
    margin: Annotated[
        float, typer.Option(help="--own, no judge: least log-ratio of the prompts, nats a token.")
    ] = 0.1,
    unfiltered: Annotated[
        bool, typer.Option("--unfiltered", help="--own: keep every answer.")
    ] = False,
    max_tokens: Annotated[int, typer.Option(min=1, help="Of the model's own answers.")] = 64,
    test_own: Annotated[
        bool, typer.Option("--test-own", help="Test on the model's own answers, too.")
    ] = False,
    gguf: Annotated[Path | None, typer.Option(help="Also write a GGUF control vector.")] = None,
    steer: Annotated[
        bool, typer.Option("--steer/--no-steer", help="Also check what doses of it do.")
    ] = False,
    random: Annotated[
        int, typer.Option(min=0, help="--steer: random directions of equal norm.")
    ] = 20,
    seed: Annotated[int, typer.Option(help="Of own answers and random directions.")] = 0,
    report: ReportFlag = True,
    device: DeviceFlag = None,
    dtype: DtypeFlag = "auto",
    threads: ThreadsFlag = None,
    json_: JsonFlag = False,
) -> None:
    """Make the vector of TRAIT and test it on held-out questions and system prompts.

    Writes the direction file and, beside it, a report.

    Examples:

        personae vectors extract rudeness

        personae vectors extract malice ./my-model --steer --test-own

        personae vectors extract mine.yaml Qwen/Qwen3-0.6B --own --judge openai/gpt-4o
    """
    from personae import api
    from personae.errors import PersonaeError
    from personae.internals import direction_files, dosing, extraction, filtering, traits
    from personae.models.loading import load_model
    from personae.models.opening import open_model
    from personae.report.from_vectors import write_vectors_report

    if (judge or unfiltered) and not own:
        raise PersonaeError("the trait file's answers are not filtered: --judge needs --own")
    if out is not None and out.suffix != ".safetensors":  # any other is refused when it is read
        raise PersonaeError(f"{out}: name the direction file .safetensors")
    chosen = traits.load_trait(trait)
    respondent = load_model(model, device=device, dtype=dtype, threads=threads)
    some = traits.poles(chosen, "extraction")
    responses, pooling = traits.typical_answers(some), "mean over typical answers (teacher forced)"
    about: dict[str, Any] = {}
    if own:
        with progress("answers") as update:
            responses = traits.own_answers(respondent, some, max_tokens, seed, update)
        pooling = "mean over the model's own answers (unfiltered)"
    if own and not unfiltered:
        say(f"filtering {len(some)} answers by {judge or 'likelihood'} ...")
        kept = (
            filtering.by_judge(open_model(judge, threads=threads), chosen, some, responses,
                               more_from, less_to)
            if judge else filtering.by_likelihood(respondent, some, responses, margin)
        )  # fmt: skip
        responses, about = kept.responses, kept.about
        pooling = f"mean over the model's own answers ({filtering.in_words(about)})"
    with progress("vector") as update:
        found = extraction.extract(
            respondent, chosen, some, responses, pooling, seed, about=about, own_test=test_own,
            on_stage=update.stage, on_progress=update,
        )  # fmt: skip
    path = out or Path("vectors") / f"{Path(model).name}-{chosen.name}.safetensors"
    direction_files.save_direction(found.direction, path)
    if gguf:
        rest = found.direction.at([layer for layer in found.direction.layers if layer])
        direction_files.export_gguf(rest, gguf)
    curves: list[DoseCurve] = []
    if steer:
        with progress("directions") as update:
            curves = dosing.dose_curves(respondent, chosen, found.direction, [found.layer],
                                        controls=random, seed=seed, on_progress=update)  # fmt: skip
    where = f"layer {found.layer}, doses of the residual norm"
    findings = found.findings()
    findings += dosing.dose_findings(chosen.name, where, curves) if curves else []
    if report:
        write_vectors_report(
            path.with_suffix(".html"), f"Vector of {chosen.name} in {respondent.card.name}",
            respondent.card, found.direction, api.command_line(), findings,
            extraction=found, curves=curves,
        )  # fmt: skip
    if json_:
        document = found.as_json() | {"file": str(path)}
        document["findings"] = [f.as_json() for f in findings]
        print_json(document | ({"curves": [c.as_json() for c in curves]} if curves else {}))
    else:
        _print(found, curves)
    say(f"vector: {path}" + (f"\nreport: {path.with_suffix('.html')}" if report else ""))


def _print(found: Extraction, curves: list[DoseCurve]) -> None:
    from personae.internals.dosing import against_random

    raw = {(s.site, s.prompts): s.auroc for s in found.separations if s.reading == "raw"}
    rows = [
        [f"{s.site}, {s.prompts}", number(s.auroc, 2), f"[{s.low:.2f}, {s.high:.2f}]",
         number(s.within, 2), number(s.paired, 2), number(sum(s.random) / len(s.random), 2),
         number(sum(s.shuffled) / len(s.shuffled), 2), number(raw[s.site, s.prompts], 2)]
        for s in found.separations if s.reading == "relative"
    ]  # fmt: skip
    table(
        f"{found.trait}: AUROC at layer {found.layer}, held-out questions; known and new system "
        "prompts",
        ["site, prompts", "AUROC", "95%", "least", "pairs", "random", "shuffled", "raw"], rows,
    )  # fmt: skip
    if not curves:
        return
    slope = curves[0].slope_interval
    shown = [[curves[0].name, f"{number(slope.value)} {interval(slope.low, slope.high)}",
              "yes" if curves[0].monotonic else "no"]]  # fmt: skip
    table("Log-odds of typical answers, nats a token", ["direction", "per unit dose",
          "rises with every step"], shown)  # fmt: skip
    if beside := against_random(curves[0], curves[1:]):
        say(
            f"{number(beside.ratio_median, 1)} times the median of {beside.n} random directions, "
            f"{number(beside.ratio_largest, 1)} times the steepest; as steep: "
            f"{beside.as_steep:.0%} (p = {number(beside.p)}); monotonic: {beside.one_way:.0%}"
        )


@app.command()
def generate(
    name: Annotated[str, typer.Argument(help="The trait's name: letters, digits, - and _.")],
    description: Annotated[str, typer.Option(help="What more and what less of it look like.")],
    model: Annotated[str, typer.Option(help="Any instruct model, as for audit.")] = "smollm2",
    out: Annotated[Path | None, typer.Option(help="Trait file. [NAME.yaml]")] = None,
    contrasts: Annotated[int, typer.Option(min=5, help="Pairs of system prompts.")] = 10,
    questions: Annotated[int, typer.Option(min=20, help="With two answers each.")] = 20,
    attempts: Annotated[int, typer.Option(min=1, help="Answers per answer needed.")] = 4,
    max_tokens: Annotated[int, typer.Option(min=64, help="Of an answer.")] = 1200,
    temperature: Annotated[float, typer.Option(min=0.0, help="Of an answer.")] = 0.7,
    base_url: Annotated[str | None, typer.Option(help="Hosted: of an own server.")] = None,
    seed: Annotated[int, typer.Option(help="Of sampling.")] = 0,
    threads: ThreadsFlag = None,
    json_: JsonFlag = False,
) -> None:
    """Have a model write a new trait file: system prompts, questions, answers, rubric.

    A model of 135M parameters mostly fails; the error then says how far it came. Whether the
    words fit the trait no rule can tell: read the file.

    Examples:

        personae vectors generate terseness --model openai/gpt-4o --description "In few words."
    """
    from personae.internals import trait_writing
    from personae.models.opening import hosted_settings, is_hosted, open_model

    path = out or Path(f"{name}.yaml")
    trait_writing.check(name, description, path)
    hosted = hosted_settings(model, base_url=base_url) if is_hosted(model) else None
    writer = open_model(model, hosted=hosted, threads=threads)
    with progress("texts") as update:
        written = trait_writing.write_trait(
            writer, name, description, contrasts=contrasts, questions=questions,
            attempts=attempts, max_tokens=max_tokens, temperature=temperature, seed=seed,
            on_progress=update,
        )  # fmt: skip
    trait_writing.save_trait(written, path, writer.card.name, seed)
    if json_:
        print_json({"file": str(path), "hash": written.trait.hash, "answers": written.answers,
                    "refused": written.refused, "prompts": len(written.trait.prompts),
                    "questions": len(written.trait.questions)})  # fmt: skip
    say(f"trait: {path} ({written.answers} answers, {written.refused} members refused)")


@app.command()
def show(
    what: Annotated[
        str, typer.Argument(help="A direction file or a trait; none: all traits.")
    ] = "",
    json_: JsonFlag = False,
) -> None:
    """What a direction file or a trait is.

    Examples:

        personae vectors show

        personae vectors show malice > mine.json

        personae vectors show vectors/smollm2-malice.safetensors
    """
    from personae.internals import traits

    if what and (Path(what).suffix in (".safetensors", ".gguf", ".npy")):
        from personae.internals.direction_files import describe, load_direction

        print_json(describe(load_direction(what)))
        return
    if what:  # a trait file as it is, to be edited and given to `extract`
        print(json.dumps(traits.load_trait(what).model_dump(), indent=1))
        return
    found = {name: traits.load_trait(name).description for name in traits.bundled_traits()}
    if json_:
        print_json({"traits": found})
    else:
        table("Traits", ["trait", "what"], [[n, str(d)] for n, d in found.items()])


app.command()(vectors_use.monitor)
app.command()(vectors_use.screen)
app.command()(vectors_use.predict)
app.command("dose-response")(vectors_dosing.dose_response)
