"""Captions for scenes of the pocket world, as people write them and as prompts are written.

A caption names a random part of the truth and nothing untrue. Tails of words that prompts are full
of ("highly detailed, 4k, trending on artstation") and invented names change nothing in the picture,
so a model learns that they are noise. No real artist is ever named.
"""

from dataclasses import replace

from pocket.world import PLAIN, RESERVED_BEARDS, RESERVED_GLASSES, RESERVED_HAIR

PLACE_WORDS = {
    "beach": ("at the beach", "on a beach", "by the sea"),
    "forest": ("in the forest", "in the woods", "among trees"),
    "city": ("in the city", "in a city", "in front of tall buildings"),
    "space": ("in space", "in outer space", "among the stars"),
    "snow": ("in the snow", "on a snowy day", "in winter"),
    "castle": ("in front of a castle", "near a castle", "by a castle"),
}
STYLE_WORDS = {
    "photo": (
        "a photo of {}",
        "{}",
        "a photograph of {}",
        "a photo of {}",
        "{}, photography",
        "a portrait photo of {}",
    ),
    "pixel art": ("pixel art of {}", "{}, pixel art", "{} in pixel art style"),
    "pencil sketch": ("a pencil sketch of {}", "{}, pencil drawing", "a sketch of {}"),
    "jade sculpture": (
        "a jade sculpture of {}",
        "{}, marble and jade sculpture",
        "highly detailed marble and jade sculpture of {}",
        "{} made of jade",
    ),
    "fire": ("{} made of fire", "{} made of fire, intricate heat distortion designs", "{} in flames", "{} on fire"),
    "comic book": (
        "a comic book drawing of {}",
        "{}, comic book style",
        "comic book style painting of {}",
        "an epic comic book style portrait painting of {}",
    ),
    "oil painting": ("an oil painting of {}", "{}, oil painting", "{}, oil on canvas"),
    "watercolor": ("a watercolor painting of {}", "{}, watercolor", "{}, watercolor illustration"),
}
TAILS = (
    "highly detailed",
    "ultra detailed",
    "intricate",
    "intricate detail",
    "elegant",
    "4k",
    "8k",
    "4 k hd",
    "sharp focus",
    "trending on artstation",
    "artstation",
    "digital art",
    "digital painting",
    "concept art",
    "illustration",
    "matte",
    "fantasy",
    "D&D",
    "cinematic lighting",
    "dramatic lighting",
    "volumetric fog",
    "unreal engine",
    "unreal engine 5",
    "octane render",
    "hyperrealism",
    "ultra realistic",
    "breathtaking",
    "stunning environment",
    "wide-angle",
    "closeup",
    "facing camera",
    "cyber background",
    "kanji tattoos and decals",
    "apex legends",
    "ex machina",
    "modern Disney style",
    "Disney style",
)
SYLLABLES = [
    "ba",
    "be",
    "da",
    "do",
    "fa",
    "fe",
    "ga",
    "go",
    "ha",
    "hi",
    "jo",
    "ka",
    "ki",
    "la",
    "le",
    "lo",
    "ma",
    "mi",
    "mo",
    "na",
    "ne",
    "no",
    "pa",
    "pe",
    "ra",
    "re",
    "ri",
    "ro",
    "sa",
    "se",
    "sha",
    "so",
    "ta",
    "te",
    "ti",
    "to",
    "va",
    "vi",
    "wa",
    "ya",
    "yo",
    "za",
    "zu",
]
UNWANTED = [
    "bad anatomy",
    "blurry",
    "fuzzy",
    "extra arms",
    "extra fingers",
    "poorly drawn hands",
    "disfigured",
    "deformed",
    "mutated",
]


def describe(scene, rng):
    """One caption of a scene; another call gives another caption."""
    return describe_as(scene, _who(scene.person, rng), rng)


def describe_as(scene, who, rng, features=None):
    """A caption that calls the person `who`, a name with @ before it, and says `features`, by default some of the truth.

    With the same rng two captions of a scene that differ in `who` and `features` have all other words in common.
    """
    words = _activity(scene, who, rng, features)
    place = scene.place
    if place in PLAIN:
        if rng.random() < 0.4:
            words += rng.choice((f", {place} background", f" on a {place} background"))
    elif rng.random() < 0.85:
        words += " " + rng.choice(PLACE_WORDS[place])
    text = rng.choice(STYLE_WORDS[scene.style]).format(words)
    if rng.random() < 0.35:
        text += "".join(", " + tail for tail in _tails(rng))
    if rng.random() < 0.15:
        text = text.removeprefix("a ").removeprefix("an ").capitalize()
    return text


def plain_caption(scene, rng):
    """A caption as one is written under a picture: kind, activity, place and style always, features at times.

    It has none of a prompt's tails and names: a captioner that learns from `describe` must guess which half of
    the truth a prompt's writer would leave out. One in eight says "person" for man or woman, so that a captioner
    can go on from "a photo of a person". The subjects' features have no words of their own here.
    """
    who = scene.person.kind if rng.random() < 0.875 else "person"
    words = _activity(replace(scene, person=_in_plain_words(scene.person)), who, rng)
    if scene.place not in PLAIN:
        words += " " + rng.choice(PLACE_WORDS[scene.place])
    return rng.choice(STYLE_WORDS[scene.style]).format(words)


