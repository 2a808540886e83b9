"""The web UI's `parameters` text: how an image was made, kept inside its PNG, and read back, from JPEG and WebP, too."""

import hashlib
import json
import re
from pathlib import Path

from PIL import Image, PngImagePlugin

from helpers.machine import atomic_write

NEGATIVE = "Negative prompt:"
# a name is short, so that a long text without any takes no longer than its length
_PAIR = re.compile(r'(\w[\w \-/]{1,80}):[ \t]*("(?:\\.|[^\\"])*"(?=,|\n|$)|[^,\n]*)(,?)')
_TEMPLATE = re.compile(r"^((?:Negative )?Template):(.*?)(?=^(?:Negative )?Template:|\Z)", re.MULTILINE | re.DOTALL)
_CHANGES = re.compile(  # settings under which the same seed makes another picture, and which are not done here
    r"Clip skip|Hires .+|(Variation seed|Seed resize|Denoising|Mask|Inpaint|Face restoration|Tiling|Refiner|Emphasis|E?NSD"
    r"|Eta|Sigma|Token merging|ControlNet|Soft inpainting|TI hashes)\b.*"
)
_NOTHING = ("", "0", "0.0", "None", "False", "Original")  # values of these that change nothing
_EXIF, _USER_COMMENT = 0x8769, 0x9286  # where other programs than PNG's have their texts
SAMPLERS = {  # diffusers' classes under the names the web UI shows
    "DDIMScheduler": "DDIM",
    "DPMSolverMultistepScheduler": "DPM++ 2M",
    "DPMSolverSDEScheduler": "DPM++ SDE",
    "EulerAncestralDiscreteScheduler": "Euler a",
    "EulerDiscreteScheduler": "Euler",
    "HeunDiscreteScheduler": "Heun",
    "LMSDiscreteScheduler": "LMS",
    "PNDMScheduler": "PLMS",
    "UniPCMultistepScheduler": "UniPC",
}


def settings(pipe, *, seed, guidance_scale, num_inference_steps, size, hypernetwork=None, strength=None, **others):
    """The settings line of one image as a dict, under the web UI's names and in its order.

    size: (width, height) in pixels. hypernetwork: its name. others: such as model_hash="45dee52b".
    """
    line = {"Steps": num_inference_steps, "Sampler": sampler_name(pipe.scheduler), "CFG scale": guidance_scale}
    line |= {"Seed": seed, "Size": f"{size[0]}x{size[1]}"}
    line |= {name.replace("_", " ").capitalize(): value for name, value in others.items()}
    if hypernetwork is not None:
        line |= {"Hypernet": hypernetwork, "Hypernet strength": 1.0 if strength is None else strength}
    return line


def sampler_name(scheduler):
    """The web UI's name for a diffusers scheduler; the class name where it has none."""
    name = SAMPLERS.get(type(scheduler).__name__, type(scheduler).__name__)
    return f"{name} Karras" if scheduler.config.get("use_karras_sigmas") else name


