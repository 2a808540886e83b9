"""Which parts of the truth a picture still shows: a jade head has no hair colour."""

import torch

from pocket import world
from pocket.world import PLAIN

COLORLESS = {"pencil sketch", "jade sculpture", "fire"}
SMALL = {"horse", "bicycle"}  # the face is some 20 pixels wide
EYES = {"happy": "closed", "winking": "one closed"}  # of all other expressions both are open


def visible(scene):
    """The attributes of a scene that can be read off its picture, a set of names.

    Left out where nothing shows them: colours in styles without colour, the colour of hair under a
    turban or hijab, clothes behind an animal or a metal chest, thin features of small faces in
    4-pixel cells, the expression and the eyes behind sunglasses, of small faces and in such cells.
    """
    person = scene.person
    seen = {"kind", "hair", "beard", "glasses", "context", "place", "style"}
    if scene.style not in COLORLESS:
        seen.add("skin")
        if person.hair not in ("turban", "hijab", "bald") or person.beard != "none":
            seen.add("hair_color")
        if scene.context in ("portrait", "dog", "cat"):
            seen.add("clothes_color")
    if person.glasses != "sunglasses" and scene.style != "pixel art" and scene.context not in SMALL:
        seen |= {"expression", "eyes"}
    if scene.style == "pixel art" and scene.context in SMALL | {"chibi", "robot"}:
        seen -= {"glasses", "beard", "hair"}
    if scene.style == "fire" and scene.context in SMALL:
        seen -= {"beard", "glasses"}
    return seen


def truth(scene):
    """What a reader should say of a scene: {attribute: word}, for visible attributes only.

    Plain walls of any colour are one place, "plain".
    """
    words = scene.as_dict() | {"eyes": EYES.get(scene.person.expression, "open")}
    words |= {"place": "plain"} if scene.place in PLAIN else {}
    return {attribute: words[attribute] for attribute in sorted(visible(scene))}


LABELS = {
    "kind": world.KINDS,
    "skin": world.SKINS,
    "hair": (*world.HAIR["man"], *world.HAIR["woman"], *world.RESERVED_HAIR["woman"]),
    "hair_color": (*world.HAIR_COLORS, *world.RESERVED_HAIR_COLORS),
    "beard": (*world.BEARDS, *world.RESERVED_BEARDS),
    "glasses": (*world.GLASSES, *world.RESERVED_GLASSES),
    "clothes_color": world.COLORS,
    "context": world.CONTEXTS,
    "place": ("plain", *world.SCENERY),
    "style": world.STYLES,
    "expression": world.EXPRESSIONS,
    "eyes": ("open", "closed", "one closed"),
}


UNSEEN = -100  # stands for an attribute that the picture does not show: no loss, no score


def answers(scenes):
    """{attribute: index into LABELS of each scene, UNSEEN where it does not show}, int64 tensors."""
    sheet = {attribute: torch.full((len(scenes),), UNSEEN) for attribute in LABELS}
    for i, scene in enumerate(scenes):
        for attribute, word in truth(scene).items():
            sheet[attribute][i] = LABELS[attribute].index(word)
    return sheet
