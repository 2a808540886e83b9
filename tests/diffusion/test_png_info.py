import re
import timeit
from types import SimpleNamespace

import pytest
from diffusers import DPMSolverMultistepScheduler, EulerAncestralDiscreteScheduler
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from helpers.diffusion import png_info

LINE = {"Steps": 20, "Sampler": "Euler a", "CFG scale": 7.5, "Seed": 12, "Size": "128x96"}
letters = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
prompts = st.text(letters).filter(lambda text: not re.search("(?m)^Negative prompt:", text))
names = st.text("abcdefghij XYZ-/_09", min_size=2, max_size=9).filter(
    lambda name: name == name.strip() and name[0].isalnum()
)


def test_a_text_is_as_the_web_ui_writes_it():
    text = png_info.write_text("a man (smiling:1.2), photo", "blurry, bad hands", LINE | {"Model": "amir, v:1"})
    assert text == (
        "a man (smiling:1.2), photo\n"
        "Negative prompt: blurry, bad hands\n"
        'Steps: 20, Sampler: Euler a, CFG scale: 7.5, Seed: 12, Size: 128x96, Model: "amir, v:1"'
    )


def test_a_text_of_the_web_ui_is_read():
    """One of its own layout, with a line break in each prompt."""
    text = (
        'man on a "horse", [blurry]\nSteps: high, really\nNegative prompt: cgi,\n3d\n'
        "Steps: 24, Sampler: DPM++ 2M Karras, CFG scale: many, Seed: -1, Size: 512x512, Hypernet strength: 0.8"
    )
    prompt, negative, line = png_info.read_text(text)
    assert (prompt, negative) == ('man on a "horse", [blurry]\nSteps: high, really', "cgi,\n3d")
    expected = {"Steps": 24, "Sampler": "DPM++ 2M Karras", "CFG scale": "many", "Seed": -1, "Size": "512x512"}
    assert line == expected | {"Hypernet strength": 0.8}
    for text in ("", "a man\non a horse: brown"):
        assert png_info.read_text(text) == (text, "", {})


WEB = "Steps: 24, Sampler: Euler a, CFG scale: 7, Seed: 3698135662, Size: 512x512"
READ = {"Steps": 24, "Sampler": "Euler a", "CFG scale": 7.0, "Seed": 3698135662, "Size": "512x512"}
TEMPLATE = "{man|(dog:1.2), (cat:1.3), (bird:1.1)},\nred"


@pytest.mark.parametrize(
    ("end", "more"),
    [
        ("\n", {}),
        (" \n\n", {}),
        (f"\nTemplate: {TEMPLATE}\nNegative Template: blurry", {"Template": TEMPLATE, "Negative Template": "blurry"}),
        (f"\nTemplate: {TEMPLATE}\n", {"Template": TEMPLATE}),
        (', Hires prompt: "a\nb, c: d", Version: v1.9.4', {"Hires prompt": "a\nb, c: d", "Version": "v1.9.4"}),
        (', Hires prompt: "a\\nb\nNegative prompt: \\"c\\""', {"Hires prompt": 'a\nb\nNegative prompt: "c"'}),
    ],
)
def test_what_stands_after_the_settings_or_within_them_loses_none(end, more):
    assert png_info.read_text(f"a man\nNegative prompt: bad\n{WEB}{end}") == ("a man", "bad", READ | more)


