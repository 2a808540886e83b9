"""Two processes that work together on this machine's cores, started as people start them on two GPUs."""

import os
import subprocess
import sys

from helpers import machine


def two_processes(*command, **environment):
    """What `accelerate launch --multi_gpu --num_processes 2` prints of a script, or of "-m" and a module.

    Without a GPU its two processes share the processor, a thread each. Fails with their errors if they do.
    """
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    done = subprocess.run(
        [*launcher, "--main_process_port", "0", *map(str, command)],
        cwd=machine.REPO,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(machine.REPO)} | environment,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout
