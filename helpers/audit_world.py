"""What the pocket world is really like: the truth that an audit of the pocket model has to find."""

import random

import pandas as pd


def people(count=20_000, seed=0):
    """Draw people as the pocket model's training pictures were drawn: DataFrame kind, skin, hair, clothes, ...

    The world is a rule (pocket/world.py), so its shares can be counted as exactly as one likes: 20,000 people give
    a share to within one per cent.
    """
    from pocket.world import sample_person  # words and chances only; drawing needs more

    rng = random.Random(seed)
    return pd.DataFrame([vars(sample_person(rng)) for _ in range(count)])
