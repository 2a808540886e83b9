import contextlib
import os
import socket
import subprocess
import sys
import time

import pytest
from playwright.sync_api import expect

from helpers import runtime

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


@pytest.mark.slow
def test_what_make_lab_opens_shows_its_picture(browser, tmp_path):
    """Its own command; pictures and documents lie beside the folder of the notebooks, not in it."""
    # Under `make test` this is a make within a make, which would say last which folder it leaves.
    dry = ["make", "--no-print-directory", "-n", "lab"]
    listed = subprocess.run(dry, cwd=runtime.REPO, capture_output=True, text=True, check=True).stdout
    command = listed.strip().splitlines()[-1].split()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--no-browser", "--allow-root", f"--ServerApp.port={port}", "--IdentityProvider.token="]
    home = {"HOME": str(tmp_path), "JUPYTER_CONFIG_DIR": str(tmp_path), "JUPYTER_RUNTIME_DIR": str(tmp_path)}
    server = subprocess.Popen([sys.executable, *command[1:], *options], cwd=runtime.REPO, env=os.environ | home)
    try:
        page = browser.new_page()
        for _ in range(150):
            with contextlib.suppress(Exception):  # not yet there
                page.goto(f"http://127.0.0.1:{port}/lab/tree/notebooks/05_compare.ipynb")
                break
            time.sleep(0.2)
        picture = page.get_by_role("img", name="Real photos, base model, hypernetwork")
        picture.wait_for(timeout=60_000)
        page.wait_for_function("image => image.naturalWidth > 0", arg=picture.element_handle(), timeout=30_000)
        page.close()
    finally:
        server.terminate()
        server.wait(30)
