"""A Chromium for the browser tests: found, or fetched when this file is run (`python tools/chromium.py`, by `make test`).

Tests install nothing. Where there is no Chromium they are skipped; with CI=true that is a failure.
"""

import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ABSENT = "There is no Chromium on this machine: run `python tools/chromium.py`, or apt-get install chromium."


def find():
    """Path of a Chromium on PATH or of Playwright's own, or None."""
    if on_path := next(filter(None, map(shutil.which, NAMES)), None):
        return on_path
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        path = Path(driver.chromium.executable_path)
    return str(path) if path.exists() else None


def get():
    """Find a Chromium, or try to get one: Debian's package as root, else Playwright's own. Returns a path or None."""
    apt = shutil.which("apt-get") and os.geteuid() == 0
    debian = [["apt-get", "update", "-qq"], ["apt-get", "install", "-y", "-qq", "chromium"]] if apt else []
    for command in [*debian, [sys.executable, "-m", "playwright", "install", "chromium"]]:
        if found := find():
            return found
        print("Getting Chromium for the browser tests:", " ".join(command), flush=True)
        try:
            subprocess.run(command, check=False, timeout=300, stdout=subprocess.DEVNULL)
        except (OSError, subprocess.TimeoutExpired) as error:
            print(error)
    return find()


@contextmanager
def launched():
    """A running Chromium (a Playwright browser), closed at the end; skips the test, or fails it in CI, without one."""
    path = find()
    if not path:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(ABSENT)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        # as root, and in most containers, Chromium has no sandbox to start in and little shared memory
        chromium = driver.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield chromium
        chromium.close()


if __name__ == "__main__":
    print(get() or ABSENT)
