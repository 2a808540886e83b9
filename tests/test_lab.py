import pytest
from playwright.sync_api import expect

pytest_plugins = ["lab"]
pytestmark = pytest.mark.slow

BUTTON = """import ipywidgets as widgets
clicks = []
button = widgets.Button(description="Go")
button.on_click(lambda _: clicks.append(1))
button"""


def test_a_widget_lives_in_the_page_and_in_the_kernel(lab):
    notebook = lab.open(BUTTON, "from helpers import runtime\nstr(runtime.RUNS)")
    notebook.run()
    button = notebook.output(0).get_by_role("button", name="Go")
    button.click()
    button.click()
    expect(notebook.output(1)).to_contain_text(str(lab.runs))
    assert notebook.python("len(clicks)") == 2


def test_a_cell_that_raises_is_told(lab):
    notebook = lab.open("1 / 0", environment={"PLANET": "Mars"})
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        notebook.run()
    assert notebook.python("__import__('os').environ['PLANET']") == "Mars"


LESSON = """from PIL import Image
from helpers import exercises
from helpers.flipbook import flipbook
flipbook([Image.new("RGB", (16, 16), c) for c in ("red", "green", "blue")], ["one", "two", "three"], "page")"""
QUESTION = """word = ...
exercises.check("diffusion.rare", word, type("Letters", (), {"tokenize": list}))"""


def test_a_learner_with_a_keyboard_alone(lab):
    """Runs the cells, turns a page of a flipbook and answers an exercise, without a mouse."""
    notebook = lab.open(LESSON, QUESTION)
    keyboard = notebook.page.keyboard
    keyboard.press("Shift+Enter")
    caption = notebook.output(0).locator("figcaption")
    expect(caption).to_have_text("one")
    keyboard.press("Control+Enter")
    expect(notebook.output(1)).to_contain_text("Not answered yet")
    for key in ("Enter", "Control+Home", "End", "Backspace", "Backspace", "Backspace"):
        keyboard.press(key)
    keyboard.type("'nesrelah'")
    keyboard.press("Control+Enter")
    expect(notebook.output(1)).to_contain_text("Right.")
    notebook.output(0).get_by_role("slider", name="page").focus()
    keyboard.press("ArrowRight")
    expect(caption).to_have_text("two")
