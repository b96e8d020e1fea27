"""Model diffing on arrays with known answers: halves, pooling, nulls, rankings, what is told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from latents_help import random_sae
from scipy import stats

from personae.batteries.misalignment_items import Pair
from personae.errors import PersonaeError
from personae.latents.diff import (
    COSINE,
    POOLINGS,
    RANKINGS,
    Diff,
    Pooled,
    Pooling,
    Rank,
    difference,
    halves,
    pool,
    sign_flip,
)
from personae.models.local import LocalModel
from personae.ratings import Floats

N, M, D = 8, 6, 4
DOMAINS = ("hats",) * 4 + ("shoes",) * 2 + ("socks",) * 2


def some_pairs(domains: tuple[str, ...] = DOMAINS) -> list[Pair]:
    return [
        Pair(id=f"{domain}-{n}", domain=domain, question=f"{domain} {n}?", aligned="aaaa",
             misaligned="zz")
        for n, domain in enumerate(domains)
    ]  # fmt: skip


# --- halves and pooling --------------------------------------------------------------------------
def test_odd_domains_rank_with_one_more_and_halves_are_drawn() -> None:
    pairs = some_pairs(("hats",) * 5 + ("shoes",))
    drawn = []
    for seed in range(6):
        ranking, testing = halves(pairs, seed)
        assert [p.domain for p in ranking] == ["hats"] * 3 + ["shoes"]
        assert [p.domain for p in testing] == ["hats"] * 2
        assert halves(pairs, seed) == (ranking, testing)
        drawn.append(frozenset(p.id for p in ranking))
    assert len(set(drawn)) > 1


def test_pooled_answers_are_the_mean_of_both(tiny: LocalModel) -> None:
    sae, told = random_sae("standard", d=32), list[tuple[int, int]]()
    pairs = some_pairs()[:2]
    other = [p.model_copy(update={"aligned": p.misaligned, "misaligned": p.aligned}) for p in pairs]
    twice = [[p.model_copy(update=dict.fromkeys(("aligned", "misaligned"), text)) for p in pairs]
             for text in ("aaaa", "zz")]  # fmt: skip
    found = pool(tiny, sae, pairs, lambda *at: told.append(at))
    one, two = (pool(tiny, sae, some) for some in twice)
    assert np.abs(one.h["answer"] - two.h["answer"]).max() > 1e-3
    for name in ("z", "h"):
        mine, swapped, first, second = (getattr(p, name) for p in (found, pool(tiny, sae, other),
                                                                  one, two))  # fmt: skip
        np.testing.assert_allclose(mine["answer"], swapped["answer"], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(mine["answer"], (first["answer"] + second["answer"]) / 2,
                                   rtol=1e-4, atol=1e-4)  # fmt: skip
        # What follows the prompt's end does not change it.
        np.testing.assert_allclose(first["prompt end"], second["prompt end"], rtol=1e-4, atol=1e-4)
    assert told == [(n, 4) for n in range(1, 5)]
    with pytest.raises(PersonaeError, match="reads states of 12 dimensions, the model has 32"):
        pool(tiny, random_sae("standard"), pairs)


# --- the null ------------------------------------------------------------------------------------
@pytest.mark.parametrize("draws", [100, 2500])  # less than a chunk, and more than one
def test_p_is_between_the_number_of_draws_and_1(draws: int) -> None:
    values = np.stack([np.ones(40), np.eye(40)[0]], axis=1)  # alike in all prompts; in one alone
    p = sign_flip(values, draws)
    assert p.tolist() == pytest.approx([1 / (1 + draws), 1.0])
    assert sign_flip(-values, draws).tolist() == p.tolist()


def test_a_latent_is_tested_if_it_moves_anywhere() -> None:
    rare, never = np.full(9, 0.3), np.full(9, 0.3)
    rare[0] = 0.9  # its mean is below the floor, one prompt is above
    p = sign_flip(np.stack([rare, never], axis=1), draws=20_000, floor=0.5)
    assert p[0] == pytest.approx(2 / 2**9, abs=0.002)
    assert p[1] == 1


# --- what changed --------------------------------------------------------------------------------
def pooled(rng: np.random.Generator) -> Pooled:
    z = {k: rng.random((N, M)) for k in POOLINGS}
    return Pooled(z, {k: rng.standard_normal((N, D)) for k in POOLINGS})


def test_changes_are_against_base_and_the_excess_against_the_control() -> None:
    rng = np.random.default_rng(0)
    sae = random_sae("standard", d=D, m=M)  # rows of any length
    base, treated, control = (pooled(rng) for _ in range(3))
    found = difference(sae, some_pairs(), base, treated, control, draws=300)
    alone = difference(sae, some_pairs(), base, treated, draws=300)
    assert (found.controlled, alone.controlled) == (True, False)
    assert found.domains == DOMAINS
    W = sae.W_dec.double().numpy()
    for diff, reference in ((found, control), (alone, base)):
        for k in POOLINGS:
            np.testing.assert_array_equal(diff.change[k], treated.z[k] - base.z[k])
            np.testing.assert_array_equal(diff.excess[k], treated.z[k] - reference.z[k])
        mean = (treated.h["answer"] - reference.h["answer"]).mean(0)
        np.testing.assert_allclose(diff.mean_difference, mean)
        cosine = [row @ mean / np.linalg.norm(row) / np.linalg.norm(mean) for row in W]
        np.testing.assert_allclose(diff.cosine, cosine)
        missing = mean - sum(e * row for e, row in
                             zip(diff.excess["answer"].mean(0), W, strict=True))  # fmt: skip
        assert diff.captured == pytest.approx(1 - (missing @ missing) / (mean @ mean))


def test_q_is_benjamini_and_hochbergs() -> None:
    rng = np.random.default_rng(1)
    base = pooled(rng)
    lift = np.array([1.0, 0.5, 0.3, 0.1, 0.0, 0.0])
    z = {k: base.z[k] + lift + 0.3 * rng.standard_normal((N, M)) for k in base.z}
    found = difference(random_sae("standard", d=D, m=M), some_pairs(), base, Pooled(z, base.h))
    for k in POOLINGS:
        p = np.asarray(found.p[k])
        by_hand = [min(p[j] * M / (p <= p[j]).sum() for j in range(M) if p[j] >= one) for one in p]
        np.testing.assert_allclose(found.q[k], np.minimum(by_hand, 1))
        assert (np.asarray(by_hand) > p).any()


def test_six_prompts_are_enough_and_five_are_not() -> None:
    sae, one = random_sae("standard", d=D, m=M), pooled(np.random.default_rng(2))
    six = Pooled({k: v[:6] for k, v in one.z.items()}, {k: v[:6] for k, v in one.h.items()})
    found = difference(sae, some_pairs()[:6], six, six, draws=10)
    assert all(found.ranking(name) == [] for name in RANKINGS)  # nothing changed at all
    with pytest.raises(PersonaeError, match="5 prompts are too few"):
        difference(sae, some_pairs()[:5], six, six)


# --- rankings ------------------------------------------------------------------------------------
END = np.array([0.1, -5.0, 0.0, 3.0, 2.0, -1.0])
ANSWER = np.array([-2.0, 0.5, 0.0, 0.0, 1.0, -3.0])
ALONG = np.array([0.2, -0.9, 1.0, 0.3, -0.4, 0.1])


def ranked() -> Diff:
    """Excesses with these means; latent 3 changes over the answer, by 0 in the mean."""
    end, answer = (np.tile(v, (N, 1)) for v in (END, ANSWER))
    answer[0, 3], answer[1, 3] = 1, -1
    answer[:4, 1], answer[4:, 1] = 1.25, -0.25  # hats up, shoes and socks down
    answer[4:6, 5] = 1.0  # shoes up
    answer[6:, 5] = -7.0
    excess: dict[Pooling, Floats] = {"prompt end": end, "answer": answer}
    p: dict[Pooling, Floats] = {"prompt end": np.full(M, 0.04)}
    q: dict[Pooling, Floats] = {"prompt end": np.full(M, 0.2)}
    p["answer"] = np.array([0.01, 0.01, 1.0, 1.0, 0.04, 0.01])
    q["answer"] = np.array([0.02, 0.02, 1.0, 1.0, 0.06, 0.02])
    change = {k: 10 * v for k, v in excess.items()}
    return Diff(DOMAINS, change, excess, p, q, np.zeros(D), ALONG, 0.7, True)


def test_rankings_go_by_size_and_leave_out_what_never_changed() -> None:
    diff = ranked()
    order = {name: [r.latent for r in diff.ranking(name)] for name in RANKINGS}
    assert order == {"prompt end": [1, 3, 4, 5, 0], "answer": [5, 0, 4, 1], COSINE: [1, 4, 3, 0, 5]}
    assert diff.ranking("prompt end", 2) == [Rank(1, -5.0), Rank(3, 3.0)]
    assert diff.scores(COSINE).tolist() == [0.2, -0.9, 0.0, 0.3, -0.4, 0.1]


def test_candidates_take_turns_and_have_the_sign_of_their_answers_excess() -> None:
    # Places in turn: 1, 5, (1); 3 is 0 over the answer; 0, 4; ...
    assert ranked().candidates(3) == [Rank(1, 0.5), Rank(5, -3.0), Rank(0, -2.0)]
    assert ranked().candidates(4)[3] == Rank(4, 1.0)
    assert len(ranked().candidates(9)) == 4


def test_rankings_overlap_by_place_and_size() -> None:
    (ab, ac, bc) = ranked().overlap(2)
    assert [row[:2] for row in (ab, ac, bc)] == [
        ("prompt end", "answer"), ("prompt end", COSINE), ("answer", COSINE)
    ]  # fmt: skip
    assert (ab[2], ac[2], bc[2]) == (0, pytest.approx(1 / 3), 0)
    expected = stats.spearmanr(np.abs(END), np.abs(ANSWER)).statistic
    assert ab[3] == pytest.approx(expected)
    short = ranked()  # three of five shared: the joint set counts, not either one
    assert short.overlap(4)[0][2] == pytest.approx(3 / 5)


def test_domains_agree_with_the_mean_whichever_way_it_goes() -> None:
    diff = ranked()
    assert diff.same_sign(0) == (3, 3)  # all fall
    assert diff.same_sign(1) == (1, 3)
    assert diff.same_sign(5) == (2, 3)
    assert diff.same_sign(1, "prompt end") == (3, 3)


def test_findings_count_corrected_changes_and_tell_the_excess() -> None:
    told = {(f.metric, f.scope): f for f in ranked().findings(top=2)}
    assert told["changed_latents", "prompt end"].value == 0
    assert told["changed_latents", "answer"].value == 3
    moved = told["latent_change", "answer: 5"]
    assert (moved.value, moved.n) == (-3.0, N)
    assert "treated minus control" in moved.method
    assert "q = 0.02; the same sign in 2 of 3 domains" in moved.method
    assert ("latent_change", "answer: 4") not in told
    assert told["difference_captured", "answer"].value == 0.7
    alone = replace(ranked(), controlled=False).findings(top=2)
    assert all("control" not in f.method for f in alone)
