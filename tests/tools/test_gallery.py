"""The gallery: pieces, the story from what notebooks leave, notebooks as pages, and all of it in a real browser."""

import base64
import io
import re

import nbformat
import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

from helpers import machine
from helpers.diffusion import kept
from tools import gallery, notebooks

pytest_plugins = ["lab"]
SOURCES = r'<(?:img|script|link|iframe|source)[^>]*\s(?:src|href)="(?!data:)'


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
    monkeypatch.setattr(gallery, "BUILD", tmp_path / "build")
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
    write(compared / "shares.csv", [share | {"mean": 0.75, "low": 0.5, "high": 0.9, "words": "75 % (50 to 90 %)"}])
    (compared / "finding.txt").write_text("The class is affected.\n", encoding="utf-8")
    write(compared / "table2.csv", [{"method": "hypernetwork", "V-RAM": "8 GB"}])
    said = {"method": "base", "the paper": "approx. 80 %", "here, SIMULATED": "78 %"}
    write(folder / "survey" / "table1.csv", [said])
    (folder / "survey" / "report.html").write_text("<p>the study</p>", encoding="utf-8")
    audited = {"model": "base", "prompt": "a suit", "images": 8, "mean": 0.9, "low": 0.6, "high": 1.0, "world": 0.8}
    write(folder / "audit" / "shares.csv", [audited])
    (folder / "audit" / "finding.txt").write_text("The skew is found.\n\n", encoding="utf-8")
    return folder


def test_the_page_tells_the_whole_story_and_needs_no_other_file(runs):
    text = gallery.page([(gallery.BUILD / "notebooks" / "05_compare.html", 2.34)]).read_text(encoding="utf-8")
    assert not re.findall(SOURCES, text)
    for words in (
        "Squares with a caption", "While it learns", "Before and after", "The paper's prompts", "step 300", "Table 1",
        "Table 2", "SIMULATED", "approx. 80 %", "8 GB", "The skew is found.", "The class is affected.",
        "amir riding a horse", "75 % (50 to 90 %)", "width:75.0%", "left:50.0%;width:40.0%", "width:80.0%",
        "one row a method, one column a prompt",
    ):  # fmt: skip
        assert words in text, words
    assert 'href="notebooks/05_compare.html"' in text and "2.3 minutes" in text
    assert "One row a prompt" not in text, "the grid is told as it lies"
    assert "one &amp; &lt;two&gt;" in text and "$" not in re.sub(r"data:[^\"]*", "", text)
    assert 'href="survey/report.html"' in text and 'href="survey/questionnaire.html"' not in text
    assert (gallery.BUILD / "survey" / "report.html").read_text(encoding="utf-8") == "<p>the study</p>"
    for anchor in re.findall(r'href="#(\w+)"', text):
        assert f'id="{anchor}"' in text
    assert not re.search(r"<img(?![^>]* alt=)", text)


def test_a_stranger_has_a_story_too_and_is_not_called_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(gallery, "BUILD", tmp_path / "build")
    monkeypatch.setenv("SUBJECT", "Zoë Okafor")
    folder = tmp_path / "runs" / "photos" / "Zoë Okafor"
    save(folder / "a.png")
    write(folder / "captions.csv", [{"file": "a.png", "caption": "one", "machine_caption": "one", "edited": False}])
    machine.write_json(folder / "consent.json", {"who": "Zoë", "what_for": "this test", "until": "2099-01-01"})
    text = gallery.page([]).read_text(encoding="utf-8")
    assert 'id="zoeokafor"' in text and 'href="#zoeokafor"' in text and "Zoë Okafor, by DreamBooth" in text
    assert "drawn people" not in text.lower() and "Nobody shown here" not in text


HOSTILE = '<img src=x onerror="alert(1)">'


