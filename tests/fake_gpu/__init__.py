"""A GPU that is not there, so that tests reach what only a GPU runs: see gpu.py for what it is and what it is not."""

import functools
import importlib.util
import json
import os
import shutil
import subprocess
import tempfile
from importlib import metadata
from pathlib import Path

import forks
import pytest

REPO = Path(__file__).parents[2]
TORCH = Path(importlib.util.find_spec("torch").origin).parent
# name, capability, bytes: a T4 computes in float16, an A100 in bfloat16
CARDS = {"T4": ("Tesla T4", (7, 5), 15_828_320_256), "A100": ("NVIDIA A100-SXM4-40GB", (8, 0), 42_298_834_944)}
PATHS = {"PYTHONPATH": f"{REPO / 'tests'}{os.pathsep}{REPO}"}
QUIET = PATHS | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "MPLBACKEND": "Agg"}
server = functools.cache(lambda: forks.Server("fake_gpu.gpu", **QUIET))  # the process from which all others fork

knows_real_ones = any((TORCH / "lib" / f"libtorch_{kind}.so").exists() for kind in ("cuda", "hip"))
possible = pytest.mark.skipif(
    shutil.which("g++") is None or knows_real_ones,
    reason="The GPU that is not there is built with g++, for a PyTorch that knows no real one.",
)


def build():
    """The path of guard.cpp's library for this PyTorch, built where it is missing, in a folder that git ignores."""
    library = REPO / "build" / "fake_gpu" / f"guard-{metadata.version('torch')}.so"
    if not library.exists():
        library.parent.mkdir(parents=True, exist_ok=True)
        includes = [f"-I{TORCH / 'include' / part}" for part in ("", "torch/csrc/api/include")]
        part = library.with_suffix(f".{os.getpid()}")  # two tests may build at once
        source = Path(__file__).with_name("guard.cpp")
        subprocess.run(
            ["g++", "-O1", "-w", "-shared", "-fPIC", "-std=c++20", *includes, source, "-o", part], check=True
        )
        part.replace(library)
    return library


def run(function, *arguments, card="T4", **environment):
    """What `function(gpu, *arguments)` returns in a process of its own, in which the GPU is a `card` of CARDS.

    function: of the top level of a test module, which is read again there; arguments and answer: as JSON has them.
    """
    with tempfile.TemporaryDirectory() as folder:
        answer, printed = Path(folder, "answer.json"), Path(folder, "printed.txt")
        call = [card, str(answer), function.__code__.co_filename, function.__name__, json.dumps(arguments)]
        server().start(["fake_gpu.gpu", *call], os.environ | QUIET | environment, REPO, printed).wait()
        assert answer.exists(), printed.read_text()[-6000:]
        return json.loads(answer.read_text())
