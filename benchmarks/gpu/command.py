"""Everything that only a GPU can tell, in about eight minutes on one card, without network or weights to download.

    python -m benchmarks.gpu                         all parts, into docs/gpu.json and docs/gpu.md
    python -m benchmarks.gpu --parts device settings    some parts; the others stay in the file as they are
    python -m benchmarks.gpu --parts forecast        the forecasts, if there was no time left, on any machine
    python -m benchmarks.gpu --write README.md docs/measured.md docs/memory.md    their figures from that file

On a Stable Diffusion 1.5 of random weights, for time and memory do not depend on what weights say. Each part has a
clock of its own, and whatever is measured is on disk at once: a run that is cut leaves what it has. What fails, as a
setting that does not fit on the card, is a row with its error, and the next row goes on.
"""

import argparse
import contextlib
import gc
import json
import signal
import tempfile
import time
import traceback
from datetime import date
from pathlib import Path

import torch
from accelerate.utils.memory import clear_device_cache

from benchmarks.gpu import model, parts, table
from helpers import machine
from helpers.diffusion import device

OUT = machine.REPO / "docs" / "gpu.json"
MINUTES = 8  # for the shares of parts.PARTS, which are minutes of these


@contextlib.contextmanager
def within(seconds):
    """Raises TimeoutError in its block once so many seconds are over, between two lines of Python."""

    def stop(*_):
        raise TimeoutError(f"cut after {seconds:.0f} s, this part's share")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def run_part(bench, part, rows, seconds, save):
    """Takes the rows of a part, (what it is, a function that fills it), until there are no more or its time is over."""
    works, began = part(bench), time.monotonic()
    with contextlib.closing(works):
        while (left := began + seconds - time.monotonic()) > 0:
            row = {}
            try:
                with within(left):
                    what, work = next(works, (None, None))
                    if work is None:
                        return
                    row |= what
                    rows.append(row)
                    work(row)
            except Exception as error:  # noqa: BLE001  too little memory, no bitsandbytes, what nobody foresaw
                lines = str(error).strip().splitlines()
                row["error"] = f"{type(error).__name__}: {lines[0] if lines else ''}"[:300]
                row["where"] = traceback.format_exc()[-1500:]
                if row not in rows:
                    rows.append(row)  # it failed before it began
            _free()
            save()
            print(table.line(part.__name__, row), flush=True)
        rows.append({"error": f"cut after {seconds:.0f} s: there was more"})
        save()


def _free():
    gc.collect()
    clear_device_cache()


def measure(names, scale, minutes, out):
    """Runs the parts and returns what is in `out` then: {"made": ..., part: [row, ...]}.

    What another card, PyTorch or scale left there goes; the forecasts alone, which need no GPU, are made for any.
    """
    end = time.monotonic() + 60 * (minutes + 1)  # what the parts leave of it is for the forecasts
    results, later = machine.read_json(out) if out.exists() else {}, names == ["forecast"]
    if results and later:
        scale = model.Scale(**results["made"]["scale"])
    else:
        results = started(scale, results)
    precision = getattr(torch, results["made"]["precision"])
    bench = parts.Bench(None if later else model.pipeline(scale), scale, precision)
    save = lambda: machine.write_json(out, results)
    with tempfile.TemporaryDirectory() as folder:
        bench.folder = Path(folder)
        for name in names:
            part, share = parts.PARTS[name]
            results[name] = []
            seconds = min(60 * share * minutes / MINUTES, end - time.monotonic())
            run_part(bench, part, results[name], seconds, save)
    return results


def started(scale, before):
    """{"made": what these results are of}, with those of `before` if they are of the same."""
    made = {"date": str(date.today()), "scale": model.settings_of(scale), "card": parts.card()}
    made |= {"torch": torch.__version__, "precision": str(device.computes_in(parts.find())).removeprefix("torch.")}
    made = json.loads(json.dumps(made))
    return (before if before.get("made", {}) | {"date": made["date"]} == made else {}) | {"made": made}


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=tuple(parts.PARTS), default=list(parts.PARTS))
    parser.add_argument("--minutes", type=float, default=MINUTES, help="for all parts together")
    parser.add_argument("--out", type=Path, default=OUT, help="a JSON file; the table comes beside it")
    parser.add_argument("--tenth", action="store_true", help="a model of a tenth of the width, to try this on a CPU")
    parser.add_argument(
        "--write", type=Path, nargs="+", metavar="FILE", help="write figures into texts; measure nothing"
    )
    parser.add_argument("--share", type=Path, help=argparse.SUPPRESS)  # one of two processes, started by this command
    options = parser.parse_args(arguments)
    scale = model.TENTH if options.tenth else model.SD15
    if options.write:
        for path in options.write:
            table.write(path, machine.read_json(options.out))
        return
    if options.share:
        return parts.share(scale, options.share)
    if not options.tenth and device.find_device().type == "cpu" and options.parts != ["forecast"]:
        parser.error("there is no GPU here: say --tenth to try this on the CPU.")
    results = measure(options.parts, scale, options.minutes, options.out)
    text = table.text(results)
    with machine.atomic_write(options.out.with_suffix(".md")) as partial:
        partial.write_text(text, encoding="utf-8")
    print(text)
