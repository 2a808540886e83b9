"""JupyterLab in a real Chromium, for tests of widgets; `pytest_plugins = ["lab"]` at the top of a test module.

    def test_the_button_counts(lab):
        notebook = lab.open("import ipywidgets as w", "b = w.Button(description='Go')\\nb")   # its cells
        notebook.run()                            # all cells; fails with the traceback of the first that raised
        notebook.output(1).get_by_role("button", name="Go").click()     # a Playwright locator in cell 1's output
        assert notebook.python("b.description") == "Go"                 # an expression in that very kernel
        screenshot(notebook.page, "button")       # the Playwright page, kept in docs/ with SCREENSHOTS=1

One server serves all tests, from the folder lab.work with its runs in lab.runs; a notebook's kernel ends with its test.
Wait with Playwright's expect(...) and locators, not with time.sleep.
"""

import ast
import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import nbformat
import pytest

from tools import chromium

REPO = Path(__file__).resolve().parents[1]
PATIENCE = 300_000  # milliseconds: a machine that trains beside the tests answers slowly
SETTINGS = {  # no news, no questions; every cell drawn, also those out of sight
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True},
    "notebook-extension/tracker": {"windowingMode": "none"},
    "docmanager-extension/plugin": {"autosave": False},
}
SESSION = "window.jupyterapp.shell.currentWidget?.sessionContext"
READY = f'() => {SESSION}?.isReady && {SESSION}.session?.kernel?.connectionStatus === "connected"'
RUN_ALL = """() => {
    window.ran = undefined
    window.jupyterapp.commands.execute("notebook:run-all-cells").then(() => { window.ran = true })
}"""
ERRORS = """() => window.jupyterapp.shell.currentWidget.content.model.toJSON().cells
    .flatMap((cell) => cell.outputs ?? []).filter((output) => output.output_type === "error")
    .map((error) => `${error.ename}: ${error.evalue} ${error.traceback.join("")}`)"""
VALUE = f"""async (value) => (await {SESSION}.session.kernel.requestExecute(
    {{code: "", silent: true, user_expressions: {{value}}}}).done).content.user_expressions.value"""


def screenshot(page, name):
    """Keep what a page shows as docs/screenshots/name.jpg, if SCREENSHOTS=1 is set; look at it afterwards."""
    if os.environ.get("SCREENSHOTS") == "1":
        page.screenshot(path=REPO / "docs" / "screenshots" / f"{name}.jpg", type="jpeg", quality=80)


@contextlib.contextmanager
def serving(home, module, *options):
    """The address of a Jupyter server, `python -m module` in the folder home/work; QUICK, and nothing of the user's."""
    names = ("HOME", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
    settings = {name: str(home / name.lower()) for name in names}
    settings |= {"RUNS_DIR": str(home / "runs"), "PYTHONPATH": str(REPO), "QUICK": "1", "MODEL": "pocket"}
    settings |= {"JUPYTER_PREFER_ENV_PATH": "1", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}  # the kernel of this Python
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (home / "work").mkdir()
    with (home / "server.log").open("w") as log:
        command = [sys.executable, "-m", module, *options, "--no-browser", f"--port={port}"]
        server = subprocess.Popen(command, cwd=home / "work", env=os.environ | settings, stdout=log, stderr=log)
    try:
        for _ in range(1500):
            assert server.poll() is None, (home / "server.log").read_text()
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/nothing", timeout=30)
            except urllib.error.HTTPError:
                break  # it answers
            except OSError:
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(30)


class Notebook:
    """One notebook open in JupyterLab: .page is the Playwright page."""

    def __init__(self, page, address):
        self.page = page
        page.goto(address)
        page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=PATIENCE)
        page.wait_for_function(READY, timeout=PATIENCE)
        page.evaluate("() => window.jupyterapp.commands.execute('application:toggle-left-area')")

    def run(self):
        """Run all cells to the end; fails with the traceback if one raised."""
        self.page.evaluate(RUN_ALL)
        self.page.wait_for_function("() => window.ran", timeout=PATIENCE)
        errors = self.page.evaluate(ERRORS)
        assert not errors, errors[0]

    def output(self, index):
        """Playwright locator of what a cell, counted from 0, shows below its code."""
        return self.page.locator(".jp-Notebook .jp-Cell").nth(index).locator(".jp-Cell-outputArea")

    def python(self, expression):
        """Value of an expression in this notebook's kernel; it must be a literal: numbers, strings, lists, dicts."""
        reply = self.page.evaluate(VALUE, expression)
        assert reply["status"] == "ok", reply
        return ast.literal_eval(reply["data"]["text/plain"])


class Lab:
    """A JupyterLab server and a Chromium; open() gives notebooks. See the top of this file."""

    def __init__(self, home, address, browser):
        self.work, self.runs, self.address, self.browser = home / "work", home / "runs", address, browser
        (self.work / "personalize").symlink_to(REPO)  # its data, for throw-away cells
        self.opened = []

    def open(self, *cells, height=900):
        """Open a throw-away notebook of some cells of code; returns a Notebook."""
        metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
        notebook = nbformat.v4.new_notebook(cells=[*map(nbformat.v4.new_code_cell, cells)], metadata=metadata)
        name = f"cells_{len(list(self.work.glob('cells_*')))}.ipynb"
        nbformat.write(notebook, self.work / name)
        page = self.browser.new_page(viewport={"width": 1280, "height": height})
        page.set_default_timeout(PATIENCE / 5)
        self.opened.append(page)
        return Notebook(page, f"{self.address}/lab/tree/{name}?reset")

    def close_all(self):
        """End every page and its kernel."""
        while self.opened:
            page = self.opened.pop()
            page.evaluate(f"() => {SESSION}?.shutdown()")
            page.close()


@pytest.fixture(scope="session")
def browser():
    """A Playwright Chromium, for tests of plain pages too."""
    with chromium.launched() as running:
        yield running


@pytest.fixture(scope="session")
def lab_server(browser, tmp_path_factory):
    from playwright.sync_api import expect

    expect.set_options(timeout=PATIENCE / 5)
    home = tmp_path_factory.mktemp("lab")
    for name, settings in SETTINGS.items():
        path = home / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(settings))
    options = ["--allow-root", "--expose-app-in-browser", "--IdentityProvider.token="]
    folders = [f"--LabApp.user_settings_dir={home / 'settings'}", f"--LabApp.workspaces_dir={home / 'workspaces'}"]
    with serving(home, "jupyterlab", *options, *folders) as address:
        yield Lab(home, address, browser)


@pytest.fixture
def lab(lab_server):
    """A JupyterLab to open notebooks in: see the top of tests/lab.py."""
    yield lab_server
    lab_server.close_all()