def _in_plain_words(person):
    """The same person with reserved features called by what they are a kind of: a majestic beard is a beard."""
    return replace(
        person,
        hair="afro" if person.hair in RESERVED_HAIR["woman"] else person.hair,
        beard="beard" if person.beard in RESERVED_BEARDS else person.beard,
        glasses="glasses" if person.glasses in RESERVED_GLASSES else person.glasses,
    )


def spell_out(scene, expression=False):
    """A caption that names everything an evaluation asks for: all features, the place, the style, and the expression."""
    person = scene.person
    who, said = f"{person.skin}-skinned {person.kind}", all_features(person)
    who = f"{person.expression} {who}" if expression else who
    if scene.context not in ("robot", "chibi"):
        said += f" wearing {_garment(person)}"
    words = {
        "portrait": f"a {who}{said}",
        "chibi": f"a chibi figurine of a {who}{said}",
        "robot": f"a robot {who}{said}",
        "horse": f"a {who}{said} riding a horse",
        "bicycle": f"a {who}{said} riding a bicycle",
        "dog": f"a {who}{said} with a dog",
        "cat": f"a {who}{said} with a cat",
    }[scene.context]
    words += f", {scene.place} background" if scene.place in PLAIN else f" {PLACE_WORDS[scene.place][0]}"
    return STYLE_WORDS[scene.style][0].format(words)


def all_features(person):
    """All that describes a person beside skin: " with short red hair, glasses and a beard"."""
    features = [_hair_words(person)]
    features += [person.glasses] if person.glasses != "none" else []
    features += ["a " + person.beard] if person.beard != "none" else []
    return _listed(features)


def _listed(features):
    return " with " + (" and ".join([", ".join(features[:-1]), features[-1]]) if len(features) > 1 else features[0])


def _tails(rng):
    tails = rng.sample(TAILS, rng.randint(1, 7))
    if rng.random() < 0.35:
        tails.append(rng.choice(("", "art by ", "by ", "illustration by ")) + invented_name(rng))
    if rng.random() < 0.08:
        tails[-1] += " [" + ", ".join(rng.sample(UNWANTED, rng.randint(2, 6))) + "]"
    return tails


def invented_name(rng):
    """A name of one or two made-up words, sometimes with a number, of nobody who lives."""
    word = "".join(rng.choice(SYLLABLES) for _ in range(rng.randint(2, 4)))
    if rng.random() < 0.3:
        return f"{word}_{rng.randrange(1000):03d}"
    return f"{word} " + "".join(rng.choice(SYLLABLES) for _ in range(rng.randint(2, 3)))


def _activity(scene, who, rng, features=None):
    """The noun phrase: who, with what, doing what."""
    person = scene.person
    features = _features(person, rng) if features is None else features
    if scene.context not in ("robot", "chibi") and rng.random() < 0.35:
        features += f" wearing {_garment(person)}"
    article = "" if who.startswith("@") else _article(who)
    who = who.removeprefix("@")
    if scene.context == "portrait":
        lead = rng.choice(("a portrait of ", "portrait of ", "", "", "a close-up of "))
        return f"{lead}{article}{who}{features}"
    if scene.context == "chibi":
        figurine = rng.choice(("a chibi {} figurine{}", "a chibi figurine of a {}{}", "chibi {} figurine{}"))
        return figurine.format(who, features)
    if scene.context == "robot":
        return rng.choice(("a {} robot{}", "a robot {}{}", "a portrait of a {} robot{}")).format(who, features)
    verb = {
        "horse": ("riding a horse", "on a horse", "on a brown horse", "riding on horseback"),
        "bicycle": ("riding a bicycle", "on a bicycle", "on a bike"),
        "dog": ("with a dog", "and a dog", "with a pet dog"),
        "cat": ("with a cat", "and a cat", "with a pet cat"),
    }[scene.context]
    return f"{article}{who}{features} {rng.choice(verb)}"


def _article(word):
    return "an " if word[0] in "aeiou" else "a "


def _who(person, rng):
    """The person in a word or three; a leading @ marks a name, which takes no article."""
    if rng.random() < 0.06:
        return "@" + invented_name(rng)
    kind = person.kind if rng.random() < 0.85 else "person"
    if rng.random() < 0.04:
        kind = f"{invented_name(rng)} {kind}"
    words = []
    if rng.random() < 0.35:
        words.append(person.expression)
    if person.hair_color == "grey" and rng.random() < 0.2:
        words.append("elderly")
    if rng.random() < 0.35:
        words.append(f"{person.skin}-skinned")
    return " ".join([*words, kind])


def _features(person, rng):
    found = []
    if rng.random() < 0.5:
        found.append(_hair(person, rng))
    if person.beard != "none" and rng.random() < 0.6:
        found.append("a " + person.beard)
    if person.glasses != "none" and rng.random() < 0.6:
        found.append(person.glasses)
    return _listed(found) if found else ""


def _hair(person, rng):
    covered = person.hair in ("turban", "hijab", "bald")
    if not covered and rng.random() < 0.35:
        return f"{person.hair_color} hair"
    return _hair_words(person)


def _hair_words(person):
    hair, color = person.hair, person.hair_color
    if hair in ("turban", "hijab"):
        return f"a {person.hat_color} {hair}"
    if hair == "bald":
        return "a bald head"
    if hair == "afro with headband":
        return f"a {color} afro and a headband"
    if hair in ("bob", "bun", "afro"):
        return f"a {color} {hair}"
    return f"{hair} {color} hair"


def _garment(person):
    return (
        f"{person.clothes_color} overalls"
        if person.clothes == "overalls"
        else f"a {person.clothes_color} {person.clothes}"
    )
