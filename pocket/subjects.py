"""The raw 'phone photos' of the two sample subjects, drawn, with all that is wrong with phone photos.

    python -m pocket.subjects               writes data/subjects/<name>/ (raw photos, consent, telling features)
    python -m pocket.subjects --prepared    writes data/prepared/<name>/ (squares, captions, split) from those

Of 24 photos of amir and 20 of nesrelah four each should not be trained on: one taken twice, one
blurred, one too dark, one cut off. Others lie on their side, carry a place, or come as PNG or HEIC.
"""

import argparse
import io
import random
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pandas as pd
import pillow_heif
from PIL import Image, ImageEnhance, ImageFilter

from helpers import diffusion, machine
from helpers.diffusion import models
from helpers.machine import atomic_write, write_json
from helpers.photos import captions, load_prepared, prepare, split, without, write_captions
from pocket.camera import shoot
from pocket.draw import SIDE
from pocket.world import SUBJECTS, subject_scene

DATA = Path(__file__).parents[1] / "data"
COUNTS = {"amir": 24, "nesrelah": 20}
CLASS_WORDS = {"amir": "man", "nesrelah": "person"}
FIXED = {  # what captions keep silent about, as in notebook 02
    "amir": ("curly black hair", "shaggy black hair", "black hair", "beard", "round glasses", "glasses"),
    "nesrelah": ("pink afro", "big pink hair", "pink hair", "afro", "headband", "square glasses", "glasses"),
}
CONTEXTS = ("portrait", "portrait", "dog", "portrait", "portrait", "portrait", "cat", "portrait")
PLACES = ("beach", "grey", "forest", "city", "blue", "snow", "castle", "yellow", "space", "green", "white", "purple")
SIZES = (  # pixels, upright; 0.5 to 12 megapixels
    (1200, 1600),
    (1600, 1200),
    (624, 832),
    (3000, 4000),
    (1280, 720),
    (1536, 2048),
    (1080, 1080),
    (2048, 1536),
    (720, 960),
    (1080, 1920),
)
ORIENTATIONS = {2: 6, 5: 3, 8: 8, 11: 6, 14: 8}  # photo number -> EXIF orientation
FLAWS = {4: "near-duplicate", 7: "blurred", 10: "dark", 13: "truncated", 16: "alpha", 17: "heic"}
CONSENT = {
    "who": "",
    "what_for": "learning how Stable Diffusion is personalised: training, pictures, comparison and survey in this course",
    "until": "2099-12-31",
    "given_by": "nobody needs to: the parts are drawings by Pablo Stanley, put together by DiceBear",
}
STORED = {  # what the viewer must do (EXIF orientation) -> what was done to the upright picture before
    3: Image.Transpose.ROTATE_180,
    6: Image.Transpose.ROTATE_90,
    8: Image.Transpose.ROTATE_270,
}


@dataclass(frozen=True)
class Photo:
    """One raw photo: `view` is left, top, width and height in units of the scene, which is 280 wide."""

    number: int
    scene: object
    size: tuple
    view: tuple
    flaw: str = ""
    orientation: int = 1
    place_tagged: bool = False


def plan(name):
    """The raw photos of a subject, a list of Photo; the same on every machine."""
    photos = []
    for number in range(COUNTS[name]):
        rng = random.Random(f"{name} {number}")
        flaw = FLAWS.get(number, "")
        if flaw == "near-duplicate":  # a moment later, the hand a little to the side
            left, top, width, height = photos[-1].view
            photos.append(replace(photos[-1], number=number, flaw=flaw, view=(left + 0.02 * width, top, width, height)))
            continue
        context = CONTEXTS[number % len(CONTEXTS)]
        scene = _scene(name, rng, context, PLACES[(number + len(name)) % len(PLACES)])
        size = SIZES[number % len(SIZES)]
        view = _view(rng, context, size)
        photos.append(Photo(number, scene, size, view, flaw, ORIENTATIONS.get(number, 1), number % 3 == 0))
    return photos


def _scene(name, rng, context, place):
    """In this place, or where it is held out from training, in any other."""
    try:
        return subject_scene(name, rng, context=context, place=place, style="photo")
    except ValueError:
        return subject_scene(name, rng, context=context, style="photo")


