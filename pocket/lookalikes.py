"""Pictures for a recogniser: ten people, strangers photographed in the same way, and look-alikes to tell them from.

    python -m pocket.lookalikes      writes data/lookalikes: a sheet of pictures for each person, and pictures.csv

Photos and strangers are what a recogniser may learn from. A stranger stands where the person stood, before the same
camera, so that nothing but the person tells the two apart. The test is the person and a look-alike in pairs, each pair
in one scene that no photo shows. A look-alike has the person's skin, hair or glasses, and nothing else of the three.
"""

import random
import tempfile
from dataclasses import asdict, replace
from pathlib import Path

import pandas as pd
from PIL import Image

from helpers import machine, photos
from pocket import people, subjects, world
from pocket.draw import draw

FOLDER = Path(__file__).parents[1] / "data" / "lookalikes"
UNSEEN = range(204, 212)  # the first eight of data/unseen
PHOTOS, PAIRS, COLUMNS, SIZE = 16, 32, 16, 128
SHARED = {"skin": ("skin",), "hair": ("hair", "hair_color"), "glasses": ("glasses",)}
AS_IN_PHOTOS = ("portrait", "dog", "cat")


def stranger(name, number):
    """Somebody from everywhere in the world, always the same; nobody has a feature that is kept for the subjects."""
    return world.sample_person(random.Random(f"stranger {name} {number}"))


def look_alike(found, rng):
    """(somebody of the same kind who has one of the person's skin, hair and glasses, which of them)."""
    shared = rng.choice(list(SHARED))
    while True:
        other = world.sample_person(rng)
        same = {part for part, fields in SHARED.items() if all(getattr(other, f) == getattr(found, f) for f in fields)}
        if other.kind == found.kind and not same - {shared}:
            return replace(other, **{field: getattr(found, field) for field in SHARED[shared]}), shared


def pair(found, name, number):
    """(scene of the person, the same with a look-alike, what they share), of a context or style that no photo shows."""
    rng = random.Random(f"look-alike {name} {number}")
    fresh = asdict(world.sample_person(rng))
    clothes = {field: fresh[field] for field in ("expression", "clothes", "clothes_color")}
    scene = world.sample_scene(rng, replace(found, **clothes))
    while scene.style == "photo" and scene.context in AS_IN_PHOTOS:
        scene = world.sample_scene(rng, scene.person)
    other, shared = look_alike(found, rng)
    return scene, replace(scene, person=replace(other, **clothes)), shared


def subject_strangers(name):
    """Squares of strangers in the places of a subject's good photos, by the same camera, through all of notebook 01."""
    good = {path.stem for path in photos.squares_in(photos.prepared_folder(name))}
    with tempfile.TemporaryDirectory() as place:
        raw, squares = Path(place, "raw"), Path(place, "squares")
        raw.mkdir()
        for photo in subjects.plan(name):
            taken = replace(photo, scene=replace(photo.scene, person=stranger(name, photo.number)))
            file, content = subjects.encode(taken, name)
            if Path(file).stem in good:
                (raw / file).write_bytes(content)
        photos.prepare(raw, squares, SIZE)
        return [photos.open_photo(path) for path in photos.squares_in(squares)][:PHOTOS]


def everybody():
    """{name: (Person, its number in the split "test", None for a subject)}."""
    found = {name: (subject["person"], None) for name, subject in world.SUBJECTS.items()}
    return found | {f"person_{i:02}": (people.person("test", n), n) for i, n in enumerate(UNSEEN, start=1)}


def pictures_of(name, found, number):
    """[(what is known of a picture, the picture)] of one person."""
    pictures = []
    if number is None:  # their photos lie in data/prepared
        strangers = subject_strangers(name)
    else:
        shots = [people.portrait("test", number, i) for i in range(PHOTOS)]
        pictures += [({"role": "photo", "is_person": True}, Image.fromarray(shot)) for shot in shots]
        strangers = [people.portrait("test", number, i, stranger(name, i)) for i in range(PHOTOS)]
        strangers = [Image.fromarray(shot) for shot in strangers]
    pictures += [({"role": "stranger", "is_person": False}, image) for image in strangers]
    for i in range(PAIRS):
        own, other, shared = pair(found, name, i)
        for scene, is_person in ((own, True), (other, False)):
            about = {"role": "test", "is_person": is_person, "shared": "" if is_person else shared}
            about |= {"context": scene.context, "place": scene.place, "style": scene.style}
            pictures.append((about, draw(scene, SIZE)))
    return pictures


def write(folder=FOLDER):
    """Writes the sheets and pictures.csv; a row is a picture, in the order of its sheet, sixteen to a line."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for name, (found, number) in everybody().items():
        pictures = pictures_of(name, found, number)
        lines = -(-len(pictures) // COLUMNS)
        sheet = Image.new("RGB", (COLUMNS * SIZE, lines * SIZE), "white")
        for i, (about, image) in enumerate(pictures):
            sheet.paste(image.convert("RGB"), (i % COLUMNS * SIZE, i // COLUMNS * SIZE))
            rows.append({"name": name, "kind": found.kind, "number": i} | about)
        with machine.atomic_write(folder / f"{name}.webp") as partial:
            sheet.save(partial, "WEBP", lossless=True, quality=100, method=6)
        print(name, len(pictures), (folder / f"{name}.webp").stat().st_size, flush=True)
    machine.write_csv(folder / "pictures.csv", pd.DataFrame(rows))


if __name__ == "__main__":
    write()
