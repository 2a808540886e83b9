"""Processes that begin in a moment: one has imported what helpers import, and forks for whoever asks.

That import takes ten seconds of a processor's time, and the tests begin some eighty kernels and simulated GPUs. Ours,
helpers and pocket, are imported in each process anew, for they read the environment.
"""

import functools
import importlib
import json
import os
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
OURS = ("helpers", "pocket")


class Fork:
    """A process of a Server: what jupyter_client asks of one, but for its exit status, which only its parent hears."""

    stdin = stdout = stderr = None

    def __init__(self, pid):
        self.pid = pid

    def poll(self):
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return 0

    def wait(self):
        while self.poll() is None:
            time.sleep(0.02)
        return 0

    def send_signal(self, number):
        os.kill(self.pid, number)

    def terminate(self):
        self.send_signal(signal.SIGTERM)

    def kill(self):
        self.send_signal(signal.SIGKILL)


class Server:
    """A process that forks, until the tests end. modules: imported there before all else; environment: added to ours.

    Its environment is what libraries read when they are imported; that of a fork comes too late for them.
    """

    def __init__(self, *modules, **environment):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        command = [sys.executable, __file__, *modules]
        self.process = subprocess.Popen(command, cwd=REPO, env=os.environ | environment, **pipes)

    def start(self, arguments, env, cwd, output=""):
        """A Fork that is `python -m` with some arguments; output: the file for what it prints, else with the tests'."""
        asked = {"arguments": arguments, "env": env, "cwd": str(cwd), "output": str(output)}
        print(json.dumps(asked), file=self.process.stdin, flush=True)
        return Fork(int(self.process.stdout.readline()))


@functools.cache
def kernels():
    """A Server whose forks become kernels of notebooks."""
    return Server("ipykernel.kernelapp", MPLBACKEND="module://matplotlib_inline.backend_inline")


def launch_kernel(command, env, cwd=None, **settings):
    """In place of jupyter_client's own: begins its `python -m ipykernel_launcher ...` as a Fork."""
    return kernels().start(command[2:], env, cwd or os.getcwd())


def import_libraries(modules):
    """Import some modules and all that helpers import, and forget helpers."""
    os.environ["JPY_PARENT_PID"] = str(os.getpid())  # a kernel ends with this process
    here = sys.path.pop(0)
    sys.path[:0] = [here, str(REPO)]
    for module in [*modules, "helpers.exercises.audit", "helpers.survey", "helpers.methods"]:
        importlib.import_module(module)
    for name in [name for name in sys.modules if name.split(".")[0] in OURS]:
        del sys.modules[name]
    del sys.path[:2]


def serve(modules):
    """Fork for every line that is asked, and say the fork's number; nobody waits for it."""
    import_libraries(modules)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    answers = os.dup(1)
    os.dup2(2, 1)  # what a fork prints goes where errors go
    for line in sys.stdin:
        if os.fork() == 0:
            os.setsid()
            os.write(answers, f"{os.getpid()}\n".encode())
            os.close(answers)
            return become(**json.loads(line))


def become(arguments, env, cwd, output):
    """Be `python -m` in this process."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    if output:
        os.dup2(os.open(output, os.O_WRONLY | os.O_CREAT), 1)
        os.dup2(1, 2)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    sys.path[:0] = [cwd, *filter(None, env.get("PYTHONPATH", "").split(os.pathsep))]
    sys.argv = arguments
    runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    serve(sys.argv[1:])
