import itertools
from operator import itemgetter

import krippendorff
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from helpers.stats import (
    alpha,
    alpha_interval,
    interval,
    known,
    paired_difference,
    percent,
    raw_agreement,
    share_interval,
    summarise,
    wilson,
)

NORMAL = np.random.default_rng(0).normal(3, 2, 400)


def test_of_many_single_values_it_is_the_textbook_interval():
    low, high = interval(NORMAL, draws=4000)
    half = stats.t.ppf(0.975, 399) * stats.sem(NORMAL)
    assert (low, high) == pytest.approx((NORMAL.mean() - half, NORMAL.mean() + half), abs=0.02)


def test_without_the_widening_it_is_scipys_percentile_interval():
    expected = stats.bootstrap((NORMAL[:300],), np.mean, method="percentile", n_resamples=9999, rng=1)
    low, high = interval(NORMAL[:300], draws=4000)
    assert (low, high) == pytest.approx(tuple(expected.confidence_interval), abs=0.02)


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=30), st.integers(0, 5))
@settings(max_examples=25, deadline=None)
def test_it_lies_within_the_values_and_is_the_same_again(values, seed):
    low, high = interval(values, seed=seed, draws=200)
    if len(set(values)) > 1:
        assert min(values) - 1e-6 <= low < high <= max(values) + 1e-6 or np.isnan([low, high]).all()
    else:  # not known, or as wide as for a share
        assert high - low > 0.1 if set(values) <= {0, 1} else np.isnan([low, high]).all()
    np.testing.assert_equal((low, high), interval(values, seed=seed, draws=200))


def test_copies_within_a_group_add_no_knowledge():
    few = NORMAL[:12]
    once = interval(few, groups=list("abcdefghijkl"))
    tenfold = interval(np.repeat(few, 10), groups=np.repeat(list("abcdefghijkl"), 10))
    assert tenfold == pytest.approx(once, abs=1e-9)
    low, high = interval(np.repeat(few, 10))
    assert high - low < 0.5 * (tenfold[1] - tenfold[0])


def test_of_many_clusters_it_is_the_plain_cluster_bootstrap():
    rater, chances = np.repeat(np.arange(150), 4), np.repeat(np.random.default_rng(4).random(150), 4)
    values = (np.random.default_rng(3).random(600) < chances).astype(float)
    whole = np.random.default_rng(0).integers(150, size=(4000, 150))  # raters drawn, written out
    means = np.bincount(rater, values)[whole].sum(axis=1) / 600
    expected = tuple(np.quantile(means, [0.025, 0.975]))
    assert interval(values, rater, draws=4000) == pytest.approx(expected, abs=0.006)


def crossed(rng, prompts=8, seeds=8):
    """Scores with an effect of the prompt, of the seed, and of both; their labels."""
    p, s = np.divmod(np.arange(prompts * seeds), seeds)
    values = rng.normal(size=prompts)[p] + rng.normal(size=seeds)[s] + rng.normal(size=len(p))
    return values, np.column_stack([p, s])


def test_crossed_groups_cover_and_single_values_do_not():
    rng, hits, naive = np.random.default_rng(5), 0, 0
    for _ in range(80):
        values, labels = crossed(rng)
        low, high = interval(values, labels, draws=200)
        hits += low <= 0 <= high
        low, high = interval(values, draws=200)
        naive += low <= 0 <= high
    assert hits >= 0.88 * 80 > naive


def test_few_groups_cover_as_students_t_does():
    rng, hits = np.random.default_rng(6), 0
    for _ in range(300):
        low, high = interval(rng.normal(size=6), draws=200)
        hits += low <= 0 <= high
    assert 0.90 <= hits / 300 <= 0.985  # the plain percentile interval reaches about 0.86 here


def test_any_statistic_of_rows():
    pairs = np.column_stack([NORMAL, NORMAL + 1])
    low, high = interval(pairs, statistic=lambda rows: rows[:, 1].mean() - rows[:, 0].mean() / 2, draws=200)
    assert (low, high) == pytest.approx(tuple(1 + np.array(interval(NORMAL / 2, draws=200))))
    words = np.array(["man", "man", "woman", "man"] * 20)
    low, high = interval(words, statistic=lambda rows: np.mean(rows == "man"), draws=500)
    assert low < 0.75 < high