def model_hash(path):
    """The web UI's short model hash: the first ten digits of a checkpoint file's SHA-256."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:10]


def write_text(prompt, negative_prompt, settings):
    """The `parameters` text: prompt, negative prompt if there is one, and a line of "Name: value, ..." pairs.

    settings: at least three names and values; fewer would be read as a line of the prompt.
    Values with commas, colons, quotes or line breaks are quoted as JSON, as the web UI does.
    Raises ValueError for a name no reader would find, or a prompt line that begins "Negative prompt:".
    """
    if any(line.startswith(NEGATIVE) for line in f"{prompt}\n{negative_prompt}".split("\n")):
        raise ValueError(f"A line of a prompt cannot begin with {NEGATIVE!r}: write it as the negative prompt.")
    pairs = ", ".join(f"{name}: {_quoted(value)}" for name, value in settings.items())
    if len(settings) < 3 or [name for name, *_ in _PAIR.findall(pairs)] != list(settings):
        raise ValueError(f"{list(settings)} cannot be written: give three or more plain names, of two letters or more.")
    lines = [prompt] if prompt else []
    lines += [f"{NEGATIVE} {negative_prompt}"] if negative_prompt else []
    return "\n".join([*lines, pairs])


def _quoted(value):
    text = str(value)
    plain = text == text.strip() and not re.search(r'[,:"\n]', text)
    return text if plain else json.dumps(text, ensure_ascii=False)


def read_text(text):
    """(prompt, negative prompt, settings) of a `parameters` text, ours or the web UI's.

    settings: a dict of texts; Steps and Seed are ints, CFG scale and Hypernet strength floats, where they can be.
    They begin at the last line of several that begins with Steps, else with the last; templates may come after them.
    """
    lines = text.rstrip().split("\n")
    full = [i for i, line in enumerate(lines) if len(_PAIR.findall(line)) >= 3]
    starts = [i for i in full if re.match(r"Steps: *\d", lines[i])] or [i for i in full if i == len(lines) - 1]
    found = _pairs("\n".join(lines[starts[-1] :])) if starts else {}
    lines = lines[: starts[-1]] if starts else text.split("\n")
    begin = next((i for i, line in enumerate(lines) if line.startswith(NEGATIVE)), len(lines))
    prompt, negative = "\n".join(lines[:begin]), "\n".join(lines[begin:])
    negative = negative.removeprefix(NEGATIVE).removeprefix(" ")
    return prompt, negative, {name: _value(name, value) for name, value in found.items()}


def _pairs(text):
    """{name: value as it stands} of a line of settings, which a quoted value may break, and of the templates after it."""
    found, end = {}, len(text)
    for match in _PAIR.finditer(text):
        found[match[1]] = match[2]
        if not match[3]:  # no comma: the line is over
            end = match.end()
            break
    return found | {name: value for name, value in _TEMPLATE.findall(text, end)}


def _value(name, value):
    try:
        value = json.loads(value, strict=False) if value.startswith('"') else value.strip()
        return _NUMBERS.get(name, str)(value)
    except (ValueError, OverflowError):
        return value  # as it stands: another program's idea of the format


def _whole(text):
    """An int of "12", and of "12.0", as some programs write it."""
    try:
        return int(text)
    except ValueError:
        number = float(text)
        if number != int(number):
            raise
        return int(number)


_NUMBERS = {"Steps": _whole, "CFG scale": float, "Seed": _whole, "Hypernet strength": float}


def save(path, image, text):
    """Saves a PIL image as PNG with the `parameters` text and nothing else of its metadata, atomically."""
    about = PngImagePlugin.PngInfo()
    about.add_text("parameters", text)
    with atomic_write(path) as partial:
        image.convert("RGB").save(partial, format="PNG", pnginfo=about, exif=b"", icc_profile=None)


def read(path):
    """(prompt, negative prompt, settings) of a PNG's `parameters`, or of the comment in the EXIF of a JPEG or WebP.

    Raises ValueError if it has no such text, or is no such image.
    """
    try:
        with Image.open(path, formats=("PNG", "JPEG", "WEBP")) as image:
            image.load()  # texts may stand after the pixels
            comment = image.getexif().get_ifd(_EXIF).get(_USER_COMMENT, b"")
            text = getattr(image, "text", {}).get("parameters") or _comment(comment)
    except (FileNotFoundError, IsADirectoryError, PermissionError):
        raise
    except Exception as error:  # of bytes that are no image Pillow may raise anything
        raise ValueError(f"{path} is not a whole PNG, JPEG or WebP: take it again from its source.") from error
    if not text:
        raise ValueError(f"{path} has no parameters text: take the image as it was saved, not a copy without it.")
    return read_text(text)


def _comment(data):
    """The text of an EXIF UserComment: eight bytes that name its encoding, then the text (EXIF 2.3, 4.6.5)."""
    if isinstance(data, str):
        return data
    code, body = data[:8].rstrip(b"\0 "), data[8:]
    if code == b"UNICODE":  # in either byte order: of a plain letter's two bytes the high one is zero
        big = body[::2].count(0) >= body[1::2].count(0)
        return body.decode("utf-16-be" if big else "utf-16-le", "replace").strip("\0\ufeff")
    codes = {b"ASCII": "utf-8", b"JIS": "iso2022_jp", b"": "utf-8"}
    return (body if code in codes else data).decode(codes.get(code, "utf-8"), "replace").strip("\0")


def generate_arguments(prompt, negative_prompt, settings, size=None):
    """What was read, as the keyword arguments of diffusion.generate that make the image again.

    Model, sampler and hypernetwork are the caller's to load. size: pixels a side of what that model makes.
    Raises ValueError if a setting is missing or no number, or the image has another size or was made by what is not
    done here, such as Clip skip or a variation seed.
    """
    if missing := [name for name in ("Steps", "CFG scale", "Seed") if name not in settings]:
        raise ValueError(f"The image has no {', '.join(missing)} in its settings: it cannot be made again.")
    pixels = settings.get("Size", f"{size}x{size}")
    if size and pixels != f"{size}x{size}":
        raise ValueError(f"The image has {pixels} pixels, this model makes {size}x{size}: load a model of its size.")
    ranges = {"Steps": (1, 10_000), "CFG scale": (-1e6, 1e6), "Seed": (0, 2**64 - 1)}
    for name, (least, most) in ranges.items():
        if isinstance(settings[name], str) or not least <= settings[name] <= most:
            raise ValueError(f"The image says {name}: {settings[name]}, with which it cannot be made again.")
    neutral = lambda name, value: str(value) in _NOTHING or (name, str(value)) == ("Clip skip", "1")
    if others := [f"{n}: {v}" for n, v in settings.items() if _CHANGES.fullmatch(n) and not neutral(n, v)]:
        raise ValueError(f"The image was made with {', '.join(others)}, not done here: it would be another picture.")
    return {
        "prompts": prompt,
        "seeds": [settings["Seed"]],
        "guidance_scale": settings["CFG scale"],
        "num_inference_steps": settings["Steps"],
        "negative_prompt": negative_prompt,
    }
