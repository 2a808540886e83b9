"""JupyterLab in a real Chromium, for tests of widgets and notebooks.

    pytest_plugins = ["lab"]                      # at the top of your test module
    pytestmark = pytest.mark.slow                 # or on each test: a page takes seconds

    def test_the_button_counts(lab):
        notebook = lab.open("import ipywidgets as w", "b = w.Button(description='Go')\\nb")   # cells of a throw-away one
        notebook.run()                            # Run All; fails with the traceback of the first cell that raised
        notebook.output(1).get_by_role("button", name="Go").click()     # a Playwright locator in cell 1's output
        assert notebook.python("b.description") == "Go"                 # an expression in that very kernel
        screenshot(notebook.page, "button")       # the Playwright page, kept in docs/ with SCREENSHOTS=1

    def test_of_05(lab):
        notebook = lab.open(runtime.REPO / "notebooks" / "05_compare.ipynb")     # a copy: the file stays as it is
        notebook.start(); ...; notebook.wait(seconds=300)     # the same as run(), to click while cells run

The server lives in a temporary home on a free port, with this Python's kernel, QUICK=1 and a RUNS_DIR of its own
(lab.runs). Notebooks stand next to a link `personalize` to the repository, so their set-up cell finds helpers;
kernels start there too: throw-away cells may `from helpers import ...` at once. One server serves all tests;
each notebook has its own page and kernel, ended after the test. lab.open(..., environment={"NAME": "value"}).
Widgets need a moment: use Playwright's expect(...) and locators, which wait, rather than time.sleep.
"""

import ast
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import chromium
import nbformat
import pytest
from jupyter_client import BlockingKernelClient

from helpers import runtime

SETTINGS = {  # no news, no questions; every cell drawn, also those out of sight
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True},
    "notebook-extension/tracker": {"windowingMode": "none"},
    "docmanager-extension/plugin": {"autosave": False},
}
READY = """() => {
    const session = window.jupyterapp.shell.currentWidget?.sessionContext
    return session?.isReady && session.session?.kernel?.connectionStatus === "connected"
}"""
PATIENCE = 300_000  # milliseconds: a machine that trains beside the tests answers slowly
RUN_ALL = """() => {
    window.ran = undefined
    window.jupyterapp.commands.execute("notebook:run-all-cells").then(() => { window.ran = true })
}"""
ERRORS = """() => window.jupyterapp.shell.currentWidget.content.model.toJSON().cells
    .flatMap((cell) => cell.outputs ?? []).filter((output) => output.output_type === "error")
    .map((error) => `${error.ename}: ${error.evalue} ${error.traceback.join("")}`)"""


def screenshot(page, name):
    """Keep what a page shows as docs/screenshots/name.jpg, if SCREENSHOTS=1 is set; look at it afterwards."""
    if os.environ.get("SCREENSHOTS") == "1":
        page.screenshot(path=runtime.REPO / "docs" / "screenshots" / f"{name}.jpg", type="jpeg", quality=80)


class Notebook:
    """One notebook open in JupyterLab: .page is the Playwright page."""

    def __init__(self, lab, page, name):
        self.lab, self.page, self.name = lab, page, name
        page.goto(f"{lab.address}/lab/tree/{name}?reset")
        page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=PATIENCE)
        page.wait_for_function(READY, timeout=PATIENCE)
        page.evaluate("() => window.jupyterapp.commands.execute('application:toggle-left-area')")

    def start(self):
        """Run all cells and return at once."""
        self.page.evaluate(RUN_ALL)

    def wait(self, seconds=300):
        """Wait until the run is over; fails with the traceback if a cell raised."""
        self.page.wait_for_function("() => window.ran", timeout=1000 * seconds)
        errors = self.page.evaluate(ERRORS)
        assert not errors, errors[0]

    def run(self, seconds=300):
        """Run all cells to the end."""
        self.start()
        self.wait(seconds)

    def cell(self, index):
        """Playwright locator of a whole cell, counted from 0, markdown cells too."""
        return self.page.locator(".jp-Notebook .jp-Cell").nth(index)

    def output(self, index):
        """Playwright locator of what a cell shows below its code."""
        return self.cell(index).locator(".jp-Cell-outputArea")

    def python(self, expression, seconds=60):
        """Value of an expression in this notebook's kernel; it must be a literal: numbers, strings, lists, dicts."""
        client = BlockingKernelClient(connection_file=str(self.lab.connection_file(self.name)))
        client.load_connection_file()
        client.start_channels()
        try:
            reply = client.execute(
                "", silent=True, user_expressions={"value": expression}, reply=True, timeout=seconds
            )["content"]["user_expressions"]["value"]
        finally:
            client.stop_channels()
        if reply["status"] == "error":
            raise AssertionError(f"{expression}: {reply['ename']}: {reply['evalue']}")
        return ast.literal_eval(reply["data"]["text/plain"])


