"""How a direction's separation of two poles is measured: interval, nulls, states and answers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from personae.internals.activations import collect, passage
from personae.internals.separation import (
    RANDOM,
    SHUFFLED,
    Separation,
    Site,
    area,
    jackknifed,
    null_directions,
    plain_answers,
    separation,
    site_states,
)
from personae.internals.traits import Contrast, Pole, Question, asked
from personae.models.local import LocalModel
from personae.prompts import Prompt
from personae.ratings import Floats


# --- interval ------------------------------------------------------------------------------------
def test_the_interval_of_a_separation_covers_what_it_should() -> None:
    """Planted: contrasts and questions have effects of their own, and the poles differ by `gap`.

    The truth is the AUROC of very many contrasts and questions; nine in ten intervals hold it.
    """
    rng = np.random.default_rng(0)

    def drawn(C: int, Q: int) -> np.ndarray:
        effects = rng.normal(size=(C, 1, 1)) + rng.normal(size=(1, Q, 1))
        noise = rng.normal(size=(C, Q, 2)) + 0.7 * rng.normal(size=(C, 1, 2))
        return effects + noise + np.array([1.5, 0.0])

    truth = area(drawn(400, 400))
    held = 0
    for _ in range(200):
        low, high = jackknifed(drawn(4, 6))
        held += low <= truth <= high
    assert held >= 180
    apart = np.stack([np.ones((4, 6)), np.zeros((4, 6))], axis=-1)
    assert jackknifed(apart) == (1.0, 1.0)
    assert np.isnan(jackknifed(apart[:1])).all()


@pytest.mark.parametrize("shape", [(3, 6, 2), (5, 3, 2)])
def test_the_interval_leaves_out_each_contrast_and_each_question(shape: tuple[int, ...]) -> None:
    along = np.random.default_rng(1).normal(size=shape) + np.array([0.2, 0.0])
    variance = 0.0
    for axis in (0, 1):
        n = shape[axis]
        without = [area(np.delete(along, k, axis)) for k in range(n)]
        variance += (n - 1) / n * sum((one - np.mean(without)) ** 2 for one in without)
    for level in (0.3, 0.6):
        half = stats.t.ppf((1 + level) / 2, 2) * np.sqrt(variance)  # the smaller side has 3
        assert jackknifed(along, level) == pytest.approx((area(along) - half, area(along) + half))
    assert jackknifed(along, 0.99999) == (0.0, 1.0)  # wider than the scale
    assert np.isfinite(jackknifed(along[:2, :2])).all()
    assert np.isnan(jackknifed(along[:, :1])).all()


# --- tests ---------------------------------------------------------------------------------------
def of(along: Floats, nulls: tuple[Floats, Floats]) -> Separation:
    """Of projections on the first of two dimensions; the second is 0."""
    states = np.stack([along, 0 * along], axis=-1)
    return separation(("prompt", "new", "raw"), states, np.array([1.0, 0.0]), nulls)


def test_a_separation_is_summed_up_by_contrast_and_by_pair() -> None:
    # (more, less) at two contrasts x three questions; the second question is the worst one.
    along = np.array([
        [[3.0, 0.0], [1.0, 1.0], [4.0, 0.5]],
        [[2.0, 2.5], [0.0, 3.0], [5.0, 1.0]],
    ])  # fmt: skip
    # Random: along, against, and across, where all is equal; shuffled: against.
    found = of(along, (np.array([[2.0, 0.0], [-1.0, 0.0], [0.0, 1.0]]), np.array([[-3.0, 0.0]])))
    more, less = along[..., 0].ravel(), along[..., 1].ravel()
    pooled = np.mean([(m > n) + (m == n) / 2 for m in more for n in less])
    assert found.auroc == pytest.approx(pooled)
    assert found.within == pytest.approx(4 / 9)  # of the second contrast
    assert found.paired == pytest.approx(3 / 6)  # a tie is not in order
    assert (found.contrasts, found.questions) == (2, 3)
    assert found.random == pytest.approx((pooled, pooled, 0.5))  # a null's sign is arbitrary
    assert found.shuffled == pytest.approx((pooled,))
    assert np.array_equal(found.along, along)
    assert found.scope == "prompt, new prompts, raw"


def test_null_directions_are_drawn_and_shuffled() -> None:
    drawn, shuffled = null_directions(np.diag([1.0, 2, 3, 4]), np.random.default_rng(0))
    assert drawn.shape == (RANDOM, 4)
    assert len(np.unique(drawn)) == drawn.size
    assert shuffled.shape == (SHUFFLED, 4)
    np.testing.assert_array_equal(np.abs(shuffled), np.tile([1.0, 2, 3, 4], (SHUFFLED, 1)))
    for column in shuffled.T:  # each difference has its sign by chance
        assert 0.2 < (column > 0).mean() < 0.8


# --- answers and states --------------------------------------------------------------------------
QUESTIONS = [Question(ask=f"What about {k}?", more=f"more {k}", less=f"less {k}") for k in range(2)]
CONTRASTS = [Contrast(more=f"be {k}", less=f"never be {k}") for k in range(3)]


def test_an_empty_plain_answer_is_the_one_with_less() -> None:
    asked_for: list[Any] = []

    def generate(prompts: list[Prompt], **settings: Any) -> list[str]:
        asked_for.append((prompts, settings["temperature"]))
        return ["said", " \n"]

    model: Any = SimpleNamespace(generate=generate)
    assert plain_answers(model, QUESTIONS) == {QUESTIONS[0]: "said", QUESTIONS[1]: "less 1"}
    assert asked_for == [([asked("What about 0?"), asked("What about 1?")], 0.0)]


def test_states_are_those_of_each_site_and_of_no_system_prompt(local: LocalModel) -> None:
    some = [
        Pole(n, q, asked(q.ask, c.more if more else c.less), more)
        for n, c in enumerate(CONTRASTS)
        for q in QUESTIONS
        for more in (True, False)
    ]
    plain = {q: f"plain {q.less}" for q in QUESTIONS}
    same = [plain[p.question] for p in some]
    own = [f"own {n}" for n in range(len(some))]
    own[5] = "  "  # nothing was said: the plain answer stands in
    answers: dict[Site, list[str]] = {"same answer": same, "own answers": own}
    found = site_states(local, some, answers, plain, [1, 2])
    own[5] = plain[some[5].question]

    def state(prompt: Prompt, text: str, span: str) -> Floats:
        (one,) = collect(local.model, [passage(local.chat, prompt, text)], [span], [1, 2])
        read: Floats = one[0].double().numpy()
        return read

    assert list(found) == ["prompt", "same answer", "own answers"]
    for site, (h, h0) in found.items():
        span, texts = ("prompt_end" if site == "prompt" else "response",
                       own if site == "own answers" else same)  # fmt: skip
        assert h.shape == (3, 2, 2, 2, 32)
        assert h0.shape == (1, 2, 1, 2, 32)
        flat = h.reshape(len(some), 2, 32)
        for n, (pole, text) in enumerate(zip(some, texts, strict=True)):
            np.testing.assert_allclose(flat[n], state(pole.prompt, text, span), atol=1e-5)
        for n, (question, text) in enumerate(plain.items()):
            np.testing.assert_allclose(h0[0, n, 0], state(asked(question.ask), text, span),
                                       atol=1e-5)  # fmt: skip
