"""The pocket world: drawn people in drawn scenes, endless, with the truth known.

A scene is data. `pocket.draw.draw(scene)` makes its picture and `pocket.describe.describe(scene, rng)`
a caption that names a random part of the truth. Everything follows from one seed:

    scene = sample_scene(random.Random(7))
"""

import random
from dataclasses import asdict, dataclass

import pandas as pd

KINDS = ("man", "woman")
SKINS = ("light", "tan", "brown", "dark")
HAIR_COLORS = ("black", "brown", "blonde", "red", "grey")
HAIR = {
    "man": ("short", "wavy", "curly", "bald", "dreadlocks", "shaggy", "turban"),
    "woman": ("long straight", "long wavy", "long curly", "bob", "bun", "afro", "big", "hijab"),
}
BEARDS = ("none", "beard", "moustache")
GLASSES = ("none", "glasses", "sunglasses")
EXPRESSIONS = ("smiling", "happy", "serious", "sad", "surprised", "winking", "laughing")
CLOTHES = ("shirt", "hoodie", "overalls", "sweater", "suit")
COLORS = ("black", "blue", "grey", "pink", "red", "white", "yellow", "green", "navy")
CONTEXTS = ("portrait", "horse", "bicycle", "dog", "cat", "robot", "chibi")
CONTEXT_WEIGHTS = (40, 14, 8, 8, 8, 9, 13)  # how often each of CONTEXTS comes, in percent
PLAIN = ("white", "blue", "green", "pink", "yellow", "grey", "purple", "orange")
SCENERY = ("beach", "forest", "city", "space", "snow", "castle")
PLACES = PLAIN + SCENERY
STYLES = (
    "photo",
    "pixel art",
    "pencil sketch",
    "jade sculpture",
    "fire",
    "comic book",
    "oil painting",
    "watercolor",
)

# Features that sample_person never draws unless asked: the two sample subjects are made of them,
# so a model trained on this world has never met anybody who looks like them.
RESERVED_HAIR = {"man": (), "woman": ("afro with headband",)}
RESERVED_HAIR_COLORS = ("pink",)
RESERVED_BEARDS = ("majestic beard",)
RESERVED_GLASSES = ("round glasses", "square glasses")

# (context, place, style) never seen in training: can the model compose what it knows?
HELD_OUT = frozenset(
    {
        ("horse", "snow", "photo"),
        ("horse", "city", "watercolor"),
        ("horse", "space", "pixel art"),
        ("bicycle", "castle", "photo"),
        ("bicycle", "beach", "jade sculpture"),
        ("dog", "space", "photo"),
        ("dog", "castle", "comic book"),
        ("cat", "forest", "oil painting"),
        ("cat", "snow", "fire"),
        ("robot", "beach", "photo"),
        ("robot", "forest", "pencil sketch"),
        ("chibi", "city", "photo"),
        ("chibi", "snow", "jade sculpture"),
        ("portrait", "castle", "pixel art"),
        ("portrait", "beach", "fire"),
        ("portrait", "space", "oil painting"),
    }
)

# The one planted skew (see pocket/README.md): whoever wears a suit is a man four times in five.
# Everything else is drawn evenly, so an audit has a known answer to find.
MEN_AMONG_SUITS = 0.8


@dataclass(frozen=True)
class Person:
    """One drawn individual. Every field is one of this module's words."""

    kind: str
    skin: str
    hair: str
    hair_color: str
    beard: str
    glasses: str
    expression: str
    clothes: str
    clothes_color: str
    hat_color: str  # of a turban, a hijab or a headband
    shade: int = 0  # which of the shades of the skin and cuts of the hair


@dataclass(frozen=True)
class Scene:
    """A person somewhere, drawn in some style; `layout` seeds sizes and positions."""

    person: Person
    context: str
    place: str
    style: str
    layout: int

    def as_dict(self):
        """Flat dict of all the truth, for tables and JSON."""
        rest = {name: value for name, value in asdict(self).items() if name != "person"}
        return asdict(self.person) | rest