ALIKE = {  # each once gave an interval of width zero
    "a bootstrap of equal values": lambda: interval([0.7] * 12),
    "groups with equal means": lambda: interval([2.0, 3.0] * 6, np.repeat(range(6), 2)),
    "a median that no draw moves": lambda: interval([1.0] * 40 + [5.0], statistic=np.median, draws=200),
    "pairs that are all equally far apart": lambda: itemgetter("low", "high")(paired_difference(NORMAL, NORMAL - 1)),
    "pairs without a difference": lambda: itemgetter("low", "high")(paired_difference(NORMAL, NORMAL)),
    "a mean of equal scores": lambda: itemgetter("low", "high")(summarise([0.62] * 8)),
    "alpha of perfect agreement": lambda: alpha_interval(np.repeat([[1, 2, 3, 4, 5]], 4, axis=0)),
    "alpha of 299 yes and one no": lambda: alpha_interval(NEARLY, "nominal"),
    "alpha of one picture": lambda: alpha_interval([[1], [2], [2]]),
}
NEARLY = np.r_[np.ones(299), 0].reshape(30, 10).T  # ten raters, thirty pictures


@pytest.mark.parametrize("name", ALIKE)
def test_no_interval_has_the_width_zero(name):
    assert np.isnan(ALIKE[name]()).all()


def test_of_answers_that_are_all_yes_the_interval_is_wide():
    assert interval(np.ones(24, bool), np.repeat(range(8), 3)) == pytest.approx(wilson(1, 8))  # a seed counts once
    assert interval(np.zeros(9)) == pytest.approx(wilson(0, 9))
    turned = paired_difference(np.ones(16), np.zeros(16))  # all showed the subject, and none before
    assert turned["difference"] == turned["high"] == 1 and 0.5 < turned["low"] < 0.7
    same = paired_difference(np.ones(16), np.ones(16))
    assert -0.5 < same["low"] < same["difference"] == 0 < same["high"] < 0.5
    assert summarise(np.ones(8, bool))["low"] < 0.7


@pytest.mark.parametrize("share", [0.9, 0.97])
def test_the_interval_of_values_that_may_be_all_alike_holds_the_truth(share):
    """Twelve scores of 1 to 5, nearly always 5: studies in which all are 5 come often, and count."""
    rng, held = np.random.default_rng(1), 0
    for _ in range(300):
        scores = np.where(rng.random(12) < share, 5, 4.0)
        low, high = interval(scores, draws=200, limits=(1, 5))
        held += low <= 4 + share <= high
    assert held >= 0.95 * 300


def test_ends_that_meet_are_not_known_and_said_so():
    low, high = known([0.1, 0.2, 1 / 3], [0.3, 0.2, 0.1 / 0.3])
    assert low[0] == 0.1 and high[0] == 0.3 and np.isnan([*low[1:], *high[1:]]).all()
    assert percent(1, np.nan, np.nan) == "100 % (interval not known)"
    assert percent(0.8, 0.58, 0.92) == "80 % (58 to 92 %)"


def test_raw_agreement_counts_pairs_of_answers_and_gives_nominal_alpha():
    matrix = judged(np.random.default_rng(2))
    whole = np.clip(np.rint(np.random.default_rng(2).normal(3, 1, (6, 15))), 1, 5)
    pairs = [a == b for item in whole.T for a, b in itertools.permutations(item, 2)]
    assert raw_agreement(whole)[0] == pytest.approx(np.mean(pairs))
    assert alpha(matrix, "nominal") == pytest.approx(1 - np.divide(*1 - np.array(raw_agreement(matrix))))
    same, chance = raw_agreement(NEARLY)
    assert same > 0.99 and chance > 0.99 and abs(alpha(NEARLY, "nominal")) < 0.01


def test_one_group_says_nothing():
    assert np.isnan(interval([1, 2, 3], groups=["a", "a", "a"])).all()
    assert np.isnan(interval([5.0])).all()


def test_clear_words_for_bad_input():
    with pytest.raises(ValueError, match="no values"):
        interval([])
    with pytest.raises(ValueError, match="3 values but labels for 2"):
        interval([1, 2, 3], groups=["a", "b"])
    with pytest.raises(ValueError, match="two lists of one length"):
        paired_difference([1, 2], [1, 2, 3])


