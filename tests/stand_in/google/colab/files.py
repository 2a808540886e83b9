import os
from pathlib import Path


def upload(target_dir=""):
    """Gives {name: bytes} of what the person chose and keeps a copy in the current folder; names taken get a number."""
    chosen = {}
    for path in sorted(Path(os.environ["COLAB_UPLOADS"]).iterdir()):
        name, number = path.name, 0
        while Path(target_dir, name).exists():
            number += 1
            name = f"{path.stem} ({number}){path.suffix}"
        content = path.read_bytes()
        Path(target_dir, name).write_bytes(content)
        chosen[str(Path(target_dir, name))] = content
    return chosen


def download(filename):
    """Sends a file to the browser."""
    if not os.path.exists(filename):
        raise FileNotFoundError(f"Cannot find file: {filename}")
    with open(os.environ["COLAB_DOWNLOADS"], "a") as log:
        log.write(f"{filename}\n")
