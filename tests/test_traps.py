"""Ways in which the libraries have changed under other people's notebooks: none of ours may step into one.

Each was seen to fail between Colab's versions and the newest ones (November 2026). Some need a test of behaviour, which
stands with its module: precision on a T4 (test_runtime), the text encoder's names in a checkpoint (test_checkpoint), CLIP
features that are an object (test_metrics), the keyword for precision (test_models, and below what happens without).
"""

import ast
import re
import subprocess
import sys

import ipywidgets
import nbformat
import pytest
import torch

from helpers import models, notebooks, places

NEWER_WIDGETS = {"TagsInput", "ColorsInput", "Stack", "NaiveDatetimePicker", "SpeedDial"}  # ipywidgets 8 only


def sources():
    """{file, or notebook and cell: Python source} of helpers, pocket and notebooks."""
    found = {
        path.name: path.read_text(encoding="utf-8")
        for folder in ("helpers", "pocket")
        for path in (places.REPO / folder).glob("*.py")
    }
    for path in notebooks.paths():
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type == "code":
                found[f"{path.name} [{cell.id}]"] = cell.source
    return found


SOURCES = sources()


def calls(tree):
    """(name of the function or method, its call) of every call."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield getattr(node.func, "attr", getattr(node.func, "id", "")), node


def keywords(call):
    return {keyword.arg: keyword.value for keyword in call.keywords}


def vae_switch(name, call):
    """pipe.enable_vae_slicing() is gone in diffusers 0.42; pipe.vae.enable_slicing() works in both."""
    return name in {"enable_vae_slicing", "enable_vae_tiling", "disable_vae_slicing", "disable_vae_tiling"}


def plain_load(name, call):
    """torch.load without weights_only=True runs code from the file."""
    return (
        name == "load"
        and getattr(call.func, "value", None) is not None
        and (
            getattr(call.func.value, "id", "") == "torch"
            and getattr(keywords(call).get("weights_only"), "value", None) is not True
        )
    )


def captioning_pipeline(name, call):
    """pipeline("image-to-text") is gone in transformers 5."""
    told = [*call.args, keywords(call).get("task")]
    return name == "pipeline" and any(getattr(arg, "value", None) == "image-to-text" for arg in told)


def newer_widget(name, call):
    """Colab has ipywidgets 7."""
    return name in NEWER_WIDGETS


def output_of_a_picture(name, call):
    """Output.append_display_data shows pictures and widgets wrongly; `with output: display(...)` does not."""
    return name == "append_display_data"


def border_of_a_dict(name, call):
    """Layout(border={...}) is not understood by Colab's widget manager."""
    return name == "Layout" and isinstance(keywords(call).get("border"), ast.Dict)


def bf16_question(name, call):
    """torch.cuda.is_bf16_supported() says yes on a T4, which only emulates it."""
    return name == "is_bf16_supported" and "including_emulation" not in keywords(call)


TRAPS = [
    vae_switch,
    plain_load,
    captioning_pipeline,
    newer_widget,
    output_of_a_picture,
    border_of_a_dict,
    bf16_question,
]
EXAMPLES = """
pipe.enable_vae_slicing()
torch.load(path)
pipeline("image-to-text")
pipeline(task="image-to-text")
widgets.TagsInput()
output.append_display_data(image)
Layout(border={"width": 1})
torch.cuda.is_bf16_supported()
"""


@pytest.mark.parametrize("trap", TRAPS, ids=lambda trap: trap.__name__)
def test_nobody_steps_into(trap):
    inside = [name for name, source in SOURCES.items() if any(trap(*call) for call in calls(ast.parse(source)))]
    assert not inside, f"{trap.__doc__} {inside}"


@pytest.mark.parametrize("trap", TRAPS, ids=lambda trap: trap.__name__)
def test_the_trap_would_be_found(trap):
    assert sum(trap(*call) for call in calls(ast.parse(EXAMPLES))) == (2 if trap is captioning_pipeline else 1)


WORDS = {
    "runwayml/": "that repository is gone from the hub since 2024",
    "AutoModelForVision2Seq": "gone in transformers 5",
    "CLIPFeatureExtractor": "gone in transformers 5",
    "CascadeClassifier": "gone in OpenCV 5",
    "os.system": "subprocess says what failed",
}


@pytest.mark.parametrize("word", WORDS)
def test_nobody_says(word):
    assert not [name for name, source in SOURCES.items() if word in source], WORDS[word]


def test_opencv_is_only_looked_for_inside_functions():
    for name, source in SOURCES.items():
        top = [node for node in ast.parse(source).body if isinstance(node, (ast.Import, ast.ImportFrom))]
        assert not any("cv2" in ast.unparse(node) for node in top), f"{name}: Colab's three OpenCVs may not import"


def test_upload_widgets_are_read_in_both_shapes():
    """FileUpload.value is a dict in ipywidgets 7, a tuple in 8: a module that uses it must know both."""
    for name, source in SOURCES.items():
        if "FileUpload" in source:
            assert re.search(r"isinstance\([^)]*, dict\)|\.values\(\)", source), name
    value = ipywidgets.FileUpload().value
    assert value in ({}, ()), "a third shape"


def test_a_pipeline_in_the_wrong_precision_is_noticed(monkeypatch):
    """diffusers 0.39 ignores dtype= and loads float32: twice the memory, with one line in a log."""
    keyword = models._dtype_keyword(models.diffusers, "0.42")
    pipe = models.StableDiffusionPipeline.from_pretrained(models.POCKET, **{keyword: torch.float16})
    assert {part.dtype for part in (pipe.unet, pipe.vae, pipe.text_encoder)} == {torch.float16}
    monkeypatch.setattr(models.runtime, "device", lambda: torch.device("meta"))  # no CPU: 16 bits are wanted
    monkeypatch.setattr(models, "_dtype_keyword", lambda library, renamed_in: "unheard_of")
    with pytest.raises(AssertionError, match="float32, not torch.float16"):
        models.load_pipeline("pocket")


@pytest.mark.slow
def test_torchvision_is_never_needed():
    """The torchvision of PyPI beside a CPU torch breaks transformers' own imports: nothing here may pull it in."""
    code = f"""
        import sys, importlib, pathlib
        sys.modules["torchvision"] = None  # importing it raises
        for path in sorted(pathlib.Path({str(places.REPO / "helpers")!r}).glob("*.py")):
            importlib.import_module("helpers." + path.stem)
        print("all of them")
    """
    command = [sys.executable, "-c", "\n".join(line[8:] for line in code.splitlines())]
    done = subprocess.run(command, cwd=places.REPO, capture_output=True, text=True, check=False)
    assert done.stdout.endswith("all of them\n"), done.stderr[-2000:]
