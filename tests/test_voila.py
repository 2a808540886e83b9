"""`make page`: the prompt box as a page of its own, served by Voila on the pocket model."""

import pytest
from lab import PATIENCE, REPO, screenshot, serving

pytest_plugins = ["lab"]


@pytest.mark.slow
def test_the_box_needs_no_notebook_around_it(browser, tmp_path):
    from playwright.sync_api import expect

    page = browser.new_page(viewport={"width": 1000, "height": 1400})
    with serving(tmp_path, "voila", str(REPO / "docs" / "prompt_page.ipynb")) as address:
        page.goto(address, timeout=PATIENCE)
        page.get_by_label("Prompt", exact=True).fill("a woman on a horse", timeout=PATIENCE)
        page.get_by_role("button", name="Make pictures").click()
        first = page.get_by_role("img", name="Picture 1 of 4: a woman on a horse, by base, seed 1")
        expect(first).to_be_visible(timeout=PATIENCE)
        assert first.evaluate("image => image.naturalWidth") == 128, "a picture of the pocket model"
        assert "prompt_box" not in page.inner_text("body"), "the code is hidden"
        screenshot(page, "prompt_page")
        page.close()
