"""The machine: installing, Colab, files that are never half written, where runs lie. Standard library alone."""

from helpers.machine import subjects
from helpers.machine.colab import bring_back, copy_token, mount_drive, on_colab, take_home, upload
from helpers.machine.files import QUICK, REPO, RUNS, as_text, atomic_write, fingerprint, local, read_json
from helpers.machine.files import room_for, weights_id, write_csv, write_json
from helpers.machine.install import ready
