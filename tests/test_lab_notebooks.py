"""The notebooks as a learner uses them: JupyterLab in a real Chromium, Run All, a frame, a button, pictures, the keys."""

import pytest
from lab import PATIENCE, screenshot
from playwright.sync_api import expect

from helpers import captions, crops, exercises, models, notebooks, runs, runtime

pytest_plugins = ["lab"]
pytestmark = pytest.mark.slow


def notebook_and_cell(number, text):
    """The path of a notebook and the place of the cell that contains a text."""
    (path,) = [path for path in notebooks.paths() if path.name.startswith(number)]
    (place,) = [i for i, cell in enumerate(notebooks.read(path).cells) if text in cell.source]
    return path, place


def test_notebook_05_runs_in_the_page_and_its_box_makes_pictures(lab):
    """With the trainings that lie in data/finished."""
    path, place = notebook_and_cell("05", "prompt_box.for_model(")
    notebook = lab.open(path, height=1500)
    notebook.run(seconds=600)
    box = notebook.output(place)
    box.get_by_label("Prompt", exact=True).fill("a photo of a woman riding a horse at the beach")
    box.get_by_role("button", name="Make pictures").click()
    first = box.get_by_role(
        "img", name="Picture 1 of 4: a photo of a woman riding a horse at the beach, by base, seed 1"
    )
    expect(first).to_be_visible()
    assert first.evaluate("image => image.naturalWidth") == 128, "a picture of the pocket model"
    expect(box.get_by_role("status").first).to_contain_text("4 pictures made")
    first.scroll_into_view_if_needed()
    screenshot(notebook.page, "05_prompt_box")


def test_notebook_03_trains_in_the_page_until_its_button_is_pressed(lab):
    path, place = notebook_and_cell("03", "monitor.watch(run, STEPS)")
    steps = models.MODELS["pocket"].hypernetwork["steps"]
    notebook = lab.open(path, environment={"QUICK": "0", "RUNS_DIR": str(lab.runs / "stopped")}, height=1100)
    notebook.start()
    panel = notebook.output(place)
    expect(panel.get_by_text(f"of {steps}")).to_be_visible(timeout=PATIENCE)
    expect(panel.get_by_role("img", name="preview at step")).to_be_visible()
    panel.get_by_role("button", name="Stop and keep").scroll_into_view_if_needed()
    screenshot(notebook.page, "03_monitor")
    panel.get_by_role("button", name="Stop and keep").click()
    expect(panel.get_by_text("Stopped, with a checkpoint")).to_be_visible()
    (kept,) = (lab.runs / "stopped" / "hypernetwork_amir" / "checkpoints").glob("[0-9]*.pt")
    assert 0 < runs.read(kept)["number"] < steps and runtime.RUNS not in kept.parents


def test_notebook_01_keeps_a_frame_that_was_dragged_in_the_page(lab):
    path, place = notebook_and_cell("01", 'crop_editor(reports["amir"]')
    notebook = lab.open(path, environment={"RUNS_DIR": str(lab.runs / "cropped")}, height=1100)
    notebook.run(seconds=600)
    editor = notebook.output(place)
    expect(editor.locator("strong")).to_contain_text("1 of ")
    frame = editor.locator(".frame")
    frame.focus()
    notebook.page.keyboard.press("-")  # room to move
    expect(editor.locator(".told")).to_contain_text("Kept.")
    folder = notebook.python("str(OUT['amir'])")
    before = crops.read_crops(folder)
    frame.scroll_into_view_if_needed()
    box = frame.bounding_box()
    at = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    notebook.page.mouse.move(*at)
    notebook.page.mouse.down()
    notebook.page.mouse.move(at[0] + 30, at[1] + 30, steps=4)
    notebook.page.mouse.up()
    notebook.page.wait_for_timeout(1000)  # the editor sends a little later
    after = crops.read_crops(folder)
    assert len(after) == 1 and after.keys() == before.keys() and after != before


def test_notebook_02_keeps_a_caption_that_was_typed_in_the_page(lab):
    path, place = notebook_and_cell("02", 'caption_editor(FOLDER["amir"]')
    notebook = lab.open(path, environment={"RUNS_DIR": str(lab.runs / "captioned")}, height=1100)
    notebook.run(seconds=600)
    editor = notebook.output(place)
    editor.get_by_role("textbox", name="Caption of").click()
    notebook.page.keyboard.press("Control+End")
    notebook.page.keyboard.type(" at dusk")
    expect(editor.locator(".told")).to_have_text("Saved.")
    table = captions.read_captions(notebook.python("str(FOLDER['amir'])"))
    typed = table[table.caption.str.endswith(" at dusk")]
    assert len(typed) == 1 and typed.edited.all()


def test_notebook_06_takes_a_raters_answers_in_the_page(lab):
    path, place = notebook_and_cell("06", "survey_widgets.Rater(")
    notebook = lab.open(path, environment={"RUNS_DIR": str(lab.runs / "rated")}, height=1100)
    notebook.run(seconds=600)
    rater = notebook.output(place)
    rater.get_by_text("Next", exact=True).click()
    rater.get_by_role("alert").wait_for()  # a question is open: nothing is skipped unawares
    for group in rater.locator(".widget-radio-box").all():
        group.locator("input").first.focus()
        notebook.page.keyboard.press("Space")
    rater.get_by_text("Next", exact=True).click()
    expect(rater.get_by_role("alert")).to_have_count(0)
    kept = (lab.runs / "rated" / "survey" / "rater-1.csv").read_text(encoding="utf-8")
    assert len(kept.splitlines()) > 1, "the answers are in the file before the next screen is answered"


def test_notebook_00_by_keyboard_alone(lab):
    """Shift+Enter from the first cell to the first exercise, a wrong answer, then the solution; never a mouse."""
    path, place = notebook_and_cell("00", 'exercises.check("diffusion.even"')
    notebook = lab.open(path, height=1100)
    keyboard, answer = notebook.page.keyboard, notebook.output(place)
    for _ in range(place):
        keyboard.press("Shift+Enter")
    keyboard.press("Control+Enter")  # the exercise itself: run, and stay
    expect(answer).to_contain_text(exercises.UNANSWERED, timeout=PATIENCE)
    for line, told in (("even = -1", "Not yet."), (exercises.find("diffusion.even").solution, "Right.")):
        keyboard.press("Enter")
        keyboard.press("Control+Home")
        keyboard.press("Shift+End")
        keyboard.type(line)
        keyboard.press("Control+Enter")
        expect(answer).to_contain_text(told)
    screenshot(notebook.page, "00_keyboard")
