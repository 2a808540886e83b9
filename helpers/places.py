"""Where files lie and whether this is a quick trial, for notebooks that do without PyTorch."""

import os
from pathlib import Path

from helpers import colab

REPO = Path(__file__).resolve().parents[1]
QUICK = os.environ.get("QUICK", "") not in ("", "0")  # a trial of every cell in seconds, nothing learnt


def find_runs():
    """Where runs are kept: RUNS_DIR, else Google Drive where it is mounted, else the repo's runs/.

    Quick trials get a folder of their own, so they never meet a real run.
    """
    if os.environ.get("RUNS_DIR"):
        return Path(os.environ["RUNS_DIR"]).expanduser().resolve()
    drive = colab.DRIVE / "MyDrive"
    runs = drive / "personalize" / "runs" if drive.is_dir() else REPO / "runs"
    return runs / "quick" if QUICK else runs


RUNS = find_runs()