def _view(rng, context, size):
    """What the camera sees: nearer or farther, the person seldom in the middle, always cut by the lower edge."""
    short = SIDE * rng.uniform(*((1.0, 1.18) if context == "portrait" else (1.06, 1.2)))
    width, height = (side * short / min(size) for side in size)
    left = SIDE / 2 - width * rng.choice((0.36, 0.44, 0.56, 0.64) if width > height else (0.47, 0.5, 0.53))
    return left, SIDE - height, width, height


def encode(photo, name):
    """File name and bytes of a Photo, flaws, rotation and EXIF included."""
    image = shoot(photo.scene, photo.view, photo.size, cutout=photo.flaw == "alpha")
    if photo.flaw == "blurred":
        image = image.filter(ImageFilter.GaussianBlur(min(image.size) / 40))
    if photo.flaw == "dark":
        image = ImageEnhance.Brightness(image).enhance(0.16)
    if photo.flaw == "near-duplicate":
        image = ImageEnhance.Brightness(image).enhance(1.04)
    if photo.orientation in STORED:
        image = image.transpose(STORED[photo.orientation])
    exif, stem, file = _exif(photo, name), f"IMG_{2041 + 3 * photo.number}", io.BytesIO()
    if photo.flaw == "alpha":
        image.save(file, "PNG", exif=exif, optimize=True)
        return f"{stem}.png", file.getvalue()
    if photo.flaw == "heic":
        pillow_heif.from_pillow(image).save(file, quality=60, exif=exif.tobytes())
        return f"{stem}.HEIC", file.getvalue()
    image.save(file, "JPEG", quality=78, exif=exif, optimize=True)
    whole = file.getvalue()
    return f"{stem}.jpg", whole[: len(whole) * 2 // 5] if photo.flaw == "truncated" else whole


def _exif(photo, name):
    """Camera, time and orientation; on some photos a place in the middle of the South Atlantic."""
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = "Pocket", "Drawing phone"
    exif[0x0112] = photo.orientation
    exif[0x0132] = f"2026:09:{1 + photo.number:02d} 12:30:00"
    exif[0x010E] = f"{name}, drawn, not a person"
    if photo.place_tagged:
        exif.get_ifd(0x8825).update({1: "S", 2: (38.0, 30.0, float(photo.number)), 3: "W", 4: (20.0, 10.0, 0.0)})
    return exif


def write_raw(name):
    """Write data/subjects/<name>: raw/, consent.json and subject.json; whatever lay in raw/ is drawn anew."""
    folder = DATA / "subjects" / name
    (folder / "raw").mkdir(parents=True, exist_ok=True)
    for old in (folder / "raw").iterdir():
        old.unlink()
    for photo in plan(name):
        file, content = encode(photo, name)
        with atomic_write(folder / "raw" / file) as path:
            path.write_bytes(content)
    write_json(folder / "consent.json", CONSENT | {"who": f"{name}: drawn, not a person"})
    person = asdict(SUBJECTS[name]["person"])
    telling = {feature: person[feature] for feature in SUBJECTS[name]["telling"]}
    known = {"class_word": CLASS_WORDS[name], "always": FIXED[name], "telling": telling}
    write_json(folder / "subject.json", {"name": name} | known)


def write_prepared(name):
    """Write data/prepared/<name>, what notebooks 01 and 02 leave: squares, report, captions, split."""
    folder, class_word = DATA / "prepared" / name, CLASS_WORDS[name]
    prepare(DATA / "subjects" / name / "raw", folder, diffusion.model_config("pocket").image_size)
    squares = load_prepared(folder)
    images, prefix = [image for _, image in squares], f"a photo of {machine.subjects.with_article(class_word)}"
    texts = captions.caption(*models.load_captioner("pocket"), images, prefix)
    drafts = [without(text, FIXED[name]) for text in texts]
    files = [path.name for path, _ in squares]
    table = pd.DataFrame({"file": files, "caption": drafts, "machine_caption": texts, "draft": drafts})
    write_captions(folder, captions.keep_edits(table, folder))
    (folder / "split.json").unlink(missing_ok=True)
    split([path for path, _ in squares])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write the sample subjects' raw photos.")
    parser.add_argument("--prepared", action="store_true", help="from the raw photos that are there, the finished sets")
    write = write_prepared if parser.parse_args().prepared else write_raw
    for subject in COUNTS:
        write(subject)
