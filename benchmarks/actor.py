"""The actor against its own truth: how well it plays, and what the estimators make of it.

    python benchmarks/actor.py play MODEL [MODEL ...]
    python benchmarks/actor.py bias [MODEL]
    python benchmarks/actor.py same MODEL MODEL

`play`: exact ratings, in the layout `scale-first`, of people never taught, in words that were
taught (the cast `stated`) and in others; of citizens, whose texts are of another kind; on the items
of `mfi30` and in other words. Agreement is the Pearson correlation, over persona x item, of the
expected rating with the intended one. 95% intervals: personas resampled, percentiles.

`bias`: what estimators say of n sampled answers a cell, against the truth that the model's exact
distribution holds. Mean over sampled runs minus truth; 95% interval: of that mean.

`same`: how far two adapters differ, as a check of reproduction.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from personae.cast.loading import load_cast
from personae.cast.model import Persona
from personae.instruments.loading import load_instrument
from personae.instruments.model import Instrument
from personae.measures.metrics import metric
from personae.measures.moral import dispersion, susceptibility
from personae.measures.temperature import at_temperature
from personae.models.loading import load_model
from personae.models.local import LocalModel
from personae.models.protocol import RatingRequest
from personae.prompts import DEFAULT_LAYOUT, render
from personae.ratings import Ratings
from personae.training.actor import intended, made_up, reworded

PEOPLE = 20
RUNS = 400
ACTOR = "smollm2-actor"


def people(n: int = PEOPLE) -> list[Persona]:
    """Made-up people in words that are never taught."""
    rng = np.random.default_rng(2**40)
    return [made_up(rng, held=True) for _ in range(n)]


def played(model: LocalModel, personas: Sequence[Persona], questions: Instrument) -> Ratings:
    """Exact ratings of personas on all items."""
    requests = [
        RatingRequest(render(DEFAULT_LAYOUT, p.text, questions, item), questions.scale)
        for p in personas
        for item in questions.items
    ]
    mass = np.array([answer.mass for answer in model.rate(requests)])
    mass = mass.reshape(len(personas), len(questions), -1)
    on_scale = mass.sum(-1)
    return Ratings(
        mass / on_scale[..., None], "probs", tuple(p.id for p in personas),
        tuple(i.id for i in questions.items), tuple(i.subscale for i in questions.items),
        tuple(i.reverse for i in questions.items), questions.scale.min, on_scale,
    )  # fmt: skip


def meant(personas: Sequence[Persona], questions: Instrument) -> np.ndarray:
    """[P, I] intended ratings."""
    return np.array([[intended(p, item) for item in questions.items] for p in personas], float)


def agreement(found: np.ndarray, wanted: np.ndarray) -> str:
    """Correlation over all cells, and its interval over personas."""
    rng = np.random.default_rng(0)
    draws = [rng.integers(len(found), size=len(found)) for _ in range(1000)]
    spread = [np.corrcoef(found[d].ravel(), wanted[d].ravel())[0, 1] for d in draws]
    low, high = np.quantile(spread, [0.025, 0.975])
    return f"{np.corrcoef(found.ravel(), wanted.ravel())[0, 1]:.2f} [{low:.2f}, {high:.2f}]"


def play(specs: Sequence[str]) -> None:
    mfi = load_instrument("mfi30")
    other = reworded(mfi)
    stated = load_cast("stated").personas
    groups = [
        ("`stated`: new people, taught words", stated, mfi),
        ("the same, reworded items", stated, other),
        ("new people, new words", people(), mfi),
        ("the same, reworded items", people(), other),
        ("citizens", load_cast("citizens").personas[:PEOPLE], mfi),
    ]
    print("| model | personas, items | n | S | intended S | R | correlation [95%] | on scale |")
    print("|---|---|---|---|---|---|---|---|")
    for spec in specs:
        model = load_model(spec, threads=1)
        for name, personas, questions in groups:
            r, wanted = played(model, personas, questions), meant(personas, questions)
            assert r.scale_mass is not None
            print(
                f"| {spec[-24:]} | {name} | {len(personas)} | {susceptibility(r):.2f} | "
                f"{wanted.std(0, ddof=1).mean():.2f} | {1 / dispersion(r):.2f} | "
                f"{agreement(r.mean, wanted)} | {r.scale_mass.mean():.2f} |",
                flush=True,
            )


def sampled(r: Ratings, n: int, rng: np.random.Generator) -> Ratings:
    """Ratings of n answers a cell, drawn from exact ones."""
    return replace(r, cells=rng.multinomial(n, r.cells).astype(float), kind="counts")


def bias(specs: Sequence[str]) -> None:
    spec = specs[0] if specs else ACTOR
    mfi = load_instrument("mfi30")
    personas = load_cast("stated").personas
    exact = played(load_model(spec, threads=1), personas, mfi)
    wanted = meant(personas, mfi)
    print(f"{spec}: {len(personas)} people of `stated` x {len(mfi)} items, {RUNS} sampled runs")
    print(f"intended S {wanted.std(0, ddof=1).mean():.3f}, agreement "
          f"{agreement(exact.mean, wanted)}\n")  # fmt: skip
    print("| T | estimator | truth | bias, n = 2 [95%] | n = 5 | n = 10 |")
    print("|---|---|---|---|---|---|")
    for temperature in (1.0, 0.1):
        truth = at_temperature(exact, temperature)
        for name, of in ESTIMATORS.items():
            true = of(truth)
            cells = [_bias(truth, of, true, n) for n in (2, 5, 10)]
            print(f"| {temperature} | {name} | {true:.3f} | {' | '.join(cells)} |", flush=True)


def _value(name: str) -> Callable[[Ratings], float]:
    return metric(name).value


ESTIMATORS: dict[str, Callable[[Ratings], float]] = {
    "S": susceptibility,
    "S, noise taken out": _value("susceptibility_corrected"),
    "U (mean of cell sd)": dispersion,
    "variance within cells": _value("variance"),
    "Gini dispersion": _value("gini"),
    "noise ratio": _value("noise_ratio"),
    "ICC(1)": _value("icc1"),
}


def _bias(truth: Ratings, of: Callable[[Ratings], float], true: float, n: int) -> str:
    rng = np.random.default_rng(n)
    off = np.array([of(sampled(truth, n, rng)) for _ in range(RUNS)]) - true
    half = 1.96 * off.std(ddof=1) / np.sqrt(RUNS)
    return f"{off.mean():+.3f} [{off.mean() - half:+.3f}, {off.mean() + half:+.3f}]"


def same(specs: Sequence[str]) -> None:
    mfi = load_instrument("mfi30")
    personas = load_cast("stated").personas[:10]
    one, other = (played(load_model(spec, threads=1), personas, mfi) for spec in specs)
    gap = np.abs(one.mean - other.mean)
    print(
        f"expected ratings of {len(personas)} people x {len(mfi)} items: largest difference "
        f"{gap.max():.4f}, mean {gap.mean():.4f} points; probabilities: largest "
        f"{np.abs(one.cells - other.cells).max():.4f}"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=("play", "bias", "same"))
    parser.add_argument("models", nargs="*")
    asked = parser.parse_args()
    {"play": play, "bias": bias, "same": same}[asked.what](asked.models)
