"""The editors in JupyterLab in a real Chromium: drag the frame, type a caption, find both in the files."""

import pytest
from lab import screenshot
from playwright.sync_api import expect

from helpers import photos
from helpers.photos import crop

pytest_plugins = ["lab"]
pytestmark = pytest.mark.slow

MADE = """from pathlib import Path
import pandas as pd
from helpers import photos
from helpers.photos import CaptionEditor, CropEditor
raw = Path("personalize/data/subjects/amir/raw")
chosen = [raw / f"IMG_{number}.jpg" for number in (2041, 2044, 2083)]
report = photos.prepare(chosen, "squares", 128)
table = pd.DataFrame({"file": report.output, "caption": ["a man", "a man with a cat", "رجل مع قطة"]})
photos.write_captions("squares", table)"""


def drag(page, locator, x, y):
    """Press in the middle of an element and let go `x`, `y` pixels further."""
    locator.scroll_into_view_if_needed()
    box = locator.bounding_box()
    at = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(*at)
    page.mouse.down()
    page.mouse.move(at[0] + x, at[1] + y, steps=4)
    page.mouse.up()


def test_a_frame_is_dragged_and_a_caption_typed(lab):
    notebook = lab.open(MADE, "CropEditor(report, chosen, 'squares', 128)", "CaptionEditor('squares')")
    notebook.run()
    crop_with(notebook, lab.work / "squares")
    caption_with(notebook, lab.work / "squares")
    assert notebook.page.locator(".jp-Notebook .jp-Cell").count() == 3, "no key of ours reached JupyterLab"


def crop_with(notebook, folder):
    page, cell = notebook.page, notebook.output(1)
    frame, status, name = cell.locator(".frame"), cell.locator(".status"), cell.locator("strong")
    expect(name).to_contain_text("1 of 3: IMG_2041.jpg")
    drag(page, frame, 0, -2000)  # a frame as wide as the photo only moves up and down
    expect(status).to_contain_text("Kept.")
    assert crop.read_crops(folder) == {"IMG_2041.jpg": (0, 0, 1200, 1200)}
    drag(page, cell.locator(".corner.se"), -120, -60)
    expect(name).to_contain_text("(by hand)")
    page.wait_for_timeout(1000)
    left, top, right, bottom = crop.read_crops(folder)["IMG_2041.jpg"]
    scale = 1200 / cell.locator(".stage").bounding_box()["width"]
    assert (left, top) == (0, 0) and right == bottom == pytest.approx(1200 - 60 * scale, abs=12)
    screenshot(page, "01_crop_widget")
    frame.focus()
    for key in ("ArrowRight", "Shift+ArrowDown", "-", "PageDown"):  # the last sends what is not sent yet
        page.keyboard.press(key)
    expect(name).to_contain_text("2 of 3: IMG_2044.jpg")
    moved = crop.read_crops(folder)["IMG_2041.jpg"]
    assert moved[0] > left and moved[1] > top and moved[2] - moved[0] < right - left
    page.keyboard.press("PageUp")
    expect(name).to_contain_text("1 of 3")
    page.keyboard.press("Home")
    expect(status).to_contain_text("Automatic crop.")


def caption_with(notebook, folder):
    page, cell = notebook.page, notebook.output(2)
    text, name = cell.get_by_role("textbox", name="Caption of"), cell.locator("strong")
    expect(text).to_have_value("a man")
    text.click()
    page.keyboard.press("End")
    page.keyboard.type(" at dusk, dd 00 xx")  # letters that are JupyterLab's keys for cutting and deleting cells
    expect(cell.locator(".status")).to_have_text("Saved.")
    screenshot(page, "02_caption_editor")
    page.keyboard.type("!")
    page.keyboard.press("PageDown")
    expect(name).to_contain_text("2 of 3")
    assert photos.read_captions(folder).caption[0] == "a man at dusk, dd 00 xx!"
    cell.get_by_label("Words to find").fill("cat")
    cell.get_by_label("Words to put").fill("small dog")
    cell.get_by_role("button", name="Replace in all").click()
    expect(text).to_have_value("a man with a small dog")
    cell.get_by_role("button", name="Next").click()
    expect(name).to_contain_text("3 of 3")
    assert text.evaluate("node => getComputedStyle(node).direction") == "rtl"
    assert list(photos.read_captions(folder).edited) == [True, True, False]
