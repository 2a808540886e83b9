"""The machine: installing, Colab, files that are never half written, where runs lie. Standard library alone."""

from helpers.machine.colab import take_home
from helpers.machine.files import QUICK, REPO, RUNS, atomic_write, discard, fingerprint, read_json, room_for, write_json
from helpers.machine.install import ready