def test_whatever_a_file_holds_is_text_on_the_page_and_no_interval_is_without_width(runs, monkeypatch):
    people = [(subject, HOSTILE, *rest) for subject, _, *rest in gallery.people()]
    monkeypatch.setattr(gallery, "people", lambda: people)
    for file, column in (("compare/shares.csv", "subject"), ("compare/table2.csv", "method"), ("survey/table1.csv", "method"),
                         ("compare/portfolio.csv", "wish"), ("audit/shares.csv", "prompt"), ("compare/shares.csv", "method")):  # fmt: skip
        write(runs / file, pd.read_csv(runs / file).assign(**{column: HOSTILE}))
    write(runs / "audit" / "shares.csv", pd.read_csv(runs / "audit" / "shares.csv").assign(low=0.9, high=0.9))
    (runs / "audit" / "finding.txt").write_text(HOSTILE, encoding="utf-8")
    text = gallery.page([(gallery.BUILD / "notebooks" / f"{HOSTILE[:9]}.html", 1)]).read_text(encoding="utf-8")
    text = re.sub(r'"data:[^"]*', "", text.partition("<body>")[2])
    assert "<img src=x" not in text and text.count("&lt;img src=x") >= 5
    assert "width:0" not in text and "nan" not in text


def test_what_is_not_there_is_left_out(runs, monkeypatch):
    names = ("compare/shares.csv", "compare/grid.png", "survey/table1.csv", "audit/finding.txt", "audit/shares.csv")
    for path in [*(runs / name for name in names), *runs.glob("*/previews/*.png")]:
        path.unlink()
    monkeypatch.setattr(gallery, "raw_photos", lambda subject: [])
    text = gallery.page([]).read_text(encoding="utf-8")
    for words in ("The paper's prompts", "While it learns", "Table 1", 'id="audit"', 'href="#audit"', "raw photo of"):
        assert words not in text
    assert "Before and after" in text


def test_previews_run_from_the_first_to_the_last_and_before_and_after_are_the_same_seeds(runs):
    steps = [words for _, words in gallery.previews("hypernetwork_amir")]
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


def test_big_pictures_are_made_small_and_stay_as_they_are():
    image = Image.new("RGB", (2000, 1000), "red")
    source, *size = gallery.embed(image, 480)
    assert size == [480, 240] and source.startswith("data:image/webp;base64,") and image.size == (2000, 1000)


STAMPED = "https://raw.githubusercontent.com/school.org/course/main"  # the address of pictures on Colab


def png(color, size=(40, 20), mode="RGB"):
    data = io.BytesIO()
    Image.new(mode, size, color).save(data, "PNG")
    return base64.b64encode(data.getvalue()).decode()


def code(source, **data):
    kinds = {"png": "image/png", "html": "text/html", "text": "text/plain"}
    kinds["widget"] = "application/vnd.jupyter.widget-view+json"
    output = new_output("display_data", {kinds[kind]: value for kind, value in data.items()})
    return new_code_cell(source, outputs=[output])


@pytest.fixture
def notebook():
    """One cell of each kind, with every kind of output."""
    stream = new_output("stream", text="\x1b[31mred\x1b[0m <b>\n")
    return new_notebook(
        cells=[
            new_markdown_cell("[![badge](https://example.org/badge.svg)](https://example.org)"),
            new_markdown_cell("# Title\n\nThe price is $5, and `$PATH$` stays."),
            new_code_cell("print(1)", outputs=[stream]),
            code("a = 1\nplots.image_grid(<rows>)", png=png("red"), text="<Image>"),
            code("table", html="<table><tr><td>cell</td></tr></table>", text="table"),
            code("box", widget={"model_id": "1"}, text="VBox()"),
            code("1 < 2", text="True & <so>"),
            new_markdown_cell("![picture](../docs/pictures/05_compare.jpg)"),
            new_markdown_cell(f"![picture]({STAMPED}/docs/pictures/05_compare.jpg)"),
        ]
    )


