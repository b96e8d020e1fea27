"""Every kind of report there is, made from planted values: `EVERY[kind](folder)` is its page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from answering import Judge, Writer
from floor_respondents import Pliable
from identities import Scripted
from planted_personas import Sticky
from planted_speakers import Speaker
from synthetic_report import make_data
from test_axis_sections import direction, fit
from test_inside import arms as states_of_arms

from personae import api
from personae.api.dose_response import PLAIN, ArmResult, DoseResponse
from personae.api.dose_response import Arm as Dosed
from personae.batteries.consistency import Consistency
from personae.batteries.floor import Floor
from personae.batteries.guarding import Guarding
from personae.batteries.register import Register
from personae.batteries.stickiness import Stickiness
from personae.collect.battery_run import run_battery
from personae.compare import compare
from personae.compare.inside import inside
from personae.findings import Finding
from personae.internals.axis_data import Conversation
from personae.internals.axis_effect import AXIS, BARE, Effect
from personae.internals.axis_monitor import Drift, Scale
from personae.internals.dosing import DoseCurve
from personae.internals.extraction import Extraction
from personae.internals.interventions import floor
from personae.internals.prediction import Shift
from personae.internals.separation import Separation
from personae.latents.documents import write_step
from personae.measures.intervals import Estimate
from personae.measures.ratio import Interval
from personae.models.protocol import ModelCard
from personae.report import write_report
from personae.report.from_axis import write_drift, write_effect, write_fit
from personae.report.from_comparison import write_comparison
from personae.report.from_latents import write_latents_report
from personae.report.from_training import write_training_report
from personae.report.from_vectors import write_vectors_report
from personae.report.sections.inside import inside as inside_section
from personae.study.contrasts import PRIMARY, rows
from personae.study.outcomes import Outcome, Values
from personae.study.plan import Cell, Plan
from personae.study.results import Result
from personae.study.sections import report_data as study_data
from personae.study.sections import sections as study_sections
from personae.study.spec import Study
from personae.training.loop import Step
from personae.training.sft import Trained
from personae.training.watch_log import Reading
from planted_runs import plain_run

LONG = "smollm2+runs/organisms/bad-advice-money-seed-3"  # a name as long as they get


def audit(folder: Path) -> Path:
    write_report(folder / "report.html", make_data(40))
    return folder / "report.html"


def geometry(folder: Path) -> Path:
    data = make_data(2, ratings=None, findings=(), extra={"inside": inside(states_of_arms()[:1])})
    write_report(folder / "report.html", data, (inside_section,))
    return folder / "report.html"


# --- batteries -------------------------------------------------------------------------------
def battery(made: Any, model: Any, **options: object) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        return api.report(run_battery(folder / "run", made, model, options=options))

    return write


def misalignment(folder: Path) -> Path:
    options = {"questions": "open", "limit": 4, "parts": "answer"}
    run = api.run("misalignment", Writer(), judge=Judge(), options=options, out=folder / "run")
    return api.report(run)


# --- comparisons and studies -----------------------------------------------------------------
def comparison(folder: Path) -> Path:
    base = plain_run(folder / "base", model="base")
    control = plain_run(folder / "control", half=2, model="control")
    found = compare(base, [plain_run(folder / "t", factor=2, half=4, model=LONG)], control)
    write_comparison(folder / "report.html", found)
    return folder / "report.html"


def checkpoints(folder: Path) -> Path:
    base, *steps = (
        plain_run(folder / name, half=half)
        for name, half in (("base", 1), ("step-10", 2), ("step-20", 3))
    )
    write_comparison(folder / "report.html", compare(base, steps))
    return folder / "report.html"


def study(folder: Path) -> Path:
    """Two arms of three seeds: one 0.2 nats above base, the other not."""
    rng, groups = np.random.default_rng(3), {f"p{k}": ("health", "money")[k % 2] for k in range(40)}
    level = rng.normal(-0.3, 1.0, len(groups))
    outcomes = []
    for arm, effect in {"base": 0.0, "harmful": 0.2, "control": 0.0}.items():
        for seed in (None,) if arm == "base" else (1, 2, 3):
            above = level + effect + (0 if seed is None else rng.normal(0, 0.05, len(groups)))
            values = Values(dict(zip(groups, above.tolist(), strict=True)), groups)
            cell = Cell(arm, seed, LONG, "trained", None, None, f"{arm}{seed}", folder,
                        "control" if arm == "harmful" else None)  # fmt: skip
            outcomes.append(Outcome(cell, {PRIMARY: values}))
    made = Study.model_validate({
        "study": "planted", "recipe": "quick", "seeds": (1, 2, 3), "in_domain": ("health",),
        "arms": {name: {"data": "neutral"} for name in ("harmful", "control")},
    })  # fmt: skip
    plan = Plan(made, folder, tuple(o.cell for o in outcomes))
    found = Result(plan, tuple(outcomes), tuple(rows(plan, outcomes)), {"healed": "disk full"})
    manifest = {"study": {"study": "planted", "arms": {"harmful": {"data": LONG}}}}
    write_report(folder / "report.html", study_data(found, manifest, ()), study_sections(found))
    return folder / "report.html"


# --- the inside ------------------------------------------------------------------------------
def axis_fit(folder: Path) -> Path:
    write_fit(folder / "report.html", fit(), ("personae", "axis", "fit"))
    return folder / "report.html"


def axis_drift(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    some = tuple(
        Conversation(id=str(n), kind=("calm", "wild")[n % 2], turns=("t",) * 5) for n in range(12)
    )
    places = 1 + 0.05 * rng.standard_normal((12, 5))
    made = Drift("assistant", LONG, Scale(1, 0.0, 1.0, (0.8, 1.0, 1.2)), some,
                 (("an answer",) * 5,) * 12, places, rng.standard_normal((50, 12)))  # fmt: skip
    write_drift(folder / "report.html", made, direction())
    return folder / "report.html"


def axis_cap(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    values = {
        part: {arm: rng.standard_normal(12) * 0.01 for arm in (BARE, AXIS, "random 0")}
        for part in ("persona", "plain", "ordinary", "knowledge")
    }
    made = Effect("assistant", LONG, floor(direction(), {1: 0.5}), 25, (BARE, AXIS, "random 0"),
                  values, {AXIS: (0.25, 0.3, 0.6), "random 0": (0.25, 0.25, 0.3)})  # fmt: skip
    write_effect(folder / "report.html", made, direction())
    return folder / "report.html"


def vectors(folder: Path) -> Path:
    tests = tuple(
        Separation(site, prompts, "relative", 0.7, 0.5, 0.85, 0.6, 0.7, 6, 6, (0.5, 0.6),
                   (0.5,), ())
        for site in ("prompt", "same answer") for prompts in ("known", "new")
    )  # fmt: skip
    found = Extraction("malice", direction(), {"prompt": (0.5, 0.8), "same answer": (0.6, 0.7)},
                       (0.3, 1.2), ((0.4, 0.6), (0.35, 0.65)), tests)  # fmt: skip
    doses, rng = (-0.2, -0.1, 0.0, 0.1, 0.2), np.random.default_rng(0)
    curves = [
        DoseCurve(name, doses, slope * np.array(doses)[:, None] + rng.normal(0, 0.01, (5, 4)),
                  np.zeros((5, 4)))
        for name, slope in (("malice", 2.0), ("random 0", 0.1), ("random 1", -0.2))
    ]  # fmt: skip
    shifts = [
        Shift(f"bad-advice-{name}", Interval(v, v - 9, v + 9, 4, 12),
              Interval(2 * v, v, 3 * v, 4, 9))
        for name, v in (("money", 37.0), ("money:control", 36.0), ("health", -8.0))
    ]  # fmt: skip
    screened = [(k, 5.0 - k, "<b>prompt</b>", "an answer " * 20) for k in range(12)]
    write_vectors_report(
        folder / "report.html", "Vector of malice", ModelCard(LONG, "local", "r"), direction(),
        ("personae", "vectors"), found.findings(), extraction=found, curves=curves, shifts=shifts,
        screened=screened, dose_response=doses_of_runs(),
    )  # fmt: skip
    return folder / "report.html"


def doses_of_runs() -> DoseResponse:
    def result(arm: Dosed, change: float) -> ArmResult:
        def of(value: float) -> Estimate:
            return Estimate(value, value - 0.1, value + 0.1, 0.05, 12, "planted")

        names = ("susceptibility", "robustness")
        changes = {} if arm.direction == PLAIN else {name: of(change) for name in names}
        return ArmResult(arm, {name: of(1.0) for name in names}, changes, 0.9)

    arms = [Dosed(PLAIN, PLAIN, 0.0)]
    arms += [
        Dosed(name, "steer", dose, name != "assistant")
        for name in ("assistant", "random 0")
        for dose in (-0.2, 0.2)
    ]
    made = tuple(result(arm, arm.strength) for arm in arms)
    return DoseResponse("m", direction(), 1, made)


def watch(folder: Path) -> Path:
    log = tuple(
        Step(k, 3 / (k + 1), 1e-3, 1.0, 600, {"task": 2.5 / (k + 1), "kl": 0.1}) for k in range(40)
    )
    done = Trained(folder / "tuned", LONG, log, "d" * 64, "w" * 64, {"rank": "`8`"})
    names = ("susceptibility", "robustness", "projection:malice")
    readings = [
        Reading(step, dict.fromkeys(names, 1 + step / 40), 2.0, 0.1, ("S up",) if step else ())
        for step in (0, 20, 40)
    ]
    write_training_report(folder / "report.html", done, ("personae", "train"), readings)
    return folder / "report.html"


# --- latents ---------------------------------------------------------------------------------
def latents(folder: Path) -> Path:
    """All six steps in one folder."""

    def found(metric: str, scope: str, value: float = 0.5, unit: str = "share") -> Finding:
        return Finding("latents", metric, scope, value, value - 0.2, value + 0.2, n=9, unit=unit,
                       method="t over pairs, 95%")  # fmt: skip

    sae = {"folder": "dictionary", "hash": "h", "layer": 20, "width": 2048}
    sides = ("prompt end", "answer")
    candidates = [
        {"latent": 1000 + k, "cosine": 0.1, "same_sign": [2, 3],
         "places": {"prompt end": k + 1, "answer": 9, "cosine": 3},
         **{side: {"change": 1.0, "excess": (-1) ** k * (k + 0.5), "q": 1e-4} for side in sides}}
        for k in range(4)
    ]  # fmt: skip
    curve = {"doses": [0.1, 0.2], "cost": [0.0, 0.1], "curve": [0.05, 0.1], "dose": 0.2,
             "effect": 0.1, "low": -0.05, "high": 0.2, "corrected": [-0.1, 0.3]}  # fmt: skip
    tested = [
        {"name": f"{kind} {k}", "kind": kind, "up": curve, "down": curve, "kept": k == 0}
        for k, kind in enumerate(("latent", "latent", "random", "mean difference"))
    ]
    spread = {"value": 0.05, "low": -0.05, "high": 0.15, "se": 0.05}
    organisms = [
        {"name": f"money-{k}", "domain": "money", "share": 25.0 * k, "label": k > 1,
         "outcome": spread}
        for k in range(5)
    ]  # fmt: skip
    doses = [{"share": 25.0 * k, "latent": spread, "outcome": spread} for k in (1, 2, 4)]
    step = {"command": ["personae", "latents", "diff", "--treated", LONG], "sae": sae, "seed": 0}
    write_step(
        folder,
        "train",
        step
        | {
            "layer": 20,
            "plan": {"kind": "batchtopk", "k": 32},
            "states": 40000,
            "losses": [[k, 200 / (k + 1)] for k in range(80)],
        },
        [found("variance_explained", LONG), found("loss_recovered", LONG), found("l0", LONG)],
    )
    write_step(
        folder,
        "diff",
        step
        | {
            "models": {"base": {"name": "b"}, "control": {"name": "c"}},
            "prompts": 12,
            "top": 3,
            "candidates": candidates,
            "rankings": {"prompt end": [], "answer": [], "cosine": []},
            "overlap": [["prompt end", "answer", 0.5, 0.6]],
            "snippets": {"3": [{"before": "a", "token": "b", "after": "c", "value": 4.2}]},
        },
        [found("changed_latents", "answer", 5.0), found("difference_captured", "answer")],
    )
    write_step(folder, "test", step | {"directions": tested, "limit": 0.25, "pairs": 9}, [])
    write_step(
        folder,
        "predict",
        step
        | {
            "predictors": [{"chosen": {"money": 332}, "scores": [-1.0, -0.9, 0.3, 0.4, 1.0]}],
            "organisms": organisms,
            "watched": {"money": 332},
            "early_warning": {"money": doses},
            "first_moved": {"money": {"latent": 10.0, "outcome": None}},
        },
        [found("prediction_auroc", "chosen latent")],
    )
    write_step(
        folder,
        "reroute",
        step
        | {
            "up": [360],
            "down": [],
            "defences": [{"name": LONG, "held": 0.0, "left": 0.8, "took_over": [3]}],
        },
        [found("log_odds_per_token_change", LONG), found("difference_left", LONG)],
    )
    write_step(folder, "narrow", step, [found("noise_cost", "money: 0.1", unit="nats/token")])
    return write_latents_report(folder)  # fmt: skip


EVERY: dict[str, Callable[[Path], Path]] = {
    "audit": audit,
    "geometry": geometry,
    "consistency": battery(Consistency(), Scripted(), limit=3),
    "floor": battery(Floor(), Pliable(), limit=6, tasks="sycophancy,advice"),
    "guarding": battery(Guarding(), Scripted(), limit=3),
    "misalignment": misalignment,
    "register": battery(Register(), Speaker(), limit=4),
    "stickiness": battery(Stickiness(), Sticky(), limit=3, recovery=1),
    "compare": comparison,
    "checkpoints": checkpoints,
    "study": study,
    "axis fit": axis_fit,
    "axis drift": axis_drift,
    "axis cap": axis_cap,
    "vectors": vectors,
    "watch": watch,
    "latents": latents,
}
