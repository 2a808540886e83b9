"""The first page of the site: its pieces, and the story from what notebooks leave."""

import re

import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

from helpers import machine, show
from helpers.diffusion import kept
from tools import gallery


def save(path, size=(16, 16), color="teal"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, color).save(path)


def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_csv(path, index=False)


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """What the notebooks leave, in small and in one colour."""
    folder = tmp_path / "runs"
    monkeypatch.setattr(machine, "RUNS", folder)
    listed = []
    for subject, _, run, method, prompt in gallery.people():
        save(folder / "photos" / subject / "a.png")
        caption = {"file": "a.png", "caption": "one & <two>", "machine_caption": "one", "edited": True}
        write(folder / "photos" / subject / "captions.csv", [caption])
        for step in range(0, 301, 25):
            save(folder / run / "previews" / f"{step:06}.png", (64, 16))
        for model, kind, color in (("base", "base", "red"), (run, method, "blue")):
            for seed in (1, 2):
                file = f"images/{model}/{kept.file_name(prompt, seed)}"
                save(folder / "compare" / file, color=color)
                told = {"file": file, "model": model, "method": kind, "subject": subject, "seed": seed}
                listed.append(told | {"prompt_id": f"class_{subject}", "prompt": prompt})
    compared = folder / "compare"
    write(compared / "images.csv", listed)
    save(compared / "grid.png", (600, 900))
    write(compared / "portfolio.csv", [{"subject": "amir", "prompt": "amir riding a horse", "file": listed[0]["file"]}])
    share = {"subject": "amir", "prompt": "a photo of a man", "method": "hypernetwork", "images": 16}
    before = share | {
        "method": "base",
        "images": 8,
        "mean": 0.125,
        "low": 0.1,
        "high": 0.3,
        "words": "12 % (10 to 30 %)",
    }
    write(
        compared / "shares.csv", [before, share | {"mean": 0.75, "low": 0.5, "high": 0.9, "words": "75 % (50 to 90 %)"}]
    )
    (compared / "finding.txt").write_text("The class is affected.\n", encoding="utf-8")
    write(compared / "table2.csv", [{"method": "hypernetwork", "V-RAM": "8 GB"}])
    save(folder / "one_photo" / "a.png")
    shown = {"who": "person_02", "file": "a.png", "prompt": "on foot", "seconds": 1.44}
    write(folder / "one_photo" / "pictures.csv", [shown])
    said = {"method": "base", "the paper": "approx. 80 %", "here, SIMULATED": "78 %"}
    write(folder / "survey" / "table1.csv", [said])
    (folder / "survey" / "report.html").write_text("<p>the study</p>", encoding="utf-8")
    audited = {"model": "base", "prompt": "a suit", "images": 8, "mean": 0.9, "low": 0.6, "high": 1.0, "world": 0.8}
    write(folder / "audit" / "shares.csv", [audited])
    (folder / "audit" / "finding.txt").write_text("The skew is found.\n\n", encoding="utf-8")
    save(folder / "robot" / "curve.png", (70, 30))
    (folder / "robot" / "finding.txt").write_text("It saw 4 people.\n", encoding="utf-8")
    return folder


@pytest.fixture
def ran():
    """An executed notebook with the two films."""
    films = [show.flipbook([Image.new("RGB", (8, 8))], ["1"], name).data for name in gallery.FILMS]
    cells = [new_markdown_cell("# Who looks like whom?")]
    cells += [new_code_cell("film", outputs=[new_output("display_data", {"text/html": film})]) for film in films]
    return [("07_compare", new_notebook(cells=cells, metadata={"minutes": 2.34}))]


@pytest.mark.slow
def test_the_page_tells_the_whole_story(runs, ran, tmp_path):
    text = gallery.page(ran, ["docs/glossary.md", "docs/teaching.md"], tmp_path)
    for words in (
        "Squares with a caption", "While it learns", "Before and after", "The paper's prompts", "step 300", "Table 1",
        "Table 2", "SIMULATED", "approx. 80 %", "8 GB", "The skew is found.", "12 of 16 pictures show Amir after training by hypernetwork, 1 of 8 before",
        "amir riding a horse", "75 % (50 to 90 %)", "width:75.0%", "left:50.0%;width:40.0%", "width:80.0%",
        "one row a method, one column a prompt", "[07 Who looks like whom?](notebooks/07_compare.ipynb), 2.3 minutes", "one &amp; &lt;two&gt;",
        "One photo, one second", "1.4 seconds", "Person 02", "on foot",
        "Does it help a robot see?", "It saw 4 people.", "a line for each way",
    ):  # fmt: skip
        assert words in text, words
    assert text.index("Nesrelah, by DreamBooth") < text.index("Amir, by a hypernetwork")
    assert all(f'aria-label="{name}"' in text for name in gallery.FILMS) and text.count('class="wipe"') == 2
    assert 'href="survey/report.html"' in text and 'href="survey/questionnaire.html"' not in text
    assert (tmp_path / "survey" / "report.html").read_text(encoding="utf-8") == "<p>the study</p>"
    sources = set(re.findall(r'<img src="(gallery/[^"]+)"', text))
    assert sources and all((tmp_path / source).exists() for source in sources)
    assert re.findall(r"^docs/\w+$", text, re.MULTILINE) == ["docs/teaching", "docs/survey_teacher", "docs/glossary"]
    pictures = re.findall(r"<img [^>]*>", re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL))
    assert len(pictures) > 20 and all(re.search(r' alt="[^"]{5,}"', picture) for picture in pictures)


