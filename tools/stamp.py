"""Writes the address of a GitHub repository into badges, set-up cells and links: `python -m tools.stamp owner/name`."""

import re
import sys
from pathlib import Path

from helpers import machine


def stamp(repository, files):
    """Write owner/name of a GitHub repository into badges, clone lines and the addresses of pictures and documents.

    Colab and Kaggle know only whole addresses; until then these are found beside the notebook.
    Raises ValueError if repository does not look like owner/name.
    """
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise ValueError(f"{repository!r} is not of the form owner/name.")
    for file in map(Path, files):
        text = file.read_text(encoding="utf-8")
        badge = r"(colab\.research\.google\.com/github/|kaggle\.com/kernels/welcome\?src=https://github\.com/)[\w.-]+/[\w.-]+"
        text = re.sub(badge + r"(?=/blob/)", rf"\g<1>{repository}", text)
        text = re.sub(
            r'(https://github\.com/)[\w.-]+/[\w.-]+(?=(?:\\?", \\?"| )personalize)', rf"\g<1>{repository}", text
        )
        raw = rf"\g<1>https://raw.githubusercontent.com/{repository}/main/docs/pictures/"
        text = re.sub(r"(!\[[^]]*\]\()(?:\.\.|https://raw[^)]*?)/docs/pictures/", raw, text)
        web = rf"\g<1>https://github.com/{repository}/blob/main/docs/\g<2>"
        text = re.sub(r"(\]\()(?:\.\.|https://github\.com/[\w.-]+/[\w.-]+/blob/main)/docs/([\w.-]+\))", web, text)
        file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    stamp(sys.argv[1], [machine.REPO / "README.md", *sorted((machine.REPO / "notebooks").glob("*.ipynb"))])
    print("Now commit and push to the branch main of a public repository: Colab and Kaggle read what is on GitHub.")
