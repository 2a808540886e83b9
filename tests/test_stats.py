import krippendorff
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from helpers.stats import alpha, alpha_interval, interval, paired_difference, share_interval, summarise, wilson

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
    assert min(values) - 1e-6 <= low <= high <= max(values) + 1e-6
    assert (low, high) == interval(values, seed=seed, draws=200)


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
    low, high = interval(pairs, statistic=lambda rows: rows[:, 1].mean() - rows[:, 0].mean(), draws=200)
    assert (low, high) == pytest.approx((1, 1))
    words = np.array(["man", "man", "woman", "man"] * 20)
    low, high = interval(words, statistic=lambda rows: np.mean(rows == "man"), draws=500)
    assert low < 0.75 < high


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
    assert (same["difference"], same["low"], same["high"], same["higher"]) == (0, 0, 0, 0.5)
    assert np.isnan(same["effect"])
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
    found = paired_difference(b + 2, b, statistic=np.median, draws=300)
    assert found["difference"] == 2 and found["low"] == pytest.approx(2)
    swapped = paired_difference(b, b + 2, statistic=np.median, draws=300)
    assert swapped["difference"] == -2 and swapped["higher"] == 0


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