@pytest.mark.parametrize(
    "unit", ["a ", "a", "a: ", 'aa:"', "aa: b\n", " ", '\\"', "a-", "aa:\t", "aa: b,", '"\n', "Template:\n"]
)
def test_a_long_text_is_read_in_time_that_grows_with_its_length(unit):
    """A quadratic reader took more than a minute for 100 kB: here ten times the length must not take fifty times as long."""
    texts = [unit * (size // len(unit)) + "\n" + WEB for size in (20_000, 200_000)]
    short, long = (min(timeit.repeat(lambda text=text: png_info.read_text(text), number=1, repeat=3)) for text in texts)
    assert long < 50 * short + 0.5


@settings(deadline=None, max_examples=50)
@given(prompts, prompts, st.dictionaries(names, st.text(letters), max_size=4))
def test_what_is_written_is_read_back(prompt, negative, others):
    line = LINE | {name: value for name, value in others.items() if name not in LINE}
    assert png_info.read_text(png_info.write_text(prompt, negative, line)) == (prompt, negative, line)


@settings(deadline=None, max_examples=15)
@given(prompts, prompts)
def test_it_survives_the_png_and_nothing_else_does(tmp_path_factory, prompt, negative):
    path = tmp_path_factory.mktemp("png") / "image.png"
    image = Image.new("RGB", (3, 2), "pink")
    image.info["comment"] = "left behind"
    image.getexif()[0x010F] = "a camera"
    png_info.save(path, image, png_info.write_text(prompt, negative, LINE))
    assert png_info.read(path) == (prompt, negative, LINE)
    with Image.open(path) as saved:
        assert list(saved.info) == ["parameters"] and not saved.getexif()
        assert saved.getpixel((0, 0)) == image.getpixel((0, 0))
    png_info.save(path, image, png_info.write_text("café", "", LINE))  # a chunk that every tool finds
    assert b"tEXtparameters\0caf\xe9\nSteps: 20" in path.read_bytes()


@pytest.mark.parametrize(
    ("prompt", "negative", "line", "words"),
    [
        ("a\nNegative prompt: b", "", LINE, "Negative prompt:"),
        ("a", "b\nNegative prompt: c", LINE, "Negative prompt:"),
        ("a", "", {"Steps": 20, "Seed": 1}, "three or more"),
        ("a", "", LINE | {"so: what": 1}, "plain names"),
    ],
)
def test_what_could_not_be_read_back_is_not_written_and_no_text_is_named(tmp_path, prompt, negative, line, words):
    with pytest.raises(ValueError, match=words):
        png_info.write_text(prompt, negative, line)
    Image.new("RGB", (2, 2)).save(tmp_path / "photo.jpg")
    with pytest.raises(ValueError, match=r"photo\.jpg"):
        png_info.read(tmp_path / "photo.jpg")


@pytest.mark.parametrize("kind", ["jpg", "webp"])
@pytest.mark.parametrize(
    "comment",
    [
        lambda text: b"UNICODE\0" + text.encode("utf-16-be"),
        lambda text: b"UNICODE\0" + text.encode("utf-16-le"),
        lambda text: b"UNICODE\0" + text.encode("utf-16"),
        lambda text: b"ASCII\0\0\0" + text.encode(),
        lambda text: bytes(8) + text.encode(),
    ],
)
def test_a_comment_in_the_exif_of_other_formats_is_read(tmp_path, kind, comment):
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = comment(f"a café 人\n{WEB}")
    Image.new("RGB", (8, 8)).save(tmp_path / f"a.{kind}", exif=exif)
    assert png_info.read(tmp_path / f"a.{kind}") == ("a café 人", "", READ)


def test_what_is_no_image_is_refused_by_name_and_no_other_program_is_called(tmp_path):
    Image.new("RGB", (64, 64)).save(tmp_path / "whole.png")
    whole = (tmp_path / "whole.png").read_bytes()
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n"
    text = PngImagePlugin.PngInfo()
    text.add_text("parameters", "a" * 3_000_000, zip=True)
    Image.new("RGB", (2, 2)).save(tmp_path / "long.png", pnginfo=text)
    for name, data in {"a.png": b"hello", "b.png": whole[:60], "c.jpg": eps, "d.png": b""}.items():
        (tmp_path / name).write_bytes(data)
    for name in ("a.png", "b.png", "c.jpg", "d.png", "long.png"):
        with pytest.raises(ValueError, match=name):
            png_info.read(tmp_path / name)


def test_the_settings_of_a_pipeline_come_under_the_web_ui_s_names():
    pipe = SimpleNamespace(scheduler=DPMSolverMultistepScheduler(use_karras_sigmas=True))
    sampler = {"seed": 3, "guidance_scale": 5.0, "num_inference_steps": 20, "size": (128, 96)}
    line = png_info.settings(pipe, **sampler, hypernetwork="amir", strength=0.5, model_hash="cc6cb27103")
    expected = LINE | {"Sampler": "DPM++ 2M Karras", "CFG scale": 5.0, "Seed": 3, "Model hash": "cc6cb27103"}
    expected |= {"Hypernet": "amir", "Hypernet strength": 0.5}
    assert list(line.items()) == list(expected.items())
    assert png_info.sampler_name(EulerAncestralDiscreteScheduler()) == "Euler a"


def test_what_was_read_makes_the_image_again():
    settings = {"prompts": "a man", "seeds": [12], "guidance_scale": 7.5, "num_inference_steps": 20}
    assert png_info.generate_arguments("a man", "blurry", LINE) == settings | {"negative_prompt": "blurry"}
    line = {"Steps": 20, "CFG scale": 7.5, "Seed": 12}  # some programs do not write the size
    for written in (line | {"Size": "512x512"}, line):
        assert png_info.generate_arguments("a man", "", written, size=512)["seeds"] == [12]
    with pytest.raises(ValueError, match="128x96.*512x512"):
        png_info.generate_arguments("a man", "blurry", LINE, size=512)
    with pytest.raises(ValueError, match="CFG scale, Seed"):
        png_info.generate_arguments("a man", "", {"Steps": 20})


@pytest.mark.parametrize(("seed", "read"), [("12.0", 12), (str(2**32 - 1), 2**32 - 1), (str(2**64 - 1), 2**64 - 1)])
def test_seeds_of_other_programs_are_read(seed, read):
    *_, line = png_info.read_text(f"a\nSteps: 20.0, Sampler: Euler, CFG scale: 7, Seed: {seed}")
    arguments = png_info.generate_arguments("a", "", line)
    assert arguments["seeds"] == [read] and type(arguments["num_inference_steps"]) is int


@pytest.mark.parametrize(
    "stated",
    [
        "Seed: None",
        "Seed: -1",
        f"Seed: {2**64}",
        "Seed: 1.5",
        "Seed: 1e999",
        "Steps: 0",
        "CFG scale: nan",
        "Clip skip: 2",
    ]
    + ["Variation seed: 5", "Hires upscale: 2", "Denoising strength: 0.7", "Face restoration: GFPGAN", "Tiling: True"],
)
def test_what_cannot_be_done_again_is_told(stated):
    line = f"Steps: 20, Sampler: Euler, CFG scale: 7, Seed: 1, Clip skip: 1, Model: a, Version: v1.6, {stated}"
    *_, settings = png_info.read_text(line)
    with pytest.raises(ValueError, match=re.escape(stated.split(":")[0]) + ": "):
        png_info.generate_arguments("a", "", settings)
    *_, plain = png_info.read_text(line.removesuffix(f", {stated}"))
    assert png_info.generate_arguments("a", "", plain)["seeds"] == [1]


def test_the_model_hash_is_the_start_of_its_sha256(tmp_path):
    (tmp_path / "model.ckpt").write_bytes(b"abc")
    assert png_info.model_hash(tmp_path / "model.ckpt") == "ba7816bf8f"  # FIPS 180-4, the SHA-256 of "abc"
