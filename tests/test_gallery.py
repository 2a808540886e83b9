import re

import pandas as pd
import pytest
from PIL import Image

from helpers import compare, gallery, runtime


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """What the notebooks leave, in small and in one colour."""
    monkeypatch.setattr(runtime, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(gallery, "BUILD", tmp_path / "build")

    def save(path, size=(16, 16)):
        path = tmp_path / "runs" / path
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, "teal").save(path)

    for subject, _, run, method, prompt in gallery.STORIES:
        save(f"photos/{subject}/a.png")
        caption = {"file": "a.png", "caption": "one & <two>", "machine_caption": "one", "edited": True}
        pd.DataFrame([caption]).to_csv(tmp_path / "runs" / "photos" / subject / "captions.csv", index=False)
        for step in range(0, 301, 25):
            save(f"{run}/previews/{step:06}.png", (64, 16))
        for folder in ("base", method):
            save(f"compare/images/{folder}/{compare.file_name(prompt, 2)}")
    save("compare/grid.png", (600, 900))
    wish = {"subject": "amir", "wish": "amir riding a horse", "file": f"images/base/{compare.file_name(prompt, 2)}"}
    pd.DataFrame([wish]).to_csv(tmp_path / "runs" / "compare" / "portfolio.csv", index=False)
    share = {"subject": "amir", "prompt": "a photo of a man", "method": "hypernetwork", "images": 16}
    share |= {"mean": 0.75, "low": 0.5, "high": 0.9, "words": "75 % (50 to 90 %)"}
    pd.DataFrame([share]).to_csv(tmp_path / "runs" / "compare" / "shares.csv", index=False)
    (tmp_path / "runs" / "compare" / "finding.txt").write_text("The class is affected.\n")
    return tmp_path / "runs"


def test_the_page_tells_the_whole_story_and_needs_no_other_file(runs):
    text = gallery.page([(gallery.BUILD / "notebooks" / "05_compare.html", 2.34)]).read_text(encoding="utf-8")
    assert not re.findall(r'<(?:img|script|link)[^>]*(?:src|href)="(?!data:)', text)
    for words in ("Squares with a caption", "While it learns", "Before", "After", "The paper's prompts", "step 300"):
        assert words in text
    assert "75 % (50 to 90 %)" in text and "width:75.0%" in text and "left:50.0%;width:40.0%" in text
    assert "The class is affected." in text and "amir riding a horse" in text
    assert 'href="notebooks/05_compare.html"' in text and "2.3 minutes" in text
    assert "one &amp; &lt;two&gt;" in text and "$" not in re.sub(r"data:[^\"]*", "", text)


def test_what_is_not_there_is_left_out(runs):
    (runs / "compare" / "shares.csv").unlink()
    for picture in runs.glob("*/previews/*.png"):
        picture.unlink()
    text = gallery.page([]).read_text(encoding="utf-8")
    assert "The paper's prompts" not in text and "While it learns" not in text and "Before" in text


def test_previews_run_from_the_first_to_the_last(runs):
    steps = [words for _, words in gallery.previews("hypernetwork_amir")]
    assert (steps[0], steps[-1], len(steps)) == ("step 0", "step 300", 6)


def test_big_pictures_are_made_small_and_stay_as_they_are():
    image = Image.new("RGB", (2000, 1000), "red")
    figure = gallery.picture(image, 'a "b"')
    assert 'width="480" height="240"' in figure and "a &quot;b&quot;" in figure
    assert image.size == (2000, 1000)