def test_paired_difference_knows_its_answers():
    b = np.arange(40.0)
    same = paired_difference(b, b)
    assert (same["difference"], same["higher"]) == (0, 0.5)
    assert np.isnan([same["effect"], same["low"], same["high"]]).all()
    noise = np.random.default_rng(7).normal(0.5, 1, 40)
    moved = paired_difference(b + noise, b)
    assert moved["difference"] == pytest.approx(noise.mean())
    assert moved["effect"] == pytest.approx(noise.mean() / noise.std(ddof=1))
    assert moved["higher"] == np.mean(noise > 0)
    assert moved["low"] < moved["difference"] < moved["high"]
    unpaired = interval(b + noise)
    assert moved["high"] - moved["low"] < 0.2 * (unpaired[1] - unpaired[0])  # pairing takes the prompts' spread away


def test_paired_difference_of_another_statistic():
    b = np.arange(41.0)
    a = b + 2 + np.arange(41) % 3  # two to four above
    found = paired_difference(a, b, statistic=np.median, draws=300)
    assert found["difference"] == np.median(a) - np.median(b) and 2 <= found["low"] < found["high"] <= 4
    swapped = paired_difference(b, a, statistic=np.median, draws=300)
    assert swapped["difference"] == -found["difference"] and swapped["higher"] == 0
    assert (swapped["low"], swapped["high"]) == pytest.approx((-found["high"], -found["low"]), abs=0.5)


@pytest.mark.parametrize(("k", "n"), [(0, 20), (14, 20), (16, 20), (20, 20), (57, 83)])
def test_wilson_is_scipys(k, n):
    theirs = stats.binomtest(k, n).proportion_ci(method="wilson")
    assert wilson(k / n, n) == pytest.approx(tuple(theirs), abs=1e-12)


def test_one_answer_a_rater_has_no_design_effect_and_equal_answers_count_once():
    values = np.array([1] * 14 + [0] * 6)
    single = share_interval(range(20), values)
    assert single["effect"] == pytest.approx(20 / 19)
    repeated = share_interval(np.repeat(range(20), 8), np.repeat(values, 8))
    assert repeated["effect"] == pytest.approx(8 * 20 / 19)
    assert (repeated["low"], repeated["high"]) == pytest.approx((single["low"], single["high"]))
    with pytest.raises(ValueError, match="two raters"):
        share_interval([1, 1], [0, 1])


def judged(rng):
    """Six people's 1 to 5 of fifteen pictures, alike but not the same, and here and there none."""
    matrix = np.clip(rng.integers(1, 6, 15) + rng.integers(-1, 2, (6, 15)), 1, 5).astype(float)
    return np.where(rng.random(matrix.shape) < 0.3, np.nan, matrix)


@pytest.mark.parametrize("level", ["nominal", "ordinal", "interval"])
@pytest.mark.parametrize("seed", range(2))
def test_alpha_is_that_of_the_krippendorff_package(level, seed):
    matrix = judged(np.random.default_rng(seed))
    theirs = krippendorff.alpha(matrix, level_of_measurement=level)
    assert alpha(matrix, level) == pytest.approx(theirs, abs=1e-12)


def test_alpha_has_the_interval_of_redrawn_pictures():
    matrix = judged(np.random.default_rng(7))
    ours = alpha_interval(matrix, "ordinal", draws=60, seed=4)
    rng, drawn = np.random.default_rng(4), []
    for _ in range(60):
        drawn.append(krippendorff.alpha(matrix[:, rng.integers(15, size=15)], level_of_measurement="ordinal"))
    assert ours == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])), abs=1e-9)
    with pytest.raises(ValueError, match="two raters"):
        alpha_interval(np.array([[1.0, np.nan], [np.nan, 2.0]]), "ordinal")


def test_a_summary_has_wilsons_interval_for_answers_and_students_for_numbers():
    expected = {"images": 20, "mean": 0.7, "low": 0.481, "high": 0.855}  # of 14 in 20, as in the books
    assert summarise([True] * 14 + [False] * 6) == pytest.approx(expected, abs=5e-4)
    assert wilson(1, 20) == pytest.approx((0.839, 1.0), abs=5e-4) and wilson(0, 16)[0] == 0
    values = [0.61, 0.55, 0.70, 0.66, 0.58]
    low, high = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert summarise(values) == pytest.approx({"images": 5, "mean": 0.62, "low": low, "high": high})
    assert np.isnan(summarise([0.5])["low"])
    with pytest.raises(ValueError, match="no images"):
        summarise([])
