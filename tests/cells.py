"""Cells of a notebook, run in the test's own process."""

import ast
import asyncio
import inspect
from concurrent.futures import ThreadPoolExecutor


def execute(source, names):
    """A cell as a notebook runs it: it may await at its top level. What it defines comes into `names`."""
    code = compile(source, "cell", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    awaited = eval(code, names)
    if inspect.iscoroutine(awaited):
        with ThreadPoolExecutor(1) as pool:  # Playwright keeps a loop of its own in the tests' thread
            pool.submit(asyncio.run, awaited).result()
