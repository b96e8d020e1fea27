"""What the axis' halves, nulls and intervals are made of: each against what it must not share."""

from __future__ import annotations

import math

import numpy as np
import pytest

from personae.errors import PersonaeError
from personae.internals.axis import (
    Sums,
    axis_of,
    choose_layer,
    default_distance,
    order_reliability,
    pc1_agreement,
    pc1_cosine,
    principal_components,
    shuffled_means,
    shuffled_null,
    split_half,
)
from personae.measures.resample import bootstrap_counts
from personae.ratings import Floats

R, B, WIDTH = 8, 4, 5


def once(roles: Floats, default: Floats) -> Sums:
    """Sums of one answer in every block."""
    return Sums(roles, np.ones(roles.shape[:2]), default, np.ones(default.shape[:2]))


def nothing(layers: int = 1) -> tuple[Floats, Floats]:
    """Roles and three instructions, all of whose answers are 0."""
    return np.zeros((R, B, layers, WIDTH)), np.zeros((3, B, layers, WIDTH))


def centred(rng: np.random.Generator) -> Floats:
    """A number for each role, of mean 0."""
    drawn: Floats = rng.standard_normal(R)
    return drawn - drawn.mean()


# --- sums ----------------------------------------------------------------------------------------
def test_a_half_is_every_second_block_of_everything() -> None:
    rng = np.random.default_rng(0)
    sums = Sums(rng.random((3, 5, 1, 2)), rng.random((3, 5)), rng.random((2, 5, 1, 2)),
                rng.random((2, 5)))  # fmt: skip
    for odd, blocks in ((0, [0, 2, 4]), (1, [1, 3])):
        half = sums.half(odd)
        for name in ("roles", "counts", "default", "default_counts"):
            np.testing.assert_array_equal(getattr(half, name), getattr(sums, name)[:, blocks])


def test_each_instruction_counts_once_and_those_without_answers_not_at_all() -> None:
    rng = np.random.default_rng(1)
    means = rng.standard_normal((6, 1, WIDTH))  # three roles, three instructions
    counts = np.array([[3.0, 4], [1, 0], [0, 0], [7, 2], [0, 1], [0, 0]])
    sums = counts[:, :, None, None] * means[:, None]
    found = Sums(sums[:3], counts[:3], sums[3:], counts[3:])
    np.testing.assert_allclose(axis_of(found), means[3:5].mean(0) - means[:2].mean(0))
    assert np.isnan(found.role_means()[2]).all()


# --- interval and nulls --------------------------------------------------------------------------
def test_the_interval_is_that_of_copied_roles_on_fishers_scale() -> None:
    rng = np.random.default_rng(2)
    x, default = rng.standard_normal((12, WIDTH)), 2 * rng.standard_normal(WIDTH)
    x[:, 0] *= 3
    drawn = []
    for times in bootstrap_counts(np.random.default_rng(5), 40, 12).astype(int):
        copied = np.repeat(x, times, axis=0)
        drawn.append(abs(pc1_cosine(copied, default - copied.mean(0))))
    plain = abs(pc1_cosine(x, default - x.mean(0)))
    width = 1.959964 * np.arctanh(drawn).std(ddof=1)
    found = pc1_agreement(x, default, draws=40, seed=5)
    assert (found.value, found.se) == pytest.approx((plain, np.std(drawn, ddof=1)))
    assert found.high == pytest.approx(math.tanh(math.atanh(plain) + width))
    assert found.low == pytest.approx(max(math.tanh(math.atanh(plain) - width), 0.0))


def test_an_agreement_has_no_sign_and_its_interval_stops_at_0() -> None:
    rng = np.random.default_rng(3)
    found = [
        pc1_agreement(rng.standard_normal((6, WIDTH)), rng.standard_normal(WIDTH), draws=40)
        for _ in range(12)
    ]
    assert min(f.low for f in found) == 0.0
    assert max(f.high for f in found) <= 1
    assert math.isnan(pc1_cosine(rng.standard_normal((6, WIDTH)), np.zeros(WIDTH)))


def test_a_shuffled_roles_counts_go_with_its_answers() -> None:
    rng = np.random.default_rng(4)
    counts = rng.integers(1, 9, (R, B)).astype(float)
    always = np.arange(1.0, 1 + WIDTH)  # every answer is the same, however often it was given
    mixed = shuffled_means(counts[:, :, None] * always, counts, rng)
    np.testing.assert_allclose(mixed, np.tile(always, (R, 1)))
    one = np.zeros((R, B))
    one[0] = 1  # at most B shuffled roles have an answer
    sparse = shuffled_means(one[:, :, None] * always, one, rng)
    assert 1 <= len(sparse) <= B
    np.testing.assert_allclose(sparse, np.tile(always, (len(sparse), 1)))


