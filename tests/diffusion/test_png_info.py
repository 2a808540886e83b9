import re
from types import SimpleNamespace

import pytest
from diffusers import DPMSolverMultistepScheduler, EulerAncestralDiscreteScheduler
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

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


def test_the_model_hash_is_the_start_of_its_sha256(tmp_path):
    (tmp_path / "model.ckpt").write_bytes(b"abc")
    assert png_info.model_hash(tmp_path / "model.ckpt") == "ba7816bf8f"  # FIPS 180-4, the SHA-256 of "abc"