class Lab:
    """A JupyterLab server and a Chromium; open() gives notebooks. See the top of this file."""

    def __init__(self, home, browser):
        self.home, self.browser = home, browser
        self.work, self.runs, self.runtime = home / "work", home / "runs", home / "runtime"
        for folder in (self.work, self.runs):
            folder.mkdir()
        (self.work / "personalize").symlink_to(runtime.REPO)
        for name, settings in SETTINGS.items():
            path = home / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(settings))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        self.opened = 0

    def serve(self):
        """Start the server and wait until it answers; returns its process."""
        options = [
            f"--ServerApp.port={self.port}",
            "--ServerApp.port_retries=0",
            f"--ServerApp.root_dir={self.work}",
            "--IdentityProvider.token=",
            "--ServerApp.disable_check_xsrf=True",
            f"--LabApp.user_settings_dir={self.home / 'settings'}",
            f"--LabApp.workspaces_dir={self.home / 'workspaces'}",
        ]
        flags = ["--no-browser", "--allow-root", "--expose-app-in-browser"]
        with (self.home / "server.log").open("w") as log:
            command = [sys.executable, "-m", "jupyterlab", *flags, *options]
            server = subprocess.Popen(command, cwd=self.work, env=self.environment(), stdout=log, stderr=log)
        for _ in range(1500):
            try:
                self.ask("api/status")
                return server
            except OSError:
                assert server.poll() is None, (self.home / "server.log").read_text()
                time.sleep(0.2)
        raise TimeoutError((self.home / "server.log").read_text())

    def environment(self):
        """The server's environment: a home of its own, and the kernel of this Python only."""
        folders = {
            "HOME": self.home,
            "JUPYTER_CONFIG_DIR": self.home / "config",
            "JUPYTER_DATA_DIR": self.home / "data",
            "JUPYTER_RUNTIME_DIR": self.runtime,
            "IPYTHONDIR": self.home / "ipython",
            "RUNS_DIR": self.runs,
            "PYTHONPATH": runtime.REPO,
        }
        quiet = {"QUICK": "1", "MODEL": "pocket", "JUPYTER_PREFER_ENV_PATH": "1", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
        return os.environ | quiet | {name: str(path) for name, path in folders.items()}

    def ask(self, path, method="GET"):
        """An answer of the server's REST interface."""
        request = urllib.request.Request(f"{self.address}/{path}", method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read() or "null")

    def connection_file(self, name):
        """The kernel's connection file of the notebook with this name."""
        kernel = next(s["kernel"]["id"] for s in self.ask("api/sessions") if s["path"] == name)
        return self.runtime / f"kernel-{kernel}.json"

    def open(self, *sources, environment=None, width=1280, height=900):
        """Open a copy of the notebook at a path, or a throw-away notebook of some cells of code; returns a Notebook.

        environment: variables of its kernel, set before any cell runs.
        """
        self.opened += 1
        if len(sources) == 1 and isinstance(sources[0], Path):
            notebook, name = nbformat.read(sources[0], as_version=4), sources[0].name
        else:
            cells = [nbformat.v4.new_code_cell(source) for source in sources]
            metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
            notebook, name = nbformat.v4.new_notebook(cells=cells, metadata=metadata), "cells.ipynb"
        name = f"{self.opened}_{name}"
        nbformat.write(notebook, self.work / name)
        page = self.browser.new_page(viewport={"width": width, "height": height})
        page.set_default_timeout(PATIENCE / 5)
        opened = Notebook(self, page, name)
        for variable, value in (environment or {}).items():
            opened.python(f"__import__('os').environ.update({{{variable!r}: {value!r}}})")
        return opened

    def close_all(self):
        """End every page and kernel."""
        for context in self.browser.contexts:
            context.close()
        for session in self.ask("api/sessions"):
            self.ask(f"api/sessions/{session['id']}", "DELETE")


@pytest.fixture(scope="session")
def browser():
    """A Playwright Chromium, for tests of plain pages too."""
    with chromium.launched() as running:
        yield running


@pytest.fixture(scope="session")
def lab_server(browser, tmp_path_factory):
    from playwright.sync_api import expect

    expect.set_options(timeout=PATIENCE / 5)
    lab = Lab(tmp_path_factory.mktemp("lab"), browser)
    server = lab.serve()
    yield lab
    server.terminate()
    server.wait(30)


@pytest.fixture
def lab(lab_server):
    """A JupyterLab to open notebooks in: see the top of tests/lab.py."""
    yield lab_server
    lab_server.close_all()
