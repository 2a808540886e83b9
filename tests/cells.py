"""Cells of a notebook, run in the test's own process."""

import ast
import asyncio
import inspect
import json
from concurrent.futures import ThreadPoolExecutor

from helpers import machine


def sources(name):
    """{id: source} of a notebook's cells, in order."""
    text = (machine.REPO / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8")
    return {cell["id"]: "".join(cell["source"]) for cell in json.loads(text)["cells"]}


def execute(source, names):
    """A cell as a notebook runs it: it may await at its top level. What it defines comes into `names`."""
    code = compile(source, "cell", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    awaited = eval(code, names)
    if inspect.iscoroutine(awaited):
        with ThreadPoolExecutor(1) as pool:  # Playwright keeps a loop of its own in the tests' thread
            pool.submit(asyncio.run, awaited).result()
