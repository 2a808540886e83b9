"""Kills, interrupts, full disks and hostile files: many more of them than the tests have time for.

    python -m benchmarks.soak                      all of it, some twenty minutes on one core
    python -m benchmarks.soak --every 20 --real 0  every twentieth place, and no real training: ten seconds, as in the tests

A toy run is broken at each of its writes, taken up again, and must end as if it had never been broken: weights, rows, best
weights and files, bit for bit. The same holds for a real training on pocket that is killed again and again. Hostile
files must be refused in a sentence, and nothing in them may run. A table at the end; the exit status is 1 if it has faults.
"""

import argparse
import contextlib
import errno
import functools
import os
import pickle
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
import torch

from helpers import diffusion, machine, training
from helpers.methods import hypernetwork, hypernetwork_file

sys.path.append(str(machine.REPO / "tests"))
from toy import STEPS, rows, toy_run

ROOT = [] if os.geteuid() == 0 else ["sudo", "-n"]
EVENTS = {"open", "os.rename", "os.remove", "os.truncate", "os.mkdir"}
SENTENCE = re.compile(r"(\[Errno \d+\] )?['A-Z/].*\.", re.DOTALL)


def at_writes(folder, numbers, act):
    """From now on `act` is called, with the audit event, before the writes of these numbers below `folder`.

    Returns the list whose one element counts the writes. A hook cannot be taken away again: for a child that will end.
    """
    seen, save = [0], torch.save

    def hook(event, arguments):
        reads = event == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if event in EVENTS and not reads and str(arguments[0]).startswith(str(folder)):
            seen[0] += 1
            if seen[0] in numbers:
                act(event)

    def save_and_tell(data, path):
        save(data, path)
        os.truncate(path, Path(path).stat().st_size)  # torch writes by itself, and is heard of by this alone

    torch.save = save_and_tell
    sys.addaudithook(hook)
    return seen


def in_child(work):
    """What a function returns that a forked process calls, or its error, as text; "" if the process dies."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, str(work()).encode())
        except BaseException as error:  # noqa: BLE001  (told to the parent, whatever it is)
            os.write(writing, f"{type(error).__name__}: {error}".encode()[:4000])
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as file:
        told = file.read()
    os.waitpid(child, 0)
    return told


def kill(event):
    """The process dies at once, as by a power cut or by Colab."""
    os.kill(os.getpid(), signal.SIGKILL)


def interrupt(event):
    """As the notebook's stop sign."""
    raise KeyboardInterrupt


def full(event):
    """Nothing new has room any more; what is there can still be removed."""
    if event in ("open", "os.mkdir"):
        raise OSError(errno.ENOSPC, "No space left on device")


def fill(disk, event):
    """From now on a disk is full."""
    with open(disk / "ballast", "ab", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(2**12))


def fault(kind, number, whole, folder, act):
    """What is wrong after a toy run was broken at a write and taken up again: a sentence, "" if nothing is."""
    shutil.rmtree(folder, ignore_errors=True)
    numbers = range(number, 10**9) if kind == "full" else (number,)
    told = in_child(lambda: (at_writes(folder, numbers, act), toy_run(folder), "done")[-1])
    (folder.parent / "ballast").unlink(missing_ok=True)
    right = {"kill": "^$", "interrupt": "^Keyboard"}.get(kind, "OSError: .*No room to write .* Make room|^done$")
    if not re.search(right, told):
        return f"at write {number} it said {told!r:.200}"
    try:
        difference = different(whole, folder, toy_run(folder)[0])
        return difference and f"at write {number}: {difference}"
    except Exception as error:  # noqa: BLE001  (whatever it is, it is a fault)
        return f"at write {number} it cannot go on: {error!r:.200}"


def different(whole, folder, net):
    """In what a run, and the net that it gave back, differ from one that was never broken, "" if in nothing."""
    files = [{path.relative_to(run) for path in run.rglob("*")} for run in (whole, folder)]
    if files[0] != files[1]:
        return f"files {sorted(map(str, files[0] ^ files[1]))}"
    if rows(whole) != rows(folder):
        return "other rows"
    for name in (f"{STEPS:06}.pt", "best.pt"):
        one, other = (training.run.read(run / "checkpoints" / name) for run in (whole, folder))
        if not all(map(torch.equal, one["weights"], other["weights"])) or one["number"] != other["number"]:
            return f"other weights in {name}"
    return "" if all(map(torch.equal, net.parameters(), run_weights(whole))) else "other weights in memory"


def toys(folder, every):
    """The faults of a toy run broken at every nth write, by each kind: [(kind, fault)]."""
    toy_run(folder / "whole")
    count = in_child(lambda: [at_writes(folder / "count", (), kill), toy_run(folder / "count")][0][0])
    acts, disk = {"kill": kill, "interrupt": interrupt, "full": full}, folder / "disk"
    if small_disk(disk):
        acts["full, on a disk of 2 MB"] = functools.partial(fill, disk)
    found = []
    try:
        for kind, act in acts.items():
            place = (disk if "disk" in kind else folder) / "broken"
            for number in range(1, int(count) + 1, every):
                found.append((kind, fault(kind, number, folder / "whole", place, act)))
    finally:
        if os.path.ismount(disk):
            subprocess.run([*ROOT, "umount", disk], check=True)
    return found


