"""Ways in which the libraries have changed under other people's notebooks: none of ours may step into one.

Each was seen to fail between Colab's versions and the newest ones (November 2026).
"""

import re

import nbformat
import pytest
import torch
from conftest import tiny_pipeline

from helpers import diffusion, machine
from helpers.diffusion import models
from tools import notebooks

TRAPS = {
    r"(enable|disable)_vae_(slicing|tiling)\(": "gone in diffusers 0.42; pipe.vae.enable_slicing() works in both",
    r"torch\.load\((?!.*weights_only=True)": "runs code from the file",
    r"pipeline\(.*image-to-text": "gone in transformers 5",
    r"\b(TagsInput|ColorsInput|Stack|NaiveDatetimePicker|SpeedDial)\(": "Colab has ipywidgets 7",
    r"\.append_display_data\(": "shows pictures and widgets wrongly; `with output: display(...)` does not",
    r"Layout\(.*border=\{": "is not understood by Colab's widget manager",
    r"(=|if|and|or|not|return) torch\.cuda\.is_bf16_supported\((?!.*including_emulation)": "says yes on a T4, which only emulates it",
    r"^(import|from) cv2": "Colab's three OpenCVs may not import: look for it inside functions",
    r"^\s*(import|from) torchvision": "that of PyPI beside a CPU torch breaks transformers' own imports",
    "runwayml/": "that repository is gone from the hub since 2024",
    "AutoModelForVision2Seq|CLIPFeatureExtractor": "gone in transformers 5",
    "CascadeClassifier": "gone in OpenCV 5",
    r"os\.system": "subprocess says what failed",
}


def sources():
    """{file, or notebook and cell: Python source} of helpers, pocket and notebooks."""
    paths = [path for folder in ("helpers", "pocket") for path in (machine.REPO / folder).rglob("*.py")]
    found = {path.name: path.read_text(encoding="utf-8") for path in paths}
    for path in notebooks.paths():
        cells = nbformat.read(path, as_version=4).cells
        found |= {f"{path.name} [{cell.id}]": cell.source for cell in cells if cell.cell_type == "code"}
    return found


SOURCES = sources()


@pytest.mark.parametrize("trap", TRAPS)
def test_nobody_steps_into(trap):
    assert not [name for name, source in SOURCES.items() if re.search(trap, source, re.MULTILINE)], TRAPS[trap]


def test_a_pipeline_in_the_wrong_precision_is_noticed(tmp_path, monkeypatch):
    """diffusers 0.39 ignores dtype= and loads float32: twice the memory, with one line in a log."""
    keyword = models._dtype_keyword(models.diffusers, "0.42")
    tiny_pipeline().save_pretrained(tmp_path)
    pipe = models.StableDiffusionPipeline.from_pretrained(tmp_path, **{keyword: torch.float16})
    assert {part.dtype for part in (pipe.unet, pipe.vae, pipe.text_encoder)} == {torch.float16}
    monkeypatch.setattr(models, "find_device", lambda: torch.device("meta"))  # no CPU: 16 bits are wanted
    monkeypatch.setattr(models, "_dtype_keyword", lambda library, renamed_in: "unheard_of")
    with pytest.raises(AssertionError, match="float32"):
        diffusion.load_pipeline(str(tmp_path))
