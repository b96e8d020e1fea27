"""The audit of one model."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from personae.batteries.panels import audit_panels
from personae.batteries.registry import BATTERIES, audit_options
from personae.cast import load_cast
from personae.collect.estimate import SECONDS_A_CALL
from personae.collect.execute import Progress, collect, open_or_create, unfinished
from personae.collect.folder import RunFolder
from personae.collect.manifest import Manifest
from personae.collect.plan import Plan
from personae.collect.store import Run
from personae.errors import PersonaeError
from personae.executors.opening import ExecutorSettings, opened
from personae.executors.wire import ModelSpec
from personae.instruments import load_instrument
from personae.models import embedded
from personae.models.local import LocalModel
from personae.models.opening import is_hosted
from personae.models.protocol import Respondent
from personae.prompts import DEFAULT_LAYOUT

if TYPE_CHECKING:
    from personae.models.caller import HostedSettings

from personae.api.runs import BATTERY_FOLDER, finish

PRESETS: dict[str, dict[str, Any]] = {
    "costa2026": {
        "cast": "personahub100",
        "instrument": "mfq30",
        "layout": "costa2026",
        "repeats": 10,
        "temperature": 0.1,
    }
}
HOSTED_REPEATS = 10  # answers a cell where a model returns no log-probabilities
DEFAULTS: dict[str, Any] = {"cast": "all", "instrument": "mfi30", "layout": DEFAULT_LAYOUT}


def audit(
    model: str | Respondent = "smollm2-actor",
    *,
    cast: str | int | Path | None = None,
    instrument: str | Path | None = None,
    layout: str | None = None,
    preset: str | None = None,
    repeats: int | None = None,
    temperature: float | None = None,
    out: str | Path | None = None,
    seed: int = 0,
    limit: int | None = None,
    fresh: bool = False,
    suite: str = "standard",
    device: str | None = None,
    dtype: str = "auto",
    threads: int | None = None,
    memory_mb: int | None = None,
    hosted: HostedSettings | None = None,
    intervene: str | Path | None = None,
    executor: ExecutorSettings | None = None,
    inside: bool = False,
    on_progress: Progress | None = None,
    on_stage: Callable[[str], None] | None = None,
    command: tuple[str, ...] = (),
) -> Run:
    """Measure a model's personas; write the run folder, its findings and its report.

    Args:
        model: what `personae.load_model` accepts, or any `Respondent`.
        cast, instrument, layout: names, files or (cast) a number; `preset` fills what is not given.
            The actor's cast is by default the people that it was taught to play.
        suite: what is asked besides: "quick", "standard" or "full" (`personae.batteries.panels`).
        hosted: connections, retries, budget and so on of a model behind an API.
        repeats: None computes the exact distribution; N samples N answers a cell.
        intervene: a file of interventions that local weights run under (docs/internals.md).
        executor: many workers or servers instead of this process (docs/scale.md).
        inside: read the cast's persona states too (docs/geometry.md); local weights only.
        out: run folder; the same call on the same folder resumes.
        on_progress: called with (answers there, answers wanted) of a stage; `on_stage` with
            its name: "rating", then, in the full suite, each battery.

    Raises:
        PersonaeError: anything a user can mend.
    """
    if model == embedded.ACTOR and cast is None and preset is None:
        cast = embedded.ACTOR_CAST
    chosen = _options(
        preset, cast=cast, instrument=instrument, layout=layout, repeats=repeats,
        temperature=temperature,
    )  # fmt: skip
    if chosen["temperature"] is not None and chosen["repeats"] is None:
        raise PersonaeError(
            "--temperature is of sampled answers: give --repeats N too (exact ratings hold every "
            "temperature at once; see the temperature curves in the report)"
        )
    plan = _plan(chosen, suite=suite, limit=limit, seed=seed)  # its mistakes before a long load
    name = model if isinstance(model, str) else model.card.name
    if intervene is not None:
        name += f"~{Path(intervene).stem}"
    path = Path(out) if out else default_out(name, plan, suite)
    if not fresh:
        threads = threads or _threads_of(path)
    spec = ModelSpec(
        model if isinstance(model, str) else "", dtype, device, threads, memory_mb,
        None if intervene is None else str(intervene),
    )  # fmt: skip
    with opened(model, spec, path, executor, hosted) as respondent:
        if inside and not isinstance(respondent, LocalModel):
            raise PersonaeError(
                "--inside reads local weights in this process: not hosted models, nor executors"
            )
        if chosen["repeats"] is None and not getattr(respondent, "exact", True):
            plan = replace(plan, repeats=HOSTED_REPEATS)
        manifest = Manifest.of_plan(plan, respondent.card, command)
        run = open_or_create(path, manifest, fresh=fresh)
        collect(run, plan, respondent, on_progress)
        if missing := unfinished(run, plan):
            raise PersonaeError(
                f"{run.path}: {missing} of {plan.total} answers are still missing (transport "
                "errors); run the same command again to ask only those"
            )
        if inside and isinstance(respondent, LocalModel):
            _read_inside(run, plan, respondent, on_progress, on_stage)
        if suite == "full":
            _run_batteries(run, respondent, limit, seed, on_progress, on_stage)
    return finish(run)


def _read_inside(
    run: Run,
    plan: Plan,
    model: LocalModel,
    on_progress: Progress | None,
    on_stage: Callable[[str], None] | None,
) -> None:
    """The cast's persona states, into the run's folder."""
    from personae.internals.persona_reading import persona_states
    from personae.internals.persona_states import FOLDER

    cast = next(p.cast for p in plan.panels if p.cast is not None)
    if on_stage is not None:
        on_stage("inside")
    persona_states(
        model, cast, plan.instrument, plan.layout, folder=run.path / FOLDER,
        on_progress=on_progress,
    )  # fmt: skip


def _run_batteries(
    run: Run,
    respondent: Respondent,
    limit: int | None,
    seed: int,
    on_progress: Progress | None,
    on_stage: Callable[[str], None] | None,
) -> None:
    """Every battery into a folder of its own below the run's."""
    from personae.batteries.run import run as run_it

    for name in BATTERIES:
        if on_stage is not None:
            on_stage(name)
        run_it(
            name, respondent, options=audit_options(name, limit),
            out=run.path / BATTERY_FOLDER / name, seed=seed, on_progress=on_progress,
        )  # fmt: skip


