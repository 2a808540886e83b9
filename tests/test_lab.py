"""Our widgets in a JupyterLab cell: by keyboard alone, and a button that is heard while its cell is busy."""

import pytest
from lab import screenshot
from playwright.sync_api import expect

pytest_plugins = ["lab"]

PAGES = """from PIL import Image
from helpers import exercises
from helpers.show import flipbook
flipbook([Image.new("RGB", (16, 16), c) for c in ("red", "green", "blue")], ["one", "two", "three"], "page")"""
QUESTION = """word = ...
exercises.check("diffusion.rare", word, type("Letters", (), {"tokenize": list}))"""
TRAINING = """import time
from types import SimpleNamespace
from helpers.training import monitor
preview = Image.open("personalize/docs/pictures/03_train_hypernetwork.jpg")
preview.thumbnail((640, 320))
def training():
    for number in range(6000):
        time.sleep(0.05)
        yield SimpleNamespace(number=number, loss=0.1, held_out_loss=None, preview=None if number else preview)
async for step in monitor.watch(training(), 6000):
    pass"""


@pytest.mark.slow
def test_a_learner_answers_by_keyboard_alone_and_stops_a_busy_cell(lab):
    notebook = lab.open(PAGES, QUESTION, TRAINING)
    keyboard, pages, answer, panel = notebook.page.keyboard, *map(notebook.output, range(3))
    keyboard.press("Shift+Enter")
    expect(pages.locator("figcaption")).to_have_text("one")
    keyboard.press("Control+Enter")
    expect(answer).to_contain_text("Not answered yet")
    for key in ("Enter", "Control+Home", "End", "Backspace", "Backspace", "Backspace"):
        keyboard.press(key)
    keyboard.type("'nesrelah'")
    keyboard.press("Shift+Enter")
    expect(answer).to_contain_text("Right.")
    keyboard.press("Control+Enter")
    pages.get_by_role("slider", name="page").focus()
    keyboard.press("ArrowRight")
    expect(pages.locator("figcaption")).to_have_text("two")
    expect(panel.get_by_role("img", name="preview at step")).to_be_visible()
    panel.get_by_role("button", name="Stop and keep").scroll_into_view_if_needed()
    screenshot(notebook.page, "lab_widgets")
    panel.get_by_role("button", name="Stop and keep").click()
    expect(panel.get_by_text("Stopped, with a checkpoint")).to_be_visible()
    assert notebook.python("step.number") < 5999
