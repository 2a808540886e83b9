"""The prompt box as a page of its own, served by Voila on the pocket model: no code to see, nothing but the box."""

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest
from lab import PATIENCE, Lab, screenshot

from helpers import runtime

pytest_plugins = ["lab"]
pytestmark = pytest.mark.slow
PAGE = runtime.REPO / "docs" / "prompt_page.ipynb"


@pytest.fixture
def address(browser, tmp_path):
    """Where Voila serves the page of `make page`."""
    if not os.environ.get("CI"):
        pytest.importorskip("voila", reason="Voila is not installed: pip install -r requirements-dev.txt")
    lab = Lab(tmp_path, browser)
    options = ["--no-browser", f"--port={lab.port}", "--Voila.ip=127.0.0.1"]
    with (tmp_path / "voila.log").open("w") as log:
        command = [sys.executable, "-m", "voila", str(PAGE), *options]
        server = subprocess.Popen(command, cwd=lab.work, env=lab.environment(), stdout=log, stderr=log)
    for _ in range(600):
        assert server.poll() is None, (tmp_path / "voila.log").read_text()
        try:
            urllib.request.urlopen(f"{lab.address}/voila/static/nothing", timeout=5)
        except urllib.error.HTTPError:
            break  # it answers
        except OSError:
            time.sleep(0.2)
    yield lab.address
    server.terminate()
    server.wait(30)


def test_the_box_needs_no_notebook_around_it(address, browser):
    from playwright.sync_api import expect

    page = browser.new_page(viewport={"width": 1000, "height": 1400})
    page.goto(address, timeout=PATIENCE)
    page.get_by_label("Prompt", exact=True).fill("a woman on a horse", timeout=PATIENCE)
    page.get_by_role("button", name="Make pictures").click()
    first = page.get_by_role("img", name="Picture 1 of 4: a woman on a horse, by base, seed 1")
    expect(first).to_be_visible(timeout=PATIENCE)
    assert first.evaluate("image => image.naturalWidth") == 128, "a picture of the pocket model"
    expect(page.get_by_role("heading", name="Ask the model")).to_be_visible()
    assert "prompt_box" not in page.inner_text("body"), "the code is hidden"
    screenshot(page, "prompt_page")
    page.close()


def test_make_page_serves_it():
    rule = (runtime.REPO / "Makefile").read_text(encoding="utf-8").split("\npage:")[1].split("\n\n")[0]
    assert "-m voila " + PAGE.relative_to(runtime.REPO).as_posix() in rule and "PYTHONPATH" in rule
