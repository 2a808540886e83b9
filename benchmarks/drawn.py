"""The metric's own ceiling: how often the reader knows a drawn subject again, in scenes like those a claim counts."""

import random

from helpers import stats
from pocket.draw import draw
from pocket.world import subject_scene


def words(scorer, subject, count, **scene):
    """In words, with an interval: how many of `count` drawings of a subject carry it; scene: context and style."""
    rng = random.Random(0)
    images = [draw(subject_scene(subject, rng, **scene)) for _ in range(count)]
    return scorer.words(stats.summarise(scorer.shows_subject(images, subject)))
