import base64
import io
import json
import re

import pytest
from PIL import Image

from helpers.show import flipbook

pytest_plugins = ["lab"]
COLORS = ["#ff0000", "#00ff00", "#0000ff"]
LABELS = ["red & first", "</script><b>green</b>", 'blue "last"']


def book(**settings):
    return flipbook([Image.new("RGB", (32, 32), color) for color in COLORS], LABELS, "colour", **settings).data


def test_every_picture_and_label_is_in_it():
    with pytest.raises(ValueError, match="one label"):
        flipbook([Image.new("RGB", (8, 8))], [], "colour")
    pages = json.loads(re.search(r"<script type=\"application/json\">(.*?)</script>", book(), re.DOTALL)[1])
    assert [page["label"] for page in pages] == LABELS
    for i, page in enumerate(pages):
        image = Image.open(io.BytesIO(base64.b64decode(page["picture"].split(",")[1])))
        assert image.size == (32, 32) and image.convert("RGB").getpixel((16, 16))[i] > 200


@pytest.mark.slow
def test_pages_turn_by_keyboard_by_play_and_twice_on_a_page(browser):
    page = browser.new_page()
    page.set_content(f"<html lang='en'><body>{book(start=1, milliseconds=20)}{book()}</body></html>")
    first = page.locator("figure").first
    slider, caption = first.get_by_role("slider", name="colour"), first.locator("figcaption")
    assert caption.inner_text() == LABELS[1]
    slider.focus()
    page.keyboard.press("ArrowRight")
    assert caption.inner_text() == slider.get_attribute("aria-valuetext") == LABELS[2]
    assert first.locator("img").get_attribute("alt") == f"colour: {LABELS[2]}"
    first.get_by_role("button", name="Play").press("Enter")  # starts again from the first page
    page.wait_for_function("document.querySelector('figcaption').textContent.startsWith('blue')")
    first.get_by_role("button", name="Play").wait_for()
    second = page.locator("figure").nth(1)
    assert second.locator("figcaption").inner_text() == LABELS[0], "each turns its own pages only"
    second.get_by_role("slider").press("End")
    assert second.locator("figcaption").inner_text() == LABELS[2]
    page.close()
