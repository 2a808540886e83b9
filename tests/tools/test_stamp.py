import json
import re
import shutil
from pathlib import Path

import pytest

from helpers import machine
from tools import stamp


def test_stamp_writes_the_repository_into_every_notebook_and_the_readme_once_and_again(tmp_path):
    paths = [machine.REPO / "README.md", *sorted((machine.REPO / "notebooks").glob("*.ipynb"))]
    copies = [Path(shutil.copy(path, tmp_path)) for path in paths]
    with copies[0].open("a", encoding="utf-8") as readme:
        readme.write("[a peer](https://github.com/huggingface/diffusers)\n")
    for repository in ("someone/first-try", "school.org/course_2"):
        stamp.stamp(repository, copies)
        for copy in copies:
            text = copy.read_text(encoding="utf-8")
            assert set(re.findall(r"colab\.research\.google\.com/github/([\w.-]+/[\w.-]+)/", text)) == {repository}
            assert set(re.findall(r"kaggle\.com/\S+github\.com/([\w.-]+/[\w.-]+)/blob/", text)) == {repository}
            if copy.suffix == ".ipynb":
                json.loads(text)
                assert f'\\"https://github.com/{repository}\\", \\"personalize\\"' in text, "the clone"
                assert f"](https://raw.githubusercontent.com/{repository}/main/docs/pictures/{copy.stem}.jpg)" in text
                assert f"](https://github.com/{repository}/blob/main/docs/glossary.md)" in text
                assert "](../docs/" not in text
    assert f"clone --depth 1 https://github.com/{repository} personalize\n" in copies[0].read_text(encoding="utf-8")
    assert "https://github.com/huggingface/diffusers" in copies[0].read_text(encoding="utf-8"), "others' stay"
    with pytest.raises(ValueError, match="owner/name"):
        stamp.stamp("https://github.com/someone/thing", copies)
