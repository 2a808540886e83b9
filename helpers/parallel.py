"""Pictures made by several devices at once, through accelerate.

compare.pictures hands over what is missing; a process a device takes its share, and files meet on disk.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from helpers import files


def devices():
    """How many processes share the work: the GPUs here, or PICTURE_PROCESSES in the environment; else 1."""
    return int(os.environ.get("PICTURE_PROCESSES") or max(1, torch.cuda.device_count()))


def share(maker, base, wanted, sampler):
    """Make the pictures wanted, {path: (prompt, seed)}, in a process a device; False if there is only one device.

    Raises RuntimeError if a process fails: what is made is kept.
    """
    count = min(devices(), len(wanted))
    if count < 2:
        return False
    job = {
        "maker": {name: str(value or "") for name, value in vars(maker).items()},
        "safety": base.safety_checker is not None,
        "sampler": sampler,
        "wanted": [(str(path), prompt, int(seed)) for path, (prompt, seed) in wanted.items()],
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "job.json"
        files.write_json(path, job)
        launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(count)]
        done = subprocess.run(
            [*launch, "-m", "helpers.parallel", str(path)], check=False, capture_output=True, text=True
        )
    if done.returncode:
        raise RuntimeError(f"A process that made pictures stopped: {done.stderr.strip().splitlines()[-1]}")
    return True


def work(path):
    """What one process does: load the maker on its own device, make every picture of its share."""
    from accelerate import PartialState

    from helpers import compare, makers, models

    state = PartialState(cpu=not torch.cuda.is_available())
    if torch.cuda.is_available():
        torch.cuda.set_device(state.device)
    job = files.read_json(path)
    maker = makers.Maker(**job["maker"])
    base = models.load_pipeline(maker.base)
    if not job["safety"]:
        base.safety_checker = None
    with state.split_between_processes(job["wanted"]) as mine, makers.at_work(maker, base) as pipe:
        compare.make(pipe, {place: (prompt, seed) for place, prompt, seed in mine}, maker, **job["sampler"])
    state.wait_for_everyone()
    state.destroy_process_group()


if __name__ == "__main__":
    work(sys.argv[1])