def small_disk(folder):
    """Mounts a disk of 2 MB in memory; returns whether that was allowed."""
    folder.mkdir()
    if not all(map(shutil.which, (*ROOT[:1], "mount"))):
        return False
    command = [*ROOT, "mount", "-t", "tmpfs", "-o", f"size=2m,uid={os.getuid()}", "tmpfs", folder]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def real(folder, kills):
    """The faults of a hypernetwork's training on pocket that is killed so often: [("kill of a real run", fault)]."""
    options = ["--steps", "24", "--batch-size", "1", "--checkpoint-every", "3"]

    def start(name):
        command = [sys.executable, "-m", "tools.train", *options, "--folder", folder / name]
        process = subprocess.Popen(command, cwd=machine.REPO, stdout=subprocess.PIPE, text=True)
        next(line for line in process.stdout if line.startswith("training in"))
        return process

    process, began = start("whole"), time.monotonic()
    process.communicate()
    lasts, found, name = time.monotonic() - began, [], None
    while len(found) < kills:
        name = name or f"broken-{len(found)}"
        process = start(name)
        try:
            process.communicate(timeout=random.uniform(0, lasts / 3))
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            found.append(("kill of a real run", ""))
        if process.returncode == 0 or len(found) == kills:
            start(name).communicate()
            one, other = (run_weights(folder / run) for run in ("whole", name))
            if not all(map(torch.equal, one, other)) or rows(folder / "whole") != rows(folder / name):
                found[-1] = (found[-1][0], f"{name} ended otherwise")
            name = None
    return found


def run_weights(run):
    """The last weights of a run, whatever its length."""
    return training.run.read(max((run / "checkpoints").glob("0*.pt")))["weights"]


def hostile(folder, count):
    """The faults of the readers of files, given cut, changed and malicious ones: [("hostile file", fault)]."""
    net, sign, rng, found = hypernetwork.Hypernetwork([16]), folder / "it-ran", random.Random(0), []
    program = type("Program", (), {"__reduce__": lambda self: (os.system, (f"touch {sign}",))})()
    hypernetwork_file.save(folder / "net.pt", net)
    hypernetwork_file.save(folder / "net.safetensors", net)
    torch.save({"number": 1, "weights": [torch.zeros(9)]}, folder / "run.pt")
    machine.write_json(folder / "settings.json", {"steps": 1})
    torch.save({"weights": program}, folder / "torch.pt")
    (folder / "plain.pt").write_bytes(pickle.dumps(program))
    readers = (training.run.read, hypernetwork_file.load, diffusion.checkpoint.load_safetensors, machine.read_json)
    originals = [path.read_bytes() for path in sorted(folder.glob("*.*")) if path.is_file()]
    resource.setrlimit(resource.RLIMIT_AS, (16 * 2**30, resource.getrlimit(resource.RLIMIT_AS)[1]))
    for number in range(count):
        data = bytearray(originals[number % len(originals)])
        for _ in range(rng.choice((0, 1, 8))):
            data[rng.randrange(len(data))] = rng.randrange(256)
        reader = readers[number // len(originals) % len(readers)]  # each file meets each reader
        path = folder / f"hostile{'.safetensors' if number % 2 else '.pt'}"
        path.write_bytes(data[: rng.choice((len(data), rng.randrange(len(data) + 1)))])
        told = ""
        try:
            reader(path)
        except Exception as error:  # noqa: BLE001  (which ones are right is what is asked)
            if not isinstance(error, ValueError | OSError) or not SENTENCE.fullmatch(str(error)):
                told = f"{reader.__module__}.{reader.__name__}, file {number}: {error!r:.150}"
        found.append(("hostile file", "a program in a file ran" if sign.exists() else told))
    return found


def main(arguments=None):
    """Runs the soak, prints the table of it, and returns how many faults there were."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__.splitlines()[0])
    parser.add_argument("--every", type=int, default=1, help="of the writes of a toy run every nth is broken")
    parser.add_argument("--real", type=int, default=20, help="so many kills of a real training")
    parser.add_argument("--hostile", type=int, default=2000, help="so many hostile files")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)  # a forked process has one thread alone
    with tempfile.TemporaryDirectory() as folder:
        found = toys(Path(folder), options.every)
        found += hostile(Path(folder), options.hostile)
        found += real(Path(folder), options.real) if options.real else []
    table = pd.DataFrame(found, columns=["kind", "fault"]).assign(wrong=lambda table: table["fault"] != "")
    print(*table[table["wrong"]].drop_duplicates("kind")["fault"], sep="\n")
    print(table.groupby("kind", sort=False)["wrong"].agg(tried="count", wrong="sum").to_string())
    return int(table["wrong"].sum())


if __name__ == "__main__":
    sys.exit(min(1, main()))