def test_a_stranger_has_a_story_too_and_is_not_called_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "RUNS", tmp_path / "runs")
    monkeypatch.setenv("SUBJECT", "Zoë Okafor")
    folder = tmp_path / "runs" / "photos" / "Zoë Okafor"
    save(folder / "a.png")
    write(folder / "captions.csv", [{"file": "a.png", "caption": "one", "machine_caption": "one", "edited": False}])
    machine.write_json(folder / "consent.json", {"who": "Zoë", "what_for": "this test", "until": "2099-01-01"})
    text = gallery.page([], [], tmp_path)
    assert "Zoë Okafor, by DreamBooth" in text and "Zoë Okafor: one" in text
    assert "drawn people" not in text.lower() and "Nobody shown here" not in text


HOSTILE = '<img src=x onerror="alert(1)">'


def test_whatever_a_file_holds_is_text_on_the_page_and_no_interval_is_without_width(runs, tmp_path, monkeypatch):
    people = [(subject, HOSTILE, *rest) for subject, _, *rest in gallery.people()]
    monkeypatch.setattr(gallery, "people", lambda: people)
    for file, column in (("compare/shares.csv", "subject"), ("compare/table2.csv", "method"), ("survey/table1.csv", "method"),
                         ("compare/portfolio.csv", "prompt"), ("audit/shares.csv", "prompt"), ("compare/shares.csv", "method")):  # fmt: skip
        write(runs / file, pd.read_csv(runs / file).assign(**{column: HOSTILE}))
    write(runs / "audit" / "shares.csv", pd.read_csv(runs / "audit" / "shares.csv").assign(low=0.9, high=0.9))
    (runs / "audit" / "finding.txt").write_text(HOSTILE, encoding="utf-8")
    text = gallery.page([], [], tmp_path)
    assert not re.search(r"(?<!\\)<img src=x", text) and text.count("&lt;img src=x") >= 5
    assert "width:0" not in text and "nan" not in text


def test_what_is_not_there_is_left_out(runs, tmp_path, monkeypatch):
    names = ("compare/shares.csv", "compare/grid.png", "survey/table1.csv", "audit/finding.txt", "audit/shares.csv")
    names = ("one_photo/pictures.csv", "robot/finding.txt", *names)
    for path in [*(runs / name for name in names), *runs.glob("*/previews/*.png")]:
        path.unlink()
    monkeypatch.setattr(gallery, "raw_photos", lambda subject: [])
    text = gallery.page([], [], tmp_path)
    for words in ("The paper's prompts", "While it learns", "Table 1", "Whom does it show", "Watch it happen"):
        assert words not in text
    assert "One photo" not in text and "a robot see" not in text
    assert "Before and after" in text


def test_a_likeness_is_not_told_as_a_count(runs):
    shares = pd.read_csv(runs / "compare" / "shares.csv")
    assert len(gallery.sentences(shares)) == 1 and gallery.sentences(None) == []
    assert gallery.sentences(shares.assign(words="0.75 (0.50 to 0.90)")) == []


def test_previews_run_from_the_first_to_the_last_and_before_and_after_are_the_same_seeds(runs):
    steps = [words for _, words, _ in gallery.previews("hypernetwork_amir")]
    assert (steps[0], steps[-1], len(steps)) == ("step 0", "step 300", 6)
    pairs = gallery.same_seeds("hypernetwork_amir", "a photo of a man")
    assert len(pairs) == 2 and all(before.name == after.name for before, after in pairs)
    assert {before.parent.name for before, _ in pairs} == {"base"}
    assert gallery.same_seeds("hypernetwork_amir", "something else") == pairs
    assert gallery.same_seeds("no_such_run", "a photo of a man") == []


def test_of_two_wordings_the_base_shows_the_one_that_was_asked(runs):
    """Under one prompt_id the base model hears the words of each subject; a run has but its own."""
    folder, run = runs / "compare", "dreambooth_nesrelah"
    listed = pd.read_csv(folder / "images.csv", keep_default_na=False)
    own = listed[(listed["model"] == run) | ((listed["model"] == "base") & (listed["subject"] == "nesrelah"))]
    other = own[own["model"] == "base"].assign(prompt="person", file="images/base/other.png")
    save(folder / "images" / "base" / "other.png")
    asked = gallery.same_seeds(run, "nesrelah_001 person")
    write(folder / "images.csv", pd.concat([other, listed]))
    assert gallery.same_seeds(run, "nesrelah_001 person") == asked and len(asked) == 2


def test_big_pictures_are_made_small_and_stay_as_they_are(tmp_path):
    image = Image.new("RGB", (2000, 1000), "red")
    source, *size = gallery.embed(tmp_path, image, 480)
    assert size == [480, 240] and image.size == (2000, 1000)
    assert Image.open(tmp_path.parent / source.replace("gallery/", tmp_path.name + "/")).size == (480, 240)