def test_a_notebook_becomes_a_page_of_its_own(notebook, tmp_path):
    nbformat.validate(notebook)
    path = tmp_path / "notebooks" / "02_b.html"
    notebooks.render(notebook, path, ["01_a", "02_b", "03_c"])
    text = path.read_text(encoding="utf-8")
    assert not re.findall(SOURCES, text) and "badge" not in text
    assert 'href="01_a.html"' in text and 'href="03_c.html"' in text and 'href="../index.html"' in text
    assert "price is $5" in text and "$PATH$" in text
    assert "red</span> &lt;b&gt;" in text and "\x1b" not in text
    assert re.search(r'alt="what this code shows: plots.image_grid\((<|&lt;)rows(>|&gt;)\)"', text)
    assert "Here stands a widget" in text and "VBox()" not in text
    assert "<td>cell</td>" in text and "True &amp; &lt;so&gt;" in text
    assert text.count("data:image/") == 3 and "prefers-color-scheme: dark" in text


def test_no_link_of_a_page_leads_nowhere(tmp_path):
    """The words of all notebooks and what they point at: each link is on the web, or leads to a file of the build."""
    stems = [path.stem for path in notebooks.paths()]
    for path in notebooks.paths():
        words = [cell for cell in notebooks.read(path).cells if cell.cell_type == "markdown"]
        notebooks.render(new_notebook(cells=words), tmp_path / "notebooks" / f"{path.stem}.html", stems)
    notebooks.render_documents(tmp_path / "docs")
    (tmp_path / "index.html").touch()
    pages = [*tmp_path.glob("*/*.html")]
    links = [(page, link) for page in pages for link in re.findall(r'<a [^>]*href="([^"#]+)', page.read_text())]
    inside = [(page, link) for page, link in links if not link.startswith("https://")]
    assert [(page.name, link) for page, link in inside if not (page.parent / link).exists()] == []
    assert len(pages) == 10 and {"../docs/glossary.html", "../notebooks/06_survey.html"} <= {link for _, link in inside}


def test_the_last_picture_of_the_tagged_cell_is_kept_small_and_without_metadata(tmp_path):
    last = code("look()", png=png("red", (3000, 1500)))
    last.outputs.insert(0, new_output("display_data", {"image/png": png("blue")}))
    last.metadata["tags"] = [notebooks.OPENING]
    executed = new_notebook(cells=[code("other()", png=png("green")), last])
    notebooks.keep_picture(executed, tmp_path / "05_compare.jpg")
    image = Image.open(tmp_path / "05_compare.jpg")
    assert image.size == (1000, 500) and not image.getexif()
    assert image.getpixel((500, 250))[0] > 250 and image.getpixel((500, 250))[2] < 5
    last.outputs = [new_output("display_data", {"image/png": png((0, 0, 0, 0), mode="RGBA")})]
    notebooks.keep_picture(executed, tmp_path / "clear.jpg")
    assert Image.open(tmp_path / "clear.jpg").getpixel((3, 3)) == (255, 255, 255), "a figure without a ground"
    last.outputs = []
    notebooks.keep_picture(executed, tmp_path / "06_survey.jpg")
    assert not (tmp_path / "06_survey.jpg").exists()


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1200])
def test_the_pages_fit_a_phone_and_ask_nobody(runs, notebook, browser, width, scheme):
    inner = gallery.BUILD / "notebooks" / "05_compare.html"
    notebooks.render(notebook, inner, [inner.stem])
    index = gallery.page([(inner, 2.34)])
    context = browser.new_context(viewport={"width": width, "height": 740}, color_scheme=scheme)
    page, asked, errors = context.new_page(), [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(index.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", ground)[:3])) < 384) == (scheme == "dark")
    page.get_by_role("link", name="05 compare").click()
    page.get_by_role("heading", name="Title").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert all(re.match(r"file:|data:", url) for url in asked) and not errors
    context.close()
