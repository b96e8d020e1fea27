"""What a prediction is made of: signs learnt elsewhere, scores by hand, nulls, baselines, doses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from personae.errors import PersonaeError
from personae.latents.prediction import (
    Dose,
    Organism,
    Predicted,
    _column,
    _effect,
    early_warning,
    exchanged,
    findings,
    first_moved,
    labels,
    predict,
    witnesses,
)
from personae.measures.ratio import Interval, mean_interval
from personae.measures.stability import auroc, wilson
from personae.ratings import Floats

DOMAINS = ("money", "health", "code", "home")
BAD = np.tile([False, False, True, True], 4)


def organisms(
    latents: Floats, bad: Sequence[bool] | Floats = BAD, states: Floats | None = None
) -> list[Organism]:
    """Four fine-tunes of each domain, [16, m] latents and, unless given, the same states."""
    h = latents if states is None else states
    return [
        Organism(f"o{n}", DOMAINS[n // 4], 100.0 * b, x, h[n], np.full(5, 1.0 if b else -1.0))
        for n, (x, b) in enumerate(zip(latents, bad, strict=True))
    ]


def noise(m: int = 12, seed: int = 0) -> Floats:
    drawn: Floats = np.random.default_rng(seed).standard_normal((16, m))
    return drawn


def named(found: Sequence[Predicted]) -> dict[str, Predicted]:
    return {one.name: one for one in found}


# --- the chosen latent ---------------------------------------------------------------------------
def test_a_latent_that_falls_is_chosen_with_its_sign() -> None:
    x = 0.1 * noise()
    x[:, 7] -= 2.0 * BAD
    best = predict(organisms(x), nulls=0)[0]
    assert set(best.chosen.values()) == {7}
    assert best.auroc.value == 1
    among = predict(organisms(x), candidates=[3, 7], nulls=0)[0]
    assert set(among.chosen.values()) == {7}
    without = predict(organisms(x), candidates=[3, 11], nulls=0)[0]
    assert set(without.chosen.values()) <= {3, 11}


def test_scores_are_in_sds_of_the_organisms_it_was_chosen_on() -> None:
    x = noise(1, seed=1) + 3
    x[:, 0] -= 2.0 * BAD
    found = predict(organisms(x), nulls=0)[0].scores
    for n in range(0, 16, 4):
        train = np.delete(x[:, 0], np.arange(n, n + 4))
        expected = -(x[n : n + 4, 0] - train.mean()) / train.std()
        np.testing.assert_allclose(found[n : n + 4], expected)


def test_an_effect_is_the_gap_over_the_pooled_spread_and_a_little_for_everyone() -> None:
    rng = np.random.default_rng(2)
    x, y = rng.standard_normal((7, 3)), np.array([True, True, False, False, False, False, False])
    x[y] *= 4
    within = np.concatenate([x[y] - x[y].mean(0), x[~y] - x[~y].mean(0)])
    spread = np.sqrt((within**2).mean(0))
    gap = x[y].mean(0) - x[~y].mean(0)
    np.testing.assert_allclose(_effect(x, y), gap / (spread + 0.1 * np.abs(x).mean()))
    quiet = np.stack([np.where(y, 1e-6, 0), np.where(y, 2.0, 0) + 0.1 * x[:, 0]], 1)
    assert np.argmax(_effect(quiet, y)) == 1  # the first tells them apart, by next to nothing


# --- labels, witnesses, p ------------------------------------------------------------------------
def test_at_the_threshold_is_not_above_it() -> None:
    some = organisms(noise())
    some[0] = replace(some[0], outcome=np.full(5, 0.25))
    assert labels(some, 0.25).tolist() == BAD.tolist()
    assert labels(some, 0.2).sum() == BAD.sum() + 1


def test_the_interval_is_of_the_domains_with_the_rarer_class() -> None:
    bad = np.zeros(16, bool)
    bad[:3] = True  # three organisms, all of one domain
    some = organisms(noise(seed=3), bad)
    assert witnesses(some, bad) == witnesses(some, ~bad) == 1
    best = predict(some, nulls=0)[0]
    assert best.auroc == wilson(best.auroc.value, 1)


def test_p_counts_ties_and_the_draw_itself() -> None:
    null = np.array([0.2, 0.5, 0.9, 1.0])
    found = Predicted("one", np.array([]), Interval(0.9, 0, 1, 0, 4), null, {})
    assert found.p == pytest.approx(3 / 5)
    assert replace(found, auroc=Interval(1.1, 0, 1, 0, 4)).p == pytest.approx(1 / 5)
    assert np.isnan(replace(found, null=np.array([])).p)


def test_a_null_draw_is_what_would_be_found_with_exchanged_labels() -> None:
    """Choice of the latent, direction of the states and all."""
    x = noise(seed=4)
    some = organisms(x, states=noise(5, seed=5))
    best, along, *_ = predict(some, nulls=6, seed=7)
    draws = np.random.default_rng(7)
    for found, place in ((best, 0), (along, 1)):
        again = []
        for _ in range(6):
            mixed = exchanged(some, BAD, draws)
            told = [
                replace(o, outcome=np.full(5, 2.0 * b - 1))
                for o, b in zip(some, mixed, strict=True)
            ]
            again.append(predict(told, nulls=0)[place].auroc.value)
        np.testing.assert_allclose(found.null, again)
        assert len(set(again)) > 1


# --- baselines -----------------------------------------------------------------------------------
def test_a_loss_that_falls_predicts_as_well_and_one_unknown_leaves_it_out() -> None:
    some = [replace(o, loss=2.0 - b + 0.01 * n) for n, (o, b) in
            enumerate(zip(organisms(noise()), BAD, strict=True))]  # fmt: skip
    assert named(predict(some, nulls=0))["training loss"].auroc.value == 1
    same = [replace(o, loss=1.5) for o in some]
    flat = named(predict(same, nulls=0))["training loss"]
    assert flat.auroc.value == 0.5
    assert flat.scores.tolist() == [0.0] * 16
    some[3] = replace(some[3], loss=float("nan"))
    assert "training loss" not in named(predict(some, nulls=0))


def test_where_no_sign_can_be_learnt_more_is_more() -> None:
    score = _column(np.array([1.0, 2.0, 3.0, 5.0]), np.array([True, True, False, True]))
    np.testing.assert_allclose(score(np.array([0, 1]), np.array([2, 3])), [3.0, 7.0])


def test_a_named_direction_is_projected_on_with_its_sign() -> None:
    h = 0.1 * noise(5, seed=6)
    h[:, 2] += np.where(BAD, 1.0, -1.0)
    some = organisms(noise(), states=h)
    found = named(predict(some, nulls=0, directions={"trait": np.eye(5)[2]}))
    assert found["projection on trait"].auroc.value == 1


def test_random_latents_are_those_that_changed() -> None:
    x = noise(9, seed=8)
    x[:, 3:] = 0
    found = predict(organisms(x), nulls=0)
    assert set(found[0].chosen.values()) <= {0, 1, 2}
    alone = [predict(organisms(x), candidates=[j], nulls=0)[0].auroc.value for j in range(3)]
    drawn = named(found)["random latent"].auroc
    assert drawn.n == 3
    assert (drawn.value, drawn.se) == pytest.approx((np.mean(alone), np.std(alone)))
    assert (drawn.low, drawn.high) == pytest.approx(tuple(np.quantile(alone, [0.025, 0.975])))
    rows = {f.scope: f for f in findings(found, BAD) if f.metric == "prediction_auroc"}
    assert "of 3 latents" in rows["random latent"].method
    with pytest.raises(PersonaeError, match="no latent changed"):
        predict(organisms(0 * x), nulls=0)


def test_two_domains_leave_one_to_learn_from_and_its_rate_is_the_probability() -> None:
    bad = np.array([True, True, True, False, False, False, False, True])
    best = predict(organisms(noise()[:8], bad), nulls=0)[0]
    by_hand = [(b - (0.25 if n < 4 else 0.75)) ** 2 for n, b in enumerate(bad)]
    assert best.brier == pytest.approx(np.mean(by_hand))
    assert auroc(best.scores[bad], best.scores[~bad]) == best.auroc.value


# --- early warning -------------------------------------------------------------------------------
def test_doses_are_changes_against_the_least_treated_in_order() -> None:
    rng = np.random.default_rng(9)
    mixtures = [
        Organism(f"m{share}", "money", share, np.zeros(3), np.zeros(2), 3 + rng.standard_normal(8),
                 by_prompt=5 + rng.standard_normal((6, 3)))
        for share in (50.0, 0.0, 10.0)
    ]  # fmt: skip
    half, none, tenth = mixtures
    assert none.by_prompt is not None
    doses = early_warning(mixtures, 1)
    assert [d.share for d in doses] == [10, 50]
    for dose, one in zip(doses, (tenth, half), strict=True):
        assert one.by_prompt is not None
        assert dose.latent == mean_interval(one.by_prompt[:, 1] - none.by_prompt[:, 1])
        assert dose.outcome == mean_interval(one.outcome - none.outcome)
    with pytest.raises(PersonaeError, match="changes by prompt"):
        early_warning([none, replace(half, by_prompt=None)], 1)


def test_what_moved_once_and_came_back_has_not_moved_yet() -> None:
    up, flat, down = (Interval(v, v - 1, v + 1, 0.5, 9) for v in (2.0, 0.5, -2.0))
    touching = Interval(1.0, 0.0, 2.0, 0.5, 9)
    doses = [Dose(share, one, flat) for share, one in ((10, up), (25, flat), (50, down), (75, up))]
    assert first_moved(doses[::-1], "outcome") == 50
    assert np.isnan(first_moved(doses, "latent"))
    assert np.isnan(first_moved([*doses, Dose(100, touching, flat)], "outcome"))
