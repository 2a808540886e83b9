"""The box and the grid: as Python, and by mouse and keyboard in a real Chromium."""

import re

import pytest
from PIL import Image

from helpers import diffusion
from helpers.compare import trained, widgets
from helpers.diffusion import png_info

pytest_plugins = ["lab"]
METHODS = {"base": "", "hypernetwork_amir": "", "dreambooth_amir": "No finished run dreambooth_amir: run notebook 04."}


def colors(settings, progress):
    """Stands for a model: pictures whose red is the seed."""
    for done in range(settings["steps"] + 1):
        progress(done, settings["steps"])
    if "forbidden" in settings["prompt"]:
        raise ValueError("no hypernet named 'x' here: there are none")
    return [Image.new("RGB", (16, 16), (settings["seed"] + i, 0, 0)) for i in range(settings["count"])]


@pytest.fixture
def box(tmp_path):
    return widgets.PromptBox(colors, METHODS, folder=tmp_path / "pictures", steps=3, guidance=4.0, count=2)


def test_a_button_makes_labelled_pictures(box):
    box.prompt.value, box.seed.value = 'a <b>man</b> & a "dog"', 7
    box.button.click()
    grid = box.pictures
    assert [image.getpixel((0, 0))[0] for image in grid.images] == [7, 8]
    alternative = re.search(r'alt="([^"]*)"', grid.grid.children[1].children[0].value)[1]
    assert alternative == "Picture 2 of 2: a &lt;b&gt;man&lt;/b&gt; &amp; a &quot;dog&quot;, by base, seed 8"
    assert "2 pictures made" in box.status.value and not box.button.disabled and box.progress.value == 3
    box.fresh.value = True
    box.button.click()
    assert grid.settings[0]["seed"] == box.seed.value != 7


@pytest.mark.parametrize("seed", [3698135662, 2**32 - 1])
def test_the_box_takes_the_seeds_of_the_web_ui(box, seed):
    box.seed.value = seed
    assert box.settings()["seed"] == seed


def test_a_picture_is_enlarged_saved_and_sent_back(box):
    box.prompt.value, box.negative_prompt.value, box.method.value = "a man", "blue", "hypernetwork_amir"
    box.strength.value, box.guidance.value = 0.5, 6.5
    box.button.click()
    grid = box.pictures
    grid.buttons[1].click()
    assert grid.opened == 1 and grid.detail in grid.children
    for words in ("Enlarged: a man, by hypernetwork_amir, seed 2", ">blue<", ">0.5<", ">6.5<"):
        assert words in grid.large.value
    grid.save.click()
    prompt, negative, settings = png_info.read(box.pictures.folder / "picture-001-seed2.png")
    assert (prompt, negative, settings["Seed"], settings["Strength"]) == ("a man", "blue", 2, "0.5")
    box.prompt.value, box.method.value, box.seed.value, box.fresh.value = "something else", "base", 99, True
    grid.reuse.click()
    assert (box.prompt.value, box.method.value, box.seed.value, box.count.value) == ("a man", "hypernetwork_amir", 2, 1)
    assert (box.strength.value, box.negative_prompt.value, box.fresh.value) == (0.5, "blue", False)


def test_errors_and_missing_runs_are_sentences(box):
    box.prompt.value = "forbidden"
    box.button.click()
    assert "no hypernet named" in box.status.value and 'role="alert"' in box.status.value and not box.button.disabled
    box.method.value = "dreambooth_amir"
    assert box.button.disabled and "run notebook 04" in box.status.value
    box.method.value = "base"
    assert not box.button.disabled and box.strength.disabled
    with pytest.raises(ValueError, match="1 pictures"):
        box.pictures.show([Image.new("RGB", (4, 4))], [])


def test_the_ready_box_asks_the_right_pipeline(monkeypatch):
    asked = []
    model = lambda name, method: trained.TrainedModel(name, method, "amir", "man", "w", "b", None, "")
    found = {"base": model("base", "base"), "hypernetwork_amir": model("hypernetwork_amir", "hypernetwork")}
    monkeypatch.setattr(trained, "find", lambda model: found)
    monkeypatch.setattr(trained, "load", lambda model, base: (base, {model.name: 1} if model.name != "base" else {}))
    monkeypatch.setattr(diffusion, "generate", lambda *given, **settings: asked.append((*given, settings)) or [])
    box = widgets.prompt_box("pocket", "the base")
    for method in ("hypernetwork_amir", "base"):
        box.method.value, box.strength.value, box.count.value = method, 0.5, 3
        box.button.click()
    words, networks = "a photo of a man", [settings["hypernetworks"] for *_, settings in asked]
    assert asked[0][:3] == ("the base", f"{words} <hypernet:hypernetwork_amir:0.5>", [1, 2, 3])
    assert asked[1][1] == words and networks == [{"hypernetwork_amir": 1}, {}]
    box.method.value, box.prompt.value = "hypernetwork_amir", "a man # who?"
    box.button.click()
    assert diffusion.prompts.without_comments(asked[2][1]).split() == ["a", "man", "<hypernet:hypernetwork_amir:0.5>"]
    monkeypatch.setenv("SUBJECT", "Åse Nyström-Bâ")
    assert widgets.prompt_box("pocket", "the base").prompt.value == "a photo of a person", (
        "the class of one's own person"
    )


CELL = """from PIL import Image
from helpers.compare.widgets import PromptBox
def grey(settings, progress):
    return [Image.new("RGB", (64, 64))] * settings["count"]
box = PromptBox(grey, {"base": ""}, folder="pictures")
box"""


@pytest.mark.slow
def test_the_box_works_by_mouse_and_by_keyboard(lab):
    """In JupyterLab with ipywidgets 8; Colab's ipywidgets 7 has no browser here."""
    from playwright.sync_api import expect

    notebook = lab.open(CELL, height=1600)
    notebook.run()
    shown, keyboard = notebook.output(0), notebook.page.keyboard
    prompt, make = shown.get_by_label("Prompt", exact=True), shown.get_by_role("button", name="Make pictures")
    prompt.fill("a woman on a horse")
    make.click()
    shown.get_by_role("img", name="Picture 3 of 4: a woman on a horse, by base, seed 3").click()
    expect(shown.get_by_role("img", name="Enlarged: a woman on a horse, by base, seed 3")).to_be_visible()
    prompt.fill("a dog")
    make.focus()  # the rest without a mouse
    keyboard.press("Enter")
    expect(shown.get_by_role("img", name="Picture 1 of 4: a dog")).to_be_visible()
    shown.get_by_role("button", name="2: seed 2").focus()
    keyboard.press("Enter")
    shown.get_by_role("button", name="Save").focus()
    keyboard.press("Space")
    expect(shown.get_by_text("Saved as picture-001-seed2.png")).to_be_visible()
    keyboard.press("Tab")
    keyboard.press("Enter")  # Use these settings
    expect(shown.get_by_text("The settings are back in the box.")).to_be_visible()
    assert notebook.python("(box.seed.value, box.count.value, box.prompt.value)") == (2, 1, "a dog")
