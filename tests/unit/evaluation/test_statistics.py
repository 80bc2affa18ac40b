"""Intervals and tests against values worked by hand and slow versions."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bbr.evaluation.statistics import (
    bootstrap_interval,
    compare_paired,
    flip_signs,
    mcnemar,
    mean_and_deviation,
    seed_interval,
)

counts = st.integers(0, 300)
outcomes = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1, max_size=30)


def slow_bootstrap(values, resamples, seed):
    """Draw images with replacement, one by one."""
    rng = np.random.default_rng(seed)
    means = [rng.choice(values, size=len(values)).mean() for _ in range(resamples)]
    return np.quantile(means, (0.025, 0.975))


def slow_mcnemar(fixed, broken):
    """Add up the binomial probabilities of all splits as unlikely as this one."""
    n = fixed + broken
    extreme = max(fixed, broken)
    tail = sum(math.comb(n, k) for k in range(extreme, n + 1)) / 2**n
    return min(1.0, 2 * tail)


@pytest.mark.parametrize(
    "values", [[0, 1] * 100, [1] * 150 + [0] * 50, [-1] * 20 + [0] * 150 + [1] * 30]
)
def test_bootstrap_matches_resampling_one_by_one(values):
    values = np.array(values)
    np.testing.assert_allclose(
        bootstrap_interval(values), slow_bootstrap(values, 4000, seed=1), atol=0.012
    )


def test_bootstrap_is_near_the_normal_interval():
    low, high = bootstrap_interval([1] * 3102 + [0] * 1909)
    p = 3102 / 5011
    half = 1.96 * math.sqrt(p * (1 - p) / 5011)
    assert (low, high) == pytest.approx((p - half, p + half), abs=5e-4)


def test_bootstrap_is_seeded_and_ignores_order():
    assert bootstrap_interval([1, 0, 0, 1, 1]) == bootstrap_interval([0, 1, 1, 1, 0])
    few = [bootstrap_interval([1, 0] * 500, seed, resamples=20) for seed in (1, 1, 2)]
    assert few[0] == few[1] != few[2]


@pytest.mark.parametrize("value", [0, 1])
def test_bootstrap_of_equal_outcomes_has_no_width(value):
    assert bootstrap_interval([value] * 7) == (value, value)


@pytest.mark.parametrize(
    ("fixed", "broken", "expected"),
    [
        (0, 0, 1.0),
        (1, 0, 1.0),
        (5, 0, 2 / 32),
        (6, 2, 2 * (28 + 8 + 1) / 256),
        (3, 3, 1.0),
    ],
)
def test_mcnemar_by_hand(fixed, broken, expected):
    assert mcnemar(fixed, broken) == pytest.approx(expected)


@given(counts, counts)
def test_mcnemar_is_the_slow_one_and_symmetric(fixed, broken):
    assert mcnemar(fixed, broken) == pytest.approx(slow_mcnemar(fixed, broken))
    assert mcnemar(fixed, broken) == pytest.approx(mcnemar(broken, fixed))


def test_paired_comparison_by_hand():
    baseline, candidate = np.array([0, 0, 1, 1, 1]), np.array([1, 1, 0, 1, 1])
    pair = compare_paired(baseline, candidate)
    assert (pair.fixed, pair.broken) == (2, 1)
    assert pair.difference == pytest.approx(1 / 5)
    assert pair.p_value == pytest.approx(1.0)
    assert pair.interval[0] < pair.difference < pair.interval[1]


@given(outcomes)
def test_swapping_the_two_turns_the_comparison_round(pairs):
    first, second = np.array(pairs).T
    there, back = compare_paired(first, second), compare_paired(second, first)
    assert (there.fixed, there.broken) == (back.broken, back.fixed)
    assert there.difference == pytest.approx(-back.difference)
    assert there.difference == pytest.approx((there.fixed - there.broken) / len(pairs))


def test_pairing_is_narrower_than_comparing_two_independent_samples():
    baseline = np.array([0, 1] * 500)
    candidate = baseline.copy()
    candidate[:20] = 1
    low, high = compare_paired(baseline, candidate).interval
    assert high - low < 0.02
    assert low > 0


def test_mean_and_deviation():
    assert mean_and_deviation([1.0, 2.0, 3.0]) == pytest.approx((2.0, 1.0))
    mean, deviation = mean_and_deviation([4.0])
    assert mean == 4.0
    assert math.isnan(deviation)


def test_seed_interval_by_hand():
    # t(0.975, 4 degrees of freedom) = 2.776445; deviation of 1..5 = sqrt(2.5)
    half = 2.776445 * math.sqrt(2.5 / 5)
    assert seed_interval([1, 2, 3, 4, 5]) == pytest.approx((3 - half, 3 + half), abs=1e-5)


def test_seed_interval_of_one_seed_is_unknown():
    assert all(map(math.isnan, seed_interval([2.0])))


def slow_cluster_bootstrap(outcomes, groups, resamples, seed):
    """Whole groups drawn with replacement, one resample after another."""
    rng, names = np.random.default_rng(seed), sorted(set(groups))
    means = []
    for _ in range(resamples):
        drawn = [names[i] for i in rng.integers(len(names), size=len(names))]
        values = [v for name in drawn for v, g in zip(outcomes, groups, strict=True) if g == name]
        means.append(np.mean(values))
    return tuple(np.quantile(means, (0.025, 0.975)))


def test_groups_are_drawn_whole():
    rng = np.random.default_rng(0)
    groups = rng.integers(12, size=60).tolist()
    outcomes = [int(rng.random() < 0.2 + 0.05 * group) for group in groups]
    # 1500 resamples leave an end of the interval uncertain by about 0.01
    np.testing.assert_allclose(
        bootstrap_interval(outcomes, groups=groups),
        slow_cluster_bootstrap(outcomes, groups, 1500, seed=1),
        atol=0.03,
    )


def test_groups_of_one_are_no_groups():
    outcomes = [1, 0, 0, 1, 1]
    assert bootstrap_interval(outcomes, groups=[9, 3, 4, 1, 2]) == bootstrap_interval(outcomes)


def test_copies_in_one_group_add_no_certainty():
    outcomes = [1, 0, 1, 1, 0, 0, 1, 0]
    copies = bootstrap_interval(outcomes * 10, groups=list(range(8)) * 10)
    assert copies == bootstrap_interval(outcomes)


def test_signs_are_flipped_of_whole_groups():
    """Three groups that gain 2, 1 and 1: of 8 choices of signs two sum to 4 or -4."""
    # 10,000 draws: a standard error of 0.0043
    assert flip_signs(np.array([2.0, 1, 1])) == pytest.approx(2 / 8, abs=0.02)
    assert flip_signs(np.array([3.0, -3.0, 0])) == 1


def test_grouped_comparisons_are_no_surer_than_their_groups():
    """The same gain in 40 phrases of 4 images says less than in 40 images."""
    before, after = np.zeros(40, int), np.ones(40, int)
    grouped = compare_paired(before, after, np.repeat(np.arange(4), 10))
    assert grouped.p_value == pytest.approx(2 / 16, abs=0.02)
    assert compare_paired(before, after, np.arange(40)).p_value < 1e-10
    assert grouped.interval == (1, 1)
