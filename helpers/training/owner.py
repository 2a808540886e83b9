"""Whose folder a run's is: of two processes, the one that began last. The other stops at its next write."""

import contextlib
import csv
import os
import platform
import shutil
import sys
import uuid

from helpers.machine import atomic_write, room_for

MARK = ".owner"  # in the folder of a run, until it is left


def discard(path):
    """Removes a file or a folder, emptied first: on Google Drive what is removed fills the bin, which counts like the rest."""
    for file in [file for file in [path, *path.rglob("*")] if file.is_file()]:
        os.truncate(file, 0)
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


class Owner:
    """A run's hold on its folder, from `take` to `leave`; all that it writes there goes through it.

    kept: a function to the checkpoints there, the newest last, for what is said of a full disk.
    """

    def __init__(self, folder, kept):
        self.folder, self.kept = folder, kept
        self.mark, self.holds = f"{platform.node()} {os.getpid()} {uuid.uuid4()}", False

    def take(self, *folders):
        """Marks the folder, and removes from `folders` the half-written files of whoever was killed there."""
        with atomic_write(self.folder / MARK) as partial:
            partial.write_text(self.mark)
        self.holds = True
        for folder in folders:
            for partial in [path for path in folder.glob(".*.part") if path.is_file()]:
                partial.unlink()

    def is_ours(self):
        """Whether nobody else has taken the folder since."""
        if sys.is_finalizing():  # a run that was left open
            return False
        try:
            return (self.folder / MARK).read_text() == self.mark
        except OSError:
            return False

    def check(self):
        """Raises RuntimeError if another process trains in the folder by now, or the folder is gone."""
        if not self.holds or self.is_ours():
            return
        if (self.folder / MARK).exists():
            raise RuntimeError(f"Another process trains in {self.folder} by now: this one has stopped, let it finish.")
        raise RuntimeError(f"{self.folder} is gone (moved, or Google Drive cut off): bring it back and run again.")

    @contextlib.contextmanager
    def write(self, path):
        """`atomic_write` into a folder that is ours before and after."""
        self.check()
        with room_for(path, self.kept()), atomic_write(path) as partial:
            yield partial
            self.check()

    def append(self, path, row):
        """Adds a row to a table."""
        self.check()
        with room_for(path, self.kept()), path.open("a", newline="") as file:
            csv.writer(file, lineterminator="\n").writerow(row)

    def leave(self):
        """Takes the mark off: nothing is written from now on."""
        if self.holds and self.is_ours():
            (self.folder / MARK).unlink()