def test_the_null_is_of_its_layer_and_blind_to_the_axis_length() -> None:
    rng = np.random.default_rng(5)
    roles, default = nothing(2)
    roles += rng.standard_normal(roles.shape) * np.array([1.0, 9.0])[:, None]
    sums, axis = once(roles, default), rng.standard_normal(WIDTH)
    found = shuffled_null(sums, 1, 7 * axis, 3, shuffles=4, seed=6)
    draws = np.random.default_rng(6)
    for variances, cosine in zip(found.variances, found.cosines, strict=True):
        x = shuffled_means(roles[:, :, 1], sums.counts, draws)
        np.testing.assert_allclose(variances, principal_components(x, axis).variances[:3])
        assert cosine == pytest.approx(pc1_cosine(x, axis))


def test_shuffled_roles_without_an_answer_leave_the_last_components_empty() -> None:
    roles, default = nothing()
    counts = np.zeros((R, B))
    counts[np.arange(R), np.arange(R) % B] = 1  # one answer each
    roles += counts[:, :, None, None] * np.random.default_rng(7).standard_normal(roles.shape)
    sums = Sums(roles[:4], counts[:4], default, np.ones((3, B)))
    found = shuffled_null(sums, 0, np.ones(WIDTH), 3, shuffles=30)
    assert np.isfinite(found.variances).all()
    assert (found.variances[:, 0] > 0).any()
    assert (found.variances[:, 2] == 0).any()


# --- halves --------------------------------------------------------------------------------------
@pytest.mark.parametrize("who", ["roles", "default"])
def test_split_halves_share_no_answers(who: str) -> None:
    """What even blocks ask about is not in the axis of the odd ones, but for dimension 2."""
    roles, default = nothing()
    pushed = roles if who == "roles" else default
    pushed[:, 0::2, :, 0] = 5
    pushed[:, 1::2, :, 1] = 2
    pushed[..., 2] = 1
    assert split_half(once(roles, default), draws=3) == pytest.approx(1 / math.sqrt(26 * 5))


def test_split_halves_share_no_roles() -> None:
    """Roles far from each other and nothing else: two halves of them point opposite ways."""
    roles, default = nothing()
    roles[:, :, 0, 0] = centred(np.random.default_rng(8))[:, None]
    assert split_half(once(roles, default), draws=20) == pytest.approx(-1)
    assert np.isnan(split_half(once(*nothing()), draws=2)).all()


def crossed(a: Floats, b: Floats, c: Floats) -> Sums:
    """The even blocks' axis is dimension 0, the odd ones' is 1; a lies along the other's axis."""
    roles, default = nothing()
    roles[:, 0::2, 0, 0], roles[:, 0::2, 0, 1] = b[:, None], a[:, None]
    roles[:, 1::2, 0, 0], roles[:, 1::2, 0, 1] = a[:, None], c[:, None]
    default[:, 0::2, 0, 0] = default[:, 1::2, 0, 1] = 10
    return once(roles, default)


def test_roles_are_ordered_along_the_other_halfs_axis() -> None:
    rng = np.random.default_rng(9)
    a, b, c = (centred(rng) for _ in range(3))
    assert order_reliability(crossed(a, b, c), 0) == pytest.approx(1)


def test_a_role_that_one_half_lacks_is_not_ordered() -> None:
    a = np.array([9.0, -3, -1, 0, 1, -2, 3, 2])
    sums = crossed(a, 0 * a, 0 * a)
    for half in (sums.roles, sums.counts):
        half[0, 0::2] = 0  # without answers in the even blocks
    assert order_reliability(sums, 0) == pytest.approx(1)
    assert math.isnan(order_reliability(sums.of_roles([0, 1, 2]), 0))  # two are always in a line


def test_the_distance_is_in_sds_of_roles_and_the_mean_of_both_ways() -> None:
    rng = np.random.default_rng(10)
    roles, default = nothing()
    roles += rng.standard_normal(roles.shape)
    default += 2 + rng.standard_normal(default.shape)
    ways = []
    for made, read in ((0, 1), (1, 0)):
        v = default[:, made::2].mean((0, 1)) - roles[:, made::2].mean((0, 1))
        places = (roles[:, read::2].mean(1) @ v[0])[:, 0]
        ways.append(
            (default[:, read::2].mean((0, 1))[0] @ v[0] - places.mean()) / places.std(ddof=1)
        )
    assert abs(ways[0] - ways[1]) > 0.05
    assert default_distance(once(roles, default)) == pytest.approx([np.mean(ways)])


def test_the_layer_is_one_where_both_halves_agree_on_the_way() -> None:
    rng = np.random.default_rng(11)
    roles, default = nothing(3)
    roles[:, :, 1:] += rng.standard_normal((R, B, 2, WIDTH))  # at layer 0 everything is alike
    default[:, :, 1, 0] = 5
    default[:, 0::2, 2, 0], default[:, 1::2, 2, 0] = 20, -20  # far, but each half another way
    sums = once(roles, default)
    distances = default_distance(sums)
    assert np.isnan(distances[0])
    assert -distances[2] > distances[1] > 0
    assert choose_layer(sums) == 1
    with pytest.raises(PersonaeError, match="every answer is alike"):
        choose_layer(once(*nothing()))
    assert axis_of(sums.of_roles([0, 1, 2])).shape == (3, WIDTH)  # three roles are enough
