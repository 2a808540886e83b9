"""A recogniser's examples, scores and tasks: against scipy, by hand, and by what must hold of a fair comparison."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.stats import mannwhitneyu

from helpers import machine
from helpers.compare import recogniser
from pocket import lookalikes, people, world

few = st.lists(st.integers(-3, 3), min_size=1, max_size=12)


@given(few, few)
def test_auc_is_mann_whitney_s_u_over_the_number_of_pairs(own, others):
    truth = np.arange(len(own) + len(others)) < len(own)
    expected = mannwhitneyu(own, others).statistic / (len(own) * len(others))
    assert recogniser.auc(own + others, truth) == pytest.approx(expected)


def test_balanced_accuracy_gives_each_side_half_of_the_weight():
    truth = np.array([True] * 2 + [False] * 8)
    scores = np.array([1, -1] + [-1] * 6 + [1] * 2)  # half of two known, three quarters of eight refused
    assert recogniser.balanced_accuracy(scores, truth) == 0.625
    assert recogniser.balanced_accuracy(np.full(10, -1), truth) == 0.5


def numbered(**sizes):
    """A pool whose features name their source and their number in it: [[source, number], ...]."""
    pool = {name: np.array([[place, i] for i in range(n)]) for place, (name, n) in enumerate(sizes.items())}
    for name in ("photos", "strangers"):
        pool[f"varied {name}"] = np.stack([pool[name] + [10, 100 * view] for view in range(4)], axis=1)
    return pool


POOL = numbered(photos=16, strangers=16, predicted=16, made_strangers=32)
PHOTOS, STRANGERS, PREDICTED, MADE = range(4)


@pytest.mark.parametrize("shots", [4, 8, 16])
@pytest.mark.parametrize(
    ("own", "others", "origins"),
    [
        (["photos"], ["strangers"], {PHOTOS: STRANGERS}),
        (["photos", "predicted"], ["strangers", "made_strangers"], {PHOTOS: STRANGERS, PREDICTED: MADE}),
        (["photos", "varied photos"], ["strangers", "varied strangers"], {PHOTOS: STRANGERS, 10: 11}),
    ],
)
def test_in_a_fair_design_each_origin_has_as_many_of_the_person_as_of_others(shots, own, others, origins):
    of_person, of_others = recogniser.examples(POOL, own, others, shots, seed=3)
    sides = [pd.Series(side[:, 0]).value_counts() for side in (of_person, of_others)]
    assert set(sides[0].index) == set(origins)
    assert all(sides[0][mine] == sides[1][theirs] for mine, theirs in origins.items())
    assert sides[0][PHOTOS] == shots
    photos, strangers = (side[side[:, 0] == kind][:, 1] for side, kind in ((of_person, PHOTOS), (of_others, STRANGERS)))
    assert np.array_equal(photos, strangers), "a stranger stands where the person stands"


def test_in_the_unfair_design_there_are_as_many_of_both_and_no_photo_of_another():
    for own in (["photos"], ["photos", "predicted"]):
        of_person, of_others = recogniser.examples(POOL, own, ["made_strangers"], 8, seed=0)
        assert len(of_person) == len(of_others) and set(of_others[:, 0]) == {MADE}


def test_photos_are_the_same_in_every_recipe_of_a_seed_and_hold_the_first_four():
    """The predictor saw these four: a recogniser with fewer photos must not learn of others through it."""
    drawn = {}
    for seed in range(6):
        alone = recogniser.examples(POOL, ["photos"], ["strangers"], 8, seed)[0]
        more = recogniser.examples(POOL, ["photos", "predicted"], ["strangers", "made_strangers"], 8, seed)[0]
        assert np.array_equal(alone, more[:8])
        assert set(range(4)) <= set(alone[:, 1])
        drawn[seed] = tuple(sorted(alone[:, 1]))
    assert len(set(drawn.values())) > 1
    views = recogniser.examples(POOL, ["varied photos"], ["varied strangers"], 4, 0)[0]
    assert set(views[:, 1] % 100) == set(range(4)) and len(views) == recogniser.ADDED


def test_whoever_tells_the_two_apart_perfectly_gets_1_and_gains_over_guessing():
    truth = np.array([True, False] * 6)
    pools = {name: numbered(photos=8, strangers=8) | {"test": truth * 2.0 - 1} for name in ("a", "b")}
    recipes = {"photos": (["photos"], ["strangers"]), "missing": (["photos", "nobody's"], ["strangers"])}
    perfect = recogniser.trials(
        pools, dict.fromkeys(pools, truth), recipes, [4], range(3), lambda own, others: lambda x: x
    )
    assert set(perfect["recipe"]) == {"photos"} and len(perfect) == 6
    assert (perfect[["balanced accuracy", "AUC"]] == 1).all(axis=None)
    guess = perfect.assign(recipe="guess", **{"balanced accuracy": 0.5})
    gain = recogniser.gains(pd.concat([perfect, guess]), "guess").iloc[0]
    assert (gain["recipe"], gain["gain"], gain["people"]) == ("photos", 0.5, 2)
    row = recogniser.summary(guess.assign(**{"balanced accuracy": [0.4, 0.6] * 3})).iloc[0]
    assert row["low"] < row["mean"] < row["high"] and row["people"] == 2


def test_an_interval_says_gain_loss_or_open():
    ends = [(0.1, 0.2), (-0.2, -0.1), (-0.1, 0.1), (float("nan"),) * 2]
    assert [recogniser.verdict(*pair) for pair in ends] == ["gain", "loss", "open", "open"]


def test_classic_augmentation_changes_a_picture_and_no_size_matters():
    image = Image.effect_noise((40, 40), 80).convert("RGB")
    changed = [recogniser.varied(image, np.random.default_rng(seed)) for seed in (0, 0, 1)]
    assert changed[0].tobytes() == changed[1].tobytes() != changed[2].tobytes()
    assert all(30 <= side <= 40 for one in changed for side in one.size)


def test_everybody_has_photos_strangers_and_a_balanced_test():
    tasks = recogniser.tasks()
    assert len(tasks) == 10 and {*machine.subjects.SAMPLES.values()} <= set(tasks)
    for name, task in tasks.items():
        assert len(task.photos) >= 16 and len(task.strangers) == 16 and task.truth.mean() == 0.5, name
        assert len(task.test) == len(task.truth) == len(recogniser.about_test(name)) and not task.note
        assert {image.size for image in [*task.photos, *task.strangers, *task.test]} == {(128, 128)}


def test_the_test_shows_no_context_and_style_of_the_photos_and_both_of_a_pair_stand_in_one_scene():
    for name in recogniser.tasks():
        about = recogniser.about_test(name)
        assert not ((about["style"] == "photo") & about["context"].isin(lookalikes.AS_IN_PHOTOS)).any()
        scenes = about[["context", "place", "style"]]
        assert (
            scenes[about["is_person"]].reset_index(drop=True).equals(scenes[~about["is_person"]].reset_index(drop=True))
        )


@pytest.mark.parametrize("name", ["nesrelah", "person_03"])
def test_a_look_alike_shares_one_thing_and_the_scene(name):
    found, _ = lookalikes.everybody()[name]
    for number in range(20):
        own, other, shared = lookalikes.pair(found, name, number)
        assert (own.context, own.place, own.style, own.layout) == (
            other.context,
            other.place,
            other.style,
            other.layout,
        )
        assert own.person.kind == other.person.kind and own.person.clothes_color == other.person.clothes_color
        both = [(vars(own.person)[field], vars(other.person)[field]) for field in vars(own.person)]
        alike = {field for field, (one, two) in zip(vars(own.person), both) if one == two}
        assert [part for part, fields in lookalikes.SHARED.items() if {*fields} <= alike] == [shared]


def test_a_picture_in_a_sheet_is_the_one_that_the_world_draws():
    name, task = "person_02", recogniser.tasks()["person_02"]
    (found, number), numbers = lookalikes.everybody()[name], (0, 5)
    for i in numbers:
        assert np.array_equal(np.asarray(task.photos[i]), people.portrait("test", number, i))
        in_place = people.portrait("test", number, i, lookalikes.stranger(name, i))
        assert np.array_equal(np.asarray(task.strangers[i]), in_place)
    own, other, _ = lookalikes.pair(found, name, 3)
    assert [im.tobytes() for im in task.test[6:8]] == [lookalikes.draw(scene, 128).tobytes() for scene in (own, other)]


def test_nobody_s_stranger_has_a_feature_that_is_kept_for_the_subjects():
    assert not any(people.has_reserved(lookalikes.stranger(name, i)) for name in world.SUBJECTS for i in range(20))


def test_one_s_own_people_are_each_other_s_strangers_and_one_alone_is_warned(monkeypatch):
    monkeypatch.setattr(recogniser.subjects, "own", lambda: ["ann", "bob"])
    monkeypatch.setattr(recogniser.subjects, "chosen", lambda: ["ann", "bob"])
    shots = {"ann": [Image.new("RGB", (8, 8), (i, 0, 0)) for i in range(12)], "bob": [Image.new("RGB", (8, 8))] * 9}
    monkeypatch.setattr(recogniser, "_squares", shots.get)
    ann = recogniser.tasks()["ann"]
    assert [len(part) for part in (ann.photos, ann.strangers, ann.test)] == [8, 6, 4 + 3] and ann.truth.sum() == 4
    assert not {image.tobytes() for image in ann.photos} & {image.tobytes() for image in ann.test[:4]} and not ann.note
    assert "nesrelah" not in recogniser.tasks(), "a sample is there only where it is worked with"
    monkeypatch.setattr(recogniser.subjects, "own", lambda: ["ann"])
    assert "drawn" in recogniser.tasks()["ann"].note