def estimate_audit(
    model: str,
    *,
    cast: str | int | Path | None = None,
    instrument: str | Path | None = None,
    layout: str | None = None,
    preset: str | None = None,
    repeats: int | None = None,
    temperature: float | None = None,
    limit: int | None = None,
    suite: str = "standard",
    connections: int = 20,
    prices: Path | None = None,
) -> dict[str, Any]:
    """What an audit of a hosted model would take, without a single call.

    Time assumes `SECONDS_A_CALL` over the connections. An exact audit is one call a cell; a model
    that returns no log-probabilities needs `HOSTED_REPEATS` times as many, given beside it.
    """
    from personae.collect.estimate import estimate
    from personae.models.prices import load_prices

    chosen = _options(
        preset, cast=cast, instrument=instrument, layout=layout, repeats=repeats,
        temperature=temperature,
    )  # fmt: skip
    tables = load_prices(prices)
    rate = connections / SECONDS_A_CALL if is_hosted(model) else None
    ways = {"as asked" if chosen["repeats"] else "exact": chosen["repeats"]}
    if not chosen["repeats"]:
        ways[f"sampled, {HOSTED_REPEATS} repeats"] = HOSTED_REPEATS
    found = {}
    for name, n in ways.items():
        plan = _plan(chosen | {"repeats": n}, suite=suite, limit=limit, seed=0)
        found[name] = asdict(estimate(plan, model, tables, rate=rate))
    assumption = f"{SECONDS_A_CALL:g} s a call over {connections} connections"
    return {"schema": 1, "model": model, "time_assumes": assumption, "estimates": found}


def _plan(chosen: dict[str, Any], *, suite: str, limit: int | None, seed: int) -> Plan:
    who = load_cast(chosen["cast"])
    if limit is not None:
        who = who.head(limit)
    questionnaire = load_instrument(chosen["instrument"])
    return Plan(
        instrument=questionnaire,
        panels=audit_panels(suite, who, questionnaire, chosen["layout"]),
        layout=chosen["layout"],
        repeats=chosen["repeats"],
        temperature=chosen["temperature"] or 1.0,
        seed=seed,
    )


def default_out(model: str, plan: Plan, suite: str = "standard") -> Path:
    """`runs/MODEL-INSTRUMENT-CAST-LAYOUT[-nN-T...]`: the same request finds the same folder."""
    parts = [model, plan.instrument.name]
    cast = next((p.cast for p in plan.panels if p.cast is not None), None)
    if cast is not None:
        parts.append(f"{cast.name}{len(cast)}")
    parts.append(plan.layout)
    if suite != "standard":
        parts.append(suite)
    if plan.repeats is not None:
        parts.append(f"n{plan.repeats}-T{plan.temperature:g}")
    name = "-".join(parts)
    return Path("runs") / re.sub(r"[^A-Za-z0-9.+_-]+", "-", name).strip("-.")[:150]


def _threads_of(path: Path) -> int | None:
    """CPU threads that a run was begun with: another number changes the last digits of what is
    computed, and a resumed run should equal an unbroken one."""
    if not (path / "manifest.json").exists():
        return None
    details = RunFolder.read_manifest(path).get("model", {}).get("details", {})
    threads = details.get("threads")
    return threads if isinstance(threads, int) else None


def _options(preset: str | None, **given: Any) -> dict[str, Any]:
    """Options in order of precedence: given, preset, default."""
    if preset is not None and preset not in PRESETS:
        raise PersonaeError(f"no preset {preset!r}; there are: {', '.join(PRESETS)}")
    base = DEFAULTS | (PRESETS[preset] if preset else {})
    return {k: base.get(k) if v is None else v for k, v in given.items()}