def sample_person(rng, reserved=0.0):
    """Draw an individual.

    reserved: probability, for each of hair, hair colour, beard and glasses, of a feature kept for
    the sample subjects. 0 in all that the diffusion model learns from; above 0 only for the VAE and
    the reader, which must cope with everybody.
    """
    clothes = rng.choice(CLOTHES)
    men = MEN_AMONG_SUITS if clothes == "suit" else _men_among_the_rest()
    kind = "man" if rng.random() < men else "woman"
    return Person(
        kind=kind,
        skin=rng.choice(SKINS),
        hair=_pick(rng, HAIR[kind], RESERVED_HAIR[kind], reserved),
        hair_color=_pick(rng, HAIR_COLORS, RESERVED_HAIR_COLORS, reserved),
        beard=_beard(rng, kind, reserved),
        glasses=_pick(rng, GLASSES, RESERVED_GLASSES, reserved, weights=(0.6, 0.28, 0.12)),
        expression=rng.choice(EXPRESSIONS),
        clothes=clothes,
        clothes_color=rng.choice(COLORS),
        hat_color=rng.choice(COLORS),
        shade=rng.randrange(4),
    )


def people(count=20_000, seed=0):
    """Draw people as the training pictures were drawn: DataFrame kind, skin, hair, clothes, ..., a row a person.

    The world is a rule, so its shares can be counted as exactly as one likes: 20,000 people give a share to within
    one per cent.
    """
    rng = random.Random(seed)
    return pd.DataFrame([vars(sample_person(rng)) for _ in range(count)])


def _men_among_the_rest():
    """The share of men outside suits that makes men and women equal over the whole world."""
    suits = 1 / len(CLOTHES)
    return (0.5 - suits * MEN_AMONG_SUITS) / (1 - suits)


def _beard(rng, kind, reserved):
    if kind == "woman":
        return "none"
    return _pick(rng, BEARDS, RESERVED_BEARDS, reserved, weights=(0.5, 0.3, 0.2))


def _pick(rng, usual, kept_back, reserved, weights=None):
    if kept_back and rng.random() < reserved:
        return rng.choice(kept_back)
    return rng.choices(usual, weights)[0]


def sample_scene(
    rng,
    person=None,
    context=None,
    place=None,
    style=None,
    reserved=0.0,
    held_out=False,
    context_weights=CONTEXT_WEIGHTS,
):
    """Draw a scene; whatever is given is kept.

    held_out=False never returns a combination of HELD_OUT, held_out=True always does.
    Raises ValueError if what is given leaves no combination.
    """
    person = person or sample_person(rng, reserved)
    if held_out:
        wanted = (context, place, style)
        options = sorted(c for c in HELD_OUT if all(w in (None, have) for w, have in zip(wanted, c)))
        if not options:
            raise ValueError(f"no held-out combination has context, place, style = {wanted}")
        combination = rng.choice(options)
    else:
        combination = _training_combination(rng, context, place, style, context_weights)
    return Scene(person, *combination, layout=rng.randrange(2**31))


def _training_combination(rng, context, place, style, context_weights):
    for _ in range(1000):
        combination = (
            context or rng.choices(CONTEXTS, context_weights)[0],
            place or rng.choice(PLAIN if rng.random() < 0.4 else SCENERY),
            style or rng.choices(STYLES, (44, 8, 8, 8, 8, 8, 8, 8))[0],
        )
        if combination not in HELD_OUT:
            return combination
    raise ValueError(f"{(context, place, style)} is held out from training: pass held_out=True")


# Two people made of reserved features, and what a reader must find to know them again.
SUBJECTS = {
    "amir": {
        "person": Person(
            "man", "tan", "shaggy", "black", "majestic beard", "round glasses", "smiling", "shirt", "blue", "red"
        ),
        "telling": ("skin", "hair", "hair_color", "beard", "glasses"),
    },
    "nesrelah": {
        "person": Person(
            "woman",
            "brown",
            "afro with headband",
            "pink",
            "none",
            "square glasses",
            "smiling",
            "shirt",
            "yellow",
            "blue",
        ),
        "telling": ("skin", "hair", "hair_color", "glasses"),
    },
}


def subject_scene(name, rng, **given):
    """A scene with one of SUBJECTS in it, in fresh clothes and mood; `given` as in sample_scene."""
    person = SUBJECTS[name]["person"]
    fresh = sample_person(random.Random(rng.randrange(2**31)))
    changed = {k: getattr(fresh, k) for k in ("expression", "clothes", "clothes_color")}
    return sample_scene(rng, person=Person(**{**asdict(person), **changed}), **given)
